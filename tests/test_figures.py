"""Figures: every picture draws in full, titles say what the table says, hostile names stay text."""
import io
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_maps import HOSTILE, title
from test_widgets import harmless

from dataset_tutor import figures as D
from dataset_tutor import visualization as viz
from dataset_tutor.core import DataError

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
    (lambda: D.plot_images([]), "no images"),
    (lambda: D.plot_images([np.ones((2, 2, 7))]), "3 colours"),
    (lambda: D.plot_images([np.ones((2, 2))], ["a", "b"]), "one an image")])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match=re.escape(said)):
        call()
