"""Figures: every picture draws in full, titles say what the table says, hostile names stay text."""
import io
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_maps import HOSTILE, entities, hostile, title
from test_visualization import LOG, NASTY, effects, faint, reviews
from test_visualization import runs as logs
from test_widgets import harmless

from dataset_tutor import figures as D
from dataset_tutor import maps
from dataset_tutor import visualization as viz
from dataset_tutor.core import DataError
from dataset_tutor.words import plot_keyness, plot_words

RNG = np.random.default_rng(0)


def people(n=6, names=None, bad=()):
    mid = [0.55 if i in bad else 0.8 for i in range(n)]
    return pd.DataFrame(dict(votes=[40] * n, accuracy=mid, low=np.array(mid) - 0.1, high=np.array(mid) + 0.1),
                        index=names or [f"ann {i}" for i in range(n)])


def pairs(names):
    lines = [(a, b, 10 + i, 0.9 if (i < 3) == (j < 3) else 0.1)
             for i, a in enumerate(names) for j, b in enumerate(names) if i < j]
    return pd.DataFrame(lines, columns=["one", "other", "items", "value"])


def issues(n=20):
    return pd.DataFrame(dict(uid=[f"u{i}" for i in range(n)], text=[HOSTILE[i % 9][:99] for i in range(n)],
                             given=[HOSTILE[i % 3] for i in range(n)], suggested=["正面"] * n,
                             quality=np.linspace(0.01, 0.4, n)))


def drifted(p=(0.001, 0.6)):
    table = pd.DataFrame(dict(what=["words", "length"], distance=[0.4, 0.1], p=p))
    words = pd.DataFrame(dict(word=HOSTILE[:6], old=[0.01] * 6, new=[0.02] * 6))
    return SimpleNamespace(table=table, rate=0.05, words=words, sizes=(100, 200))


def runs(models=("a", "b"), seeds=4):
    return pd.DataFrame([dict(rows=n, seed=s, score=0.5 + 0.1 * k + 0.05 * np.log10(n) + 0.01 * s, model=m)
                         for k, m in enumerate(models) for n in (10, 100, 1000) for s in range(seeds)])


def dynamics(n=50, hard=4):
    c = np.r_[np.full(hard, 0.1), np.linspace(0.7, 0.99, n - hard)]
    v = np.r_[np.full(hard, 0.01), np.linspace(0.02, 0.3, n - hard)]
    return pd.DataFrame(dict(confidence=c, variability=v, correctness=c > 0.5, text=[HOSTILE[i % 9] for i in range(n)],
                             label=HOSTILE[:1] * n))


LAW = SimpleNamespace(points=pd.DataFrame(dict(rows=[10, 100, 1000])), at=lambda n: (0.8 - 1 / n, 0.78 - 1 / n, 0.82),
                      doubling=lambda: (0.4, 0.1, 0.7))
