"""Agreement: equal to published examples and reference libraries, in time that grows with the votes."""
import time
from itertools import combinations

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from dataset_tutor.agreement import (
    agreement,
    agreement_by,
    annotator_agreement,
    class_agreement,
    code_votes,
    explode_ratings,
    gamma,
    most_disputed,
    pair_agreement,
    second_opinion,
    span_agreement,
    token_votes,
    vote_confusion,
    votes_from_columns,
)
from dataset_tutor.core import DataError

OBSERVERS = {"A": [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None], "B": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
             "C": [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None], "D": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None]}
FLEISS = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006""".split()


def votes_of(rows, kind="label"):
    "{annotator: values} as a votes table"
    n = len(next(iter(rows.values())))
    ds = Dataset.from_dict({"uid": [f"u{i}" for i in range(n)], **rows})
    return votes_from_columns(ds, list(rows), kind=kind)


def span_votes(*people):
    "Per person a list of spans per text"
    return Dataset.from_list([
        dict(uid=f"u{i}", annotator=f"p{j}", spans=[dict(start=a, end=b, label=t) for a, b, t in x])
        for j, texts in enumerate(people) for i, x in enumerate(texts)])


def test_krippendorff_2011():
    "His worked example; the digits beyond the third are those of the package krippendorff 0.9.0"
    table = votes_of(OBSERVERS, "rating")
    for level, value in KRIPPENDORFF.items():
        assert abs(agreement(table, level=level, n_boot=0).value - value) < 1e-9, level


KRIPPENDORFF = {"nominal": 0.743421052631579, "ordinal": 0.8153875037548814, "interval": 0.8491071428571428,
                "ratio": 0.7974027747116121}


def test_fleiss_1971():
    "0.430 in the paper, 0.43024452 by its formula"
    said = [(f"{i}", str(v)) for i, row in enumerate(FLEISS) for v, n in enumerate(map(int, row)) for _ in range(n)]
    table = Dataset.from_dict({"uid": [u for u, _ in said], "annotator": [str(i % 6) for i in range(180)],
                               "label": [v for _, v in said]})
    assert abs(agreement(table, how="fleiss", n_boot=0).value - FLEISS_KAPPA) < 1e-9
    assert round(agreement(table, how="fleiss", n_boot=0).value, 3) == 0.430
    kappas = class_agreement(table, n_boot=0)["kappa"]
    assert np.allclose(kappas.round(3), [0.245, 0.245, 0.520, 0.471, 0.566], atol=2e-3)  # his table of categories


FLEISS_KAPPA = 0.4302445200601408

said = st.lists(st.tuples(*[st.sampled_from([1.0, 2.0, 3.0, 5.0, None])] * 3), min_size=3, max_size=20)


def slow_alpha(rows, distance):
    "Every pair, as the definition says"
    units = [[v for v in row if v is not None] for row in rows]
    units = [u for u in units if len(u) > 1]
    pool = [v for u in units for v in u]
    inside = sum(sum(distance(a, b, pool) for i, a in enumerate(u) for j, b in enumerate(u) if i != j) / (len(u) - 1)
                 for u in units) / len(pool)
    outside = sum(distance(a, b, pool) for i, a in enumerate(pool) for j, b in enumerate(pool) if i != j)
    return 1 - inside / (outside / (len(pool) * (len(pool) - 1))) if outside else float("nan")


def ordinal(a, b, pool):
    a, b = sorted((a, b))
    return (sum(a <= v <= b for v in pool) - (pool.count(a) + pool.count(b)) / 2) ** 2 if a != b else 0


DISTANCES = {"nominal": lambda a, b, _: a != b, "ordinal": ordinal, "interval": lambda a, b, _: (a - b) ** 2,
             "ratio": lambda a, b, _: ((a - b) / (a + b)) ** 2}


@given(said, st.sampled_from(sorted(DISTANCES)))
def test_alpha_is_its_definition(rows, level):
    if sum(sum(v is not None for v in row) > 1 for row in rows) < 1:
        return
    table = votes_of({f"p{j}": [row[j] for row in rows] for j in range(3)}, "rating")
    got, want = agreement(table, level=level, n_boot=0).value, slow_alpha(rows, DISTANCES[level])
    assert (np.isnan(got) and np.isnan(want)) or abs(got - want) < 1e-9


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30),
       st.sampled_from([None, "linear", "quadratic"]))
def test_cohen_is_scikit_learns(pairs, weights):
    x, y = zip(*pairs)
    got = agreement(votes_of({"x": list(x), "y": list(y)}), how="cohen", weights=weights, n_boot=0).value
    if len({*x, *y}) == 1:
        assert np.isnan(got)
        return
    assert abs(got - cohen_kappa_score(x, y, weights=weights)) < 1e-9


@settings(max_examples=10)
@given(st.permutations(range(12)))
def test_order_of_votes_does_not_matter(order):
    table = votes_of(OBSERVERS, "rating")
    rows = [i for item in order for i, u in enumerate(table["uid"]) if u == f"u{item}"]
    for level in DISTANCES:
        a, b = (agreement(t, level=level, n_boot=0).value for t in (table, table.select(rows)))
        assert abs(a - b) < 1e-12


def test_names_do_not_matter_and_relabelling_neither():
    table = votes_of({"x": list("aabbc"), "y": list("abbbc"), "z": list("aabcc")})
    other = table.map(lambda r: {"label": {"a": "好", "b": "👍🏽", "c": ""}[r["label"]] or "e\u0301",
                                 "annotator": "标注员" + r["annotator"]})
    for how in ("percent", "fleiss", "krippendorff"):
        assert abs(agreement(table, how=how, n_boot=0).value - agreement(other, how=how, n_boot=0).value) < 1e-12


def test_perfect_and_undefined():
    same = votes_of({"x": list("aab"), "y": list("aab")})
    assert all(agreement(same, how=h).value == 1 for h in ("percent", "cohen", "fleiss", "krippendorff"))
    constant = votes_of({"x": list("aaa"), "y": list("aaa")})
    assert all(np.isnan(agreement(constant, how=h).value) for h in ("cohen", "fleiss", "krippendorff"))
    assert agreement(constant, how="percent").value == 1
    apart = votes_of({"x": list("ab") * 20, "y": list("ba") * 20})
    assert agreement(apart, how="cohen").value == -1


def test_interval_holds_the_value_and_narrows():
    rng = np.random.default_rng(0)

    def crowd(n):
        truth = rng.integers(0, 2, n)
        return votes_of({f"p{j}": [str(t if rng.random() < 0.8 else 1 - t) for t in truth] for j in range(3)})

    small, large = agreement(crowd(50)), agreement(crowd(800))
    for a in (small, large):
        assert a.low < a.value < a.high
    assert large.high - large.low < (small.high - small.low) / 2
    assert agreement(crowd(60), seed=1).low != agreement(crowd(60), seed=2).low
    table = crowd(60)
    assert agreement(table, seed=3) == agreement(table, seed=3)


def test_interval_covers():
    "95 % intervals of kappa hold the true value about 95 times in 100"
    rng, hits = np.random.default_rng(1), 0
    for s in range(100):
        truth = rng.integers(0, 2, 150)
        a, b = (np.where(rng.random(150) < 0.9, truth, 1 - truth) for _ in range(2))
        table = votes_of({"a": [str(v) for v in a], "b": [str(v) for v in b]})
        found = agreement(table, how="cohen", n_boot=200, seed=s)
        hits += found.low <= 0.64 <= found.high  # (0.82 - 0.5) / 0.5
    assert 88 <= hits <= 100


def test_bad_votes_are_named():
    good = votes_of({"x": list("ab"), "y": list("ab")})
    for bad, words in [
        (good.remove_columns("annotator"), "annotator"),
        (good.remove_columns("label"), "rating"),
        (good.select([]), "no votes"),
        (Dataset.from_dict({"uid": ["a", "a"], "annotator": ["x", "x"], "label": ["p", "q"]}), "voted twice"),
        (Dataset.from_dict({"uid": ["a", "b"], "annotator": ["x", "y"], "label": ["p", None]}), "empty"),
        (Dataset.from_dict({"uid": ["a", "b"], "annotator": ["x", "y"], "rating": [1.0, float("nan")]}), "empty"),
        (Dataset.from_dict({"uid": ["a", "b"], "annotator": ["x", "y"], "label": ["p", "q"]}), "two votes"),
        (span_votes([[]], [[]]), "span_agreement"),
    ]:
        with pytest.raises(DataError, match=words):
            agreement(bad)
    for options in (dict(how="x"), dict(level="x"), dict(how="cohen", weights="x"), dict(level="interval"),
                    dict(order=["a"]), dict(how="cohen", annotators=("x", "nobody"))):
        with pytest.raises(DataError):
            agreement(good, **options)
    three = votes_of({"x": list("ab"), "y": list("ab"), "z": list("ab")})
    with pytest.raises(DataError, match="compares two"):
        agreement(three, how="cohen")
    with pytest.raises(DataError, match="negative"):
        agreement(votes_of({"x": [-1, 2], "y": [1, 2]}, "rating"), level="ratio")
    with pytest.raises(DataError, match="no group"):
        agreement_by(good, {"u0": "a"})


def test_columns_become_votes():
    ds = Dataset.from_dict({"uid": ["a", "b", "c"], "x": [0, 1, -1], "y": ["pos", "", None],
                            "z": [1.5, float("nan"), None]})
    ds = ds.cast_column("x", ClassLabel(names=["neg", "pos"]))
    assert votes_from_columns(ds, ["x", "y"])[:] == {"uid": ["a", "b", "a"], "annotator": ["x", "x", "y"],
                                                     "label": ["neg", "pos", "pos"]}
    assert votes_from_columns(ds, {"ann": "z"}, kind="rating")[0] == dict(uid="a", annotator="ann", rating=1.5)
    with pytest.raises(DataError, match="missing"):
        votes_from_columns(ds, ["nobody"])


def test_ratings_are_drawn_without_repeats():
    ds = Dataset.from_dict({"uid": ["a", "b", "c"], "ratings": [[1, 2, 3, 4], [5], []]})
    few = explode_ratings(ds, k=2, seed=1)
    assert few["uid"][:] == ["a", "a", "b"] and len(set(few["rating"][:2])) == 2
    assert explode_ratings(ds, k=2, seed=1)[:] == few[:]
    assert len(explode_ratings(ds, label=lambda r: "x" if r > 2 else None)) == 3
    assert len(explode_ratings(ds.select([2]))) == 0


def test_tables():
    table = votes_of({"x": list("aabb"), "y": list("abbb"), "z": ["a", None, "b", "a"]})
    both = vote_confusion(table)
    assert (both.values == both.values.T).all() and both.values.sum() == 3 * 2 * 3 + 2
    one = vote_confusion(table, ("x", "y"))
    assert one.loc["a", "b"] == 1 and one.values.sum() == 4
    assert set(pair_agreement(table)["items"]) == {3, 4} and len(pair_agreement(table, least=4)) == 1
    assert most_disputed(table)["uid"].tolist()[0] == "u1"
    again = class_agreement(table, n_boot=0).loc["a"]
    assert again["votes"] == 5 and abs(again["again"] - 6 / 9) < 1e-12  # of the mates of a vote for a, how many say a
    by = annotator_agreement(table, n_boot=50)
    assert set(by.index) == {"x", "y", "z"} and (by["low"] <= by["others"]).all()


def test_a_stranger_is_found():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    rows = {f"p{j}": [str(t if rng.random() < 0.85 else rng.integers(3)) for t in truth] for j in range(4)}
    table = votes_of(rows | {"stranger": [str(v) for v in rng.integers(0, 3, 200)]})
    by = annotator_agreement(table, n_boot=0)
    assert by.index[0] == "stranger" and by["without"].idxmax() == "stranger"
    assert pair_agreement(table)["value"].iloc[-1] > 0.6 > 0.2 > pair_agreement(table)["value"].iloc[0]


def test_disputed_ratings():
    table = votes_of({"x": [0, -4], "y": [1, 4], "z": [0, 4]}, "rating")
    assert most_disputed(table)["uid"].tolist() == ["u1", "u0"]
    assert abs(most_disputed(table)["disputed"][0] - np.var([-4, 4, 4])) < 1e-12


spans = st.lists(st.sampled_from([(0, 2, "P"), (0, 3, "P"), (4, 6, "P"), (4, 6, "L"), (7, 9, "L")]), max_size=4,
                 unique_by=lambda s: s[0])


@given(st.lists(st.tuples(spans, spans, spans), min_size=1, max_size=6))
def test_span_f1_is_pairwise(texts):
    people = list(zip(*texts))
    hits = sizes = 0
    for a, b in combinations(people, 2):
        hits += sum(len({*x} & {*y}) for x, y in zip(a, b))
        sizes += sum(len(x) + len(y) for x, y in zip(a, b))
    got = span_agreement(span_votes(*people), n_boot=0).value
    assert (np.isnan(got) and not sizes) or abs(got - 2 * hits / sizes) < 1e-12


def test_span_f1_by_person_is_f1_against_the_others():
    people = [[[(0, 2, "P")], [(1, 3, "L")]], [[(0, 2, "P"), (4, 5, "L")], []], [[(0, 2, "L")], [(1, 3, "L")]]]
    by = span_agreement(span_votes(*people), by="annotator", n_boot=0)
    gold = {j: {(i, *s) for i, x in enumerate(p) for s in x} for j, p in enumerate(people)}
    for j in gold:
        hits = sum(len(gold[j] & gold[k]) for k in gold if k != j)
        assert abs(by.loc[f"p{j}", "f1"] - 2 * hits / sum(len(gold[j]) + len(gold[k]) for k in gold if k != j)) < 1e-12
    kinds = span_agreement(span_votes(*people), by="class", n_boot=0)
    assert kinds.loc["P", "spans"] == 2 and kinds.loc["P", "f1"] == 0.5
    assert span_agreement(span_votes(*people), typed=False, n_boot=0).value > span_agreement(span_votes(*people)).value
    with pytest.raises(DataError):
        span_agreement(span_votes(*people), by="row")


@settings(max_examples=30)
@given(st.lists(spans, min_size=2, max_size=6))
def test_gamma_is_one_for_equals_and_symmetric(texts):
    if not any(texts):
        return
    same = gamma(span_votes(texts, texts), n_boot=0).value
    assert np.isnan(same) or same == 1
    other = [[(a, b, "P") for a, b, _ in x] for x in texts]
    one, two = gamma(span_votes(texts, other), n_boot=0).value, gamma(span_votes(other, texts), n_boot=0).value
    assert one <= 1 + 1e-12 or np.isnan(one)
    assert (np.isnan(one) and np.isnan(two)) or abs(one - two) < 0.5  # chance is drawn, so only nearly


def test_gamma_orders_errors():
    rng = np.random.default_rng(0)
    gold = [[(int(a), int(a) + 6, str(rng.choice(["P", "L"]))) for a in rng.choice([0, 10, 20, 30], 2, False)]
            for _ in range(80)]
    near = [[(a + 1, b, t) for a, b, t in x] for x in gold]
    typed = [[(a, b, "L" if t == "P" else "P") for a, b, t in x] for x in gold]
    lost = [x[:1] for x in gold]
    value = {k: gamma(span_votes(gold, v), n_boot=0).value for k, v in dict(near=near, typed=typed, lost=lost).items()}
    assert 1 > value["near"] > value["lost"] > value["typed"]
    random = [gold[i] for i in rng.permutation(80)]
    assert abs(gamma(span_votes(gold, random), n_boot=0).value) < 0.25


def test_tokens_are_cut_at_every_border():
    texts = {"u0": "北京👍🏽大学 e\u0301té ＡＢ"}
    votes = span_votes([[(0, 2, "L")]], [[(1, 5, "L")]])
    tokens = token_votes(votes, texts)
    assert {u.split(":")[1] for u in tokens["uid"]} >= {"0", "1", "2"} and len(tokens) % 2 == 0
    marked = token_votes(votes, texts, outside=False)
    assert len(marked) < len(tokens) and "O" in set(marked["label"])
    with pytest.raises(DataError, match="no text"):
        token_votes(votes, {})
    with pytest.raises(DataError, match="does not lie"):
        token_votes(span_votes([[(0, 99, "L")]]), texts)
    with pytest.raises(DataError, match="overlap"):
        token_votes(span_votes([[(0, 2, "L"), (1, 3, "L")]]), texts)


def test_disputed_spans():
    table = most_disputed(span_votes([[(0, 2, "P")], [(0, 2, "P")], []], [[(0, 2, "P")], [(0, 3, "P")], []]))
    assert table["uid"][0] == "u1" and table["disputed"].tolist() == [1.0, 0.0, 0.0]


@given(st.integers(0, 50))
def test_second_opinion_stays_flat_and_inside(seed):
    text, rng = "ab cd ef gh", np.random.default_rng(seed)
    gold = [dict(start=a, end=a + 2, label="P") for a in (0, 3, 6, 9)]
    out = second_opinion(gold, text, rng, 0.2, 0.8, 0.3, ("P", "L"))
    assert all(0 <= s["start"] < s["end"] <= len(text) for s in out)
    assert all(a["end"] <= b["start"] for a, b in zip(out, out[1:]))
    assert second_opinion(gold, text, rng, 0, 0, 0) == gold


def test_time_grows_with_the_votes():
    rng = np.random.default_rng(0)

    def seconds(n):
        table = Dataset.from_dict({"uid": np.repeat([f"u{i}" for i in range(n)], 5).tolist(),
                                   "annotator": [f"p{i % 5}" for i in range(5 * n)],
                                   "rating": rng.integers(-4, 5, 5 * n).astype(float).tolist()})
        best = []
        for _ in range(3):
            start = time.process_time()
            agreement(table, level="ordinal", n_boot=20)
            best.append(time.process_time() - start)
        return min(best)

    seconds(500)
    assert seconds(32_000) < 24 * seconds(4_000) + 0.2  # eight times the votes; the square would be 64


def test_binary_f1_and_specific_agreement_are_one_number():
    "For two people the specific agreement of a class is the F1 of one against the other"
    rng = np.random.default_rng(0)
    x, y = (rng.choice(list("ab"), 200) for _ in range(2))
    again = class_agreement(votes_of({"x": x.tolist(), "y": y.tolist()}), n_boot=0)["again"]
    assert abs(again["a"] - f1_score(x, y, pos_label="a")) < 1e-12


def test_class_labels_are_read_by_name():
    table = votes_of({"x": list("ab"), "y": list("ab")})
    coded = table.cast_column("label", ClassLabel(names=["a", "b"]))
    assert code_votes(coded).values == ["a", "b"]
    assert agreement(coded).value == agreement(table).value == 1
