"""Diagnosis: every score against its reference library, the tests against enumeration, the edges."""
import itertools
import math
import random
import string
from collections import Counter
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor import diagnosis
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.diagnosis import (
    OUTCOMES,
    answer_scores,
    answer_tokens,
    auroc,
    calibration,
    checkpoint_dynamics,
    compare,
    dynamics,
    fit_temperature,
    frozen,
    holm,
    masked_bits,
    mcnemar,
    outcome_table,
    pair_spans,
    perplexity,
    plot_hard_rows,
    plot_reliability,
    probability_scores,
    randomization_test,
    resampled,
    seen_unseen,
    seqeval_modes,
    slices,
    span_outcomes,
    temper,
    text_scores,
    training_dynamics,
    worst_slice,
)
from dataset_tutor.evaluation import classification_metrics, ner_metrics
from dataset_tutor.models import load_pretrained

CASES = 1000


def class_rows(p, gold, names=("a", "b"), texts=None):
    "Rows as a trained model keeps them"
    return [dict(uid=str(i), text=texts[i] if texts else f"text {i}", gold=names[y],
                 predicted=dict(label=names[int(np.argmax(q))], probability=float(max(q)),
                                probabilities=dict(zip(names, map(float, q)))))
            for i, (q, y) in enumerate(zip(p, gold))]


def drawn(n, k=2, seed=0, sharp=1.0):
    "Probabilities, and a truth drawn from them made `sharp` times less sure"
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 2
    true = np.exp(z / sharp)
    true /= true.sum(1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(1, keepdims=True)
    gold = (true.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)
    return p, gold


def span(start, end, label):
    return dict(start=start, end=end, label=label)


def flat_spans(rng, length=12):
    "Flat spans on a text of so many characters"
    out, at = [], 0
    while at < length and rng.random() < 0.8:
        start = rng.randrange(at, length)
        end = rng.randrange(start, length) + 1
        out.append(span(start, end, rng.choice(["PER", "LOC"])))
        at = end
    return out


# scores of probabilities

def test_probability_scores_are_scikit_learns():
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, (20, CASES)) / 5, rng.integers(0, 2, (20, CASES))     # many ties
    positive[:2] = [[0], [1]]
    got = [auroc(s, y) for s, y in zip(scores.T, positive.T)]
    assert got == pytest.approx(roc_auc_score(positive, scores, average=None))
    for i in range(CASES):
        k = 2 + i % 2
        p, gold = drawn(int(rng.integers(1, 40)), k, seed=i)
        one = probability_scores(class_rows(p, gold, "abc"[:k]))
        assert one["log_loss"] == pytest.approx(log_loss(gold, p, labels=list(range(k))))
        if k == 2:    # ours sums over both classes
            assert one["brier"] == pytest.approx(2 * brier_score_loss(gold, p[:, 1], pos_label=1))
        else:
            assert one["brier"] == pytest.approx(((p - np.eye(k)[gold]) ** 2).sum(1).mean())


def test_multiclass_auroc_is_scikit_learns_mean_of_one_against_all():
    from sklearn.metrics import roc_auc_score
    seen = 0
    for i in range(CASES):
        k = 3 + i % 3
        p, gold = drawn(20 + i % 30, k, seed=i)
        if len(set(gold)) == k:      # scikit-learn refuses the others
            one = probability_scores(class_rows(p, gold, "abcde"[:k]))
            assert one["auroc"] == pytest.approx(roc_auc_score(gold, p, multi_class="ovr"))
            seen += 1
    assert seen > 0.8 * CASES


def test_calibration_errors_are_those_of_torchmetrics():
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    from dataset_tutor.balance import calibration_error
    found = []
    for i in range(CASES):
        k, bins = 2 + i % 4, 5 + i % 11
        p, gold = drawn(1 + i % 60, k, seed=i, sharp=1 + i % 3)
        theirs = multiclass_calibration_error(torch.tensor(p), torch.tensor(gold), k, n_bins=bins, norm="l1")
        found.append(calibration_error(p, gold, bins))
        assert found[-1] == pytest.approx(float(theirs), abs=1e-6)
    assert min(found) < 0.02 and max(found) > 0.5


def test_auroc_of_one_kind_is_not_a_number():
    assert np.isnan(auroc([0.1, 0.2], [1, 1]))


