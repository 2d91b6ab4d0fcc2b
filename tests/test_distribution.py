"""No split made here leaks, and every leaking split is refused."""

import datetime
import hashlib
from functools import partial

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.core import DataError, LeakageError, add_uids, fill_column, history
from dataset_tutor.distribution import (
    SPLITS,
    families,
    fit_on_train,
    folds,
    hold_out,
    leaks,
    part,
    require_split,
    split,
    take_fold,
)

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


def made(kind):
    rng = np.random.default_rng(0)
    text, label = [f"t{i}" for i in rng.integers(0, 700, 1000)], rng.integers(0, 4, 1000).tolist()
    group = [f"g{i}" if i < 40 else None for i in rng.integers(0, 300, 1000)]
    ds = add_uids(Dataset.from_dict({"text": text, "label": label, "group": group}), "x")
    if kind == "label":
        return ds
    spans = [[{"start": 0, "end": 1, "label": "ABCDE"[k]} for k in sorted(set(rng.geometric(0.5, 2).clip(0, 4)))]
             if i % 3 else [] for i in range(1000)]
    return ds.remove_columns("label").add_column("spans", spans)


@pytest.mark.parametrize("kind, digests", [
    ("label", ["d8ba55af6c0fdd2c", "9ca63fc3d1a4dcee", "f64d9e42efc2dfa6"]),
    ("spans", ["21ed1ec3814afe5e", "49659b45b1a450f2", "ff9a6e428261092d"]),
])  # fmt: skip
def test_default_splits_are_those_of_the_first_edition(kind, digests):
    "A split that somebody trained on must not change under a new version."
    got = ["".join(p[0] for p in split(made(kind), seed=s)["split"]) for s in range(3)]
    assert [hashlib.blake2b(g.encode(), digest_size=8).hexdigest() for g in got] == digests


@given(st.integers(0, 10**6), st.integers(0, 3))
def test_iterative_strata_keep_families_and_shares(made_with, seed):
    rng = np.random.default_rng(made_with)
    labels = [[k for k in "ABCDE" if rng.random() < p] for p in rng.uniform(0.1, 0.6, 300)]
    group = [f"g{i}" if i < 30 else None for i in rng.integers(0, 200, 300)]
    ds = add_uids(Dataset.from_dict({"text": [f"t{i}" for i in range(300)], "label": labels, "group": group}), "x")
    rows = split(ds, seed=seed)
    assert not leaks(rows)
    for k in "ABCDE":
        own = np.array([k in row for row in labels])
        for p, q in zip(SPLITS, (0.7, 0.15, 0.15)):
            share = own[np.array(rows["split"][:]) == p].sum() / own.sum()
            assert abs(share - q) < 0.06


@given(st.integers(0, 10**6))
def test_time_never_runs_backwards(seed):
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 90, 200).tolist()
    text = [f"t{i}" for i in rng.integers(0, 190, 200)]
    ds = add_uids(Dataset.from_dict({"text": text, "day": days}), "x")
    rows = split(ds, time="day", strict=False)
    assert not leaks(rows)
    cut = [int(history(rows)[-1].notes[k]) for k in ("validation_after", "test_after")]
    side, day = np.array(rows["split"][:]), np.array(days)
    assert day[side == "train"].max() <= cut[0] < cut[1] and day[side == "validation"].max() <= cut[1]
    newest = {}
    for f, d in zip(families(ds).tolist(), days):
        newest[f] = max(newest.get(f, -1), d)
    assert all((s == "test") == (newest[f] > cut[1]) for s, f in zip(side, families(ds).tolist()))


@pytest.mark.parametrize("times, says", [
    ([1, 2, None, 4, 5, 6], "without a time"), ([1.0, 2, float("nan"), 4, 5, 6], "without a time"),
    (["3 May", "4 May", "5 May", "6 May", "7 May", "8 May"], "no date"), ([1, 1, 1, 2, 2, 2], "2 moments only"),
])  # fmt: skip
def test_times_that_do_not_order_are_refused(times, says):
    ds = add_uids(Dataset.from_dict({"text": list("abcdef"), "when": times}), "x")
    with pytest.raises(DataError, match=says):
        split(ds, time="when")


def test_time_takes_dates_strings_and_numbers():
    days = [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=i) for i in range(40)]
    got = []
    for when in (days, [d.isoformat() for d in days], [str(d.date()) for d in days], list(range(40))):
        got.append(split(add_uids(Dataset.from_dict({"text": [f"t{i}" for i in range(40)], "when": when}), "x"),
                         time="when")["split"][:])
    assert all(g == got[0] for g in got) and got[0] == sorted(got[0], key=SPLITS.index)


def test_an_impossible_wish_names_the_nearest_split_and_takes_it_on_demand():
    author = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    ds = add_uids(Dataset.from_dict({"text": [f"t{i}" for i in range(100)], "author": author}), "x")
    with pytest.raises(DataError, match="largest of 60 rows.*train 60, validation 30, test 10"):
        split(ds, group="author", sizes=(0.4, 0.3, 0.3))
    notes = history(split(ds, group="author", sizes=(0.4, 0.3, 0.3), strict=False))[-1].notes
    assert [notes[p] for p in SPLITS] == [60, 30, 10]
    few = add_uids(Dataset.from_dict({"text": list("abcdefghij"), "label": [0] * 8 + [1] * 2}), "x")
    with pytest.raises(DataError, match="of this class train 1, validation 0, test 1"):
        split(few)
    rows = split(few, strict=False)
    assert {p for p, y in zip(rows["split"], rows["label"]) if y} == {"train", "test"}


