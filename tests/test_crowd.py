"""Aggregation: equal to the published example, never worse than its own rules, legal spans, honest costs."""
import time

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.agreement import CodedVotes, code_votes
from dataset_tutor.core import DataError, add_uids, history, story
from dataset_tutor.crowd import (
    AGGREGATORS,
    adjudication_queue,
    aggregate,
    annotator_quality,
    apply_labels,
    cost_curve,
    dawid_skene,
    draw_votes,
)
from dataset_tutor.tagging import check_spans

DOCTORS = """1111111 3334343 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111
2223212 1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222
1111111 1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111
1212111 2322222 1211111 2222222""".split()
WITHOUT_MODEL = [a for a in AGGREGATORS if a != "crowdlab"]


def simulated(n=300, right=(0.95, 0.85, 0.75, 0.7, 0.6), k=3, per_row=None, seed=0):
    "(votes, truth); annotator j is right with probability right[j]"
    rng, out, truth = np.random.default_rng(seed), [], {}
    for i in range(n):
        t = truth[f"u{i}"] = str(rng.integers(k))
        for j in rng.permutation(len(right))[:per_row]:
            said = t if rng.random() < right[j] else str(rng.choice([c for c in range(k) if str(c) != t]))
            out.append(dict(uid=f"u{i}", annotator=f"p{j}", label=said))
    return Dataset.from_list(out), truth


def accuracy(found, truth):
    return np.mean([truth[u] == v for u, v in zip(found["uid"], found["label"])])


def anaesthetists(repeats=True):
    readings = np.array([[int(c) - 1 for c in row] for row in DOCTORS])[:, slice(None) if repeats else [0, 3, 4, 5, 6]]
    item, column = np.indices(readings.shape)
    who = np.array([0, 0, 0, 1, 2, 3, 4])[column] if repeats else column
    return CodedVotes(list(range(45)), list("12345"), [1, 2, 3, 4], item.ravel(), who.ravel(), readings.ravel())


def slow_dawid_skene(coded, rounds):
    "The paper's equations 2.3 to 2.5 with loops"
    n, j, k = len(coded.uids), len(coded.annotators), len(coded.values)
    said = np.zeros((n, j, k))
    for i, w, v in zip(coded.item, coded.who, coded.value):
        said[i, w, v] += 1
    t = said.sum(1) / said.sum((1, 2))[:, None]
    for _ in range(rounds):
        p, pi = t.mean(0), np.zeros((j, k, k))
        for a in range(j):
            for b in range(k):
                pi[a, b] = (t[:, b, None] * said[:, a]).sum(0)
                pi[a, b] /= max(pi[a, b].sum(), 1e-300)
        for i in range(n):
            t[i] = [p[b] * np.prod(pi[:, b] ** said[i]) for b in range(k)]
            t[i] /= t[i].sum()
    return t, p, pi


# What crowd-kit 1.4.2 finds (2,000 rounds) where the first observer reads once, as all others do: shares of the classes
SHARES = [0.3999629512, 0.4126118649, 0.1207585172, 0.0666666667]


def test_dawid_skene_1979():
    "The paper's shares as printed, crowd-kit's numbers, and the paper's equations, to 1e-6"
    every, once = anaesthetists(), anaesthetists(repeats=False)
    assert np.abs(dawid_skene(once, smoothing=0, rounds=2000, tolerance=1e-14).shares - SHARES).max() < 1e-6
    found = dawid_skene(every, smoothing=0, rounds=500, tolerance=1e-12)
    assert found.shares.round(2).tolist() == [0.40, 0.42, 0.11, 0.07]
    t, p, pi = slow_dawid_skene(every, 500)
    assert np.abs(found.probs - t).max() < 1e-6 and np.abs(found.shares - p).max() < 1e-6
    assert np.abs(found.confusions - pi).max() < 1e-6


# Eight items, five people, as many of either class. What crowd-kit 1.4.2 says of the first class of the first four
# items (the others mirror them): Wawa; MACE by EM, three restarts; GLAD, 300 rounds, with the tolerances at 1e-12.
EIGHT = np.array([[0, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 1]])
WAWA, MACE = [6 / 7, 9 / 14, 9 / 14, 6 / 7], [0.999843, 0.998588, 0.998606, 0.999845]
GLAD = [0.999960, 0.906534, 0.906534, 0.999960]


def eight():
    votes = np.vstack([EIGHT, 1 - EIGHT])
    n, j = votes.shape
    return votes, CodedVotes([f"t{i}" for i in range(n)], [f"w{i}" for i in range(j)], ["no", "yes"],
                             np.repeat(np.arange(n), j), np.tile(np.arange(j), n), votes.ravel())


