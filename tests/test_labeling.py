"""Questions go to training rows only, strategies measure what they say, and a race compares like with like."""

import time

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from dataset_tutor.core import DataError, LeakageError, add_uids, history
from dataset_tutor.labeling import (
    _CHOICES,
    _SCORES,
    STRATEGIES,
    ActiveLearner,
    Pool,
    Probe,
    Space,
    Way,
    _accepted,
    _kappa,
    _spans_of,
    _tag_numbers,
    _top,
    fit_probe,
    labels_saved,
    probe_score,
    pseudo_check,
    pseudo_label,
    query,
    race,
    race_curve,
    space_of,
    stop_after,
    train_probe,
)
from dataset_tutor.tagging import tag_names, tokenize
from dataset_tutor.weak_labels import hide_labels

SPAN = {"start": Value("int64"), "end": Value("int64"), "label": Value("string")}


def points(n=300, test=100, seed=0, spread=1.2):
    "Two classes of points as rows, with their space; the last rows are the test."
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n + test)
    x = rng.normal(size=(n + test, 8)) * spread
    x[:, 0] += 2.0 * (2 * y - 1)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"]), "split": Value("string")})
    rows = {"text": [f"row {i}" for i in range(n + test)], "label": y.tolist(),
            "split": ["train"] * n + ["test"] * test}
    ds = add_uids(Dataset.from_dict(rows, features=features), "points")
    return ds, Space(ds["uid"][:], ["neg", "pos"], x, x, np.arange(n + test + 1))


def tagged(n=120, test=40, seed=0):
    "Rows of words of which some are names; the vector of a word tells which, with noise."
    rng = np.random.default_rng(seed)
    texts, spans, items, offsets = [], [], [], []
    for i in range(n + test):
        kinds = rng.choice(["O", "PER", "LOC"], int(rng.integers(1, 9)), p=[0.7, 0.2, 0.1])
        words = [{"O": "word", "PER": "Ann", "LOC": "Paris"}[k] for k in kinds]
        texts.append(" ".join([*words, str(i)]))
        at = tokenize(texts[-1])
        spans.append([dict(start=a, end=b, label=k) for (a, b), k in zip(at, kinds) if k != "O"])
        kinds = [*kinds, "O"]
        items += [np.eye(3)[["O", "PER", "LOC"].index(k)] + rng.normal(size=3) * 0.3 for k in kinds]
        offsets.append(at)
    features = Features({"text": Value("string"), "spans": [SPAN], "split": Value("string")})
    rows = {"text": texts, "spans": spans, "split": ["train"] * n + ["test"] * test}
    ds = add_uids(Dataset.from_dict(rows, features=features), "tagged")
    x, starts = np.array(items, dtype="float32"), np.cumsum([0, *map(len, offsets)])
    means = np.stack([x[a:b].mean(0) for a, b in zip(starts, starts[1:])])
    return ds, Space(ds["uid"][:], tag_names(["PER", "LOC"]), means / np.linalg.norm(means, axis=1, keepdims=True), x,
                     starts, offsets)


@pytest.fixture(scope="module")
def rows():
    return points()


@pytest.fixture(scope="module")
def names():
    return tagged()


# ---- the probe

@pytest.mark.parametrize("k", [2, 4])
def test_the_probe_is_logistic_regression(k):
    rng = np.random.default_rng(k)
    x, y = rng.normal(size=(300, 6)).astype("float32"), rng.integers(0, k, 300)
    mine = fit_probe(x, np.eye(k + 1)[y]).proba(x)
    theirs = LogisticRegression(C=3.0, max_iter=100, tol=1e-3).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(mine[:, :k], theirs, atol=1e-3)
    assert mine[:, k].max() < 1e-9


def test_one_class_is_enough_to_go_on():
    p = fit_probe(np.ones((3, 2), "float32"), np.eye(3)[[1, 1, 1]]).proba(np.zeros((2, 2), "float32"))
    np.testing.assert_allclose(p[:, 1], 1, atol=1e-6)


def test_machine_labels_count_less(rows):
    ds, space = rows
    wrong = ds.map(lambda r, i: {"label": 1 - r["label"] if i % 2 else r["label"],
                                 "labelled_by": "weak_label" if i % 2 else None}, with_indices=True)
    test = ds.filter(lambda s: s == "test", input_columns="split")
    scores = [probe_score(train_probe(wrong, space, trust=t), test, space) for t in (0.0001, 1.0, 3.0)]
    assert scores[0] > 0.85 > 0.3 > scores[2]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["O", "PER", "LOC"]), min_size=1, max_size=12))