def test_a_small_class_stands_in_each_part():
    for n in (3, 4, 5, 6):
        label = [0] * 60 + [1] * n
        ds = add_uids(Dataset.from_dict({"text": [f"t{i}" for i in range(60 + n)], "label": label}), "x")
        for seed in range(5):
            rows = split(ds, seed=seed)
            assert {p for p, y in zip(rows["split"], rows["label"]) if y} == set(SPLITS)


def test_groups_by_several_columns_and_siblings_without_their_parent():
    columns = {"text": [f"t{i}" for i in range(60)], "author": [f"a{i % 20}" for i in range(60)],
               "document": [f"d{i // 2}" if i % 4 else "" for i in range(60)],
               "parent": [None] * 50 + [f"gone{i % 5}" for i in range(10)]}
    ds = add_uids(Dataset.from_dict(columns), "x")
    rows = split(ds, group=["author", "document"], strict=False, stratify=None, sizes=(0.4, 0.3, 0.3))
    assert not leaks(rows, group=["author", "document"])
    assert len({f for f, p in zip(families(ds), columns["parent"]) if p == "gone1"}) == 1
    assert len(set(families(ds, group="document")[[0, 4, 8]])) == 3  # an empty name joins nobody
    with pytest.raises(DataError, match="keep together"):
        split(ds, group="writer")


@settings(max_examples=12)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_folds_part_the_training_rows(k, seed):
    ds = made("label")
    rows = split(ds, seed=seed % 7)
    numbered = folds(rows, k=k, seed=seed)
    train = np.array(rows["split"][:]) == "train"
    assert all((f is not None) == t for f, t in zip(numbered["fold"], train))
    tested = []
    for i in range(k):
        turn = take_fold(numbered, test=i, validation=k > 2)
        require_split(turn, ("train", "test"))
        tested += part(turn, "test")["uid"][:]
    assert sorted(tested) == sorted(np.array(rows["uid"][:])[train].tolist())
    sizes = np.bincount([f for f in numbered["fold"] if f is not None])
    assert np.ptp(sizes) < 0.2 * sizes.mean()


def test_nested_folds_never_see_the_outer_test():
    outer = folds(made("label"), k=4, seed=1)
    seen = 0
    for i in range(4):
        turn = take_fold(outer, test=i, validation=False)
        held = set(part(turn, "test")["uid"])
        inner = folds(turn, k=3, column="inner", seed=2)
        for j in range(3):
            within = take_fold(inner, test=j, column="inner")
            assert not held & set(within["uid"]) and not leaks(within)
            seen += len(part(within, "test"))
    assert seen == 3 * len(outer)  # four turns, each with three quarters


def test_folds_refuse_what_cannot_be():
    ds = made("label")
    with pytest.raises(DataError, match="leave nothing"):
        folds(ds, k=1)
    with pytest.raises(DataError, match="there already"):
        folds(folds(ds), k=3)
    with pytest.raises(DataError, match="in no folds"):
        take_fold(ds, test=0)
    with pytest.raises(DataError, match="not possible with 2 folds"):
        take_fold(folds(ds, k=2), test=0)
    few = add_uids(Dataset.from_dict({"text": list("abcdefgh"), "label": [0] * 5 + [1] * 3}), "x")
    with pytest.raises(DataError, match="class 1 has 3 rows in fewer than 5 families"):
        folds(few)


def test_fitting_goes_through_the_guard():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import StandardScaler

    ds = made("label").add_column("x", np.arange(1000.0).tolist())
    with pytest.raises(LeakageError, match="not split"):
        fit_on_train(CountVectorizer(), ds, y=None)
    rows = split(ds, seed=1)
    train = part(rows, "train")
    assert fit_on_train(StandardScaler(), rows, ["x"], None).mean_[0] == np.mean(train["x"][:])
    assert set(fit_on_train(CountVectorizer(), rows, y=None).vocabulary_) == set(train["text"])
    with pytest.raises(DataError, match="no such column"):
        fit_on_train(CountVectorizer(), rows, "body")


def test_copies_in_a_column_that_is_not_named_are_no_reason_to_go_on():
    own = Dataset.from_list([dict(uid=f"u{i}", review=f"review {i % 20}", label=i % 2) for i in range(40)])
    by_review = split(own, text="review", seed=0)
    wrong = dict(text="reveiw")
    for act in (partial(split, own), partial(split, own, **wrong), partial(require_split, by_review, **wrong),
                partial(folds, own, **wrong), partial(hold_out, by_review, **wrong)):
        with pytest.raises(DataError, match="review"):
            act()
    require_split(by_review, text="review")
    assert {len({s for r, s in zip(by_review["review"], by_review["split"]) if r == t}) for t in own["review"]} == {1}
    with pytest.raises(LeakageError):
        require_split(split(own, text=None, seed=0), text="review")     # it was told that there are no texts


@settings(deadline=None, max_examples=20)
@given(related_rows())
def test_hold_out_takes_families_of_training_rows_and_nothing_else(ds):
    three = split(ds, seed=0, strict=False)
    two = fill_column(three, "split", ["test" if p == "test" else "train" for p in three["split"]])
    held = hold_out(two, share=0.25, seed=1, strict=False)
    require_split(held)
    moved = [(a, b) for a, b in zip(two["split"], held["split"]) if a != b]
    assert set(moved) == {("train", "validation")} and history(held)[-1].notes["rows_held_out"] == len(moved)
    with pytest.raises(DataError, match="validation rows already"):
        hold_out(held)
    with pytest.raises(DataError, match="share=1"):
        hold_out(two, share=1)
    with pytest.raises(LeakageError):
        hold_out(ds)
