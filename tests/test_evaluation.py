"""Evaluation: against scikit-learn, seqeval and a bootstrap with a loop."""
import copy
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef, precision_recall_fscore_support

from dataset_tutor.core import DataError
from dataset_tutor.diagnosis import randomization_test
from dataset_tutor.evaluation import bootstrap_interval, classification_metrics, ner_metrics, seqeval_strict

CASES = 1000


@pytest.mark.filterwarnings("ignore:A single label")
def test_class_scores_are_scikit_learns():
    "A thousand random sets of rows: one to thirty rows, two to five classes, good and bad guesses"
    rng = np.random.default_rng(0)
    for _ in range(CASES):
        n, k = int(rng.integers(1, 31)), int(rng.integers(2, 6))
        gold = rng.integers(0, k, n)
        pred = np.where(rng.random(n) < rng.random(), gold, rng.integers(0, k, n))
        ours = classification_metrics(gold, pred, list("abcde")[:k])
        kinds = list(range(k))
        theirs = np.array(precision_recall_fscore_support(gold, pred, labels=kinds, zero_division=0)).T
        own = [[c[key] for key in ("precision", "recall", "f1", "support")] for c in ours["per_class"].values()]
        assert np.allclose(own, theirs.astype(float))
        for average in ("macro", "weighted"):
            assert ours[f"{average}_f1"] == pytest.approx(f1_score(gold, pred, average=average, zero_division=0))
            both = precision_recall_fscore_support(gold, pred, average=average, zero_division=0)[:2]
            assert [ours[f"{average}_{k}"] for k in ("precision", "recall")] == pytest.approx(both)
        assert ours["mcc"] == pytest.approx(matthews_corrcoef(gold, pred))
        assert ours["micro_f1"] == pytest.approx(ours["accuracy"]) == pytest.approx(np.mean(gold == pred))


def test_numbers_can_be_names():
    stars = [1, 2, 3, 4, 5]
    report = classification_metrics([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], names=stars)
    assert report["accuracy"] == 0.6 and list(report["per_class"]) == list("12345") and "0.600" in repr(report)
    assert classification_metrics(["a", 1], [0, "a"], names=["a", "b"])["accuracy"] == 0.5     # names and positions
    with pytest.raises(DataError, match="true label 0 is none of 1, 2"):
        classification_metrics([0], [1], names=[1, 2])


TEXTS = ["Anna met Bob in New York .", "他在北京大学读书，爱上海", "a"]


@st.composite
def spans_of(draw, text):
    "Flat spans that begin and end at visible characters"
    visible = [i for i, c in enumerate(text) if not c.isspace()]
    out, at = [], 0
    while at < len(visible) and draw(st.booleans()):
        i = draw(st.integers(at, len(visible) - 1))
        j = draw(st.integers(i, len(visible) - 1))
        out.append(dict(start=visible[i], end=visible[j] + 1, label=draw(st.sampled_from(["PER", "LOC"]))))
        at = j + 1
    return out


rows = st.tuples(*[st.tuples(spans_of(t), spans_of(t)) for t in TEXTS])


def drawn_spans(rng, text):
    "Flat spans on visible characters, as above, drawn by numpy"
    visible, out, at = [i for i, c in enumerate(text) if not c.isspace()], [], 0
    while at < len(visible) and rng.random() < 0.7:
        i = int(rng.integers(at, len(visible)))
        j = int(rng.integers(i, min(len(visible), i + 4)))
        out.append(dict(start=visible[i], end=visible[j] + 1, label=str(rng.choice(["PER", "LOC"]))))
        at = j + 1
    return out


