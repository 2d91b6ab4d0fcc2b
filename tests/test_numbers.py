"""Numbers are learned from training rows, stand in the record, and fit new rows."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from dataset_tutor.core import DataError, LeakageError, add_uids, dropped, history
from dataset_tutor.numbers import (
    describe_numbers,
    drop_outliers,
    fill_missing,
    find_outliers,
    scale_like,
    scale_numbers,
)

finite = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


def rows(train, rest=(0.0, 0.0), **more):
    values = [*train, *rest]
    parts = ["train"] * len(train) + ["validation", "test"] * len(rest)
    texts = [f"row {i}" for i in range(len(values))]
    return add_uids(Dataset.from_dict({"text": texts, "x": values, "split": parts[:len(values)], **more}), "test")


@given(st.lists(finite, min_size=2, max_size=30), st.sampled_from(["minmax", "symmetric", "standard", "robust"]))
def test_scales_are_scikit_learns(values, how):
    peer = {"minmax": MinMaxScaler(), "symmetric": MinMaxScaler((-1, 1)), "standard": StandardScaler(),
            "robust": RobustScaler()}[how]  # fmt: skip
    if np.ptp(values) < 1e-9 * (1 + np.abs(values).max()):
        return
    want = peer.fit(np.array(values)[:, None]).transform(np.array([*values, 1e5, -3])[:, None])[:, 0]
    if how == "robust" and np.subtract(*np.percentile(values, [75, 25])) == 0:
        return
    ds = scale_numbers(rows(values, [1e5, -3]), columns=["x"], how=how)
    np.testing.assert_allclose(ds["x"][:], want, rtol=1e-6, atol=1e-6)
    again = scale_like(rows(values, [1e5, -3]), ds)
    np.testing.assert_allclose(again["x"][:], ds["x"][:])


def test_the_test_rows_teach_nothing():
    for change in (1.0, 1e9):
        ds = rows([1.0, 2, 3, None], [change, change])
        assert history(scale_numbers(ds, columns=["x"]))[-1].notes == {"x": [2.0, pytest.approx(0.8164966)]}
        assert history(fill_missing(ds))[-1].notes == {"x": 2.0}
    for step in (scale_numbers(), fill_missing(), drop_outliers()):
        with pytest.raises(LeakageError, match="split"):
            step(add_uids(Dataset.from_dict({"text": ["a", "b"], "x": [1.0, 2.0]}), "test"))


def test_gaps_are_filled_and_remembered():
    ds = fill_missing(rows([1.0, 5, 5, None], [None, 4]))
    assert ds["x"][:] == [1, 5, 5, 5, 5, 4] and ds["x_missing"][:] == [False, False, False, True, True, False]
    assert fill_missing(rows([1.0, 5, 5, None], [2, 4]), how="mean")["x"][3] == pytest.approx(11 / 3)
    assert fill_missing(rows([1.0, 5, 5, None], [2, 4]), how="mode")["x"][3] == 5
    whole = rows([1.0, 2], [3, 4])
    assert fill_missing(whole).column_names == whole.column_names


@pytest.mark.parametrize("how", ["iqr", "mad", "z", "forest"])
def test_outliers_go_from_training_rows_only(how):
    rng = np.random.default_rng(0)
    ds = rows([*rng.normal(size=200).tolist(), 50.0], [50.0, 0.0])
    assert find_outliers(ds, how=how)[200] and find_outliers(ds, how=how)[201]
    tidy = drop_outliers(ds, how=how)
    assert ds["uid"][200] in dropped(tidy).uid.tolist()
    assert tidy["x"][-2:] == [50.0, 0.0]


def test_a_gap_is_no_outlier_and_reasons_name_the_bounds():
    ds = rows([1.0, 2, 3, 2, 1, None, 99], [0, 0])
    reasons = find_outliers(ds, how="mad")
    assert reasons[5] is None and reasons[6].startswith("x=99 is outside ")


def test_constant_columns_and_whole_numbers():
    assert scale_numbers(rows([3.0, 3, 3], [4, 4]), columns=["x"])["x"][:3] == [0, 0, 0]
    assert scale_numbers(rows([1, 2, 3], [4, 4]), columns=["x"], how="minmax")["x"][:3] == [0, 0.5, 1]


def test_errors_name_the_column():
    ds = rows([1.0, 2], [3, 4])
    with pytest.raises(DataError, match="column 'text'.*does not hold numbers"):
        scale_numbers(ds, columns=["text"])
    with pytest.raises(DataError, match="column 'y'.*is missing"):
        describe_numbers(ds, ["y"])
    with pytest.raises(DataError, match="no training row has a value"):
        fill_missing(rows([None, None], [3.0, 4]))
    with pytest.raises(DataError, match="no column holds numbers"):
        describe_numbers(ds.remove_columns("x"))
    for bad in (scale_numbers(how="log"), fill_missing(how="zero"), drop_outliers(how="eye")):
        with pytest.raises(DataError, match="is unknown"):
            bad(ds)


def test_constants_and_common_values_are_no_outliers():
    assert scale_numbers(rows([0.1] * 3, [0.2, 0.2]), columns=["x"])["x"][:3] == [0, 0, 0]
    ds = rows([1.0] * 60 + [2.0] * 40, [1, 1])
    assert not any(find_outliers(ds, how="mad"))


def test_labels_are_left_alone_and_every_scaling_is_repeated():
    ds = rows([1.0, 2, 3], [4, 5], label=[0, 1, 0, 1, 0], y=[1.0, 3, 5, 7, 9])
    both = scale_numbers(scale_numbers(ds, columns=["x"]), columns=["y"])
    assert scale_numbers(ds)["label"][:] == [0, 1, 0, 1, 0]
    again = scale_like(ds, both)
    assert again["x"][:] == both["x"][:] and again["y"][:] == both["y"][:]
    with pytest.raises(DataError, match="column 'y'.*is missing"):
        scale_like(ds.remove_columns("y"), both)
    assert describe_numbers(ds.select([]))["rows"].tolist() == [0, 0]