def test_a_calibrated_model_is_found_calibrated_and_a_bold_one_is_not():
    verdicts = [calibration(class_rows(*drawn(400, seed=s)), draws=300).calibrated for s in range(40)]
    assert np.mean(verdicts) > 0.85                 # the limit is passed once in twenty times
    bold = [calibration(class_rows(*drawn(400, seed=s, sharp=3.0)), draws=300) for s in range(10)]
    assert not any(c.calibrated for c in bold) and all(c.overconfident > 0 for c in bold)


def test_the_error_by_chance_is_what_a_loop_draws():
    from dataset_tutor.balance import calibration_error
    p, _ = drawn(60)
    rng = np.random.default_rng(1)
    sure = p.max(1)
    slow = [calibration_error(np.c_[sure, 1 - sure], (rng.random(60) > sure).astype(int)) for _ in range(800)]
    assert diagnosis._chance_error(sure, 10, 4000, 0).mean() == pytest.approx(np.mean(slow), rel=0.06)


class Kept(diagnosis.Fitted):
    "Only the rows of a model"

    def __init__(self, validation, test=()):
        self.rows = dict(validation=validation, test=list(test))


def test_the_temperature_is_the_one_that_was_drawn():
    t = fit_temperature(Kept(class_rows(*drawn(20000, 3, sharp=2.0), "abc")))
    assert t == pytest.approx(2.0, rel=0.06)


@given(st.floats(0.5, 4))
def test_tempering_changes_no_label_and_is_undone_by_its_inverse(t):
    rows = class_rows(*drawn(20, 3), "abc")
    soft = temper(rows, t)
    assert [r["predicted"]["label"] for r in soft] == [r["predicted"]["label"] for r in rows]
    assert all(sum(r["predicted"]["probabilities"].values()) == pytest.approx(1) for r in soft)
    again = temper(soft, 1 / t)
    there, back = ([r["predicted"]["probability"] for r in x] for x in (rows, again))
    assert back == pytest.approx(there, rel=1e-3)


@pytest.mark.parametrize("t", [0, -1, float("nan")])
def test_a_temperature_is_positive(t):
    with pytest.raises(DataError, match="not positive"):
        temper(class_rows(*drawn(3)), t)


def test_rows_without_probabilities_are_refused():
    with pytest.raises(DataError, match="no probabilities"):
        probability_scores([dict(uid="1", text="", gold="a", predicted=dict(label="a"))])
    with pytest.raises(DataError, match="no rows"):
        calibration([])


def test_resampled_agrees_with_the_fast_bootstrap():
    from dataset_tutor.evaluation import bootstrap_interval
    right = np.r_[np.ones(85), np.zeros(15)]
    slow, fast = resampled(np.mean, right, n_boot=2000), bootstrap_interval(right)
    assert slow == pytest.approx(fast, abs=0.015)


# paired tests

def mcnemar_by_hand(b, c):
    coins = Counter(sum(t) for t in itertools.product((0, 1), repeat=b + c))
    return sum(k for i, k in coins.items() if coins[i] <= coins[b]) / 2 ** (b + c)


@pytest.mark.parametrize("b, c", [(0, 0), (0, 5), (1, 5), (4, 4), (7, 3)])
def test_mcnemar_is_the_enumerated_coin(b, c):
    gold = [0] * (b + c + 3)
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    one = [right] * b + [wrong] * c + [right, wrong, right]
    two = [wrong] * b + [right] * c + [right, wrong, right]
    found = mcnemar(class_rows(one, gold), class_rows(two, gold))
    assert found[:2] == (b, c) and found.p == pytest.approx(mcnemar_by_hand(b, c))


def test_mcnemar_is_the_binomial_formula():
    "A thousand pairs of classifiers; the sum with exact whole numbers"
    rng = np.random.default_rng(0)
    for _ in range(CASES):
        n = int(rng.integers(1, 60))
        gold, one, two = rng.integers(0, 2, n), rng.integers(0, 2, n), rng.integers(0, 2, n)
        rows = [[dict(uid=i, gold=int(g), predicted=dict(label=int(y))) for i, (g, y) in enumerate(zip(gold, said))]
                for said in (one, two)]
        b, c = int(((one == gold) & (two != gold)).sum()), int(((one != gold) & (two == gold)).sum())
        tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1))
        assert mcnemar(*rows) == (b, c, pytest.approx(float(min(1, Fraction(2 * tail, 2 ** (b + c))))))


