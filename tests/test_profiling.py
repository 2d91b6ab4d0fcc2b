"""Counts are counts, effective numbers are what they mean, and a curve of known shape is found again."""

from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.core import DataError, LeakageError, add_uids
from dataset_tutor.distribution import part, split
from dataset_tutor.profiling import _fit, _law, balance_of, learning_curve, profile, rows_to_test


def made(n=200, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1], n, p=[0.7, 0.3]).tolist()
    columns = {"text": [f"text {i} {'x' * (9 * y)}" for i, y in enumerate(label)], "label": label,
               "source": ["shop" if y else "web" for y in label], "lang": ["en"] * n}
    return add_uids(Dataset.from_dict(columns), "made").cast_column("label", ClassLabel(names=["no", "yes"]))


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_effective_classes_lie_between_one_and_all(counts):
    found = balance_of({str(i): n for i, n in enumerate(counts)})
    assert 1 - 1e-9 <= found["effective classes"] <= len(counts) + 1e-9 and found["imbalance ratio"] >= 1
    doubled = balance_of({str(i): n for i, n in enumerate([*counts, *counts])})
    assert doubled["effective classes"] == pytest.approx(2 * found["effective classes"])
    assert balance_of(dict.fromkeys("abc", counts[0]))["effective classes"] == pytest.approx(3)


def test_profile_counts_by_class():
    ds = made()
    found, count = profile(ds), Counter(ds["label"])
    assert found.classes["rows"].to_dict() == {"no": count[0], "yes": count[1]}
    assert found.classes.loc["yes", "median length"] > found.classes.loc["no", "median length"]
    assert list(found.by) == ["source"] and found.by["source"].loc["yes", "shop"] == 1  # one language is no news
    assert found.unseen is None and "effectively" in repr(found)


def test_entities_are_profiled_by_type():
    spans = [[{"start": 0, "end": 3, "label": "PER"}], [], [{"start": 0, "end": 3, "label": "PER"},
                                                            {"start": 4, "end": 7, "label": "LOC"}]]
    ds = add_uids(Dataset.from_dict({"text": ["Ann sat", "nobody", "Ann Rio"], "spans": spans}), "x")
    found = profile(ds).classes
    assert found.loc["PER", ["rows", "mentions", "different"]].tolist() == [2, 2, 1]
    with pytest.raises(DataError, match="no row has an entity"):
        profile(ds.select([1]))
    rows = profile(ds.add_column("split", ["train", "validation", "test"])).unseen.set_index("type")
    assert rows.loc["PER", "unseen rate"] == 0 and rows.loc["LOC", "unseen rate"] == 1


def test_hostile_names_and_missing_columns():
    ds = add_uids(Dataset.from_dict({"text": ["a", None, ""], "label": ["<b>x</b>", "y", "y"]}), "x")
    assert "<b>x" not in profile(ds)._repr_html_()
    with pytest.raises(DataError, match="nothing to profile by"):
        profile(ds.remove_columns("label"))
    with pytest.raises(DataError, match="no rows in any class"):
        balance_of({})


@given(st.floats(0.6, 1), st.floats(0.3, 3), st.floats(0.2, 1.2))
def test_a_power_law_is_found_again(a, b, c):
    n = np.array([50.0, 100, 200, 400, 800])
    fit = _fit(n, _law(n, a, b, c))
    assert abs(_law(1600, *fit) - _law(1600, a, b, c)) < 0.003


def test_the_curve_predicts_a_doubling():
    rows = split(made(900), seed=1)

    def score(train, test):
        rng = np.random.default_rng(len(train))
        return 0.9 - 2 * len(train) ** -0.5 + rng.normal(0, 0.004, len(test))

    curve = learning_curve(rows, score, draws=100)
    n = len(part(rows, "train"))
    value, low, high = curve.doubling()
    want = 200 * (n**-0.5 - (2 * n) ** -0.5)
    assert abs(value - want) < 0.5 and low <= value <= high
    assert curve.points["rows"].max() == n and len(curve.points) == 25
    again = learning_curve(rows, score, draws=100)
    assert again.points.equals(curve.points) and (again.drawn == curve.drawn).all()
    with pytest.raises(LeakageError, match="not split"):
        learning_curve(rows.remove_columns("split"), score)
    with pytest.raises(DataError, match="too few for a curve"):
        learning_curve(rows, score, shares=(0.5, 1.0))


def test_rows_to_test_gives_the_promised_power():
    n, rng, seen = rows_to_test(0.05, 0.2), np.random.default_rng(0), 0
    for _ in range(400):
        up, down, _ = rng.multinomial(n, [0.125, 0.075, 0.8])
        seen += abs(up - down) / max(1, up + down) ** 0.5 > 1.96
    assert 0.74 < seen / 400 < 0.86
    with pytest.raises(DataError, match="cannot come of"):
        rows_to_test(0.3, 0.1)
