"""Functions vote or abstain, models weigh the votes as theory says, and nothing is learned from the test."""

import itertools
import time

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from dataset_tutor.core import DataError, LeakageError, add_uids, history
from dataset_tutor.distribution import training_rows
from dataset_tutor.tagging import bio_penalties
from dataset_tutor.weak_labels import (
    LabelModel,
    SpanModel,
    _best_path,
    _em,
    _first_guess,
    _forward_backward,
    apply_functions,
    compare_spans,
    describe_functions,
    fit_label_model,
    fit_soft,
    fit_span_model,
    gazetteer,
    hide_labels,
    keywords,
    labeling_function,
    learn_gazetteer,
    model_votes,
    pattern,
    rater,
    span_pattern,
    tagged_names,
    truths,
    vote_matrix,
    weak_label,
    wilson,
    wordnet_names,
)

SPAN = {"start": Value("int64"), "end": Value("int64"), "label": Value("string")}
ODD = ["", " ", "😀👍🏽", "ｇｏｏｄ", "e\u0301\u0301", "好" * 5000, "\x00<b>good</b>", "a" * 20_000]


def classes(texts, labels=None, parts=None):
    n = len(texts)
    rows = {"text": texts, "label": labels or [None] * n, "split": parts or ["train"] * n}
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"]), "split": Value("string")})
    return add_uids(Dataset.from_dict(rows, features=features), "test")


def entities(texts, spans=None, parts=None):
    n = len(texts)
    rows = {"text": texts, "spans": spans or [None] * n, "split": parts or ["train"] * n}
    features = Features({"text": Value("string"), "spans": [SPAN], "split": Value("string")})
    return add_uids(Dataset.from_dict(rows, features=features), "test")


def simulated(n=3000, accuracy=(0.9, 0.8, 0.7, 0.6, 0.5), coverage=0.6, classes_=2, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes_, n)
    votes = np.full((n, len(accuracy)), -1, dtype=np.int16)
    for j, a in enumerate(accuracy):
        wrong = (y + rng.integers(1, classes_, n)) % classes_
        said = np.where(rng.random(n) < a, y, wrong)
        votes[:, j] = np.where(rng.random(n) < coverage, said, -1)
    return y, votes


# ---- functions

def test_makers_of_class_functions():
    f = keywords(["good", "不错", "c++"], "pos")
    texts = ["A GOOD one", "goods", "not good", "not bad, good", "酒店不错", "it isn't really good", "I use C++ here"]
    said = [f(t) for t in texts]
    assert said == ["pos", None, None, "pos", "pos", None, "pos"]
    assert keywords(["好"], "pos")("不太好") is None and keywords(["好"], "pos", negation=False)("不太好") == "pos"
    assert pattern(r"\?$", "neg")("why?") == "neg" and pattern(r"\?$", "neg")("why") is None
    assert [rater(1)(r) for r in ([1, -2], [1, 2], [1, 0], [3])] == ["negative", "positive", None, None]
    sure = model_votes(lambda ts: [dict(label="pos", probability=len(t) / 10) for t in ts], 0.5)
    assert [sure(t) for t in ("abc", "abcdef")] == [None, "pos"]
    with pytest.raises(DataError, match="everywhere"):
        keywords(["ok", " "], "pos")


def test_own_functions_read_the_columns_they_name():
    @labeling_function
    def long_and_rated(text, stars):
        return "pos" if len(text) > 3 and stars > 2 else None

    ds = classes(["long text", "long text 2", "x"]).add_column("stars", [5, 1, 5])
    votes = apply_functions(ds, [long_and_rated])
    assert votes["uid"][:] == ds["uid"][:1] and votes["annotator"][:] == ["long_and_rated"]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_no_trouble(text):
    began = time.perf_counter()
    for f in (keywords(["good", "好"], "pos"), pattern("g", "pos")):
        assert f(text) in (None, "pos")
    for f in (gazetteer({"X": ["good", "好"]}), span_pattern("g+", "X"), tagged_names({"nr": "PER", "NNP": "PER"})):
        for s in f(text) or ():
            assert 0 <= s["start"] < s["end"] <= len(text)
    assert time.perf_counter() - began < 10


