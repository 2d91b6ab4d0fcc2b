"""Maps state what they keep, tables say the truth beside the picture, and no row's text gets out of either."""
import io
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_visualization import faint

from dataset_tutor import maps
from dataset_tutor.auditing import audit_split
from dataset_tutor.core import DataError

HOSTILE = ['"><script>alert(1)</script>', "</style><img src=x onerror=alert(1)>", "$\\frac{1}{0}$",
           "负面\n\x00\u202egnp", "\x1b[31mred\x1b[0m", "字" * 1_000_000, "😀🔥 e\u0301", "ＡＢＣ", "a"]


def reviews(n=40, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    text = [f"{'很好' if y else '很差'}的房间 {i * 7919 % 1000} {'abcdefgh'[i % 8] * 5}" for i, y in enumerate(label)]
    ds = Dataset.from_dict(dict(uid=[f"u{i}" for i in range(n)], text=text, label=label,
                                split=rng.choice(["train", "validation", "test"], n).tolist()))
    return ds.cast_column("label", ClassLabel(names=["负面", "正面"]))


def vectors(n=40, d=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def hostile():
    return Dataset.from_dict({"text": HOSTILE, "label": HOSTILE[::-1], "split": ["train"] * 5 + ["test"] * 4,
                              "spans": [[dict(start=0, end=1, label=t)] for t in HOSTILE]})


def entities():
    ann, b, place = [dict(start=s, end=e, label=k) for s, e, k in ((0, 3, "PER"), (4, 5, "PER"), (0, 3, "LOC"))]
    return Dataset.from_dict(dict(text=["Ann b"] * 4, spans=[[], None, [ann], [place, b]]))


def mapped(**how):
    return maps.map_table(reviews(), vectors=vectors(), k=5, **how)


PICTURES = {
    "by label": lambda: maps.plot_map(mapped()),
    "by split": lambda: maps.plot_map(mapped(), "split"),
    "duplicates": lambda: maps.plot_map(mapped(), "duplicates"),
    "errors": lambda: maps.plot_map(mapped(predicted=[0] * 40), "errors"),
    "no errors": lambda: maps.plot_map(mapped(predicted="label"), "errors"),
    "t-SNE": lambda: maps.plot_map(mapped(method="tsne")),
    "hostile map": lambda: maps.plot_map(hostile(), vectors=vectors(9), k=2, top=9),
    "hostile clusters": lambda: maps.plot_clusters(Dataset.from_dict({"text": HOSTILE * 2, "label": HOSTILE * 2})),
    "clusters": lambda: maps.plot_clusters(Dataset.from_dict(dict(text=["a long text"] * 3, label=["x", "y", "x"]))),
    "no clusters": lambda: maps.plot_clusters(Dataset.from_dict(dict(text=["one", "二"]))),
    "overlap": lambda: maps.plot_overlap(hostile()),
    "co-occurrence": lambda: maps.plot_cooccurrence(entities()),
    "hostile co-occurrence": lambda: maps.plot_cooccurrence(Dataset.from_dict({"labels": [HOSTILE, HOSTILE[:3]]})),
    "one label": lambda: maps.plot_cooccurrence(Dataset.from_dict({"labels": [["a"], ["a"]]})),
    "entities": lambda: maps.plot_entities(entities()),
    "hostile entities": lambda: maps.plot_entities(hostile()),
    "no entities": lambda: maps.plot_entities(entities().select([0, 1])),
}


def title(fig):
    return fig.texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_draws_in_full(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph and a layout that does not fit are warnings
        fig = PICTURES[name]()
        png = fig._repr_png_()
    assert not faint(fig), "a text that does not stand out"
    ink = np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 200
    assert 0.0005 < ink.mean() < 0.7 and not ink[:, -2:].any() and not ink[:2].any()
    assert len(fig.alt) > 30 and not re.search("[\x00-\x1f\u202a-\u202e]", fig.alt) and len(fig.alt) < 20_000


@given(st.integers(6, 60), st.integers(1, 5), st.integers(0, 99))
def test_neighbours_kept_is_a_share_and_one_for_the_same_space(n, k, seed):
    v = vectors(n, 2, seed)
    kept = maps.neighbours_kept(v, vectors(n, 2, seed + 1), k)
    assert kept.shape == (n,) and (0 <= kept).all() and (kept <= 1).all()
    np.testing.assert_allclose(kept * k, np.round(kept * k))
    assert (maps.neighbours_kept(v, 3 * v - 1, k) == 1).all()


def test_neighbours_kept_by_chance_is_what_the_note_says():
    kept = maps.neighbours_kept(vectors(400, 20, 1), vectors(400, 2, 2), 10)
    assert abs(kept.mean() - 10 / 399) < 0.01


def test_neighbours_are_those_of_the_full_space_nearest_first():
    t, v = mapped(), vectors()
    for i in (0, 17, 39):
        d = ((v - v[i]) ** 2).sum(1)
        d[i] = np.inf
        assert t["neighbours"][i] == np.argsort(d)[:5].tolist()
    names = t["label"].to_numpy()
    assert t["alike"][3] == np.mean(names[t["neighbours"][3]] == names[3])


def test_a_part_drawn_by_lot_keeps_row_numbers_and_says_so():
    whole, part = mapped(), mapped(most=15)
    assert len(part) == 15 and part["row"].is_monotonic_increasing
    assert part["uid"].tolist() == [f"u{r}" for r in part["row"]]
    assert set(sum(part["neighbours"], [])) <= set(part["row"]) and part.attrs["rows"] == 40
    assert "15 of 40 rows" in maps.plot_map(part).texts[1].get_text()
    pd.testing.assert_frame_equal(part, mapped(most=15))
    assert mapped(most=15, seed=1)["row"].tolist() != part["row"].tolist() and len(whole) == 40


def test_variance_is_told_for_pca_alone():
    v = np.zeros((30, 5))
    v[:, 0], v[:, 1] = 3 * vectors(30, 1)[:, 0], vectors(30, 1, 5)[:, 0]
    t = maps.map_table(reviews(30), vectors=v, k=3)
    assert sum(t.attrs["variance"]) == pytest.approx(1) and t["kept"].mean() == 1
    assert "100 % of the variance" in maps.plot_map(t).texts[1].get_text()
    note = maps.plot_map(mapped(method="tsne")).texts[1].get_text()
    assert "variance" not in note and "mean nothing" in note.replace("\n", " ")


def test_rows_that_are_all_the_same_still_have_a_map():
    t = maps.map_table(reviews(10), vectors=np.ones((10, 3)), k=2)
    assert t[["x", "y"]].to_numpy() == pytest.approx(0) and t.attrs["variance"] == (0, 0)
    assert maps.plot_map(t).alt


def test_findings_are_counts_of_the_full_space():
    label = np.arange(40) % 2
    apart = maps.map_table(reviews().remove_columns("label").add_column("label", label), k=5,
                           vectors=np.eye(2)[label] + 0.01 * vectors(40, 2))
    assert title(maps.plot_map(apart)) == "The classes lie apart: 100 % of neighbours share one, by chance 49 %"
    one = reviews().remove_columns("label").add_column("label", ["x"] * 40)
    assert title(maps.plot_map(one, vectors=vectors())) == "All 40 rows have one label: x"
    copies = Dataset.from_dict({"text": ["a text of some length"] * 3 + ["one", "二", "three"]})
    assert title(maps.plot_map(copies, "duplicates", vectors=vectors(6), k=2)) == \
        "3 of 6 rows (50 %) have a near copy, in 1 clusters"


def test_predictions_as_numbers_names_or_a_column():
    ds, gold = reviews(), reviews()["label"][:]
    said = [1 - y if i < 4 else y for i, y in enumerate(gold)]
    by_number = mapped(predicted=said)
    assert by_number["error"].tolist() == [True] * 4 + [False] * 36
    named = [["负面", "正面"][y] for y in said]
    assert mapped(predicted=np.array(said))["error"].sum() == mapped(predicted=named)["error"].sum() == 4
    column = maps.map_table(ds.add_column("said", named), vectors=vectors(), k=5, predicted="said")
    assert column["predicted"].tolist() == by_number["predicted"].tolist()


@pytest.mark.parametrize("call, said", [
    (lambda: mapped(method="mds"), "one of pca, umap, tsne"),
    (lambda: maps.map_table(reviews(), vectors=vectors(3)), "one vector a row"),
    (lambda: maps.map_table(reviews(), vectors=np.full((40, 2), np.nan)), "NaN or infinity"),
    (lambda: maps.map_table(reviews(3), vectors=vectors(3)), "too few for a map"),
    (lambda: maps.map_table(Dataset.from_dict({"text": [None, "", " "]})), "too few for a map"),
    (lambda: mapped(predicted=[0]), "one prediction a row"),
    (lambda: maps.plot_map(mapped(), "errors"), "predicted=..."),
    (lambda: maps.plot_map(mapped(), "colour"), "no such column"),
    (lambda: mapped(text="body"), "column is missing"),
    (lambda: maps.cooccurrence(reviews(), "label"), "no lists of labels"),
    (lambda: maps.plot_overlap(reviews().remove_columns("split")), "rows = split(ds)")])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match=re.escape(said)):
        call()


@pytest.mark.parametrize("module, extra, call", [
    ("umap", "umap", lambda: mapped(method="umap")), ("plotly.graph_objects", "plot", lambda: maps.live_map(mapped()))])
def test_an_absent_extra_is_named(module, extra, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=re.escape(f"dataset-tutor[{extra}]")):
        call()


def test_cluster_table_counts_texts_labels_and_parts():
    ds = Dataset.from_dict(dict(text=["A long text here.", "a long  text here", "other words", None, ""],
                                label=["x", "y", "x", "x", "x"], split=["train", "test", "train", "train", "test"]))
    t = maps.cluster_table(ds)
    assert len(t) == 1 and t["rows"][0] == 2 and t["texts"][0] == 2 and t["labels"][0] == ["x", "y"]
    fig = maps.plot_clusters(ds)
    assert "1 with different labels" in fig.texts[1].get_text() and "1 lie in several parts" in fig.texts[1].get_text()


def test_overlap_of_a_clean_and_a_leaking_split():
    ds = Dataset.from_dict(dict(text=["a sentence about rooms", "a sentence about rooms", "something else"],
                                split=["train", "test", "test"]))
    assert title(maps.plot_overlap(ds)).startswith("1 of 2 test rows (50 %)")
    clean = maps.plot_overlap(audit_split(ds.select([0, 2]), meaning=False, score=False))
    assert title(clean) == "No test row has a copy or a relative in an earlier part"


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=5), min_size=1, max_size=20))
def test_cooccurrence_counts_rows(rows):
    ds = Dataset.from_dict({"labels": rows}, features=Features({"labels": List(Value("string"))}))
    t = maps.cooccurrence(ds)
    for _, r in t.iterrows():
        assert r["rows"] == sum(r["label"] in row for row in rows)
        assert r["both"] == sum({r["label"], r["with"]} <= set(row) for row in rows) <= r["rows"]