def test_tags_lead_back_to_spans(kinds):
    text = " ".join("x" for _ in kinds)
    offsets, tags = tokenize(text), tag_names(["PER", "LOC"])
    spans = [dict(start=a, end=b, label=k) for (a, b), k in zip(offsets, kinds) if k != "O"]
    numbers = _tag_numbers(offsets, spans, {t: i for i, t in enumerate(tags)})
    space = Space(["u"], tags, np.zeros((1, 1)), np.zeros((len(offsets), 1)), np.array([0, len(offsets)]), [offsets])
    assert _spans_of(space, [0], np.zeros(len(offsets), int), numbers)[0] == spans


def test_vectors_fit_their_language(monkeypatch):
    used = []

    def vectors(texts, model):
        used.append(model)
        return np.eye(len(texts), dtype="float32")

    monkeypatch.setattr("dataset_tutor.labeling.embed", vectors)
    ds = points(4, 2)[0]
    space_of(ds)
    space_of(ds.map(lambda r: {"text": f"酒店很好 {r['text']}"}))
    space_of(ds, model="mine")
    assert used == ["en-small", "zh-small", "mine"]
    with pytest.raises(DataError, match="a row without a text"):
        space_of(ds.map(lambda r: {"text": None}))


def test_token_vectors_line_up_with_rows(monkeypatch):
    monkeypatch.setattr("dataset_tutor.labeling.embed_tokens", lambda texts, model: [
        (tokenize(t), np.array([[b - a, 1.0] for a, b in tokenize(t)], "float32")) for t in texts])
    ds, _ = tagged(6, 2)
    space = space_of(ds)
    at, owner = space.of([3, 1])
    want = [b - a for i in (3, 1) for a, b in tokenize(ds["text"][i])]
    lengths = np.array([b - a for t in ds["text"] for a, b in tokenize(t)], float)
    want = (np.array(want) - lengths.mean()) / (lengths.std() + 1e-6)
    np.testing.assert_allclose(space.items[at][:, 0], want, atol=1e-5)
    assert space.names == tag_names(["LOC", "PER"]) and len(owner) == len(want)


# ---- strategies

@pytest.mark.parametrize("how", STRATEGIES)
@pytest.mark.parametrize("kind", ["rows", "names"])
def test_questions_are_free_training_rows_each_once(how, kind, request):
    ds, space = request.getfixturevalue(kind)
    poor = hide_labels(ds, keep=20, seed=0)
    column = "label" if kind == "rows" else "spans"
    free = {u for u, s, y in zip(poor["uid"], poor["split"], poor[column]) if s == "train" and y is None}
    asked = query(poor, how=how, n=15, space=space, seed=1)
    assert len(asked) == len(set(asked)) == 15 and set(asked) <= free
    assert query(poor, how=how, n=15, space=space, seed=1) == asked
    assert set(query(poor, how=how, n=10_000, space=space)) == free
    assert query(ds, how=how, space=space) == []


@pytest.mark.parametrize("how", STRATEGIES)
def test_the_test_has_no_say(how, rows):
    ds, space = rows
    other = Space(space.uids, space.names, space.rows.copy(), space.items.copy(), space.starts)
    for x in (other.rows, other.items):
        x[300:] = 0
    relabelled = ds.map(lambda r: {"label": 0 if r["split"] == "test" else r["label"]})
    a, b = hide_labels(ds, keep=30), hide_labels(relabelled, keep=30)
    assert query(a, how=how, n=20, space=space) == query(b, how=how, n=20, space=other)


@pytest.mark.parametrize("how", [*_SCORES, "kmeans"])
def test_without_labels_everybody_begins_with_clusters(how, rows):
    ds, space = rows
    assert query(hide_labels(ds, keep=0), how=how, n=12, space=space) == \
        query(hide_labels(ds, keep=0), how="clusters", n=12, space=space)