def test_rows_without_a_text_get_no_vote():
    assert len(apply_functions(classes([None, "good"]), [keywords(["good"], "pos")])) == 1


def test_errors_name_function_row_and_fix():
    ds = classes(["good", "bad"])

    @labeling_function
    def breaks(text):
        return "pos" if text == "good" else 1 / 0

    @labeling_function
    def number(text):
        return 1

    with pytest.raises(DataError, match=rf"row {ds['uid'][1]}.*'breaks' fails: ZeroDivisionError"):
        apply_functions(ds, [breaks])
    with pytest.raises(DataError, match="'number' says 1"):
        apply_functions(ds, [number])
    with pytest.raises(DataError, match="2 functions are called 'x'"):
        apply_functions(ds, [pattern("a", "pos", "x"), pattern("b", "pos", "x")])
    with pytest.raises(DataError, match="spans and some say|classes and some say spans"):
        apply_functions(ds, [pattern("good", "pos"), span_pattern("bad", "X")])
    with pytest.raises(DataError, match="no functions"):
        apply_functions(ds, [])
    with pytest.raises(DataError, match="column 'ratings'"):
        apply_functions(ds, [rater(0)])

    @labeling_function
    def outside(text):
        return [dict(start=0, end=99, label="X")]

    with pytest.raises(DataError, match="does not lie in a text"):
        apply_functions(ds, [outside])


def test_processes_change_nothing():
    ds = classes([f"good {i}" if i % 3 else f"bad {i}" for i in range(60)])
    functions = [keywords(["good"], "pos"), keywords(["bad"], "neg"),
                 model_votes(lambda ts: [dict(label="pos", probability=0.9) for _ in ts])]
    assert apply_functions(ds, functions)[:] == apply_functions(ds, functions, num_proc=2)[:]
    spans = [gazetteer({"X": ["good"]}), span_pattern(r"\d+", "N")]
    assert apply_functions(ds, spans)[:] == apply_functions(ds, spans, num_proc=2)[:]


# ---- names

@given(st.lists(st.text(st.sampled_from("ab 北京大学"), min_size=1, max_size=5), min_size=1, max_size=6),
       st.text(st.sampled_from("ab 北京大学"), max_size=30))
def test_a_gazetteer_marks_names_and_nothing_else(names, text):
    spans = gazetteer({"X": names})(text) or []
    squeezed = {"".join(n.split()) for n in names}
    assert all("".join(text[s["start"]:s["end"]].split()) in squeezed for s in spans)
    assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(spans))


def test_longest_names_win_and_doubtful_ones_go():
    look = gazetteer({"LOC": ["Paris", "北京"], "PER": ["Paris Hilton", "北京人"], "ORG": ["Jordan"], "X": ["Jordan"]})
    found = [tuple(s.values()) for s in look("Paris Hilton, Paris, Jordan")]
    assert found == [(0, 12, "PER"), (14, 19, "LOC")]
    assert [s["label"] for s in look("北京人在北京")] == ["PER", "LOC"]
    assert look("paris") is None and gazetteer({"LOC": ["Paris"]}, case=False)("PARIS")


def test_a_long_list_costs_no_more_than_a_short_one():
    text = "Anna went to Paris with Bob . " * 2000
    seconds = []
    for n in (100, 100_000):
        look = gazetteer({"X": [f"Name{i} Other{i}" for i in range(n)] + ["Paris"]})
        began = time.process_time()
        assert len(look(text)) == 2000
        seconds.append(time.process_time() - began)
    assert seconds[1] < 5 * seconds[0] + 0.5


def test_a_learned_list_leaves_out_what_is_mostly_no_name():
    texts = ["Will met May", "I will", "Will you", "Will they"]
    spans = [[dict(start=0, end=4, label="PER"), dict(start=9, end=12, label="PER")], [], [], []]
    assert learn_gazetteer(entities(texts, spans)) == {"PER": ["May"]}
    assert learn_gazetteer(entities([*texts, "Zoe"], [*spans, [dict(start=0, end=3, label="PER")]],
                                    ["train"] * 4 + ["test"])) == {"PER": ["May"]}
    with pytest.raises(LeakageError):
        learn_gazetteer(entities(texts, spans).remove_columns("split"))