def test_cooccurrence_reads_class_numbers_and_names_the_pair():
    kinds = List(ClassLabel(names=["价格", "房间", "吃"]))
    ds = Dataset.from_dict({"labels": [[0, 1]] * 9 + [[2]] * 20 + [[0, 2]]}, features=Features({"labels": kinds}))
    assert title(maps.plot_cooccurrence(ds)) == "价格 and 房间 come together in 9 rows; chance would give 3"


@pytest.mark.parametrize("share", [0.1, 0.28, 0.5, 0.7, 0.9])
def test_numbers_of_a_cooccurrence_can_be_read(share):
    k = int(100 * share)
    ds = Dataset.from_dict({"labels": [["a", "b"]] * k + [["a"]] * (100 - k) + [["b", "c"]] * 40 + [["c"]] * 10})
    assert not faint(maps.plot_cooccurrence(ds))


def test_numbers_of_rows_hide_no_point():
    fig = maps.plot_map(mapped())
    ring, = {(ln.get_markerfacecolor(), ln.get_markersize()) for ax in fig.axes for ln in ax.lines}
    assert ring == ("none", 8)
    numbers = [t for ax in fig.axes[:-1] for t in ax.texts]
    assert sorted(t.get_text() for t in numbers) == list("1234")
    assert all(t.arrow_patch and np.hypot(*t.get_position()) == pytest.approx(17) for t in numbers)
    assert {ax.get_xlabel() for ax in fig.axes[:-1]} == {ax.get_xlabel() for ax in fig.axes[:1]} != {""}