def test_wawa_and_mace_as_in_crowd_kit():
    "MACE there adds 0.01 / n to all counts and takes the best of random starts; ours adds more, which forgives less"
    _, coded = eight()
    p, skill = AGGREGATORS["wawa"](coded)
    assert np.abs(p[:4, 0] - WAWA).max() < 1e-6 and np.abs(p[4:, 1] - WAWA).max() < 1e-6
    assert skill.tolist() == [1, 0.75, 0.75, 0.5, 0.5]
    p, knows = AGGREGATORS["mace"](coded, smoothing=0.005, rounds=3000)
    assert np.abs(p[:4, 0] - MACE).max() < 1e-4 and knows[0] > 0.99
    assert np.abs(knows[1:] - [0.5, 0.5, 0.03, 0.03]).max() < 0.005
    usual, _ = AGGREGATORS["mace"](coded)
    assert 0.02 < np.abs(usual[:4, 0] - MACE).max() < 0.03  # what the smoothing makes


def test_glad_solves_its_equations_and_is_near_crowd_kit():
    "One exact round (the inner optimum by BFGS, normal priors around 1) leaves ours where it is, and moves crowd-kit's"
    from scipy.optimize import minimize

    votes, coded = eight()

    def exact_round(p):
        right = np.where(votes == 0, p[:, None], 1 - p[:, None])

        def loss(x):
            z = x[:5] * np.exp(x[5:])[:, None]
            return (right * np.logaddexp(0, -z) + (1 - right) * np.logaddexp(0, z)).sum() + ((x - 1) ** 2).sum() / 2
        x = minimize(loss, np.ones(13), method="L-BFGS-B", tol=1e-12).x
        z = np.where(votes == 0, 1, -1) * x[:5] * np.exp(x[5:])[:, None]
        return 1 / (1 + np.exp(-z.sum(1)))

    p, ability = AGGREGATORS["glad"](coded)
    theirs = np.r_[GLAD, 1 - np.array(GLAD)]
    assert np.abs(exact_round(p[:, 0]) - p[:, 0]).max() < 1e-4
    assert np.abs(exact_round(theirs) - theirs).max() > 0.01
    assert np.abs(p[:, 0] - theirs).max() < 0.04 and ability.argsort()[::-1][:1] == [0]


@settings(max_examples=15)
@given(st.integers(0, 30))
def test_probabilities_are_probabilities(seed):
    votes, _ = simulated(20, (0.9, 0.5, 0.2), k=3, per_row=2, seed=seed)
    for how in WITHOUT_MODEL:
        found = aggregate(votes, how=how, seed=seed)
        p = np.array([[np.nan if v is None else v for v in row.values()] for row in found["probs"]])
        assert np.isfinite(p).all() and np.allclose(p.sum(1), 1) and (p >= -1e-12).all()
        assert np.allclose(p.max(1), found["confidence"]) and set(found["n_votes"]) == {2}
        assert found[:] == aggregate(votes, how=how, seed=seed)[:]


@pytest.mark.parametrize("how", WITHOUT_MODEL)
def test_unanimity_and_edges(how):
    same = Dataset.from_dict({"uid": ["好", "👍🏽"] * 3, "annotator": list("aabbcc"), "label": ["x", "y"] * 3})
    assert aggregate(same, how=how)["label"][:] == ["x", "y"]
    assert aggregate(same.select([0]), how=how)[0]["label"] == "x"  # one vote, one class
    constant = Dataset.from_dict({"uid": list("ab"), "annotator": list("xx"), "label": ["p", "p"]})
    assert aggregate(constant, how=how)["label"][:] == ["p", "p"]


@pytest.mark.parametrize("how", WITHOUT_MODEL)
def test_good_crowds_are_believed(how):
    votes, truth = simulated()
    assert accuracy(aggregate(votes, how=how), truth) > 0.9


def test_models_of_persons_beat_the_majority_where_there_are_persons():
    votes, truth = simulated(400, (0.97, 0.95, 0.34, 0.34, 0.34), k=3)
    base = accuracy(aggregate(votes), truth)
    for how in ("dawid-skene", "glad", "mace"):
        assert accuracy(aggregate(votes, how=how), truth) > base + 0.03, how
    assert accuracy(aggregate(votes, how="wawa"), truth) > base


def test_dawid_skene_turns_a_liar_around():
    votes, truth = simulated(300, (0.9, 0.9, 0.9, 0.05, 0.05), k=2)
    assert accuracy(aggregate(votes, how="dawid-skene"), truth) > accuracy(aggregate(votes), truth) + 0.05