def test_uncertainty_is_what_the_formulas_say():
    p = np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [0.4, 0.4, 0.2], [0.98, 0.01, 0.01]])
    x = np.eye(4, dtype="float32")
    space = Space(list("abcd"), list("xyz"), x, x, np.arange(5))
    probe = Probe(np.log(np.maximum(p, 1e-30)), np.zeros(3))
    pool = Pool(space, np.arange(4), np.arange(0), probe, np.random.default_rng(0))
    np.testing.assert_allclose(_SCORES["confidence"](pool), -np.log(p.max(1)))
    np.testing.assert_allclose(_SCORES["margin"](pool), 1 - np.array([0.2, 0.8, 0.0, 0.97]))
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(1)
    np.testing.assert_allclose(_SCORES["entropy"](pool), entropy, atol=1e-6)
    assert _top(pool, _SCORES["margin"](pool), 2).tolist() == [2, 0]
    # two classes: all three agree
    probe = Probe(np.log([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.zeros(2))
    two = Pool(space, np.arange(4), np.arange(0), probe, np.random.default_rng(0))
    orders = [np.argsort(_SCORES[h](two)).tolist() for h in ("confidence", "margin", "entropy")]
    assert orders[0] == orders[1] == orders[2]


def test_rows_of_tokens_take_mean_largest_and_sum():
    x = np.eye(5, dtype="float32")
    space = Space(["a", "b", "c"], ["O", "B-X", "I-X"], x[:3], x, np.array([0, 2, 2, 5]), [[], [], []])
    pool = Pool(space, np.array([0, 1, 2]), np.arange(0), None, np.random.default_rng(0))
    values = np.array([1.0, 3.0, 1.0, 1.0, 4.0])
    for per, want in dict(mean=[2, 0, 2], max=[3, 0, 4], sum=[4, 0, 6]).items():
        pool.per = per
        assert pool.by_row(values).tolist() == want
    assert space.of([2, 0])[0].tolist() == [2, 3, 4, 0, 1] and space.of([2, 0])[1].tolist() == [0, 0, 0, 1, 1]


def test_coreset_takes_the_farthest_each_time(rows):
    ds, space = rows
    poor = hide_labels(ds, keep=5)
    asked = query(poor, how="coreset", n=6, space=space)
    have = [space.at[u] for u, s, y in zip(poor["uid"], poor["split"], poor["label"]) if s == "train" and y is not None]
    free = [space.at[u] for u, s, y in zip(poor["uid"], poor["split"], poor["label"]) if s == "train" and y is None]
    for u in asked:
        nearest = (space.rows[free] @ space.rows[have].T).max(1)
        assert space.at[u] == free[int(nearest.argmin())]
        have.append(space.at[u])
        free.remove(space.at[u])


def test_contrastive_wants_rows_unlike_their_neighbours():
    rng = np.random.default_rng(0)
    x = np.array([[1, 0]] * 20 + [[0, 1]] * 20, "float32") + rng.normal(size=(40, 2)).astype("float32") * 0.01
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    items = np.hstack([x, np.zeros((40, 1), "float32")]).astype("float32")
    items[5, 2] = 9.0  # near the others, but predicted differently
    space = Space([str(i) for i in range(40)], ["a", "b"], x, items, np.arange(41))
    probe = Probe(np.array([[2.0, 0], [0, 2.0], [0, 1.0]], "float32"), np.zeros(2, "float32"))
    pool = Pool(space, np.arange(0, 10), np.arange(10, 40), probe, rng)
    assert int(_SCORES["contrastive"](pool).argmax()) == 5


def test_clusters_cover_what_chance_misses():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 16))
    kind = np.r_[np.zeros(400, int), np.repeat(np.arange(12), 8)]
    x = (centres[kind] + rng.normal(size=(len(kind), 16)) * 0.05).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    space = Space([str(i) for i in range(len(x))], ["a", "b"], x, x, np.arange(len(x) + 1))
    found = {}
    for how in ("clusters", "random"):
        pool = Pool(space, np.arange(len(x)), np.arange(0), None, np.random.default_rng(1))
        found[how] = len(set(kind[_CHOICES[how](pool, 12)]))
    assert found["clusters"] > found["random"] + 2


@pytest.mark.parametrize("how", ["margin", "bald", "committee", "contrastive", "coreset", "kmeans", "clusters"])
def test_many_rows_take_seconds(how):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 64)).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    space = Space([str(i) for i in range(len(x))], ["a", "b"], x, x, np.arange(len(x) + 1))
    y = np.eye(2)[rng.integers(0, 2, 500)]
    lessons = (x[:500], y, np.ones(500))
    pool = Pool(space, np.arange(500, len(x)), np.arange(500), fit_probe(x[:500], y), rng, "mean", lessons)
    began = time.process_time()
    chosen = _top(pool, _SCORES[how](pool), 50) if how in _SCORES else _CHOICES[how](pool, 50)
    assert len(set(chosen.tolist())) == 50 and time.process_time() - began < 15


