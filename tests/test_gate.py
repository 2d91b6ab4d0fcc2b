"""The gate judges children alone, keeps what it turned away with reasons, and nothing depends on the rows' order."""
import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.augmentation import OPERATORS, augment, operator
from dataset_tutor.balance import oversample
from dataset_tutor.cleaning import ner_zh, reviews_en, reviews_zh
from dataset_tutor.core import DataError, LeakageError, add_uids, dropped, records
from dataset_tutor.distribution import leaks, split
from dataset_tutor.gate import distinct_n, gate, measure_children, mix, mixup, self_bleu
from dataset_tutor.generation import from_templates


@pytest.fixture(scope="module")
def rows():
    return split(reviews_en()(load_sample("reviews-en", rows=200, seed=0)), seed=0)


@pytest.fixture
def nonsense():
    @operator
    def babble(text, rng, spans=()):
        return [(0, len(text), "".join(rng.choice("qxzjkvw pf") for _ in range(len(text))))]
    yield babble
    del OPERATORS["babble"]


def test_nonsense_is_turned_away_and_told(rows, nonsense):
    more = augment(rows, [nonsense, "synonyms"], per_row=2, seed=0)
    out = gate(more)
    made = [r for r in more if r["op"] == "babble"]
    left = [r for r in out if r["op"] == "babble"]
    assert len(made) > 100 and len(left) < len(made) / 20
    kept = sum(r["op"] == "synonyms" for r in out) / sum(r["op"] == "synonyms" for r in more)
    assert kept > 0.6
    gone = dropped(out)[lambda t: t["parent"].notna()]
    assert set(gone["uid"]) == set(more["uid"]) - set(out["uid"])
    assert gone["reason"].str.contains("similarity").any() and gone["reason"].str.contains("perplexity").any()
    notes = records(out)[-1].notes
    assert notes["children"] == notes["passed"] + len(gone) == sum(r["op"] is not None for r in more)


def test_rows_that_are_no_children_are_not_judged(rows):
    assert gate(rows)["uid"][:] == rows["uid"][:]
    out = gate(augment(rows, ["random_swap"], seed=0), similarity=(0.9999, 1), agree=0.9, perplexity=0.5)
    assert set(rows["uid"]) <= set(out["uid"])


def test_rows_without_a_parent_are_judged(rows):
    twin = next(r["text"] for r in rows if r["split"] == "train" and "{" not in r["text"])
    sentences = {"positive": ["a moving film", "zzqx vvkj wqqz", twin.upper()],
                 "negative": ["a moving, wonderful film"]}
    more = from_templates(rows, templates=sentences, words={}, rows=3)
    m = measure_children(more)
    assert len(m["rows"]) == 4 and np.isnan(m["similarity"]).all() and not np.isnan(m["label"]).any()
    out = gate(more, similarity=(0.99, 1.0), perplexity=4)
    reason = dropped(out).set_index("text")["reason"]
    assert "times a middling training row's" in reason["zzqx vvkj wqqz"]
    assert "its label has probability" in reason["a moving, wonderful film"]
    assert "another row has this text" in reason[twin.upper()]
    assert "a moving film" in out["text"][:] and not reason.str.contains("similarity").any()


def test_changed_copies_are_judged_and_exact_ones_are_not(rows):
    few = rows.filter(lambda r: r["label"] == 1 or r["split"] != "train" or r["uid"] < "8")
    exact = oversample(few, seed=0)
    assert len(exact) > len(few) and gate(exact)["uid"][:] == exact["uid"][:]
    altered = oversample(few, change=lambda t, rng: "zzqx vvkj " + t[::-1], seed=0)
    made = sum(o == "oversample" for o in altered["op"])
    out = gate(altered)
    assert records(out)[-1].notes["children"] == made > 5 and len(out) < len(altered) - made / 2
    assert set(few["uid"]) <= set(out["uid"])


def test_bounds_do_what_they_say(rows):
    more = augment(rows, ["random_deletion"], seed=0, rate=0.4)
    m = measure_children(more)
    free = dict(similarity=(-1, 2), agree=0, perplexity=1e9)
    uids = np.array(more["uid"])[m["rows"]]
    for name, bound, passes in [("similarity", (0.8, 1.0), (m["similarity"] >= 0.8)),
                                ("agree", 0.5, m["label"] >= 0.5), ("perplexity", 1.1, m["perplexity"] <= 1.1)]:
        out = gate(more, **(free | {name: bound}))
        assert set(uids[passes]) == set(out["uid"]) - set(rows["uid"]), name
        assert 0 < passes.sum() < len(passes)
    assert len(gate(more, **free)) == len(more)


def test_the_order_of_rows_does_not_matter_to_similarity(rows):
    more = augment(rows, ["random_swap"], seed=0)
    back = more.select(range(len(more))[::-1])
    a, b = measure_children(more), measure_children(back)
    one = dict(zip(np.array(more["uid"])[a["rows"]], a["similarity"]))
    two = dict(zip(np.array(back["uid"])[b["rows"]], b["similarity"]))
    assert one.keys() == two.keys() and max(abs(one[u] - two[u]) for u in one) < 1e-5