def test_wordnet_knows_people_and_places():
    names = wordnet_names()
    assert "Paris" in names["LOC"] and "Albert Einstein" in names["PER"] and "dog" not in names["PER"]


# ---- counting

def test_counts_by_hand():
    ds = classes(["a", "b", "c", "d"], [1, 0, 1, None])
    u = ds["uid"][:]
    votes = Dataset.from_dict({"uid": [u[0], u[0], u[1], u[1], u[2]], "annotator": ["f", "g", "f", "g", "f"],
                               "label": ["pos", "pos", "pos", "neg", "pos"]})
    t = describe_functions(votes, ds, ds)
    assert t.loc["f", ["coverage", "overlap", "conflict", "checked"]].tolist() == [0.75, 0.5, 0.25, 3]
    assert t.loc["f", "accuracy"] == pytest.approx(2 / 3) and t.loc["g", "accuracy"] == 1
    assert "accuracy" not in describe_functions(votes, ds)


def test_span_counts_by_hand():
    gold = [[dict(start=0, end=3, label="PER"), dict(start=8, end=13, label="LOC")], []]
    ds = entities(["Ann and Paris", "none"], gold)
    functions = [span_pattern("Ann", "PER", 0, "f"), span_pattern("Ann|none", "LOC", 0, "g"),
                 span_pattern("Paris", "LOC", 0, "h")]
    t = describe_functions(apply_functions(ds, functions), ds, ds)
    assert t["precision"].tolist() == [1, 0, 1] and t["recall"].tolist() == [0.5, 0, 0.5]
    assert t["conflict"].tolist() == [1, 0.5, 0] and t["mentions"].tolist() == [1, 2, 1]


def test_functions_are_not_judged_by_the_test():
    ds = classes(["a", "b"], [0, 1], ["train", "test"])
    with pytest.raises(LeakageError, match="test rows"):
        describe_functions(apply_functions(ds, [pattern("a", "neg")]), ds, ds)


def test_wilson_is_the_published_interval():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)   # Newcombe 1998, table I, without correction
    assert wilson(0, 0) == (0.0, 1.0) and wilson(0, 10)[0] == pytest.approx(0)


def test_two_votes_or_strange_classes_are_errors():
    with pytest.raises(DataError, match="'f' votes twice"):
        vote_matrix(Dataset.from_dict({"uid": ["1", "1"], "annotator": ["f", "f"], "label": ["a", "a"]}))
    with pytest.raises(DataError, match="none of a, b"):
        vote_matrix(Dataset.from_dict({"uid": ["1"], "annotator": ["f"], "label": ["c"]}), labels=["a", "b"])


# ---- the label model

@pytest.mark.parametrize("k", [2, 3, 5])
def test_probabilities_are_bayes(k):
    rng = np.random.default_rng(k)
    accuracy, pi = rng.uniform(0.3, 0.95, 4), rng.dirichlet(np.ones(k))
    values = rng.integers(-1, k, (50, 4)).astype(np.int16)
    want = np.empty((50, k))
    for i, row in enumerate(values):
        for y in range(k):
            p = [1 if v < 0 else a if v == y else (1 - a) / (k - 1) for v, a in zip(row, accuracy)]
            want[i, y] = pi[y] * np.prod(p)
    model = LabelModel("accuracy", list("abcde")[:k], list("wxyz"), pi, accuracy)
    np.testing.assert_allclose(model.proba(values), want / want.sum(1, keepdims=True), atol=1e-9)


def test_em_finds_the_maximum_that_a_general_optimiser_finds():
    _, values = simulated(400, (0.9, 0.75, 0.6))
    pi, voted = np.array([0.5, 0.5]), values >= 0

    def loss(z):
        a = 1 / (1 + np.exp(-z))
        p = np.stack([np.log(pi[y]) + (voted * np.where(values == y, np.log(a), np.log(1 - a))).sum(1) for y in (0, 1)])
        return -(np.logaddexp(*p).sum() + 7 * np.log(a).sum() + 3 * np.log(1 - a).sum())

    best = minimize(loss, np.full(3, 0.8), method="BFGS")
    accuracy, log = _em(values, np.full(400, -1), pi, "accuracy", 2000)
    np.testing.assert_allclose(accuracy, 1 / (1 + np.exp(-best.x)), atol=2e-3)
    assert log[-1] == pytest.approx(-best.fun, abs=1e-3)


