"""Baselines: what they refuse, legal tags, and that the test part is not looked at."""
import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.baselines import baseline
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.tagging import best_path, bio_penalties, tag_names, tags_to_spans

LABEL = datasets.ClassLabel(names=["bad", "good"])


def reviews(n=60, words=("awful", "great"), **columns):
    split = ["train"] * (n // 2) + ["validation"] * (n // 4) + ["test"] * (n - n // 2 - n // 4)
    rows = dict(uid=[f"u{i}" for i in range(n)], text=[f"{words[i % 2]} film number {i}" for i in range(n)],
                label=[i % 2 for i in range(n)], split=split) | columns
    ds = datasets.Dataset.from_dict(rows)
    return ds.cast_column("label", LABEL) if isinstance(rows["label"][0], int) else ds


def entities(n=60):
    names = [("Anna", "PER"), ("Paris", "LOC"), ("Bob", "PER"), ("Rome", "LOC")]
    texts = [f"number {i} : we saw {names[i % 4][0]} there" for i in range(n)]
    places = [(t.index(names[i % 4][0]), *names[i % 4]) for i, t in enumerate(texts)]
    spans = [[dict(start=at, end=at + len(name), label=label)] for at, name, label in places]
    return datasets.Dataset.from_dict(dict(uid=[str(i) for i in range(n)], text=texts, spans=spans,
                                           split=reviews(n)["split"]))


def test_easy_rows_are_learnt():
    run = baseline(reviews())
    assert run.metrics["accuracy"] == 1.0 and run.predict("a great one")[0]["label"] == "good"
    assert sum(run.predict("x")[0]["probabilities"].values()) == pytest.approx(1)
    tagger = baseline(entities())
    assert tagger.metrics["f1"] == 1.0
    assert [s["label"] for s in tagger.predict("number 9 : we saw Rome there")[0]] == ["LOC"]
    assert tagger.predict(["", " "]) == [[], []]


def test_labels_may_be_names():
    ds = reviews()
    named = ds.remove_columns("label").add_column("label", [LABEL.names[y] for y in ds["label"]])
    assert baseline(named).names == ["bad", "good"]


def test_same_seed_same_scores_and_the_test_decides_nothing():
    a, b = baseline(reviews(), seed=3), baseline(reviews(), seed=3)
    assert a.metrics == b.metrics and a.log == b.log
    turned = reviews().map(lambda r: {"label": 1 - r["label"] if r["split"] == "test" else r["label"]})
    c = baseline(turned, seed=3)
    assert c.log == a.log and c.metrics["accuracy"] == 0.0
    errors = c.errors(split="test")
    assert len(errors) == 15 and errors["probability"].is_monotonic_decreasing and not len(c.errors())


@pytest.mark.parametrize("rows, error, message", [
    (lambda: reviews().remove_columns("split"), LeakageError, "split"),
    (lambda: reviews(text=["same film"] * 60), LeakageError, "several sides"),
    (lambda: reviews().filter(lambda r: r["split"] != "validation"), DataError, "no row is in validation"),
    (lambda: reviews(label=[0] * 60), DataError, "all training rows have the class 'bad'"),
    (lambda: reviews(text=["x"] * 59 + [""]), DataError, "empty"),
    (lambda: reviews().select([]), DataError, "no rows"),
    (lambda: reviews().remove_columns("label"), DataError, "fit no task"),
    (lambda: entities().map(lambda r: {"spans": []}), DataError, "no training row has an entity"),
    (lambda: reviews(label=[0] * 60, text_pair=[f"b{i}" for i in range(60)]), DataError, "all training rows have"),
])
def test_what_cannot_be_trained_on_is_one_clear_error(rows, error, message):
    with pytest.raises(error, match=message):
        baseline(rows())


@given(st.integers(1, 9), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_viterbi_is_legal_and_never_worse_than_any_legal_sequence(n, seed):
    rng, tags = np.random.default_rng(seed), tag_names(["LOC", "PER"])
    scores, no = rng.normal(size=(n, len(tags))), bio_penalties(tags)
    path = best_path(scores, no)
    tags_to_spans([(i, i + 1) for i in range(n)], [tags[i] for i in path])  # refuses illegal ones

    def value(p):
        return scores[np.arange(n), p].sum() + no[-1, p[0]] + sum(no[a, b] for a, b in zip(p, p[1:]))

    others = rng.integers(0, len(tags), (200, n))
    assert value(path) >= max(value(p) for p in others) - 1e-9


def test_display_is_escaped():
    run = baseline(reviews())
    run.notes["<script>"] = 1
    assert "<script>" not in run._repr_html_()