MENTIONS = st.lists(st.tuples(st.text(max_size=40), st.integers(1, 9999)), min_size=1, max_size=8)


@given(MENTIONS, st.integers(20, 60))
def test_mentions_are_whole(found, room):
    shown = maps._mentions(found, room)
    whole = [f"{maps._plain(m, 28)} {c:,}" for m, c in found]
    assert shown and not re.search("[\x00-\x1f\u202a-\u202e]", shown)
    if not any("…" in w for w in whole):
        assert shown in [" · ".join(whole[:k]) for k in range(1, len(whole) + 1)]


def test_a_long_mention_is_cut_between_words():
    shown = maps._mentions([("the Empire State Building of New York", 2), ("x", 1)], 60)
    assert shown == "the Empire State Building … 2 · x 1"


def test_entity_table_counts_mentions():
    t = maps.entity_table(entities())
    assert t[["type", "mentions", "different"]].to_numpy().tolist() == [["PER", 2, 2], ["LOC", 1, 1]]
    assert t["top"][0] == [("Ann", 1), ("b", 1)]


def test_live_map_escapes_rows_and_keeps_their_numbers():
    pytest.importorskip("plotly")
    live = maps.live_map(hostile(), vectors=vectors(9), k=2)
    page, spec = live.to_html(), live.figure.to_json()
    for text in HOSTILE[:2]:
        assert text not in page and text not in spec
    assert "\u202e" not in page and "\x1b" not in page and len(page) < 9e6
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page), "the page loads something"
    assert "default-src 'none'" in page and f"<title>{live.still.title}</title>" in page and "<figcaption>" in page
    rows = sorted(int(r) for trace in live.figure.data for r in trace.customdata)
    assert rows == list(range(9)) and live._repr_png_()[:4] == b"\x89PNG" and not hasattr(live, "_repr_html_")


def test_live_map_writes_the_page(tmp_path):
    pytest.importorskip("plotly")
    live = maps.live_map(mapped(), "split")
    page = live.to_html(tmp_path / "map.html")
    assert (tmp_path / "map.html").read_text(encoding="utf-8") == page
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert {t.name for t in live.figure.data} == {"train", "validation", "test"}


def test_importing_maps_imports_no_heavy_library():
    heavy = {"torch", "sklearn", "matplotlib", "plotly", "umap"}
    code = f"import sys, dataset_tutor.maps; print(*sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