@pytest.mark.parametrize("k", [2, 4])
def test_accuracies_are_recovered_without_labels(k):
    truth = (0.9, 0.8, 0.7, 0.6, 0.5)
    y, values = simulated(20_000, truth, classes_=k)
    accuracy, log = _em(values, np.full(len(y), -1), np.full(k, 1 / k), "accuracy", 500)
    np.testing.assert_allclose(accuracy, truth, atol=0.03)
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(log))


def as_votes(values, uids, labels=("neg", "pos")):
    rows = [(uids[i], f"f{j}", labels[v]) for (i, j), v in np.ndenumerate(values) if v >= 0]
    return Dataset.from_dict(dict(zip(["uid", "annotator", "label"], map(list, zip(*rows)))))


def test_weights_beat_the_majority_where_functions_differ():
    y, values = simulated(4000, (0.95, 0.55, 0.55, 0.55, 0.55), coverage=0.9)
    ds = classes([f"t{i}" for i in range(4000)])
    votes, said = as_votes(values, ds["uid"][:]), {}
    for how in ("accuracy", "majority"):
        out = fit_label_model(votes, ds, how=how).predict(votes, ds["uid"][:])
        said[how] = np.mean(np.array([("neg", "pos").index(x) for x in out["label"]]) == y)
    assert said["accuracy"] > said["majority"] + 0.1


def test_functions_of_one_voice_do_not_silence_a_class():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    values = np.full((3000, 4), -1, dtype=np.int16)
    for j, (says, share) in enumerate([(0, 0.3), (0, 0.2), (1, 0.3), (1, 0.2)]):   # right three times of four
        speaks = rng.random(3000) < np.where(y == says, 1.5, 0.5) * share
        values[speaks, j] = says
    ds = classes([f"t{i}" for i in range(3000)])
    votes = as_votes(values, ds["uid"][:])
    plain, held = fit_label_model(votes, ds, hold=False), fit_label_model(votes, ds)
    assert plain.accuracy.min() < 0.3
    np.testing.assert_allclose(held.accuracy, 0.75, atol=0.1)
    both = (values >= 0).any(1)
    said, worse = (m.proba(values)[both].argmax(1) for m in (held, plain))
    assert 0.35 < said.mean() < 0.65 and np.mean(said == y[both]) > np.mean(worse == y[both])


def test_labels_that_are_known_keep_the_model_honest():
    y, values = simulated(2000, (0.2, 0.2, 0.3), coverage=0.9)   # all mostly wrong: agreement alone is fooled
    labels = [int(v) if i < 300 else None for i, v in enumerate(y)]
    ds = classes([f"t{i}" for i in range(2000)], labels)
    votes = as_votes(values, ds["uid"][:])
    assert (fit_label_model(votes, ds, how="checked").accuracy < 0.5).all()
    assert (fit_label_model(votes, hide_labels(ds, keep=0)).accuracy > 0.5).all()


def test_majority_shares_and_ties():
    ds = classes(["a", "b", "c"], [0, 1, None])
    u = ds["uid"][:]
    votes = Dataset.from_dict({"uid": [u[0], u[0], u[0], u[1], u[1]], "annotator": ["f", "g", "h", "f", "g"],
                               "label": ["pos", "pos", "neg", "pos", "neg"]})
    out = fit_label_model(votes, ds, how="majority").predict(votes, u)
    np.testing.assert_allclose(out["probs"], [[1 / 3, 2 / 3], [0.5, 0.5], [0.5, 0.5]])
    assert out["n_votes"][:] == [3, 2, 0]


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_order_of_rows_and_votes_does_not_matter(seed):
    _, values = simulated(60, (0.8, 0.7, 0.6), seed=seed)
    ds = classes([f"t{i}" for i in range(60)])
    votes = as_votes(values, ds["uid"][:])
    other = votes.shuffle(seed=seed)
    a, b = (fit_label_model(v, ds).predict(v, ds["uid"][:]) for v in (votes, other))
    np.testing.assert_allclose(a["probs"], b["probs"], atol=1e-9)
    np.testing.assert_allclose(np.sum(a["probs"], 1), 1)