def test_span_scores_are_seqevals_strict_ones():
    "A thousand random sets of three texts; some of the predictions are true"
    rng, found = np.random.default_rng(0), []
    for _ in range(CASES):
        gold = [drawn_spans(rng, t) for t in TEXTS]
        pred = [g if rng.random() < 0.3 else drawn_spans(rng, t) for g, t in zip(gold, TEXTS)]
        report, other = ner_metrics(gold, pred), seqeval_strict(gold, pred, TEXTS)
        assert {k: report[k] for k in other} == pytest.approx(other)
        for how in ("macro", "weighted") if report.types else ():
            other = seqeval_strict(gold, pred, TEXTS, average=how)
            assert {k: report[f"{how}_{k}"] for k in other} == pytest.approx(other)
        found.append(report["f1"])
    assert min(found) == 0 and max(found) == 1 and 0.2 < np.mean(found) < 0.8   # all sorts of cases


@given(rows)
@settings(deadline=None, max_examples=30)
def test_scores_lie_in_their_intervals_and_do_not_depend_on_order(pairs):
    gold, pred = [g for g, _ in pairs], [p for _, p in pairs]
    report, turned = ner_metrics(gold, pred), ner_metrics(gold[::-1], pred[::-1])
    assert report == turned
    value, low, high = report.interval(n_boot=200)
    assert 0 <= low <= high <= 1 and value == report["f1"]


def test_bootstrap_equals_one_with_a_loop():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 200)
    pred = np.where(rng.random(200) < 0.7, gold, rng.integers(0, 3, 200))
    fast = classification_metrics(gold, pred, list("abc")).interval()
    slow = [f1_score(gold[i], pred[i], average="macro") for i in (rng.integers(0, 200, 200) for _ in range(1500))]
    assert np.quantile(slow, [0.025, 0.975]) == pytest.approx([fast.low, fast.high], abs=0.012)
    shares = bootstrap_interval((gold == pred).astype(int))
    assert shares.value == pytest.approx((gold == pred).mean()) and shares.low < shares.value < shares.high


def test_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 2, 400)
    a = np.where(rng.random(400) < 0.8, gold, 1 - gold)
    b = np.where(rng.random(400) < 0.95, a, 1 - a)  # nearly the same system
    one, two = (classification_metrics(gold, p, ["n", "p"]) for p in (a, b))
    difference = one.minus(two)
    assert difference.high - difference.low < one.interval().high - one.interval().low
    assert difference.value == pytest.approx(one["macro_f1"] - two["macro_f1"])
    assert difference.p == randomization_test(one, two, draws=1999).p
    close = one.minus(classification_metrics(gold, np.r_[a[:-3], 1 - a[-3:]], ["n", "p"]))
    assert close.p > 0.05 and f"p = {close.p:.3f}" in repr(close)
    assert one.minus(one).p == 1 and "p < 0.001" in repr(one.minus(classification_metrics(gold, 1 - gold, ["n", "p"])))
    other = classification_metrics(gold, a, ["n", "other"])
    assert np.isnan(one.minus(other).p) and "p" not in repr(one.minus(other))
    assert copy.deepcopy(difference).p == difference.p and len(difference) == 3
    with pytest.raises(DataError, match="cannot be paired"):
        one.minus(classification_metrics([0], [0], ["n", "p"]))


@pytest.mark.parametrize("call", [lambda: classification_metrics([], []), lambda: classification_metrics([1], [1, 0]),
                                  lambda: classification_metrics(["a"], ["b"], ["a"]), lambda: ner_metrics([], []),
                                  lambda: ner_metrics([[]], []), lambda: bootstrap_interval([])])
def test_bad_input_is_a_data_error(call):
    with pytest.raises(DataError):
        call()


def test_nothing_found_and_nothing_there():
    assert ner_metrics([[]], [[]], ["好"])["f1"] == 0.0
    idle = ner_metrics([[dict(start=0, end=1, label="PER")]], [[]], ["好"])
    assert (idle["precision"], idle["recall"], idle["support"]) == (0.0, 0.0, 1)


def test_display_escapes_names():
    html = classification_metrics(["<b>"], ["<script>"])._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_import_is_light():
    code = ("import sys, dataset_tutor.evaluation\n"
            "assert not {'torch', 'sklearn', 'pandas', 'seqeval'} & set(sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