def test_predictions_for_other_rows_are_refused():
    rows = class_rows(*drawn(4))
    with pytest.raises(DataError, match="different rows"):
        mcnemar(rows, rows[::-1])
    with pytest.raises(DataError, match="different rows"):
        compare({"a": rows, "b": rows[:3]})
    with pytest.raises(DataError, match="cannot be paired"):
        randomization_test(classification_metrics([0, 1], [0, 1]), ner_metrics([[], []], [[], []]))


def test_randomisation_is_the_enumerated_one():
    "Six rows: all 64 ways to swap, against the drawn p"
    rng = random.Random(3)
    gold, one, two = ([flat_spans(rng) for _ in range(6)] for _ in range(3))
    a, b = ner_metrics(gold, one), ner_metrics(gold, two)
    seen, hits = abs(a["f1"] - b["f1"]), 0
    for swap in itertools.product((0, 1), repeat=6):
        x = ner_metrics(gold, [t if s else o for s, o, t in zip(swap, one, two)])["f1"]
        y = ner_metrics(gold, [o if s else t for s, o, t in zip(swap, one, two)])["f1"]
        hits += abs(x - y) >= seen - 1e-12
    assert randomization_test(a, b, draws=20000).p == pytest.approx(hits / 64, abs=0.02)


def test_randomisation_of_accuracy_is_mcnemar():
    p, gold = drawn(300)
    q, _ = drawn(300, seed=5)
    one, two = class_rows(p, gold), class_rows(0.4 * p + 0.6 * q, gold)
    exact = mcnemar(one, two).p
    a, b = (diagnosis._report_of(r) for r in (one, two))
    assert randomization_test(a, b, "accuracy", draws=20000).p == pytest.approx(exact, abs=0.02)


def holm_by_hand(p):
    "Reject in order while p <= level / (tests left); the smallest level at which each is rejected"
    out, order, worst = [0.0] * len(p), sorted(range(len(p)), key=lambda i: p[i]), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, p[i] * (len(p) - rank))
        out[i] = min(1.0, worst)
    return out


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm(p):
    assert holm(p) == pytest.approx(holm_by_hand(p))
    assert list(holm(dict(enumerate(p))).values()) == pytest.approx(holm_by_hand(p))


def test_compare_orders_models_and_corrects_for_all_pairs():
    p, gold = drawn(200)
    noise = np.random.default_rng(2).dirichlet([1, 1], 200)
    rows = {n: class_rows((1 - w) * p + w * noise, gold) for n, w in (("half", 0.6), ("best", 0.0), ("noise", 1.0))}
    table = compare(rows, "accuracy", draws=2000)
    assert len(table) == 3 and (table["difference"] >= 0).all() and (table["p_holm"] >= table["p"]).all()
    pairs = [mcnemar(rows[a], rows[b]).p for a, b in zip(table["first"], table["second"])]
    assert table["mcnemar"].tolist() == pairs and 0 < min(pairs) < 0.05
    assert table.iloc[0]["first"] == "best" and (table["low"] <= table["difference"]).all()
    with pytest.raises(DataError, match="no pair"):
        compare({"a": rows["best"]})


def test_taggers_that_know_different_types_can_be_compared():
    rng = random.Random(5)
    rows = [dict(uid=str(i), text="x" * 12, gold=flat_spans(rng), predicted=[]) for i in range(40)]
    perfect = [r | dict(predicted=r["gold"]) for r in rows]
    odd = [r | dict(predicted=[span(0, 1, "ORG")]) for r in rows]      # a type that nobody else has
    table = compare({"nothing": rows, "perfect": perfect, "odd": odd}, draws=500)
    assert table.iloc[0]["first"] == "perfect" and table.iloc[0]["difference"] == 1 and table.iloc[0]["p_holm"] < 0.05
    assert table.iloc[2]["difference"] == 0 and table.iloc[2]["p"] == 1 and "mcnemar" not in table


# slices

def weak_rows(n=400, seed=0, weak=0.4):
    "Rows whose errors gather where the text says so"
    rng = np.random.default_rng(seed)
    gold, kind = rng.integers(0, 2, n), rng.integers(0, 2, n)
    wrong = rng.random(n) < np.where(kind == 1, weak, 0.1)
    p = np.eye(2)[np.where(wrong, 1 - gold, gold)] * 0.8 + 0.1
    texts = [("weak " if k else "strong ") + "x" * int(rng.integers(1, 50)) for k in kind]
    return class_rows(p, gold, texts=texts)