# ---- leakage

def test_only_training_rows_teach_and_only_they_are_labelled():
    texts = [f"good {i}" if i % 2 else f"bad {i}" for i in range(40)]
    ds = classes(texts, parts=["train"] * 30 + ["validation"] * 5 + ["test"] * 5)
    functions = [keywords(["good"], "pos"), keywords(["bad"], "neg")]
    out = weak_label(ds, functions=functions)
    assert out["label"][:30] == [i % 2 for i in range(30)] and out["label"][30:] == [None] * 10
    assert set(out["labelled_by"][:30]) == {"weak_label"} and out["labelled_by"][30:] == [None] * 10
    assert history(out)[-1].notes["labelled"] == 30
    changed = classes([*texts[:30], *["good good"] * 5, *["bad bad"] * 5], parts=ds["split"][:])
    other = weak_label(changed, functions=functions)
    assert other["confidence"][:30] == out["confidence"][:30]


def test_rows_without_a_split_or_with_copies_in_the_test_are_refused():
    ds = classes(["good", "GOOD!", "bad"], parts=["train", "test", "train"])
    with pytest.raises(LeakageError, match="families of duplicates"):
        training_rows(ds)
    for rows in (ds, ds.remove_columns("split")):
        with pytest.raises(LeakageError):
            weak_label(rows, functions=[keywords(["good"], "pos")])
        with pytest.raises(LeakageError):
            hide_labels(rows, keep=0)
    votes = apply_functions(ds, [keywords(["good"], "pos")])
    with pytest.raises(LeakageError):
        fit_label_model(votes, ds.remove_columns("split"))
    with pytest.raises(LeakageError):
        fit_span_model(apply_functions(ds, [span_pattern("good", "X")]), ds.remove_columns("split"))


def test_given_labels_stay_and_doubtful_rows_stay_empty():
    ds = classes(["good", "good bad", "bad", "nothing"], [0, None, None, None])
    functions = [keywords(["good"], "pos"), keywords(["bad"], "neg")]
    out = weak_label(ds, functions=functions, how="majority", least=0.6)
    assert out["label"][:] == [0, None, 0, None] and out["labelled_by"][:] == [None, None, "weak_label", None]
    assert out["probs"][0] is None and sum(out["probs"][2]) == pytest.approx(1)
    again = weak_label(out, functions=functions)
    assert again["label"][0] == 0 and again["labelled_by"][2] == "weak_label"
    assert truths(out) == dict.fromkeys((out["uid"][0], out["uid"][2]), "neg")


def test_hidden_labels_are_as_many_as_asked_for():
    ds = classes([f"t{i}" for i in range(20)], [i % 2 for i in range(20)], ["train"] * 15 + ["test"] * 5)
    out = hide_labels(ds, keep=4, seed=3)
    assert sum(v is not None for v in out["label"][:15]) == 4 and out["label"][15:] == ds["label"][15:]
    assert hide_labels(ds, keep=4, seed=3)["label"][:] == out["label"][:]
    with pytest.raises(DataError, match="99 labels"):
        hide_labels(ds, keep=99)


# ---- soft labels

def test_soft_labels_of_one_class_are_hard_labels():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.integers(0, 3, 200)
    hard = LogisticRegression(max_iter=2000, tol=1e-8).fit(x, y)
    soft = fit_soft(LogisticRegression(max_iter=2000, tol=1e-8), x, np.eye(3)[y])
    np.testing.assert_allclose(soft.coef_, hard.coef_, atol=1e-4)
    even = fit_soft(LogisticRegression(), x[:, :2], np.full((200, 2), 0.5))
    np.testing.assert_allclose(even.predict_proba(x[:, :2]), 0.5, atol=1e-3)
    few = fit_soft(LogisticRegression(max_iter=2000, tol=1e-8), x, np.eye(3)[y], (y < 2).astype(float))
    assert (few.predict(x) < 2).all()


# ---- the hidden Markov model