def test_asking_wrongly_is_told(rows):
    ds, space = rows
    for bad in (dict(how="guess"), dict(per="median"), dict(n=0)):
        with pytest.raises(DataError, match="is not possible"):
            query(ds, space=space, **bad)
    with pytest.raises(LeakageError):
        query(ds.remove_columns("split"), space=space)
    with pytest.raises(DataError, match="not in the space"):
        query(add_uids(ds, "elsewhere"), space=space)


# ---- the loop

@pytest.mark.parametrize("kind", ["rows", "names"])
def test_the_loop_learns_and_remembers(kind, request):
    ds, space = request.getfixturevalue(kind)
    column, names_ = ("label", ds.features["label"].names) if kind == "rows" else ("spans", None)
    truth = {u: (names_[v] if names_ else v) for u, v in zip(ds["uid"], ds[column])}
    learner = ActiveLearner(hide_labels(ds, keep=0), n=15, space=space)
    for _ in range(4):
        learner.tell({u: truth[u] for u in learner.ask()})
    assert [r["labels"] for r in learner.log] == [15, 30, 45, 60]
    assert learner.log[0]["hits"] is None and 0 <= learner.log[-1]["hits"] <= 1
    assert learner.rows["labelled_by"][:].count("person") == 60
    assert [r.op for r in history(learner.rows)][-4:] == ["take_answers"] * 4
    test = ds.filter(lambda s: s == "test", input_columns="split")
    assert probe_score(learner.probe, test, space) > 0.75


def test_answers_are_checked(rows):
    ds, space = rows
    learner = ActiveLearner(hide_labels(ds, keep=0), n=5, space=space)
    asked = learner.ask()
    with pytest.raises(DataError, match="no training row"):
        learner.tell({ds["uid"][399]: "pos"})
    with pytest.raises(DataError, match="'maybe' is no class"):
        learner.tell({asked[0]: "maybe"})
    with pytest.raises(DataError, match="several votes"):
        learner.tell(Dataset.from_dict({"uid": [asked[0]] * 2, "label": ["pos", "neg"]}))
    learner.tell(Dataset.from_dict({"uid": asked[:3], "label": ["pos", "neg", None]}))
    assert learner.log[-1]["told"] == 2 and asked[2] in query(learner.rows, n=1000, space=space)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_kappa_is_scikit_learns(pairs):
    a, b = (np.array(v) for v in zip(*pairs))
    want = cohen_kappa_score(a, b) if len({*a, *b}) > 1 else 1.0
    assert _kappa(a, b) == pytest.approx(want)


def test_rules_stop_after_patience():
    rounds = [(None, None, 0.5), (0.995, 0.9, 0.2), (0.9, 0.96, 0.04), (0.999, 0.97, 0.03), (0.999, 1.0, 0.02),
              (1.0, 0.5, 0.01)]
    log = [dict(labels=10 * i, agreement=k, hits=h, unsure=u) for i, (k, h, u) in enumerate(rounds)]
    assert stop_after(log) == 50 and stop_after(log, "hits") == 40 and stop_after(log, "sure") == 40
    assert stop_after(log, "sure", level=0.001) is None and stop_after(log, patience=1) == 10
    with pytest.raises(DataError, match="no rule"):
        stop_after(log, "boredom")


# ---- pseudo-labels

def test_pseudo_labels_are_sure_balanced_and_only_for_training_rows(rows):
    ds, space = rows
    poor = hide_labels(ds, keep=40, seed=0)
    blank = poor.map(lambda r: {"label": None if r["split"] == "test" else r["label"]}, features=poor.features)
    out = pseudo_label(blank, least=0.8, space=space)
    assert out["label"][300:] == [None] * 100 and out["labelled_by"][300:] == [None] * 100
    made = [i for i, b in enumerate(out["labelled_by"]) if b == "pseudo_label"]
    given_ = [i for i, v in enumerate(poor["label"][:300]) if v is not None]
    assert made and not set(made) & set(given_)
    assert [out["label"][i] for i in given_] == [poor["label"][i] for i in given_]
    assert all(out["confidence"][i] >= 0.8 for i in made)
    shares = [np.mean([out["label"][i] for i in at]) for at in (made, given_)]
    assert abs(shares[0] - shares[1]) < 0.02
    record = history(out)[-1]
    assert record.op == "pseudo_label" and record.changed == len(made) == record.notes["accepted"][-1]