BY = {"kind": lambda r: r["text"].split()[0], "length": lambda r: len(r["text"]),
      "chance": lambda r: f"uid {int(r['uid']) % 5}"}


def test_slices_find_a_planted_weakness_and_little_else():
    table = slices(weak_rows(), BY)
    assert (table.iloc[0]["by"], table.iloc[0]["part"]) == ("kind", "weak")
    assert table.iloc[0]["p_holm"] < 0.01 and (table["low"] <= table["score"]).all()
    assert (table.loc[table["by"] == "chance", "p_holm"] > 0.01).all()


def test_permutation_p_of_slices_are_uniform_without_a_weakness():
    p = [slices(weak_rows(150, s, weak=0.1), {"kind": BY["kind"]}, draws=400)["p"][0] for s in range(60)]
    assert np.mean(np.array(p) < 0.05) <= 0.15 and 0.35 < np.mean(p) < 0.7


def test_the_worst_slice_is_confirmed_on_rows_it_was_not_found_on():
    found = worst_slice(Kept(weak_rows(seed=1), weak_rows(seed=2)), BY)
    assert "weak" in found.part and found.confirmed < -0.1 and found.p < 0.05 and found.tried > 5


def test_slicing_columns_and_errors():
    import datasets
    rows = weak_rows(60)
    ds = datasets.Dataset.from_dict(dict(uid=[r["uid"] for r in rows], source=["x", "y"] * 30))
    assert set(slices(rows, "source", ds=ds)["part"]) == {"x", "y"}
    with pytest.raises(DataError, match="cannot be sliced"):
        slices(rows, "nowhere")
    with pytest.raises(DataError, match="no part has"):
        worst_slice((rows, rows), BY, least=1000)
    assert slices(rows, {"all": lambda r: 1}).empty          # nothing to compare with


# entities

def test_outcomes_are_nervaluates():
    "strict, exact and partial, on random spans that touch and overlap"
    from nervaluate import Evaluator
    rng, seen = random.Random(0), Counter()
    for _ in range(CASES):
        gold, pred = flat_spans(rng), flat_spans(rng)
        lines = span_outcomes([dict(uid="1", text="x" * 12, gold=gold, predicted=pred)])
        n = Counter(lines["outcome"])
        seen += n
        sides = [[[span(s["start"], s["end"] - 1, s["label"]) for s in side]] for side in (gold, pred)]
        ref = Evaluator(*sides, tags=["PER", "LOC"], loader="dict").evaluate()["overall"]
        exact = n["correct"] + n["type"]
        expected = dict(strict=(n["correct"], n["type"] + n["partial"], 0), exact=(exact, n["partial"], 0),
                        partial=(exact, 0, n["partial"]))
        for scheme, (correct, incorrect, partial) in expected.items():
            r = ref[scheme]
            assert (r.correct, r.incorrect, r.partial, r.missed, r.spurious) == (
                correct, incorrect, partial, n["missed"], n["spurious"]), (scheme, gold, pred)
    assert set(seen) == set(OUTCOMES)


@given(st.integers(0, 10**6))
def test_each_span_is_used_once_and_turned_round_it_is_the_same(seed):
    rng = random.Random(seed)
    gold, pred = flat_spans(rng), flat_spans(rng)
    pairs = pair_spans(gold, pred)
    for side, given_ in ((0, gold), (1, pred)):
        used = [p[side] for p in pairs if p[side]]
        assert sorted(map(str, used)) == sorted(map(str, given_))
    assert pair_spans([], []) == []


def test_outcome_table_counts_per_type():
    rows = [dict(uid="1", text="Anna met Bob in New York", gold=[span(0, 4, "PER"), span(16, 24, "LOC")],
                 predicted=[span(0, 4, "LOC"), span(9, 12, "PER"), span(16, 19, "LOC")])]
    table = outcome_table(span_outcomes(rows))
    assert table.loc["PER"].to_dict() == dict(correct=0, type=1, partial=0, missed=0, spurious=1)
    assert table.loc["LOC", "partial"] == 1 and table.loc["all"].sum() == 3
    assert outcome_table(span_outcomes([])).loc["all"].sum() == 0