PICTURES = {
    "annotators": lambda: D.plot_annotators(people(bad=[2])),
    "hostile annotators": lambda: D.plot_annotators(people(9, HOSTILE)),
    "many annotators": lambda: D.plot_annotators(people(60)),
    "agreement": lambda: D.plot_agreement(pairs([f"ann {i}" for i in range(6)])),
    "hostile agreement": lambda: D.plot_agreement(pairs(HOSTILE)),
    "two annotators": lambda: D.plot_agreement(pairs(["王", "李"])),
    "many agree": lambda: D.plot_agreement(pairs([f"ann {i}" for i in range(30)])),
    "issues": lambda: D.plot_label_issues(issues(), truth=[i % 4 > 0 for i in range(20)]),
    "one issue": lambda: D.plot_label_issues(issues(1)),
    "drift": lambda: D.plot_drift(drifted()),
    "no drift": lambda: D.plot_drift(drifted((0.5, 0.6)).table),
    "curves": lambda: D.plot_curves(runs(("简单", HOSTILE[0])), by="model", log=True),
    "one curve": lambda: D.plot_curves(runs(("a",))),
    "one seed": lambda: D.plot_curves(runs(seeds=1), by="model"),
    "law": lambda: D.plot_curves(runs(("a",)), fit=LAW),
    "cartography": lambda: D.plot_cartography(dynamics()),
    "nothing hard": lambda: D.plot_cartography(dynamics(hard=0).drop(columns=["text", "label"])),
    "images": lambda: D.plot_images([RNG.random((8, 8)), RNG.integers(0, 256, (9, 5, 3)), None, np.zeros((4, 4, 4))],
                                    ["黑", HOSTILE[0], "", "ok"], bad=[False, True, False, False]),
    "many images": lambda: D.plot_images([np.ones((3, 3))] * 50),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_draws_in_full(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph and a layout that does not fit are warnings
        fig = PICTURES[name]()
        png = fig._repr_png_()
    assert not faint(fig), "a text that does not stand out"
    ink = np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 200
    assert 0.0005 < ink.mean() < 0.8 and not ink[:, -2:].any() and not ink[:2].any()
    assert len(fig.alt) > 30 and not re.search("[\x00-\x1f\u202a-\u202e]", fig.alt) and len(fig.alt) < 20_000


def test_only_who_is_surely_lower_is_named():
    assert title(D.plot_annotators(people(bad=[1]))) == "1 of 6 annotators are clearly below the median of 0.80"
    unsure = people(bad=[1])
    unsure["high"] = 0.95
    assert title(D.plot_annotators(unsure)).startswith("No annotator is clearly below")


def test_those_who_agree_stand_together():
    names = [f"ann {i}" for i in range(6)]
    values = np.full((6, 6), np.nan)
    for i in range(6):
        for j in range(6):
            if i != j:
                values[i, j] = 0.9 if i % 2 == j % 2 else 0.1
    order = D._seriated(values)
    assert len({int(i) % 2 for i in order[:3]}) == 1 and sorted(order) == list(range(len(names)))


def test_titles_are_what_the_tables_say():
    assert title(D.plot_label_issues(issues())) == "20 labels are doubted, 5 of them strongly"
    assert title(D.plot_label_issues(issues(), truth=[True] * 20)) == "20 of 20 doubted labels are really wrong"
    assert title(D.plot_drift(drifted())) == "The two sets differ in words"
    assert title(D.plot_drift(drifted((0.3, 0.3)))) == "No way of looking tells the two sets apart"
    assert title(D.plot_curves(runs(), by="model")).startswith("With 1,000 rows b leads a by 10.0 points of score")
    assert title(D.plot_curves(runs(("a",)), fit=LAW)) == "Twice the rows would add 0.4 points [0.1, 0.7] to score"
    near = pd.DataFrame(dict(rows=[1, 1, 2, 2], score=[0.5, 0.6, 0.7, 0.71], low=[0.4, 0.5, 0.6, 0.6],
                             high=[0.6, 0.7, 0.8, 0.8], model=["a", "b"] * 2))
    assert title(D.plot_curves(near, by="model")) == "With 2 rows the bands of b and a overlap: score 0.700 to 0.710"
    assert title(D.plot_curves(near[near["model"] == "a"])) == "score goes from 0.500 to 0.700, and the bands overlap"
    far = near.assign(low=near["score"] - 0.001, high=near["score"] + 0.001)
    assert title(D.plot_curves(far, by="model")) == "With 2 rows b leads a by 1.0 points of score"
    assert "4 (8.0 %) stay wrong" in title(D.plot_cartography(dynamics()))
    assert title(D.plot_images([np.ones((3, 3))] * 3, bad=[True, False, True])) == "3 images, 2 of them marked"


def test_intervals_over_seeds_are_those_of_student():
    from scipy import stats
    table = pd.DataFrame(dict(rows=[10] * 5, score=[0.6, 0.7, 0.65, 0.72, 0.61]))
    (_, mean, low, high), = D._banded(table, "rows", "score", None)[""]
    want = stats.t.interval(0.95, 4, loc=table["score"].mean(), scale=stats.sem(table["score"]))
    assert (low, high) == pytest.approx(want) and mean == pytest.approx(table["score"].mean())
    given_ = pd.DataFrame(dict(rows=[1, 2], score=[0.5, 0.6], low=[0.4, 0.5], high=[0.6, 0.9]))
    assert D._banded(given_, "rows", "score", None)[""].tolist() == [[1, 0.5, 0.4, 0.6], [2, 0.6, 0.5, 0.9]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_names_at_the_ends_do_not_overlap(ends):
    gap = 0.1
    out = np.sort(viz._spaced(ends, gap))
    assert (np.diff(out) >= gap - 1e-9).all() and out.mean() == pytest.approx(np.mean(ends), abs=1e-9)


@given(st.lists(st.tuples(st.text(max_size=12), st.floats(-5, 5)), min_size=1, max_size=20))
@settings(max_examples=60)
def test_weighed_tokens_stay_text(pairs_):
    shown = D.show_weights([t for t, _ in pairs_], [w for _, w in pairs_], title="<b>")
    harmless(shown._repr_html_())
    assert "<b>" not in shown._repr_html_() and isinstance(repr(shown), str)


def test_weights_are_drawn_by_sign_and_strength():
    page = D.show_weights(["a", "b", "c"], [2, -1, 0.01])._repr_html_()
    assert page.count("solid #0072B2") == 1 and page.count("dashed #D55E00") == 1 and "<span>c</span>" in page
    assert D.show_weights("房间", [1, 2]).join == "" and D.show_weights(["a", "b"], [1, 2]).join == " "
    assert D.show_weights([" a", "b"], [1, 2]).join == ""


def marked_rows():
    said = ["很差 的 房间", "很好 的 酒店"]
    return reviews(200).map(lambda r: {"text": said[r["label"]] + " 早餐" * (len(r["text"]) % 2)})


TWINS = {
    "classes": lambda: viz.plot_labels(reviews()),
    "before and after": lambda: viz.plot_before_after(reviews(), reviews().select(range(40))),
    "words": lambda: plot_words(marked_rows(), "label"),
    "keyness": lambda: plot_keyness(marked_rows()),
    "drift": lambda: D.plot_drift(drifted().table),
    "lengths": lambda: viz.plot_lengths(reviews()),
    "lengths crossed": lambda: viz.plot_lengths(reviews(), by=("label", "split")),
    "confusion": lambda: viz.plot_confusion([0, 1, 1, 2], [0, 0, 1, 2]),
    "co-occurrence": lambda: maps.plot_cooccurrence(Dataset.from_dict(
        {"labels": [["a", "b"]] * 4 + [["a"]] * 3 + [["b", "c"]] * 2})),
    "scores": lambda: viz.plot_scores({"a": 0.5, "b": (0.9, 0.8, 1.0)}),
    "effects": lambda: viz.plot_effects(effects(("a", 0.01, -0.01, 0.03), ("b", -0.2, -0.3, -0.1))),
    "annotators": lambda: D.plot_annotators(people(bad=[2])),
    "training": lambda: viz.plot_training(LOG),
    "runs": lambda: viz.plot_training({"a": logs(), "b": logs(top=3)}),
    "curves": lambda: D.plot_curves(runs(), by="model", log=True),
    "law": lambda: D.plot_curves(runs(("a",)), fit=LAW),
    "agreement": lambda: D.plot_agreement(pairs([f"ann {i}" for i in range(6)])),
    "cartography": lambda: D.plot_cartography(dynamics()),
    "some of the cartography": lambda: D.plot_cartography(dynamics(), most=20),
    "issues": lambda: D.plot_label_issues(issues(), truth=[i % 4 > 0 for i in range(20)]),
    "issues without truth": lambda: D.plot_label_issues(issues(5).drop(columns="text")),
    "drift with words": lambda: D.plot_drift(drifted()),
    "clusters": lambda: maps.plot_clusters(copied()),
    "no clusters": lambda: maps.plot_clusters(Dataset.from_dict({"text": ["one", "二"]})),
    "overlap": lambda: maps.plot_overlap(copied()),
    "entities": lambda: maps.plot_entities(entities()),
    "no entities": lambda: maps.plot_entities(entities().select([0, 1])),
}


def copied():
    rows = [("a long text", "x", "train"), ("a long text", "y", "test"), ("a long text!", "x", "train"),
            ("房间很小，没有窗户。", "x", "validation"), ("房间很小，没有窗户。", "x", "train"), ("alone", "y", "test")]
    return Dataset.from_dict(dict(zip(("text", "label", "split"), map(list, zip(*rows)))))


def in_the_still(fig):
    "The numbers that matplotlib drew"
    mark, axes = fig.shown.mark, fig.axes
    if mark == "bars":
        return [p.get_width() for ax in axes for p in ax.patches]
    if mark == "steps":
        bars = [(p.get_x(), p.get_width(), p.get_height()) for ax in axes for p in ax.patches]
        return [h * np.log((x + w) / x) for x, w, h in bars]
    if mark == "matrix":
        whole = 1 if fig.shown.limits == (-1, 1) else 100
        return [whole * v for ax in axes for im in ax.images for v in np.ravel(np.ma.filled(im.get_array(), np.nan))
                if np.isfinite(v)]
    lines = [ln for ax in axes for ln in ax.lines]
    if mark == "dots":
        return [y for ax in axes for c in ax.collections for _, y in c.get_offsets()]
    if mark == "beside":
        bars = [p.get_width() for ax in axes for p in ax.patches]
        curve = [y for r in fig.shown.rows if r["shown"].mark == "dots" for y in axes[0].lines[0].get_ydata()]
        red = viz.COLOURS["vermilion"] if len(axes) == 2 else viz.COLOURS["blue"]      # drift, or entities
        dots = [x for ax in axes[1:] for ln in ax.lines if ln.get_marker() == "o" and ln.get_color() == red
                for x in ln.get_xdata()]
        return [*bars, *curve, *dots]
    if mark == "intervals":
        return [ln.get_xdata()[0] for ln in lines if ln.get_marker() == "o"]
    return [y for ln in lines if ln.get_label() == "_" or ln.get_label()[0] != "_" for y in ln.get_ydata()]


def in_the_live(figure, mark):
    "The numbers that Plotly was given"
    if mark == "bars":
        return [x for t in figure.data for x in t.x]
    if mark == "steps":
        return [y for t in figure.data for y in t.y[:-1]]
    if mark == "matrix":
        return [v for t in figure.data for row in t.z for v in row if v is not None and np.isfinite(v)]
    if mark == "intervals":
        return [t.x[0] for t in figure.data]
    if mark == "dots":
        return [y for t in figure.data for y in t.y]
    if mark == "beside":
        return [v for t in figure.data for v in (t.y if t.type == "scatter" and len(t.y) > 1 else t.x)]
    return [y for t in figure.data if t.name and t.name != "fitted curve" for y in t.y]


@pytest.mark.parametrize("name", TWINS)
def test_the_live_twin_has_the_numbers_of_the_still(name):
    pytest.importorskip("plotly")
    fig = TWINS[name]()
    live = D.live(fig)
    assert sorted(in_the_live(live.figure, fig.shown.mark)) == pytest.approx(sorted(in_the_still(fig)))
    assert live._repr_png_()[:4] == b"\x89PNG" and fig.alt in repr(live) and not hasattr(live, "_repr_html_")


@pytest.mark.parametrize("name", TWINS)
def test_the_live_twin_has_title_note_and_colours_of_the_still(name):
    pytest.importorskip("plotly")
    fig = TWINS[name]()
    twin = D.live(fig).figure
    assert twin.layout.title.text == D._said(fig.title, 200)
    assert twin.layout.title.subtitle.text == D._said(fig.note, 200)
    known = {*viz.COLOURS.values(), *D._HUES}
    for t in twin.data:
        hues = [t.marker.color] if t.type != "heatmap" and isinstance(t.marker.color, str) else \
            [c for _, c in t.colorscale or ()] if t.type == "heatmap" else t.marker.color or ()
        assert {h for h in hues if isinstance(h, str)} <= known | {"#FFFFFF"}


def test_colours_mean_the_same_in_both():
    pytest.importorskip("plotly")
    red, blue = viz.COLOURS["vermilion"], viz.COLOURS["blue"]
    assert list(D.live(TWINS["clusters"]()).figure.data[0].marker.color) == [red, blue]    # differ, agree
    assert set(D.live(TWINS["overlap"]()).figure.data[0].marker.color) == {red}
    heat, = D.live(TWINS["agreement"]()).figure.data
    assert [c for _, c in heat.colorscale] == [red, "#FFFFFF", blue] and (heat.zmin, heat.zmax) == (-1, 1)
    right, wrong = D.live(TWINS["confusion"]()).figure.data
    assert (right.colorscale[1][1], wrong.colorscale[1][1]) == (blue, red) and wrong.z[0][0] is None
    dots, = D.live(TWINS["cartography"]()).figure.data
    assert [c for _, c in dots.marker.colorscale] == [red, "#B8B8B8", blue] and dots.marker.color[0] == 0
    curve, bars = D.live(TWINS["issues"]()).figure.data
    assert list(curve.marker.color[:2]) == [viz.COLOURS["grey"], red] and set(bars.marker.color) == {blue}


def test_the_pointer_finds_what_the_table_says():
    pytest.importorskip("plotly")
    one, two = D.live(maps.plot_clusters(copied())).figure.data[0].hovertext
    assert one == "a long text<br>3 rows, 2 texts, label: x, y, in: test, train"
    assert two == "房间很小，没有窗户。<br>2 rows, the same text, label: x, in: train, validation"
    names = [f"ann {i}" for i in range(6)]
    table = pairs(names)
    heat, = D.live(D.plot_agreement(table[:-1], what="alpha")).figure.data
    said = {t for line in heat.hovertext for t in line if t}
    assert f"ann 0, ann 1: alpha {table['value'][0]:.2f}, {table['items'][0]} shared items" in said
    assert len(said) == 28 and sum(v is None for line in heat.z for v in line) == 8          # a diagonal, and one pair
    dots, = D.live(D.plot_cartography(dynamics().assign(label="好"))).figure.data
    assert dots.hovertext[8] == "a<br>好: probability 0.73 ± 0.04, right in 100 % · row 8"
    assert list(dots.customdata) == list(range(50))
    assert D.live(TWINS["issues"]()).figure.data[0].hovertext[8].endswith(": probability 0.174")
    shared = [t for bars in D.live(TWINS["overlap"]()).figure.data for t in bars.hovertext]
    assert shared[0] == "exact: 1 of 2 test rows (50 %)"
    mentions, length = D.live(maps.plot_entities(entities())).figure.data[:2]
    assert mentions.hovertext[0] == "PER: 2 mentions, 2 different: Ann 1 · b 1"
    assert length.hovertext[0] == "PER: median 2 characters, nine of ten 1.1 to 2.9"
    assert D.live(D.plot_annotators(people(2, [0, 1]))).figure.layout.yaxis.ticktext == ("0", "1")


def test_bands_of_a_live_curve_are_those_of_the_still():
    pytest.importorskip("plotly")
    fig = D.plot_curves(runs(("a",)), fit=LAW)
    low, high, law = (t for t in D.live(fig).figure.data if t.x[-1] == 2000)
    band = fig.axes[0].collections[0].get_paths()[0].vertices
    assert (min(low.y), max(high.y)) == pytest.approx((band[:, 1].min(), band[:, 1].max()))
    assert law.y[0] == pytest.approx(0.8 - 1 / 10) and high.fill == "tonexty"


@pytest.mark.parametrize("picture", [
    lambda: viz.plot_labels(Dataset.from_dict({"label": HOSTILE})),
    lambda: viz.plot_confusion(NASTY, NASTY), lambda: viz.plot_scores(dict.fromkeys(NASTY, 0.5)),
    lambda: viz.plot_training({h: logs() for h in HOSTILE}), lambda: D.plot_annotators(people(9, HOSTILE)),
    lambda: D.plot_curves(runs(tuple(HOSTILE[:3])), by="model"), lambda: D.plot_agreement(pairs(HOSTILE)),
    lambda: D.plot_label_issues(issues()), lambda: D.plot_drift(drifted()), lambda: D.plot_cartography(dynamics()),
    lambda: maps.plot_clusters(Dataset.from_dict({"text": HOSTILE * 2, "label": HOSTILE + HOSTILE[::-1]})),
    lambda: maps.plot_overlap(hostile()), lambda: maps.plot_entities(hostile())])
def test_a_live_page_escapes_what_rows_say_and_loads_nothing(picture, tmp_path):
    pytest.importorskip("plotly")
    live = D.live(picture())
    page, spec = live.to_html(tmp_path / "p.html"), live.figure.to_json()
    for text in HOSTILE[:2]:
        assert text not in page and text not in spec
    words = page[page.rindex("<figcaption>"):]
    assert not set("\x00\x1b\u202e") & set(page) and len(page) < 9e6 and len(words) < 20_000
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page) and "default-src 'none'" in page
    assert (tmp_path / "p.html").read_text(encoding="utf-8") == page and '<figure role="group" aria-label="' in page


@pytest.mark.parametrize("call, said", [
    (lambda: D.plot_annotators(pairs(["a", "b"])), "annotator_quality"),
    (lambda: D.plot_agreement(people()), "pair_agreement"),
    (lambda: D.plot_label_issues(issues(), truth=[True]), "one a line"),
    (lambda: D.plot_label_issues(issues(0)), "no lines"),
    (lambda: D.plot_curves(runs(), y="f1"), "column is missing"),
    (lambda: D.plot_curves(runs(tuple("abcdefgh")), by="model"), "seven or fewer"),
    (lambda: D.plot_cartography(people()), "confidence"),
    (lambda: D.show_weights(["a"], [1, 2]), "one weight a token"),
    (lambda: D.show_weights(["a"], [np.nan]), "no number"),
    (lambda: D.live(D.plot_images([np.ones((2, 2))])), "no table"),
    (lambda: D.plot_images([]), "no images"),
    (lambda: D.plot_images([np.ones((2, 2, 7))]), "3 colours"),
    (lambda: D.plot_images([np.ones((2, 2))], ["a", "b"]), "one an image")])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match=re.escape(said)):
        call()
