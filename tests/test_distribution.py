"""No split made here leaks, and every leaking split is refused."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.core import DataError, LeakageError, add_uids, history
from dataset_tutor.distribution import SPLITS, families, leaks, part, require_split, split

# texts that are the same to `text_key` in several spellings
SPELLINGS = [["好看", "好看！", "好 看"], ["GOOD", "good", "ｇｏｏｄ。"], ["一"], ["二"], ["三"], ["x", "X!"]]


@st.composite
def related_rows(draw):
    n = draw(st.integers(30, 80))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    text, group, parent = [], [], []
    for i in range(n):
        kind = rng.integers(4)
        spelling = SPELLINGS[rng.integers(len(SPELLINGS))]
        text.append(spelling[rng.integers(len(spelling))] if kind == 0 else f"own text {i}")
        group.append(f"g{rng.integers(6)}" if kind == 1 else None)
        parent.append(None)
    ds = add_uids(Dataset.from_dict({"text": text, "group": group, "label": [i % 2 for i in range(n)]}), "test")
    for i in range(1, n):
        if rng.integers(5) == 0:
            parent[i] = ds["uid"][int(rng.integers(i))]
    return ds.add_column("parent", parent)


@settings(deadline=None, max_examples=60)
@given(related_rows(), st.integers(0, 5))
def test_no_family_is_torn(ds, seed):
    try:
        rows = split(ds, seed=seed)
    except DataError:  # so few families that a part would stay empty: refused, which is right
        assert len(set(families(ds))) < 30
        return
    assert not leaks(rows)
    require_split(rows)


@settings(deadline=None, max_examples=60)
@given(related_rows(), st.integers(0, 5))
def test_a_torn_family_is_always_named(ds, seed):
    family = families(ds)
    several = [np.flatnonzero(family == f) for f in np.unique(family) if (family == f).sum() > 1]
    side = np.resize(SPLITS, len(ds)).astype(object)
    for rows in several:
        side[rows] = "train"
    clean = ds.add_column("split", side.tolist())
    assert not leaks(clean)
    if several:
        side[several[seed % len(several)][0]] = "test"
        with pytest.raises(LeakageError, match="several sides"):
            require_split(ds.add_column("split", side.tolist()))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(20, 200), min_size=2, max_size=5), st.integers(0, 9))
def test_shares_are_exact_for_single_rows(sizes, seed):
    label = [c for c, n in enumerate(sizes) for _ in range(n)]
    ds = add_uids(Dataset.from_dict({"text": [f"t{i}" for i in range(len(label))], "label": label}), "test")
    rows = split(ds, seed=seed)
    for c, n in enumerate(sizes):
        got = [sum(1 for r in part(rows, p) if r["label"] == c) for p in SPLITS]
        assert all(abs(g - n * q) < 1 + 1e-9 for g, q in zip(got, (0.7, 0.15, 0.15)))


def test_split_is_stable_and_recorded():
    ds = add_uids(Dataset.from_dict({"text": [f"t{i}" for i in range(100)]}), "test")
    a, b = split(ds, seed=3), split(ds, seed=3)
    assert a["split"][:] == b["split"][:]
    record = history(a)[-1]
    assert (record.op, record.seed, record.columns) == ("split", 3, ["split"])
    assert record.notes["train"] == 70


def test_classes_of_two_rows_and_second_splits_are_refused():
    ds = add_uids(Dataset.from_dict({"text": list("abcdefgh"), "label": [0] * 6 + [1] * 2}), "test")
    with pytest.raises(DataError, match="class 1 has 2 rows"):
        split(ds)
    with pytest.raises(DataError, match="already split"):
        split(split(ds, stratify=None))


def test_unsplit_and_incomplete_rows_are_refused():
    ds = add_uids(Dataset.from_dict({"text": list("abc")}), "test")
    with pytest.raises(LeakageError, match="not split"):
        require_split(ds)
    with pytest.raises(DataError, match="no row is in test"):
        require_split(ds.add_column("split", ["train", "train", "validation"]))
    with pytest.raises(DataError, match="'dev' is no part"):
        require_split(ds.add_column("split", ["train", "dev", "test"]))


def test_linear_time():
    """Ten times the rows, at most some twenty times the work (counted in calls, not in seconds)."""
    import cProfile
    import pstats

    def calls(n):
        ds = add_uids(
            Dataset.from_dict({"text": [f"t{i % (n // 2)}" for i in range(n)], "label": [i % 2 for i in range(n)]}), "x"
        )
        profile = cProfile.Profile()
        profile.runcall(split, ds)
        return pstats.Stats(profile).total_calls

    assert calls(20_000) < 20 * calls(2_000)