def test_ties_favour_nobody():
    tie = Dataset.from_dict({"uid": [f"u{i // 2}" for i in range(2000)], "annotator": list("xy") * 1000,
                             "label": ["a", "b"] * 1000})
    share = np.mean([v == "a" for v in aggregate(tie)["label"]])
    assert 0.45 < share < 0.55
    assert aggregate(tie, seed=1)["label"][:] != aggregate(tie, seed=2)["label"][:]


def test_order_of_votes_does_not_matter():
    votes, _ = simulated(60, per_row=3)
    mixed = votes.shuffle(seed=3)
    for how in WITHOUT_MODEL:
        a, b = (dict(zip(x["uid"], x["confidence"])) for x in (aggregate(votes, how=how), aggregate(mixed, how=how)))
        assert a.keys() == b.keys() and all(abs(a[u] - b[u]) < 1e-5 for u in a), how


def model_of(truth, right=0.85, seed=0):
    "A model's probabilities, right in that share of the items"
    rng, probs = np.random.default_rng(seed), {}
    for u, t in truth.items():
        p = rng.dirichlet([1, 1, 1]) * 0.4
        p[int(t) if rng.random() < right else rng.integers(3)] += 0.6
        probs[u] = p
    return probs


def test_a_model_helps_where_votes_are_few():
    votes, truth = simulated(600, (0.55, 0.55, 0.55), k=3)
    plain = accuracy(aggregate(votes), truth)
    assert accuracy(aggregate(votes, how="crowdlab", probs=model_of(truth)), truth) > plain + 0.1
    nonsense = {u: np.full(3, 1 / 3) for u in truth}
    assert abs(accuracy(aggregate(votes, how="crowdlab", probs=nonsense), truth) - plain) < 0.03


def test_with_one_vote_a_model_moves_confidence_only():
    votes, truth = simulated(600, (0.65, 0.65, 0.65), k=3, per_row=1)
    one = aggregate(votes, how="crowdlab", probs=model_of(truth))
    assert one["label"][:] == votes["label"][:]
    sure, right = np.array(one["confidence"][:]), np.array([truth[u] == v for u, v in zip(one["uid"], one["label"])])
    assert sure[right].mean() > sure[~right].mean() + 0.1


def test_crowdlab_is_the_papers_formula():
    "One item computed by hand"
    votes = Dataset.from_dict({"uid": list("aabbccdd"), "annotator": list("xyxyxyxy"), "label": list("ppppqqpq")})
    probs = {"a": [0.9, 0.1], "b": [0.8, 0.2], "c": [0.3, 0.7], "d": [0.6, 0.4]}
    found = aggregate(votes, how="crowdlab", probs=probs, seed=0)[0]["probs"]
    first = aggregate(votes, seed=0)["label"][3]  # the tie in d, as drawn
    base = 0.75 if first == "p" else 0.5
    w, trust = 1 - 0.25 / (1 - base), (1 + 1 + 1 + 0.5) / 4
    right = 1.0 if first == "p" else 0.75
    w_model = max(1 - (1 - right) / (1 - base), 1e-3) * np.sqrt(2)
    w = max(w, 1e-3)
    want = (w * (trust + trust) + w_model * 0.9) / (2 * w + w_model)
    assert abs(found["p"] - want) < 1e-12


def test_bad_requests_are_named():
    votes, _ = simulated(10)
    uids = set(votes["uid"])
    for options, words in [(dict(how="x"), "unknown"), (dict(how="crowdlab"), "out of fold"),
                           (dict(how="crowdlab", probs={}), "nothing about"),
                           (dict(how="crowdlab", probs={u: [0.5, 0.2, 0.1] for u in uids}), "add up to 1"),
                           (dict(how="crowdlab", probs={u: [0.5, 0.5] for u in uids}), "3 numbers"),
                           (dict(order=["0"]), "not in order")]:
        with pytest.raises(DataError, match=words):
            aggregate(votes, **options)
    with pytest.raises(DataError, match="no votes"):
        draw_votes(votes, 0)
    with pytest.raises(DataError, match="voted twice"):
        aggregate(Dataset.from_dict({"uid": ["a"] * 2, "annotator": ["x"] * 2, "spans": [[], []]}))
    with pytest.raises(DataError, match="unknown"):
        aggregate(Dataset.from_dict({"uid": ["a"], "annotator": ["x"], "spans": [[]]}), how="crowdlab")
    with pytest.raises(DataError, match="unknown"):
        aggregate(Dataset.from_dict({"uid": ["a"], "annotator": ["x"], "rating": [1.0]}), how="mace")


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(-4, 4), min_size=1, max_size=7), min_size=1, max_size=8))
def test_ratings(rows):
    votes = Dataset.from_dict({"uid": [f"u{i}" for i, r in enumerate(rows) for _ in r],
                               "annotator": [f"p{j}" for r in rows for j in range(len(r))],
                               "rating": [float(v) for r in rows for v in r]})
    assert np.allclose(aggregate(votes, how="mean")["rating"], [np.mean(r) for r in rows])
    assert np.allclose(aggregate(votes, how="median")["rating"], [np.median(r) for r in rows])
    assert all(0 <= c <= 1 for c in aggregate(votes, how="mean")["confidence"])