def all_paths(b, start, move):
    "Every path of one row with its probability."
    n, s = b.shape
    for path in itertools.product(range(s), repeat=n):
        p = start[path[0]] * b[0, path[0]]
        for t in range(1, n):
            p *= move[path[t - 1], path[t]] * b[t, path[t]]
        yield path, p


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10_000))
def test_forward_backward_and_viterbi_are_right(n, s, seed):
    rng = np.random.default_rng(seed)
    b, start, move = rng.random((2, n, s)) + 0.01, rng.dirichlet(np.ones(s)), rng.dirichlet(np.ones(s), s)
    sure, pairs, logs = _forward_backward(b, start, move)
    best, want = _best_path(b, start, move), np.zeros((s, s))
    for r in range(2):
        paths = list(all_paths(b[r], start, move))
        total = sum(p for _, p in paths)
        assert logs[r] == pytest.approx(np.log(total))
        for t, k in itertools.product(range(n), range(s)):
            assert sure[r, t, k] == pytest.approx(sum(p for path, p in paths if path[t] == k) / total)
        for path, p in paths:
            for a, c in itertools.pairwise(path):
                want[a, c] += p / total
        assert best[r].tolist() == list(max(paths, key=lambda x: x[1])[0])
    np.testing.assert_allclose(pairs, want, atol=1e-9)


def test_illegal_tags_never_come_out():
    tags = ["O", "B-A", "I-A", "B-B", "I-B"]
    legal = bio_penalties(tags) == 0
    move, show = _first_guess(tags, 2)
    assert (move[~legal] == 0).all() and legal[1, 2] and legal[2, 2]
    assert not legal[0, 2] and not legal[1, 4] and not legal[-1, 2]
    assert (show > 0).all()


def noisy_names(n=400, seed=0):
    "Rows with one name each, marked by a careful function of low recall, a sloppy one, and one that is mostly wrong"
    rng = np.random.default_rng(seed)
    texts, gold = [], []
    for _ in range(n):
        words = [str(rng.choice(["the", "a", "man", "saw", "x"])) for _ in range(8)]
        at = int(rng.integers(0, 8))
        words[at] = str(rng.choice(["Ann", "Bob", "Cyd", "Dan"]))
        start = sum(len(w) + 1 for w in words[:at])
        texts.append(" ".join([*words, f"n{len(texts)}"]))
        gold.append([dict(start=start, end=start + 3, label="PER")])
    functions = [span_pattern("Ann|Bob", "PER", 0, "careful"), span_pattern("Bob|Cyd|man", "PER", 0, "sloppy"),
                 span_pattern("the|saw|Dan", "PER", 0, "wrong"), span_pattern("Ann|Cyd|Dan", "PER", 0, "third")]
    return texts, gold, functions


def test_known_rows_tell_whom_to_believe():
    texts, gold, functions = noisy_names()
    ds = entities(texts, [g if i < 60 else None for i, g in enumerate(gold)])
    votes = apply_functions(ds, functions)
    hmm, vote = fit_span_model(votes, ds), fit_span_model(votes, ds, how="vote")
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(hmm.log))
    f1 = {}
    for model in (hmm, vote):
        said = model.predict(votes, ds)["spans"][:]
        right = sum([dict(s) for s in a] == b for a, b in zip(said[60:], gold[60:]))
        f1[model.how] = right / 340
    assert f1["hmm"] > 0.9 > 0.5 > f1["vote"]
    assert hmm.show[hmm.annotators.index("wrong")][0, 1] > 5 * hmm.show[hmm.annotators.index("careful")][0, 1]


def test_weak_spans_fill_training_rows_only():
    texts, gold, functions = noisy_names(60)
    ds = entities(texts, [g if i < 20 or i >= 50 else None for i, g in enumerate(gold)], ["train"] * 50 + ["test"] * 10)
    out = weak_label(ds, functions=functions)
    assert out["spans"][:20] == ds["spans"][:20] and out["spans"][50:] == ds["spans"][50:]
    assert out["labelled_by"][50:] == [None] * 10 and "weak_label" in out["labelled_by"][20:50]
    assert all(0 <= c <= 1 for c in out["confidence"][:] if c is not None)