def test_pseudo_labels_need_a_split_and_a_label(rows):
    ds, space = rows
    with pytest.raises(LeakageError):
        pseudo_label(ds.remove_columns("split"), space=space)
    with pytest.raises(DataError, match="no training row has a label"):
        pseudo_label(hide_labels(ds, keep=0), space=space)


def with_children(rows):
    "The training rows again as their own children, under other uids, at nearly the same place."
    ds, space = rows
    rng = np.random.default_rng(1)
    x = np.concatenate([space.items, space.items[:300] + rng.normal(size=(300, 8)).astype("float32") * 0.4])
    made = Dataset.from_dict({"text": [f"child {t}" for t in ds["text"][:300]], "label": ds["label"][:300],
                              "split": ["train"] * 300})
    plain = {c: [*ds[c][:], *made[c][:]] for c in ("text", "label", "split")}
    plain |= {"uid": [*ds["uid"][:], *(f"{i:016x}" for i in range(300))], "parent": [None] * 400 + ds["uid"][:300]}
    features = Features({**{c: ds.features[c] for c in ("text", "label", "split", "uid")}, "parent": Value("string")})
    grown = Dataset.from_dict(plain, features=features)
    return grown, Space(grown["uid"][:], space.names, x, x, np.arange(701))


def test_a_row_and_its_children_get_one_answer(rows):
    ds, space = with_children(rows)
    shuffled = ds.select(np.random.default_rng(0).permutation(len(ds)))  # a child may come before its parent
    given_ = set(ds["uid"][:40])
    poor = shuffled.map(lambda r: {"label": r["label"] if r["uid"] in given_ or r["split"] == "test" else None})
    alone, together = (pseudo_label(poor, least=0.7, space=space, consistent=c) for c in (False, True))
    parent = dict(zip(poor["uid"], poor["parent"]))

    def said(out):
        found = {}
        for u, y, b in zip(out["uid"], out["label"], out["labelled_by"]):
            if b == "pseudo_label":
                found.setdefault(parent[u] or u, []).append(y)
        return found

    families = said(together)
    assert len(families) > 50 and all(len(v) == 2 and len(set(v)) == 1 for v in families.values())
    assert not given_ & set(families)  # children of rows that a person labelled are left alone
    assert given_ & set(said(alone)) and any(len(v) == 1 for v in said(alone).values())
    sure = {u: c for u, c in zip(together["uid"], together["confidence"]) if c is not None}
    assert all(sure[u] == sure[p] for u, p in parent.items() if p in families)


def test_entities_of_a_family_are_not_decided_together(names):
    ds, space = names
    with pytest.raises(DataError, match="consistent=False"):
        pseudo_label(hide_labels(ds, keep=40, seed=0), space=space, consistent=True)


def test_pseudo_spans(names):
    ds, space = names
    out = pseudo_label(hide_labels(ds, keep=40, seed=0), least=0.7, space=space)
    made = [i for i, b in enumerate(out["labelled_by"]) if b == "pseudo_label"]
    right = np.mean([out["spans"][i] == ds["spans"][i] for i in made])
    assert len(made) > 10 and right > 0.8
    assert all(c is None or c >= 0.7 for c in out["confidence"])


def test_shares_hold_back_the_easy_class():
    said, sure = ["a"] * 8 + ["b"] * 2, np.array([0.99] * 8 + [0.95, 0.91])
    assert _accepted(said, sure, 0.9, {"a": 0.5, "b": 0.5}) == [0, 1, 8, 9]
    assert _accepted(said, sure, 0.9, None) == list(range(10))
    assert _accepted(said, sure, 0.93, None) == list(range(9))
    assert _accepted(["a"], np.array([0.99]), 0.9, {"a": 0.5, "b": 0.5}) == []


def test_the_check_sees_a_model_that_believes_its_errors():
    gaps = {}
    for name, flip in (("clean", 0.0), ("noisy", 0.3)):
        ds, space = points(400, 10, spread=0.5)
        rng = np.random.default_rng(1)
        turned = set(np.flatnonzero(rng.random(len(ds)) < flip).tolist())
        noisy = ds.map(lambda r, i, turned=turned: {"label": r["label"] ^ (i in turned)}, with_indices=True)
        t = pseudo_check(noisy, space=space, least=(0.5, 0.99))
        assert t.loc[0.5, "share"] == 1 and t.loc[0.5, "rows"] == 400
        gaps[name] = t.loc[0.5, "accuracy"]
    assert gaps["clean"] > 0.95 and 0.55 < gaps["noisy"] < 0.8
    with pytest.raises(DataError, match="too few"):
        pseudo_check(hide_labels(points(50, 10)[0], keep=5), space=points(50, 10)[1])