span = st.builds(lambda a, n, t: dict(start=a, end=a + n, label=t), st.integers(0, 9), st.integers(1, 4),
                 st.sampled_from(["P", "L"]))


def flat(spans):
    out = []
    for s in sorted(spans, key=lambda s: s["start"]):
        if not out or s["start"] >= out[-1]["end"]:
            out.append(s)
    return out


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.lists(span, max_size=4).map(flat)] * 3), min_size=1, max_size=4),
       st.sampled_from(["exact", *WITHOUT_MODEL]))
def test_aggregated_spans_are_legal(texts, how):
    votes = Dataset.from_list([dict(uid=f"u{i}", annotator=f"p{j}", spans=s) for i, people in enumerate(texts)
                               for j, s in enumerate(people)])
    found = aggregate(votes, how=how)
    for people, spans, sure in zip(texts, found["spans"], found["confidence"]):
        check_spans("x" * 13, spans, flat=True)
        borders = {b for p in people for s in p for b in (s["start"], s["end"])}
        assert {b for s in spans for b in (s["start"], s["end"])} <= borders and 0 <= sure <= 1
        if people[0] == people[1] == people[2] and how in ("exact", "majority"):
            assert [(s["start"], s["end"], s["label"]) for s in spans] == [
                (s["start"], s["end"], s["label"]) for s in people[0]]


def test_three_borders_do_not_lose_the_entity():
    votes = Dataset.from_list([dict(uid="u", annotator=f"p{e}", spans=[dict(start=0, end=e, label="P")])
                               for e in (4, 5, 6)])
    assert aggregate(votes, how="exact")[0]["spans"] == []
    assert aggregate(votes)[0]["spans"] == [dict(start=0, end=5, label="P")]


def test_neighbours_stay_two():
    two = [dict(start=0, end=2, label="P"), dict(start=2, end=4, label="P")]
    votes = Dataset.from_list([dict(uid="u", annotator=a, spans=s) for a, s in
                               dict(x=two, y=two, z=[dict(start=0, end=4, label="P")]).items()])
    assert aggregate(votes)[0]["spans"] == two


def test_labels_go_into_rows_with_a_record():
    ds = add_uids(Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 0, 1]}), "t")
    ds = ds.cast_column("label", ClassLabel(names=["neg", "pos"]))
    u = ds["uid"]
    labels = Dataset.from_dict({"uid": u[:2], "label": ["pos", "pos"], "confidence": [0.9, 0.4], "n_votes": [3, 2]})
    out = apply_labels(ds, labels=labels, least=0.5)
    assert out["label"][:] == [1, 0, 1] and out["n_votes"][:] == [3, 2, None]
    assert out["confidence"][:] == [0.9, 0.4, None]
    assert out.features["label"].names == ["neg", "pos"]
    last = history(out)[-1]
    assert last.op == "apply_labels" and last.notes == {"labelled": 1, "not sure enough": 1}
    assert "label" in str(story(out, u[0]))
    with pytest.raises(DataError, match="no such row"):
        apply_labels(ds.select([2]), labels=labels)
    with pytest.raises(DataError, match="none of"):
        apply_labels(ds, labels=labels.map(lambda r: {"label": "new"}))
    fresh = apply_labels(ds.remove_columns("label"), labels=labels)
    assert fresh["label"][:] == ["pos", "pos", None]


def test_spans_go_into_rows_only_if_they_fit():
    ds = add_uids(Dataset.from_dict({"text": ["北京大学", "b"]}), "t")
    labels = Dataset.from_dict({"uid": ds["uid"][:1], "spans": [[dict(start=0, end=2, label="LOC")]],
                                "confidence": [1.0], "n_votes": [2]})
    assert apply_labels(ds, labels=labels)["spans"][0] == [dict(start=0, end=2, label="LOC")]
    with pytest.raises(DataError, match="does not lie"):
        apply_labels(ds, labels=labels.map(lambda r: {"spans": [dict(start=0, end=9, label="LOC")]}))