def test_silence_can_mean_that_nobody_looked():
    ds = entities(["Ann a", "Bob b", "Cyd c"])
    votes = apply_functions(ds, [span_pattern("Ann", "PER", 0, "f"), span_pattern("Ann|Bob|Cyd", "PER", 0, "g")])
    models = {s: fit_span_model(votes, ds, silence=s, rounds=0) for s in ("nothing", "absent")}
    sure = {s: m.predict(votes, ds)["confidence"][1] for s, m in models.items()}
    assert sure["absent"] > sure["nothing"] and isinstance(models["absent"], SpanModel)
    with pytest.raises(DataError, match="unknown"):
        fit_span_model(votes, ds, silence="golden")


def test_hostile_and_empty_texts_pass_through_the_model():
    texts = ["", None, "😀", "e\u0301 Ann", "ＡｎｎAnn", "Ann<script>", "李明Ann说"]
    ds = entities(texts)
    functions = [span_pattern("Ann", "PER", 0, "f"), gazetteer({"PER": ["李明", "Ann"]}, "g")]
    votes = apply_functions(ds, functions)
    for how in ("hmm", "vote"):
        said = fit_span_model(votes, ds, how=how).predict(votes, ds)
        for text, spans in zip(texts, said["spans"]):
            assert all(text[s["start"]:s["end"]] in ("Ann", "李明") for s in spans)


def test_what_became_of_mentions():
    gold = [[dict(start=0, end=3, label="A"), dict(start=5, end=8, label="A"), dict(start=10, end=12, label="B")], []]
    said = [[dict(start=0, end=3, label="A"), dict(start=5, end=7, label="A"), dict(start=10, end=12, label="A")],
            [dict(start=1, end=2, label="B")]]
    t = compare_spans(gold, said)
    assert t.loc["A"].tolist()[:6] == [2, 1, 0, 1, 0, 0] and t.loc["B"].tolist()[:6] == [1, 0, 1, 0, 0, 1]
    assert t.loc["A", "precision"] == pytest.approx(1 / 3) and t.loc["A", "recall"] == 0.5
    assert (t["mentions"] == t[["right", "other type", "other borders", "missed"]].sum(axis=1)).all()
    with pytest.raises(DataError, match="2 true rows"):
        compare_spans(gold, said[:1])


# What Snorkel 0.10.0 (`LabelModel`, 500 epochs, seed 0, even classes) finds on the votes below: the accuracy of each
# function, and the probability of the second class for the first ten items.
SNORKEL = [0.8372, 0.8075, 0.8040, 0.6154, 0.6159]
SNORKEL_SAYS = [0.9406, 0.5656, 0.8614, 0.0221, 0.2511, 0.3383, 0.8168, 0.3265, 0.0176, 0.9193]


def test_label_model_beside_snorkel():
    "Another model of the same votes (moments, not EM): accuracies 0.04 apart at most, the same side for each item"
    rng = np.random.default_rng(0)
    y, votes = rng.integers(0, 2, 400), np.full((400, 5), -1, dtype=np.int16)
    for j, a in enumerate((0.9, 0.8, 0.7, 0.6, 0.55)):
        said = np.where(rng.random(400) < a, y, 1 - y)
        votes[:, j] = np.where(rng.random(400) < 0.6, said, -1)
    kept = (votes >= 0).any(1)
    y, votes = y[kept], votes[kept]
    rows = [dict(uid=f"{i:03d}", annotator=f"f{j}", label="ny"[v]) for i, r in enumerate(votes)
            for j, v in enumerate(r) if v >= 0]
    n, text = len(y), Value("string")
    features = Features({"uid": text, "split": text, "label": ClassLabel(names=["n", "y"])})
    items = Dataset.from_dict(dict(uid=[f"{i:03d}" for i in range(n)], split=["train"] * n, label=[None] * n), features)
    model = fit_label_model(Dataset.from_list(rows), items)
    assert np.abs(model.accuracy - np.array(SNORKEL)).max() < 0.04
    said = model.predict(Dataset.from_list(rows))
    first = np.array([p[1] for p in said["probs"][:10]])
    assert ((first > 0.5) == (np.array(SNORKEL_SAYS) > 0.5)).all()
    assert np.abs(first - SNORKEL_SAYS).max() < 0.13
    right = np.mean([("y" if p[1] > 0.5 else "n") == "ny"[t] for p, t in zip(said["probs"], y)])
    assert abs(right - 0.8633) < 0.02