def test_seqeval_modes_are_seqevals():
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2
    rng, tags = random.Random(0), ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    for _ in range(CASES):
        gold, pred = ([[rng.choice(tags) for _ in range(6)] for _ in range(2)] for _ in range(2))
        gold[0][0] = "B-PER"
        modes = seqeval_modes(gold, pred)["f1"]
        assert modes["default"] == pytest.approx(f1_score(gold, pred, zero_division=0))
        assert modes["strict"] == pytest.approx(f1_score(gold, pred, mode="strict", scheme=IOB2, zero_division=0))
    assert seqeval_modes([["O"]], [["O"]]).to_numpy().sum() == 0
    with pytest.raises(DataError, match="differ in number"):
        seqeval_modes([["O"]], [["O", "O"]])


def test_seen_and_unseen():
    text = "Anna likes Bob in Paris"
    row = dict(uid="1", text=text, gold=[span(0, 4, "PER"), span(11, 14, "PER"), span(18, 23, "LOC")],
               predicted=[span(0, 4, "PER")])
    table = seen_unseen([row] * 3, [("anna and Paris", [span(0, 4, "PER"), span(9, 14, "PER")])])
    assert table["mentions"].tolist() == [3, 3, 3] and table["recall"].tolist() == [1.0, 0.0, 0.0]
    assert seen_unseen([row], [])["recall"].isna().tolist() == [True, True, False]


# training dynamics

def test_dynamics_by_hand():
    p = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.2, 0.8]]])
    table = dynamics(p, [0, 0], ["x", "y"])
    assert table["confidence"].tolist() == pytest.approx([0.8, 0.3]) and table["correctness"].tolist() == [1.0, 0.0]
    assert table["variability"].tolist() == pytest.approx([0.1, 0.1])
    with pytest.raises(DataError, match="epochs, rows, classes"):
        dynamics(p, [0])


def review_rows(n=40):
    import datasets
    texts = [f"film {i} was {'great fun' if i % 2 else 'dull and bad'}" for i in range(n)]
    labels = datasets.ClassLabel(names=["neg", "pos"])
    parts = ["train"] * (n // 2) + ["validation"] * (n // 4) + ["test"] * (n // 4)
    return datasets.Dataset.from_dict(
        dict(uid=[str(i) for i in range(n)], text=texts, label=[i % 2 for i in range(n)], split=parts),
        features=datasets.Features(dict(uid=datasets.Value("string"), text=datasets.Value("string"), label=labels,
                                        split=datasets.Value("string"))))


def test_frozen_vectors_learn_and_need_a_split():
    ds = review_rows()
    run = frozen(ds)
    assert run.metrics["accuracy"] == 1 and run.predict("dull and bad")[0]["label"] == "neg" and run.predict([]) == []
    assert [r["uid"] for r in run.rows["test"]] == [str(i) for i in range(30, 40)] and "frozen" in repr(run)
    with pytest.raises(LeakageError):
        frozen(ds.remove_columns("split"))


def test_training_is_watched_on_training_rows_only_and_repeats():
    ds = review_rows()
    one, two = training_dynamics(ds, epochs=3, seed=1), training_dynamics(ds, epochs=3, seed=1)
    assert one.equals(two) and one["uid"].tolist() == [str(i) for i in range(20)]
    with pytest.raises(LeakageError):
        training_dynamics(ds.remove_columns("split"))


def test_saved_epochs_are_read_in_their_order(tmp_path):
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from dataset_tutor.models import load_pretrained
    ds, folders = review_rows(8), [tmp_path / "checkpoint-1", tmp_path / "checkpoint-2"]
    torch.manual_seed(0)
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                        id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1})
    nets = [BertForSequenceClassification(config).eval() for _ in folders]
    for net, folder in zip(nets, folders):
        net.save_pretrained(folder)
    tokenizer = load_pretrained("AutoTokenizer", "en-small")
    table = checkpoint_dynamics(folders, ds, tokenizer="en-small", batch_size=3, device="cpu")
    batch = tokenizer(ds["text"][:], padding=True, return_tensors="pt")
    with torch.inference_mode():
        own = [net(**batch).logits.softmax(-1)[torch.arange(8), torch.tensor(ds["label"][:])] for net in nets]
    assert table["confidence"].tolist() == pytest.approx(torch.stack(own).mean(0).tolist(), abs=1e-4)
    other = ds.rename_column("label", "old").add_column("label", ["good", "bad"] * 4).class_encode_column("label")
    with pytest.raises(DataError, match="the model knows neg, pos"):
        checkpoint_dynamics(folders, other, tokenizer="en-small", device="cpu")
    with pytest.raises(DataError, match="no saved epoch"):
        checkpoint_dynamics([], ds)