def test_draws_are_nested_nowhere_too_many():
    votes, _ = simulated(40)
    for k in (1, 2, 9):
        some = draw_votes(votes, k, seed=1)
        assert set(np.unique(some["uid"], return_counts=True)[1]) == {min(k, 5)}
    assert draw_votes(votes, 2, seed=1)[:] == draw_votes(votes, 2, seed=1)[:] != draw_votes(votes, 2, seed=2)[:]


def test_cost_curve_rises_and_counts():
    votes, truth = simulated(300, (0.75,) * 9, k=2)
    curve = cost_curve(votes, truth, how=("majority", "pooled"), ks=(1, 3, 9), seeds=3, price=0.1, n_boot=200)
    for name in ("majority", "pooled"):
        part = curve.table[curve.table["method"] == name]
        assert part["accuracy"].is_monotonic_increasing and (part["low"] < part["accuracy"]).all()
        assert np.allclose(part["cost"], [30, 90, 270])
    one = curve.table["accuracy"][0]
    assert abs(one - 0.75) < 0.05 and abs(curve.table["accuracy"].iloc[-1] - 0.951) < 0.03  # 5 of 9 right at 0.75
    gains = curve.table.set_index(["method", "votes"])
    assert (gains.loc["majority", "gain"] == 0).all()
    assert np.allclose(gains.loc["pooled", "gain"], gains.loc["pooled", "accuracy"] - gains.loc["majority", "accuracy"])
    assert (gains["gain_high"] - gains["gain_low"] < gains["high"] - gains["low"]).all()  # paired is narrower here
    assert curve.reach(0.99).empty and curve.reach(0.8)["votes"].min() in (3, 9)
    assert "majority" in curve._repr_html_()
    some = {u: t for u, t in truth.items() if u != "u0"} | {"unseen": "0"}
    alone = cost_curve(votes, some, how={"nobody": lambda v: {}}, ks=(1,), seeds=1, n_boot=0)
    assert alone.table["accuracy"][0] == 0.5


def test_quality_finds_the_bad_ones():
    votes, truth = simulated(400, (0.9, 0.9, 0.9, 0.4, 0.9))
    for table in (annotator_quality(votes), annotator_quality(votes, truth), annotator_quality(votes, how="mace")):
        assert table.index[0] == "p3" and (table["low"] <= table["accuracy"]).all()
    gold = annotator_quality(votes, truth)
    assert (gold["judged"] == 400).all() and gold.loc["p3", "low"] < 0.4 < gold.loc["p3", "high"]
    part = annotator_quality(votes, {"u0": truth["u0"]})
    assert (part["judged"] == 1).all()
    none = annotator_quality(votes, {})
    assert none["accuracy"].isna().all()


def test_queue_prefers_doubt_and_asks_by_price():
    votes, _ = simulated(300, (0.8,) * 4, k=2)
    queue = adjudication_queue(votes, n=None)
    assert len(queue) == 300 and queue["confidence"].iloc[0] < 0.6 < 0.9 < queue["confidence"].iloc[-1]
    assert (queue[["gain_vote", "gain_expert"]] >= 0).all(axis=None)
    dear, cheap = (adjudication_queue(votes, expert_price=p) for p in (1000.0, 0.01))
    assert dear["ask"][0] == "crowd" and cheap["ask"][0] == "expert"
    sure = adjudication_queue(votes, expert=0.0, price=1.0, n=None)
    assert "expert" not in set(sure["ask"])


def test_queue_pays():
    "One more vote for the top of the queue mends more rows than one for the bottom"
    votes, truth = simulated(600, (0.7,) * 5, k=2)
    few = draw_votes(votes, 2, seed=0)
    queue = adjudication_queue(few, n=None)["uid"].tolist()

    def score(chosen):
        rows = [i for i, u in enumerate(votes["uid"]) if u in chosen]
        kept = [r for r in few if r["uid"] not in chosen]
        return accuracy(aggregate(Dataset.from_list([*kept, *votes.select(rows)])), truth)

    assert score(set(queue[:200])) > score(set(queue[-200:])) + 0.02


def test_time_grows_with_the_votes():
    def seconds(n, how):
        votes, _ = simulated(n)
        coded = code_votes(votes)
        start = time.process_time()
        for _ in range(3):
            AGGREGATORS[how](coded, seed=0)
        return time.process_time() - start

    for how in ("wawa", "mace", "dawid-skene", "glad"):
        seconds(200, how)
        assert seconds(4000, how) < 30 * seconds(500, how) + 0.3, how  # eight times the votes, some more rounds