# ---- the race

def test_everybody_pays_the_same(rows):
    ds, space = rows
    seen = []

    def half(row, rng):
        seen.append(row["uid"])
        return None if len(seen) % 2 else ("neg", "pos")[row["label"]]

    ways = {"random": Way(), "active": Way(ask="margin"), "dear": Way(price=3), "silent": Way(answer=half),
            "pseudo": Way(then=pseudo_label(space=space))}
    t = race(ds, ways, (30, 60, 120), seeds=2, batches=2, space=space)
    labels = t.groupby(["way", "budget"])["labels"].mean().unstack()
    for way in ("random", "active", "pseudo"):
        assert labels.loc[way].tolist() == [30, 60, 120]
    assert labels.loc["dear"].tolist() == [10, 20, 40] and labels.loc["silent"].tolist() == [15, 30, 60]
    assert len(seen) == 240 and set(seen) <= set(ds["uid"][:300])
    again = race(ds, {"random": Way()}, (30, 60, 120), seeds=2, space=space)
    pd.testing.assert_series_equal(again["score"], t[t["way"] == "random"]["score"].reset_index(drop=True))


def noting():
    "A list of uids, and a person who answers rightly and writes down there what was asked."
    asked = []

    def noted(row, rng):
        asked.append(row["uid"])
        return ("neg", "pos")[row["label"]]

    return asked, noted


def test_batches_and_first_questions(rows):
    ds, space = rows
    asked, noted = noting()

    def questions(**way):
        asked.clear()
        race(ds, {"way": Way(answer=noted, **way)}, (30, 60), seeds=1, batches=1, space=space)
        return list(asked)

    chance = questions()
    margin = questions(ask="margin", start="random", first=20, batch=10)
    assert margin[:20] == chance[:20] and margin[20:] != chance[20:]
    assert set(questions(ask="margin", batch=1)) != set(questions(ask="margin", batch=30))
    back = questions(ask="random", start="clusters", first=20, batch=20)
    assert len(set(back)) == 60 and back[:20] != chance[:20]
    t = race(ds, {"whole": Way(batch=7), "dear": Way(batch=7, price=3)}, (30, 60), seeds=1, space=space)
    assert t.set_index(["way", "budget"])["labels"].to_dict() == {
        ("whole", 30): 30, ("whole", 60): 60, ("dear", 30): 10, ("dear", 60): 20}


def test_children_are_not_asked_about(rows):
    ds, space = with_children(rows)
    asked, noted = noting()
    race(ds, {h: Way(ask=h, answer=noted) for h in ("random", "margin")}, (50, 300), seeds=1, batches=2, space=space)
    assert set(asked) == set(rows[0]["uid"][:300]) and len(asked) == 600


def test_a_race_over_entities(names):
    ds, space = names
    t = race(ds, {"random": Way(), "active": Way(ask="confidence")}, (10, 40), seeds=2, batches=2, space=space)
    assert t["score"].between(0, 1).all() and t[t["budget"] == 40]["score"].mean() > 0.6
    assert (t["words"] > t["labels"]).all()


def test_curves_and_savings_by_hand():
    table = pd.DataFrame([dict(way=w, budget=b, seed=s, score=v + 0.01 * s) for w, vs in
                          {"random": (0.5, 0.6, 0.7), "good": (0.6, 0.7, 0.8), "bad": (0.1, 0.2, 0.3)}.items()
                          for b, v in zip((100, 200, 400), vs) for s in (0, 1)])
    curve = race_curve(table).set_index(["way", "budget"])
    assert curve.loc[("random", 100), "score"] == pytest.approx(0.505) and (curve["low"] < curve["high"]).all()
    saved = labels_saved(table).set_index(["way", "budget"])
    assert saved.loc[("good", 400), ["needed", "saved"]].tolist() == pytest.approx([200, 0.5])
    assert saved.loc[("good", 200), "low"] == pytest.approx(0.5) and saved.loc[("bad", 100), "saved"] == -np.inf
    with pytest.raises(DataError, match="nobody is called"):
        labels_saved(table, than="expert")