def test_masked_bits_prefer_what_is_written():
    bits, pieces = masked_bits(["今天天气很好", "今天天汽很好", ""])
    assert bits[0] < bits[1] and bits[2] == 0 and pieces.tolist() == [6, 6, 0]


def test_the_writer_is_asked_with_its_copy(tmp_path):
    for kind in ("AutoModelForMaskedLM", "AutoTokenizer"):
        load_pretrained(kind, "zh-small").save_pretrained(tmp_path)
    texts = ["今天天气很好", "房间很干净，服务也很好。"]   # fine weather; a clean room
    own, plain = masked_bits(texts)[0], masked_bits(texts, tmp_path)[0]   # a folder is asked as any other model
    assert (own < plain).all()
    assert np.allclose(masked_bits(texts, batch_size=5)[0], own, rtol=0.02)


# texts

ALPHABETS = {"en": string.ascii_letters + "  ,.!'1", "zh": "的一是不了人我在有他这WiFi， 。1"}


def random_texts(rng, lang, n, least=0):
    return ["".join(rng.choice(ALPHABETS[lang]) for _ in range(rng.randrange(least, 25))) for _ in range(n)]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_text_scores_are_sacrebleus_and_rouge_scores(lang):
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer
    rng = random.Random(0)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for _ in range(CASES):
        ref = random_texts(rng, lang, 2, least=1)
        more = random_texts(rng, lang, 2)
        hyp = [r if rng.random() < 0.3 else r[: rng.randrange(len(r) + 1)] + t for r, t in zip(ref, more)]
        got = text_scores(hyp, ref, lang=lang)
        assert 100 * got["bleu"] == pytest.approx(
            sacrebleu.corpus_bleu(hyp, [ref], tokenize="zh" if lang == "zh" else "13a").score)
        assert 100 * got["chrf"] == pytest.approx(sacrebleu.corpus_chrf(hyp, [ref]).score)
        if lang == "en":        # on plain English the tokeniser is the package's own
            per = [scorer.score(r, h) for r, h in zip(ref, hyp)]
            for k in ("rouge1", "rouge2", "rougeL"):
                assert got[k] == pytest.approx(np.mean([p[k].fmeasure for p in per]))


def test_chinese_rouge_is_rouge_of_spaced_characters():
    "Characters mapped to Latin words, scored by the package as it is"
    from rouge_score.rouge_scorer import RougeScorer
    rng, scorer = random.Random(1), RougeScorer(["rouge1", "rouge2", "rougeL"])
    spaced = lambda t: " ".join(f"c{ord(c)}" for c in t)  # noqa: E731
    for _ in range(CASES):
        ref, hyp = ("".join(rng.choice("的一是不了人我在有他") for _ in range(rng.randrange(1, 12))) for _ in range(2))
        got, want = text_scores([hyp], [ref], lang="zh"), scorer.score(spaced(ref), spaced(hyp))
        assert [got[k] for k in want] == pytest.approx([v.fmeasure for v in want.values()])


def test_text_reports_have_intervals_and_tests():
    a = text_scores(["the cat sat", "a dog"], ["the cat sat down", "a dog ran"])
    b = text_scores(["the cat", "a"], ["the cat sat down", "a dog ran"])
    for name in a.headline:
        low, high = a.interval(name, n_boot=50)[1:]
        assert low - 1e-9 <= a[name] <= high + 1e-9
    assert a.minus(b, n_boot=50).value > 0 and 0 < randomization_test(a, b, draws=99).p <= 1
    assert text_scores(["房间很干净"], ["房间很干净"])["rouge1"] == 1
    with pytest.raises(DataError, match="2 texts for 1"):
        text_scores(["a", "b"], ["a"])


def squad_normalize(s):
    "As in SQuAD's evaluate-v1.1.py (Rajpurkar et al. 2016), for ASCII"
    import re
    s = "".join(ch for ch in s.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())


def squad_f1(pred, gold):
    p, g = squad_normalize(pred).split(), squad_normalize(gold).split()
    same = sum((Counter(p) & Counter(g)).values())
    return float(p == g) if not p or not g else 0.0 if not same else 2 * same / (len(p) + len(g))


