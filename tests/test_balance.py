"""Only training rows are balanced, as far as asked, with records; probabilities come back to what they were."""

from collections import Counter

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.balance import calibration_error, class_weights, oversample, smote, undersample, undo_balance
from dataset_tutor.core import DataError, LeakageError, add_uids, history
from dataset_tutor.distribution import part, require_split, split


def made(sizes, seed=0):
    label = [c for c, n in enumerate(sizes) for _ in range(n)]
    ds = add_uids(Dataset.from_dict({"text": [f"text {i}" for i in range(len(label))], "label": label}), "made")
    return split(ds, seed=seed)


def counts(ds, name="train"):
    return Counter(part(ds, name)["label"][:])


@settings(max_examples=6)
@given(st.lists(st.integers(8, 60), min_size=2, max_size=4), st.sampled_from([0.25, 0.5, 1.0]), st.integers(0, 9))
def test_targets_are_met_and_other_parts_stay(sizes, share, seed):
    ds = made(sizes)
    before = counts(ds)
    more, fewer = oversample(ds, share=share, seed=seed), undersample(ds, share=share, seed=seed)
    most, least = max(before.values()), min(before.values())
    assert counts(more) == {c: max(n, round(share * most)) for c, n in before.items()}
    assert counts(fewer) == {c: min(n, round(least / share)) for c, n in before.items()}
    for p in ("validation", "test"):
        assert part(more, p)["uid"][:] == part(fewer, p)["uid"][:] == part(ds, p)["uid"][:]
    require_split(more)
    assert set(fewer["uid"]) <= set(ds["uid"]) <= set(more["uid"])
    again = oversample(ds, share=share, seed=seed)
    assert again["uid"][:] == more["uid"][:] and again["text"][:] == more["text"][:]


def test_copies_name_their_parents_and_the_record_counts_them():
    ds = made([60, 12])
    more = oversample(ds, seed=1)
    source = {r["uid"]: r for r in ds}
    new = [r for r in more if r["uid"] not in source]
    assert all(source[r["parent"]]["text"] == r["text"] and r["op"] == "oversample" for r in new)
    assert all(source[r["parent"]]["split"] == "train" for r in new)
    assert history(more)[-1].added == len(new) == len(more) - len(ds)
    assert history(undersample(ds))[-1].dropped == len(ds) - len(undersample(ds))


def test_synthetic_rows_are_made_of_training_rows():
    ds = made([60, 12])
    more = oversample(ds, change=lambda t, rng: f"{t} again {rng.integers(9)}", seed=1)
    new = [r for r in more if r["op"]]
    assert new and all(r["text"].startswith("text ") and "again" in r["text"] for r in new)
    assert oversample(more, seed=2)["uid"][:] == more["uid"][:]  # equal already: nothing to add
    with pytest.raises(DataError, match="move its entities"):
        oversample(ds.add_column("spans", [[]] * len(ds)), change=lambda t, rng: t)


@pytest.mark.parametrize("step", [oversample, undersample, class_weights, lambda ds: smote(ds, np.zeros((len(ds), 2)))])
def test_rows_that_are_not_split_or_leak_are_refused(step):
    ds = made([30, 10])
    with pytest.raises(LeakageError, match="not split"):
        step(ds.remove_columns("split"))
    twin = ds.remove_columns("text").add_column("text", ["the same"] * len(ds))
    with pytest.raises(LeakageError, match="several sides"):
        step(twin)
    with pytest.raises(DataError, match="no such column"):
        step(ds.remove_columns("label"))


def test_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    ds = made([50, 20, 10]).cast_column("label", ClassLabel(names=["a", "b", "c"]))
    y = np.array(part(ds, "train")["label"][:])
    want = compute_class_weight("balanced", classes=np.unique(y), y=y)
    assert list(class_weights(ds).values()) == pytest.approx(want) and list(class_weights(ds)) == ["a", "b", "c"]


def test_the_test_rows_change_nothing():
    ds = made([50, 20])
    other = ds.map(lambda r: {"label": 1 - r["label"]} if r["split"] == "test" else {})
    assert class_weights(ds) == class_weights(other)
    assert oversample(ds, seed=3)["uid"][:] == oversample(other, seed=3)["uid"][:]


def test_new_vectors_lie_between_rare_training_rows():
    ds, rng = made([60, 12]), np.random.default_rng(0)
    vectors = rng.normal(size=(len(ds), 3))
    x, y = smote(ds, vectors, seed=1)
    train = np.array(ds["split"][:]) == "train"
    rare = vectors[train & (np.array(ds["label"][:]) == 1)]
    n = train.sum()
    np.testing.assert_array_equal(x[:n], vectors[train])
    assert set(y[n:]) == {"1"} and Counter(y)["0"] == Counter(y)["1"]
    assert (x[n:] >= rare.min(0) - 1e-9).all() and (x[n:] <= rare.max(0) + 1e-9).all()
    vectors[~train] = 1e9  # what validation and test rows are must not matter
    np.testing.assert_array_equal(smote(ds, vectors, seed=1)[0], x)
    with pytest.raises(DataError, match="3 vectors for 72 rows"):
        smote(ds, np.zeros((3, 2)))


def test_what_cannot_be_balanced():
    ds = made([30, 10])
    for share in (0, 1.5):
        with pytest.raises(DataError, match="cannot be balanced"):
            oversample(ds, share=share)
    one = add_uids(Dataset.from_dict({"text": list("abcdefgh"), "label": [0] * 8}), "x")
    with pytest.raises(DataError, match="cannot be balanced"):
        undersample(split(one))
    gap = split(add_uids(Dataset.from_dict({"text": list("abcdefgh"), "label": [0, 1] * 3 + [None] * 2}), "x"),
                stratify=None)
    with pytest.raises(DataError, match="no class to count"):
        class_weights(gap)


@given(st.floats(0.01, 0.99), st.lists(st.integers(1, 99), min_size=2, max_size=2))
def test_a_balance_that_is_undone_leaves_bayes(likelihood, real):
    "Posteriors under equal classes become posteriors under the real ones, and back."
    bent = np.array([[likelihood, 1 - likelihood]])
    straight = undo_balance(bent, [1, 1], real)
    want = likelihood * real[0] / (likelihood * real[0] + (1 - likelihood) * real[1])
    assert straight[0, 0] == pytest.approx(want) and straight.sum() == pytest.approx(1)
    np.testing.assert_allclose(undo_balance(straight, real, [1, 1]), bent)


def test_calibration_error_knows_honest_and_boastful():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 20_000)
    gold = (rng.random(20_000) > p).astype(int)  # class 0 has probability p
    assert calibration_error(np.stack([p, 1 - p], 1), gold) < 0.02
    assert calibration_error(np.tile([1.0, 0.0], (20_000, 1)), gold) == pytest.approx(gold.mean(), abs=1e-9)
    for bad in ([[0.5, 0.5]], [], [0.5]):
        with pytest.raises(DataError, match="probabilities of shape"):
            calibration_error(np.array(bad), [0, 1])
    with pytest.raises(DataError, match="every class needs rows"):
        undo_balance([[0.5, 0.5]], [0, 1], [1, 1])