def test_the_judge_has_not_seen_the_family(rows):
    "A label that only a row's own family could tell is not told: every class has one word, and every row its own"
    n = 60
    texts = [f"word{i:02d} " * 4 for i in range(n)]
    labels = np.random.default_rng(0).integers(0, 2, n).tolist()
    ds = {"text": texts, "label": labels, "split": ["train"] * n}
    more = augment(add_uids(Dataset.from_dict(ds), "coin"), [OPERATORS["keyboard_noise"](rate=0.3)], seed=0)
    p = measure_children(more)["label"]
    assert len(p) > 40 and 0.3 < p.mean() < 0.7


def test_twins_of_any_part_fail(rows):
    child = dict(rows[0]) | {"uid": "x", "parent": next(r["uid"] for r in rows if r["split"] == "train"),
                             "op": "synonyms", "split": "train"}
    child["text"] = next(r["text"] for r in rows if r["split"] == "train" and r["uid"] != child["parent"])
    base = rows.add_column("parent", [None] * len(rows)).add_column("op", [None] * len(rows))
    from datasets import Features, Value, concatenate_datasets
    base = base.cast(Features(base.features | {"parent": Value("string"), "op": Value("string")}))
    out = gate(concatenate_datasets([base, Dataset.from_list([child], features=base.features)]),
               similarity=(-1, 1), agree=0, perplexity=1e9)
    assert "x" not in out["uid"][:] and "another row has this text" in dropped(out)["reason"].iloc[-1]


def test_refusals(rows):
    with pytest.raises(LeakageError, match="not split"):
        gate(rows.remove_columns("split"))
    with pytest.raises(DataError, match="is no band"):
        gate(rows, similarity=(0.9, 0.5))
    more = augment(rows, ["random_swap"], seed=0)
    orphan = more.filter(lambda r: r["op"] or r["split"] != "train")
    with pytest.raises(DataError, match="parent of this row"):
        gate(orphan)


def test_other_tasks_and_languages():
    zh = split(reviews_zh()(load_sample("reviews-zh", rows=120, seed=0)), seed=0)
    out = gate(augment(zh, ["synonyms", "homophones"], per_row=2, seed=0))
    assert len(zh) < len(out)
    ner = split(ner_zh()(load_sample("ner-zh", rows=120, seed=0)), seed=0)
    made = augment(ner, ["swap_mentions"], seed=0)
    m = measure_children(made)
    assert "label" not in m and len(m["rows"]) == len(made) - len(ner)
    assert len(gate(made, similarity=(0.3, 1))) > len(ner)


@given(st.lists(st.text("ab 好", max_size=12), max_size=8), st.integers(1, 3))
def test_distinct_n_is_a_share(texts, n):
    assert 0 <= distinct_n(texts, n) <= 1
    assert distinct_n(texts + texts, n) <= distinct_n(texts, n)


def test_self_bleu_knows_copies_from_strangers():
    same = self_bleu(["the cast is fine and the plot is good"] * 5)
    other = self_bleu(["the cast is fine and the plot is good", "房间很干净", "eggs cost more in may", "blue sky"])
    assert same > 99 and other < 10
    with pytest.raises(DataError, match="no others"):
        self_bleu(["one"])


@given(st.integers(2, 20), st.integers(0, 30), st.floats(0.05, 2), st.integers(0, 3))
def test_mixup_lies_between(rows, n, alpha, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 3)), rng.integers(0, 2, rows)
    px, py, w = mixup(x, y, n, alpha, seed)
    assert len(px) == len(py) == len(w) == rows + 2 * n and np.all(w >= 0) and np.isclose(w.sum(), rows + n)
    assert np.array_equal(px[:rows], x) and np.all(px >= x.min(0) - 1e-9) and np.all(px <= x.max(0) + 1e-9)
    assert np.array_equal(px[rows : rows + n], px[rows + n :])


def test_mixup_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="one class to each"):
        mixup(np.zeros((3, 2)), np.zeros(2))


def genre(name, seed=0):
    return split(reviews_en()(load_sample("reviews-en", rows=200, genre=name)), seed=seed)


def test_mix_keeps_weights_provenance_and_parts():
    sources = {"movie": genre("movie"), "tweet": genre("tweet")}
    out = mix(sources, {"movie": 1, "tweet": 3}, rows=80)
    train = [m for m, p in zip(out["mixed_from"], out["split"]) if p == "train"]
    assert train.count("movie") == 20 and train.count("tweet") == 60
    for name, ds in sources.items():
        held = {u for u, p in zip(ds["uid"], ds["split"]) if p != "train"}
        assert held <= {u for u, m in zip(out["uid"], out["mixed_from"]) if m == name}
    assert leaks(out) == [] and records(out)[-1].op == "mix"
    assert out["uid"][:] == mix(sources, {"movie": 1, "tweet": 3}, rows=80)["uid"][:]
    assert len(mix(sources)) == sum(map(len, sources.values()))
    with pytest.raises(DataError, match="twice"):
        mix(sources, {"movie": 1, "tweet": 1}, rows=10_000)
    with pytest.raises(DataError, match="same names"):
        mix(sources, {"movie": 1})


def test_a_mixture_that_leaks_is_refused():
    one, two = genre("movie", 0), genre("movie", 1)
    two = two.remove_columns("uid")
    with pytest.raises(LeakageError):
        mix({"a": one, "b": add_uids(two, "again")})
