"""Counts, marks and clouds: right in both scripts, silent on chance, harmless on hostile rows."""
import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from test_visualization import faint, title

from dataset_tutor.core import DataError
from dataset_tutor.visualization import figure_to_html
from dataset_tutor.words import _terms, count_words, keyness, plot_keyness, plot_words, plot_zipf, word_cloud


def rows(texts, labels=None):
    ds = Dataset.from_dict({"text": texts, **({"label": labels} if labels else {})})
    return ds.cast_column("label", ClassLabel(names=["bad", "good"])) if labels else ds


@given(st.lists(st.text(max_size=40), max_size=5), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_any_text_is_counted_and_runs_lie_in_it(texts, n):
    for t in texts:
        for run in _terms(t, n, frozenset()):
            assert run and any(c.isalnum() for c in run)
    if texts:
        table = count_words(rows(texts), n=n, stop=[])
        assert (table["all rows"] <= len(texts)).all() and (table["all rows"] > 0).all()


def test_rows_and_occurrences_differ():
    ds = rows(["spam spam spam", "spam egg", None, ""])
    assert count_words(ds).loc["spam", "all rows"] == 2
    assert count_words(ds, unit="occurrences").loc["spam", "all rows"] == 4


def test_runs_do_not_cross_signs_nor_lines():
    assert _terms("very good. Bad", 2, frozenset()) == ["very good"]
    assert _terms("房间不大。服务一般", 2, frozenset()) == ["房间不", "不大", "服务一般"]


def test_groups_by_label_add_up():
    ds = rows(["a good room", "a bad room", "good good"], [1, 0, 1])
    table = count_words(ds, "label", stop=[])
    assert table.loc["good"].to_dict() == {"good": 2, "bad": 0} and table.loc["room"].sum() == 2
    assert table.attrs["rows"] == {"good": 2, "bad": 1}


def test_marks_are_found_and_lots_have_none():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 800).tolist()
    words = ["alpha beta gamma delta".split()[rng.integers(4)] for _ in y]
    ds = rows([f"the {w} {'fine' if k and i % 3 else 'thing'}" for i, (w, k) in enumerate(zip(words, y))], y)
    found = keyness(ds)
    assert set(found[found["group"] == "good"]["word"]) == {"fine"}
    lots = [len(keyness(rows(ds["text"][:], rng.permutation(y).tolist()))) for _ in range(20)]
    assert np.mean(np.array(lots) > 0) <= 0.2


def test_frequent_words_of_both_classes_are_no_marks():
    y = [0, 1] * 200
    assert len(keyness(rows(["the room was as it was"] * 400, y))) == 0
    assert plot_keyness(rows(["the room was as it was"] * 400, y)).alt.startswith("No word tells")


@pytest.mark.parametrize("call, said", [
    (lambda ds: count_words(ds, unit="x"), "cannot count"), (lambda ds: count_words(ds, n=0), "cannot count"),
    (lambda ds: count_words(ds, by="no"), "missing"), (lambda ds: keyness(ds, by="text2"), "missing"),
    (lambda ds: keyness(rows(["a", "b"], [0, 0])), "one group"), (lambda ds: word_cloud(ds, of="x"), "no size"),
    (lambda ds: word_cloud(rows(["", "!!"])), "no word"), (lambda ds: plot_zipf(rows([""])), "no row has a word"),
    (lambda ds: plot_words(rows(["", None])), "no word to draw"),
])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match=said):
        call(rows(["a good room", "a bad room"], [1, 0]))


def hostile():
    texts = ["<script>alert(1)</script> $x^2$ \\frac{1}{0} 42",
             "ok \x1b[31mred\u202e \x00 ok", "a" * 5000 + " 好" * 500,
             "</style><img src=x onerror=alert(1)> &amp; 负面", "", None]
    groups = ["</style><b>", "\x1b[31m正面\u202e", "字" * 1_000_000, "</style><b>", "", None]
    return Dataset.from_dict({"text": texts * 9 + ["好" * 1_000_000], "label": groups * 9 + ["x"]})


@pytest.fixture(scope="module")
def pictures():
    ds = hostile()
    return dict(cloud=word_cloud(ds), clouds=word_cloud(ds, "label", of="count"), zipf=plot_zipf(ds, "label"),
                words=plot_words(ds, "label"), runs=plot_words(ds, n=2), keyness=plot_keyness(ds))


@pytest.mark.parametrize("name", ["cloud", "clouds", "zipf", "words", "runs", "keyness"])
def test_hostile_rows_are_drawn_as_letters(pictures, name):
    page = figure_to_html(pictures[name])
    assert page.count("<") == 1 and len(page) < 2_000_000 and "<script" not in page
    assert not set("\x00\x1b\u202e\n") & set(pictures[name].alt) and len(pictures[name].alt) < 5_000
    assert not faint(pictures[name])


def test_clouds_have_no_bare_numbers_and_room_between_words():
    from scipy import ndimage
    ds = rows(["7 12 xp3 房间", "42 房间 酒店", "酒店 1998 xp3"] * 4)
    fig = word_cloud(ds)
    assert fig.alt == "Word cloud. all rows: xp3, 房间, 酒店"
    ink = np.asarray(fig.axes[0].images[0].get_array())[..., :3].min(2) < 128
    near = ndimage.label(ndimage.binary_dilation(ink, iterations=9))[1]
    assert near == 3, "words that touch would be one"


def test_frequency_bars_are_the_counts_of_the_table():
    ds = rows(["a nice hotel", "a sad hotel", "nice nice hotel"], [1, 0, 1])
    fig, table = plot_words(ds, "label", top=2), count_words(ds, "label")
    found = {(r["panel"], r["name"]): (r["count"], r["value"]) for r in fig.shown.rows}
    assert found["good", "hotel"] == (table.loc["hotel", "good"], 100) and found["bad", "nice"] == (0, 0)
    assert title(fig) == "hotel, nice are the most frequent words"
    assert [p.get_width() for ax in fig.axes for p in ax.patches] == [r["value"] for r in fig.shown.rows]


def test_zipf_marks_the_words_that_it_names_and_draws_the_law():
    fig = plot_zipf(rows(["the cat the dog the end"] * 3 + ["a cat"] * 2))
    law, line, *dots = fig.axes[0].lines
    x, y = (np.log(v) for v in law.get_data())
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(-1)
    words = [t for t in fig.axes[0].texts if t.get_text()]
    assert len(dots) == len(words) and {d.get_xdata()[0] for d in dots} == {t.xy[0] for t in words}
    assert line.get_ydata()[0] == 9 and fig.axes[0].get_legend() is None


def test_the_same_seed_draws_the_same_cloud():
    ds = rows([f"word{i} word{i // 2} 房间 酒店" for i in range(40)])
    assert word_cloud(ds, seed=3)._repr_png_() == word_cloud(ds, seed=3)._repr_png_()