def test_answers_are_scored_as_squad_does():
    rng, words = random.Random(0), ["the", "a", "an", "Paris", "of", "tower", "1889", "it's", "(x)", "-", "A."]
    for _ in range(CASES):
        pred, gold = (" ".join(rng.choice(words) for _ in range(rng.randrange(0, 5))) for _ in range(2))
        got = answer_scores([pred], [gold])
        assert got["exact"] == float(squad_normalize(pred) == squad_normalize(gold)), (pred, gold)
        assert got["f1"] == pytest.approx(squad_f1(pred, gold)), (pred, gold)


def test_chinese_answers_are_bags_of_characters():
    rng = random.Random(2)
    for _ in range(CASES):
        pred, gold = ("".join(rng.choice("北京大学在") for _ in range(rng.randrange(1, 6))) for _ in range(2))
        same = sum((Counter(pred) & Counter(gold)).values())
        got = answer_scores([f"“{pred}”。"], [gold])
        assert got["f1"] == pytest.approx(2 * same / (len(pred) + len(gold))) and got["exact"] == (pred == gold)


def test_answer_edges():
    assert answer_scores(["", "x"], [[], []])["exact"] == 0.5             # unanswerable: only "" is right
    assert answer_scores(["Paris"], [["London", "paris"]])["exact"] == 1
    assert answer_tokens("在WiFi房 2") == ["在", "wifi", "房", "2"]
    with pytest.raises(DataError, match="0 answers"):
        answer_scores([], [])


def test_perplexity_is_the_exponential_of_the_mean_cross_entropy():
    import torch
    logits, y = torch.randn(30, 7, generator=torch.manual_seed(0)), torch.arange(30) % 7
    loss = torch.nn.functional.cross_entropy(logits, y, reduction="none").double().numpy() / np.log(2)
    got = perplexity([loss[:10].sum(), loss[10:].sum()], ["x" * 10, "中" * 20], [10, 20])
    assert got["per_piece"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y).exp()), rel=1e-5)
    assert got["per_character"] == pytest.approx(got["per_piece"])
    assert got["bits_per_byte"] == pytest.approx(got["bits_per_character"] * 30 / 70)
    with pytest.raises(DataError, match="1 numbers for 0"):
        perplexity([1.0], [])


def test_perplexity_is_that_of_torchmetrics():
    import torch
    from torchmetrics.functional.text import perplexity as reference
    luck = torch.manual_seed(0)
    for i in range(CASES):
        logits = 3 * torch.randn(3, 1 + i % 9, 5, generator=luck, dtype=torch.float64)
        wanted = torch.randint(5, logits.shape[:2], generator=luck)
        bits = -logits.log_softmax(-1).gather(2, wanted[:, :, None])[:, :, 0].sum(1).numpy() / np.log(2)
        ours = perplexity(bits, ["中文"] * 3, [logits.shape[1]] * 3)["per_piece"]
        assert ours == pytest.approx(float(reference(logits, wanted)), rel=1e-6)


# pictures and packages

def test_pictures_say_what_they_show():
    bold = plot_reliability({"a <b>": calibration(class_rows(*drawn(300, sharp=3.0)), draws=50)})
    assert "too sure" in bold.alt
    table = dynamics(np.random.default_rng(0).dirichlet([1, 1], (4, 50)), np.zeros(50, int))
    assert "rows are wrong in most epochs" in plot_hard_rows(table, np.arange(50) < 5).alt
    with pytest.raises(DataError, match="nothing to plot"):
        plot_reliability({})


def test_an_absent_package_is_named(monkeypatch):
    import sys
    diagnosis._scorers.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(DataError, match=r"dataset-tutor\[evaluation\]"):
        text_scores(["a"], ["a"])
    diagnosis._scorers.cache_clear()


def test_hostile_texts_and_empty_ones():
    texts = ["", "👩‍👧", "é\u0301", "ＡＢ", "<script>", "\x00", "a" * 2000]
    got = text_scores(texts, texts[::-1])
    assert all(0 <= got[k] <= 1 for k in got.headline) and "<pre>" in got._repr_html_()
    assert isinstance(answer_scores(texts, texts)["exact"], float)
    rows = [dict(uid=str(i), text=t, gold=[], predicted=[]) for i, t in enumerate(texts)]
    assert span_outcomes(rows).empty and isinstance(slices(rows * 6, least=2), pd.DataFrame)
