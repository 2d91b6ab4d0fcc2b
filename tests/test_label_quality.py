"""Labels are judged by models that have seen neither the row nor a relative; decisions reach the rows unchanged."""
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import ner_en, reviews_en
from dataset_tutor.core import DataError, LeakageError, add_uids, dropped, records, story
from dataset_tutor.distribution import split
from dataset_tutor.label_quality import (
    CLASS_ERRORS,
    SPAN_ERRORS,
    OutOfFold,
    apply_review,
    class_thresholds,
    confident_joint,
    correct_label_issues,
    detection,
    drop_label_issues,
    label_issues,
    label_quality,
    likely_class,
    noise_rates,
    out_of_fold,
    outliers,
    plant_label_errors,
    planted,
    review_queue,
)
from dataset_tutor.tagging import check_spans

SPAN = [{"start": Value("int64"), "end": Value("int64"), "label": Value("string")}]


def classes(texts, labels, names=("no", "yes"), **more):
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names)),
                         **{k: Value("string") for k in more}})
    return add_uids(Dataset.from_dict({"text": texts, "label": labels, **more}, features=features), source="t")


def entities(texts, spans):
    features = Features({"text": Value("string"), "spans": SPAN})
    return add_uids(Dataset.from_dict({"text": texts, "spans": spans}, features=features), source="t")


def by_word(word):
    "A model that knows one word. It keeps what it was taught, for the tests to look at."
    def model(train, texts):
        model.seen.append((set(train["uid"]), list(texts)))
        return np.array([[0.1, 0.9] if word in t else [0.9, 0.1] for t in texts])
    model.seen = []
    return model


def judged(probs, given, task="classification", copies=None):
    n, probs = len(given), np.asarray(probs, dtype=float)
    return OutOfFold(task, [f"c{i}" for i in range(probs.shape[1])], [f"u{i}" for i in range(n)], np.arange(n),
                     np.zeros((n, 2), dtype=int), np.asarray(given), probs, np.zeros(n, dtype=int),
                     np.arange(n) if copies is None else np.asarray(copies))


@pytest.fixture(scope="module")
def reviews():
    return reviews_en()(load_sample("reviews-en", rows=240, seed=0, margin=1.0))


@pytest.fixture(scope="module")
def tweets():
    rows = ner_en()(load_sample("ner-en", merge=True))
    return rows.select([i for i, s in enumerate(rows["spans"]) if s][:120])


WORDS = "red green blue black white brown pink grey gold plum".split()
TEXTS = [f"{a} {b} {'good' if i % 2 else 'bad'} {i * 7919}" for i, (a, b) in
         enumerate((a, b) for a in WORDS for b in WORDS[:6])]


# planting

@pytest.mark.parametrize("kind", [k for k in CLASS_ERRORS if k != "copies"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5])
def test_planted_classes_are_as_many_as_asked(kind, rate):
    rows = classes(TEXTS, [i % 2 for i in range(60)])
    out = plant_label_errors(rows, kind=kind, rate=rate, seed=3)
    wrong = [a != b for a, b in zip(out["label"], out["true_label"])]
    assert sum(wrong) == pytest.approx(rate * 60, abs=2) and out["true_label"][:] == rows["label"][:]
    assert out["text"][:] == rows["text"][:] and out.features["label"] == rows.features["label"]
    assert records(out)[-1].notes == {"rows_made_wrong": sum(wrong)}


def test_planted_errors_in_copies_are_in_copies():
    rows = classes([*TEXTS, *(t + "!" for t in TEXTS[:20])], [i % 2 for i in range(60)] + [i % 2 for i in range(20)])
    out = plant_label_errors(rows, kind="copies", rate=0.5)
    wrong = [i for i, (a, b) in enumerate(zip(out["label"], out["true_label"])) if a != b]
    assert len(wrong) == 10 and all(i >= 60 for i in wrong)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["a", "Bo", "c'd", "北京", "😀", "é", "x1", "ﬁ", "１２"]), min_size=1, max_size=9),
       st.sampled_from(SPAN_ERRORS), st.integers(0, 99))
def test_planted_spans_are_legal(words, kind, seed):
    text = " ".join(words)
    end = len(words[0])
    rows = entities([text, "Ann saw Rome"], [[dict(start=0, end=end, label="PER")],
                                             [dict(start=0, end=3, label="PER"), dict(start=8, end=12, label="LOC")]])
    out = plant_label_errors(rows, kind=kind, rate=0.5, seed=seed)
    for t, s in zip(out["text"], out["spans"]):
        check_spans(t, s, flat=True)
    assert out["true_spans"][:] == rows["spans"][:]


def test_training_rows_alone_are_made_wrong(reviews):
    rows = split(reviews, seed=0)
    out = plant_label_errors(rows, rate=0.5)
    wrong = {p for p, a, b in zip(out["split"], out["label"], out["true_label"]) if a != b}
    assert wrong == {"train"}


# out of fold

def test_a_model_never_sees_the_row_or_its_relatives():
    texts = [*TEXTS, TEXTS[0] + ".", "a child of the second", "a group of its own A", "another of that group B"]
    rows = classes(texts, [i % 2 for i in range(len(texts))], group=[None] * 62 + ["g", "g"],
                   parent=[None] * 61 + ["?"] + [None] * 2)
    uids = rows["uid"][:]
    rows = rows.map(lambda r: {"parent": uids[1] if r["parent"] else None})
    model = by_word("good")
    found = out_of_fold(rows, model, rounds=1)
    of = dict(zip(texts, uids))
    for taught, asked in model.seen:
        asked = {of[t] for t in asked}
        assert not taught & asked and len(taught) + len(asked) == len(rows)
        for family in ({uids[0], uids[60]}, {uids[1], uids[61]}, {uids[62], uids[63]}):
            assert family <= taught or family <= asked
    assert sum(len(a) for _, a in model.seen) == len(rows) and len(found) == len(rows)
    assert found.fold[0] == found.fold[60] and found.copies[60] == 0


@pytest.mark.parametrize("task", ["classes", "spans"])
def test_from_the_queue_through_a_session_into_the_rows(task, tmp_path):
    "The way of the chapter: issues, queue, one decision for each item, the journal read again, rows with a record"
    from dataset_tutor.annotation import Session
    from dataset_tutor.guidelines import Guideline, Label

    if task == "classes":
        rows = classes(TEXTS, [i % 2 for i in range(60)])
        noisy, guide = plant_label_errors(rows, rate=0.1), Guideline("g", "classification", (Label("no"), Label("yes")))
        issues = label_issues(noisy, out_of_fold(noisy, by_word("good"), rounds=1, grouped=False))
        right, suggest = {u: "yes" if y else "no" for u, y in zip(rows["uid"], rows["label"])}, "suggested"
    else:
        rows = entities(["Ann saw Rome", "京京来了", "no names"], [[dict(start=0, end=3, label="PER")],
                                                                 [dict(start=0, end=2, label="PER")], []])
        noisy, guide = rows, Guideline("g", "ner", (Label("PER"), Label("LOC")))
        issues = pd.DataFrame([dict(uid=u, given="x", suggested="y", quality=q)
                               for u, q in zip(rows["uid"][1::-1], (0.1, 0.2))])
        right = dict(zip(rows["uid"], [[*rows[0]["spans"], dict(start=8, end=12, label="LOC")], [], []]))
        suggest = None
    queue = review_queue(noisy, issues)
    assert queue["uid"][:] == list(issues["uid"])
    with Session(queue, guide, tmp_path / "j.jsonl", order="as is", suggest=suggest) as session:
        seen = []
        while session.current:
            seen.append(session.current["uid"])
            if len(seen) == 1 and suggest:
                assert session.suggestion == queue[0]["suggested"]
            session.decide(right[seen[-1]])
    assert seen == queue["uid"][:]
    with Session(queue, guide, tmp_path / "j.jsonl", order="as is") as again:
        mended = apply_review(noisy, decisions=again.votes())
    column = "label" if task == "classes" else "spans"
    want = [right[u] if u in seen else v for u, v in zip(noisy["uid"], noisy[column])]
    names = ["no", "yes"]
    assert mended[column][:] == [names.index(v) if v in names else v for v in want]
    assert records(mended)[-1].notes["decided"] == len(seen) > 1


def test_validation_and_test_rows_are_judged_and_not_learned_from(reviews):
    rows, model = split(reviews, seed=0), by_word("good")
    out_of_fold(rows, model, rounds=1)
    train = {u for u, p in zip(rows["uid"], rows["split"]) if p == "train"}
    assert all(taught <= train for taught, _ in model.seen)
    assert sum(len(a) for _, a in model.seen) == len(rows)


def test_rows_without_a_label_are_judged_and_not_learned_from():
    labels = [i % 2 for i in range(60)]
    labels[5] = labels[6] = -1
    rows, model = classes(TEXTS, labels), by_word("good")
    found = out_of_fold(rows, model, rounds=1)
    assert not any({rows["uid"][5], rows["uid"][6]} & taught for taught, _ in model.seen)
    assert np.isnan(found.own()[[5, 6]]).all() and not np.isnan(found.own()[:5]).any()
    assert not set(label_issues(rows, found)["uid"]) & {rows["uid"][5], rows["uid"][6]}


def test_doubted_rows_are_left_out_of_the_second_round():
    labels = [i % 2 for i in range(60)]
    labels[8] = 1
    rows, model = classes(TEXTS, labels), by_word("good")
    out_of_fold(rows, model, rounds=2)
    assert sum(rows["uid"][8] in taught for taught, _ in model.seen) == 4   # of the first round only


# a test is audited

def in_parts(n=60, wrong=(), copies=()):
    "Sixty rows and copies of some; the last third is the test, and copies are training rows."
    texts = [*TEXTS[:n], *(TEXTS[i] + "." for i in copies)]
    labels = [(i + (i in wrong)) % 2 for i in range(n)] + [i % 2 for i in copies]
    return classes(texts, labels, split=["train"] * 40 + ["test"] * (n - 40) + ["train"] * len(copies))


def test_a_part_is_judged_once_by_a_model_of_all_training_rows_but_its_relatives():
    rows, model = in_parts(copies=(41, 50)), by_word("good")
    found = out_of_fold(rows, model, part="test", rounds=1)
    (taught, asked), = model.seen
    uids = rows["uid"][:]
    assert taught == set(uids[:40]) and set(TEXTS[40:]) <= set(asked)
    assert found.uids == uids[40:60] and len(found) == 20 and (found.fold == -1).all()
    np.testing.assert_array_equal(found.row, np.arange(20))
    np.testing.assert_array_equal(found.copies, np.arange(20))
    np.testing.assert_array_equal(found.own(), 0.9)


def test_doubted_training_rows_teach_nothing_to_the_model_that_judges_a_part():
    rows, model = in_parts(wrong=(8,)), by_word("good")
    out_of_fold(rows, model, part="test", rounds=2)
    assert len(model.seen) == 7      # five folds and the test, then the test again
    assert rows["uid"][8] in model.seen[0][0] and model.seen[-1][0] == set(rows["uid"][:40]) - {rows["uid"][8]}


def test_issues_of_a_part_are_those_of_its_rows():
    rows = in_parts(wrong=(3, 45, 58))
    found = out_of_fold(rows, by_word("good"), part="test", rounds=1)
    issues = label_issues(rows, found, part="test")
    assert set(issues["uid"]) == {rows["uid"][45], rows["uid"][58]}
    tested = rows.select(range(40, 60))
    pd.testing.assert_frame_equal(issues, label_issues(tested, found))
    assert set(label_issues(rows, model=by_word("good"), part="test", rounds=1)["uid"]) == set(issues["uid"])
    with pytest.raises(DataError, match="rows that were judged"):
        label_issues(rows, found)


def test_near_copies_within_a_part_are_numbered_within_it():
    rows = classes([*TEXTS[:40], TEXTS[50], TEXTS[51], TEXTS[50] + "."], [i % 2 for i in range(40)] + [0, 1, 0],
                   split=["train"] * 40 + ["test"] * 3)
    assert out_of_fold(rows, by_word("good"), part="test", rounds=1).copies.tolist() == [0, 1, 0]


@pytest.mark.parametrize("task", ["classes", "spans"])
def test_default_models_audit_a_test(task, reviews, tweets):
    rows = split(reviews if task == "classes" else tweets, seed=0)
    tested = [i for i, p in enumerate(rows["split"]) if p == "test"]
    found = out_of_fold(rows, part="test", seed=1)
    assert found.uids == rows.select(tested)["uid"][:] and np.allclose(found.probs.sum(1), 1)
    assert set(found.row) == set(range(len(tested))) and np.nanmean(found.own() > 0.5) > 0.55
    assert set(label_issues(rows, found, part="test")["uid"]) <= set(found.uids)


def test_only_rows_of_a_part_that_is_there_can_be_audited(reviews):
    for rows, part in ((reviews, "test"), (in_parts(), "dev")):
        with pytest.raises(DataError, match="no row is in the part"):
            out_of_fold(rows, by_word("good"), part=part)
    with pytest.raises(DataError, match="out of fold"):
        out_of_fold(in_parts(), by_word("good"), part="train")


def test_a_tagger_may_answer_with_spans():
    texts = [f"{w} met {v} in Rome" for w in ("Ann", "Bob", "Eve", "Max") for v in ("Kim", "Lee", "Sue")]
    true = [dict(start=0, end=3, label="PER"), dict(start=8, end=11, label="PER"), dict(start=15, end=19, label="LOC")]
    given = [true[:2] + [dict(start=15, end=19, label="PER")] if i == 4 else true[1:] if i == 7 else true
             for i in range(12)]

    def tagger(train, texts):
        return [[s | dict(probability=0.9) for s in true] if "Sue" not in t else [] for t in texts]

    rows = entities(texts, given)
    found = out_of_fold(rows, tagger, rounds=1, grouped=False)
    words = found.probs[found.row == 0]
    np.testing.assert_allclose(words.sum(1), 1)
    assert [found.names[i] for i in words.argmax(1)] == ["B-PER", "O", "B-PER", "O", "B-LOC"]
    np.testing.assert_allclose(words.max(1), [0.9, 1, 0.9, 1, 0.9])
    assert set(found.probs[found.row == 2][:, found.names.index("O")]) == {1.0}      # no spans: all outside
    said = label_issues(rows, found).set_index("uid")
    assert said.loc[rows["uid"][4], ["kind", "suggested"]].tolist() == ["type", "Rome (LOC)"]
    assert said.loc[rows["uid"][7], ["kind", "suggested"]].tolist() == ["missing", "Eve (PER)"]
    with pytest.raises(DataError, match="answered 1 times"):
        out_of_fold(rows, lambda train, texts: [[]], rounds=1, grouped=False)


def test_same_seed_same_numbers_and_order_of_rows_does_not_leak(reviews):
    a, b = (out_of_fold(reviews, seed=1) for _ in range(2))
    np.testing.assert_array_equal(a.probs, b.probs)
    assert a.probs.shape == (len(reviews), 2) and np.allclose(a.probs.sum(1), 1)


def test_planted_errors_are_found(reviews):
    noisy = plant_label_errors(reviews, rate=0.1, seed=0)
    found = out_of_fold(noisy)
    scores = detection(planted(noisy, found), found.own())
    assert scores["wrong"] == 24 or scores["wrong"] == round(0.1 * len(reviews))
    assert scores["auroc"] > 0.75 and scores["precision"] > 0.25


def test_planted_entities_are_found(tweets):
    noisy = plant_label_errors(tweets, rate=0.2, seed=0)
    found = out_of_fold(noisy)
    assert detection(planted(noisy, found), found.own())["auroc"] > 0.75
    issues = label_issues(noisy, found)
    assert set(issues["kind"]) <= {"boundary", "type", "missing", "spurious", "boundary and type"}
    assert issues["quality"].is_monotonic_increasing
    for r in issues.to_dict("records"):
        for s, said in ((r["old"], r["given"]), (r["new"], r["suggested"])):
            assert said == (f"{r['text'][s['start']:s['end']]} ({s['label']})" if s else "")


def test_a_tagger_of_ones_own():
    texts = [f"{w} met {v} in Rome" for w in ("Ann", "Bob", "Eve", "Max") for v in ("Kim", "Lee", "Sue")]
    spans = [[dict(start=0, end=3, label="PER"), dict(start=8, end=11, label="PER"),
              dict(start=15, end=19, label="PER" if i == 4 else "LOC")] for i in range(12)]

    def model(train, texts):
        sure = np.full((5, 5), 0.02)
        for at, tag in enumerate([3, 0, 3, 0, 1]):   # O, B-LOC, I-LOC, B-PER, I-PER
            sure[at, tag] = 0.92
        return [sure for _ in texts]

    rows = entities(texts, spans)
    issues = label_issues(rows, model=model, folds=3, near=1.0)
    assert issues["uid"].tolist() == [rows["uid"][4]] and issues["kind"].tolist() == ["type"]
    assert issues.loc[0, "suggested"] == "Rome (LOC)"


# confident learning

@settings(max_examples=60)
@given(st.integers(2, 5), st.integers(5, 40), st.integers(0, 999))
def test_the_joint_counts_every_confident_row_once(k, n, seed):
    rng = np.random.default_rng(seed)
    p, y = rng.dirichlet(np.ones(k), n), rng.integers(0, k, n)
    joint = confident_joint(judged(p, y))
    likely = likely_class(p, y)
    limit = [p[y == c, c].mean() if (y == c).any() else 1.0 for c in range(k)]
    for i in range(n):
        high = [c for c in range(k) if p[i, c] >= limit[c] - 1e-9]
        assert likely[i] == (max(high, key=lambda c: p[i, c]) if high else y[i])
        joint.iloc[y[i], likely[i]] -= bool(high)
    assert not joint.to_numpy().any()
    assert noise_rates(judged(p, y)).between(0, 1).all()


@settings(max_examples=30)
@given(st.integers(2, 5), st.integers(0, 999))
def test_thresholds_and_joint_are_those_of_cleanlab(k, seed):
    from cleanlab.count import compute_confident_joint, estimate_latent, get_confident_thresholds

    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(0, k, 300)]
    p = np.array([rng.dirichlet(np.ones(k) + 3 * np.eye(k)[c]) for c in y])
    y = np.where(rng.random(len(y)) < 0.2, rng.integers(0, k, len(y)), y)
    if len(np.unique(y)) < k:
        return
    found = judged(p, y)
    np.testing.assert_allclose(class_thresholds(p, y), get_confident_thresholds(y, p))
    joint = confident_joint(found).to_numpy()
    assert (joint == compute_confident_joint(y, p, calibrate=False)).all()
    theirs = 1 - np.diag(estimate_latent(compute_confident_joint(y, p, calibrate=True), y)[1])
    np.testing.assert_allclose(noise_rates(found), theirs, atol=0.05)


def test_the_joint_finds_the_noise_of_a_perfect_model():
    true = np.repeat([0, 1, 2], 100)
    given_ = true.copy()
    given_[:20] = 1
    p = np.full((300, 3), 0.02) + 0.94 * np.eye(3)[true]
    joint = confident_joint(judged(p, given_))
    assert joint.to_numpy().tolist() == [[80, 0, 0], [20, 100, 0], [0, 0, 100]]
    assert noise_rates(judged(p, given_)).round(3).tolist() == [0.2, 0.0, 0.0]


def test_copies_vote():
    p = np.array([[0.5, 0.5]] * 3 + [[0.9, 0.1]] * 10 + [[0.1, 0.9]] * 10)
    y = [0, 0, 1] + [0] * 10 + [1] * 10
    twins = [0, 0, 0, *(i - i % 2 for i in range(3, 23))]
    heard, alone = (label_quality(judged(p, y, copies=twins), copies=c) for c in (True, False))
    assert heard[2, 1] < alone[2, 1] - 0.1 and np.allclose(heard.sum(1), 1)
    np.testing.assert_allclose(label_quality(judged(p, y)), alone)


def test_noise_in_one_direction_is_known_to_the_quality():
    true = np.repeat([0, 1], 100)
    y = true.copy()
    y[:40] = 1   # 40 of the 100 rows of class 0 are given as class 1, none the other way
    p = np.full((200, 2), 0.1) + 0.8 * np.eye(2)[true]
    p[0] = p[199] = 0.5
    q = label_quality(judged(p, y))
    given_as = np.array([[60, 0], [40, 100]]) + 0.5   # rows without a likely class bear their own
    odds = given_as[1, 0] / given_as[:, 0].sum() * given_as[:, 1].sum() / given_as[1, 1]
    assert q[0, 1] == pytest.approx(1 / (1 + odds), abs=0.02)
    assert q[:40, 1].max() < q[40:100, 0].min() and q[40:100, 0].min() > 0.99


def test_detection_by_hand():
    wrong, quality = np.array([True, False, True, False, False]), np.array([0.1, 0.2, 0.3, np.nan, 0.9])
    assert detection(wrong, quality) == dict(lines=4, wrong=2, auroc=0.75, auprc=pytest.approx(5 / 6), precision=0.5)
    with pytest.raises(DataError, match="needs wrong and right ones"):
        detection(np.zeros(3, dtype=bool), np.ones(3))


# outliers

def test_an_outlier_is_first(reviews):
    odd = classes([*reviews["text"][:100], "def f(x): return {k: v for k, v in x.items()}"], [0, 1] * 50 + [0])
    assert odd["uid"][100] in outliers(odd, 3)["uid"].tolist()
    with pytest.raises(DataError, match="no others to resemble"):
        outliers(odd.select([0]))


# review

def test_decisions_reach_the_rows_and_tell_their_story():
    rows = classes(["a b", "c d", "e f", "g h"], [0, 1, 0, 1])
    u = rows["uid"][:]
    out = apply_review(rows, decisions={u[0]: "yes", u[1]: "yes", u[2]: None})
    assert out["uid"][:] == [u[0], u[1], u[3]] and out["label"][:] == [1, 1, 1]
    r = records(out)[-1]
    assert r.notes == dict(decided=3, kept=1, changed=1, dropped=1, changed_outside_training=0)
    assert "decisions" not in r.params
    gone = dropped(out)
    assert gone["uid"].tolist() == [u[2]] and gone["label"].tolist() == [0] and "review" in gone["reason"][0]
    assert "apply_review" in repr(story(out, u[0])) and rows["label"][:] == [0, 1, 0, 1]


def test_votes_are_decisions_unless_they_differ():
    rows = classes(["a b", "c d"], [0, 1])
    u = rows["uid"][:]
    votes = Dataset.from_dict(dict(uid=[u[0], u[0]], annotator=["a", "b"], label=["yes", "yes"]))
    assert apply_review(rows, decisions=votes)["label"][:] == [1, 1]
    assert apply_review(rows, decisions=votes.to_pandas())["label"][:] == [1, 1]
    split_vote = Dataset.from_dict(dict(uid=[u[0], u[0]], annotator=["a", "b"], label=["yes", "no"]))
    with pytest.raises(DataError, match="two decisions"):
        apply_review(rows, decisions=split_vote)


def test_span_decisions_are_checked():
    rows = entities(["Ann saw 北京 😀", "x"], [[dict(start=0, end=3, label="LOC")], []])
    u = rows["uid"][0]
    new = [dict(start=8, end=10, label="LOC", note="ignored"), dict(start=0, end=3, label="PER")]
    assert apply_review(rows, decisions={u: new})["spans"][0] == [dict(start=0, end=3, label="PER"),
                                                                 dict(start=8, end=10, label="LOC")]
    across = [dict(start=0, end=3, label="A"), dict(start=2, end=4, label="B")]
    for bad in ([dict(start=0, end=99, label="PER")], across):
        with pytest.raises(DataError, match="spans"):
            apply_review(rows, decisions={u: bad})


def test_refused_decisions():
    rows = classes(["a b", "c d"], [0, 1], split=["train", "test"])
    u = rows["uid"][:]
    with pytest.raises(DataError, match="no class"):
        apply_review(rows, decisions={u[0]: "maybe"})
    with pytest.raises(DataError, match="not here"):
        apply_review(rows, decisions={"x": "yes"})
    with pytest.raises(DataError, match="test=True"):
        apply_review(rows, decisions={u[1]: "no"})
    out = apply_review(rows, decisions={u[1]: "no"}, test=True)
    assert out["label"][:] == [0, 0] and records(out)[-1].notes["changed_outside_training"] == 1


def test_the_queue_is_worst_first():
    rows = classes(["a", "b", "c"], [0, 1, 0])
    u = rows["uid"][:]
    issues = pd.DataFrame(dict(uid=[u[2], u[0], u[2]], given=["no", "no", ""], suggested=["yes", "yes", "x (A)"],
                               quality=[0.1, 0.2, 0.3]))
    queue = review_queue(rows, issues)
    assert queue["uid"][:] == [u[2], u[0]] and queue["quality"][:] == [0.1, 0.2]
    assert queue["suggested"][0] == "yes; x (A)" and len(review_queue(rows, issues, rows=1)) == 1
    with pytest.raises(DataError, match="not among the rows"):
        review_queue(rows.select([0]), issues)


# automatic steps

def test_automatic_steps_touch_training_rows_alone(reviews):
    rows = plant_label_errors(split(reviews, seed=0), rate=0.2, seed=1)
    away, mended = drop_label_issues(rows), correct_label_issues(rows)
    kept = set(away["uid"])
    assert {u for u, p in zip(rows["uid"], rows["split"]) if p != "train"} <= kept and len(kept) < len(rows)
    changed = {p for p, a, b in zip(rows["split"], rows["label"], mended["label"]) if a != b}
    assert changed == {"train"} and mended["uid"][:] == rows["uid"][:]

    def right(ds):
        return np.mean([a == b for a, b in zip(ds["label"], ds["true_label"])])
    assert right(away) > right(rows) and dropped(away)["reason"].str.contains("probably").any()


def test_mended_spans_are_legal(tweets):
    rows = plant_label_errors(split(tweets, seed=0), rate=0.3)
    out = correct_label_issues(rows, below=0.5)
    for t, s, u in zip(out["text"], out["spans"], out["uid"]):
        check_spans(t, s, u, flat=True)
    assert out["spans"][:] != rows["spans"][:]


def test_leakage_and_other_refusals(reviews):
    for act in (drop_label_issues, correct_label_issues):
        with pytest.raises(LeakageError, match="split"):
            act(reviews)
    with pytest.raises(DataError, match="no such error"):
        plant_label_errors(reviews, kind="typo")
    with pytest.raises(DataError, match="between 0 and 0.5"):
        plant_label_errors(reviews, rate=0.9)
    with pytest.raises(DataError, match="text is missing"):
        out_of_fold(classes(["a", None], [0, 1]))
    with pytest.raises(DataError, match="cannot be dealt"):
        out_of_fold(classes(["a b c", "d e f"], [0, 1]), by_word("a"))
    with pytest.raises(DataError, match="one class"):
        out_of_fold(classes(TEXTS, [0] * 60), by_word("a"))
    with pytest.raises(DataError, match="no row has an entity"):
        out_of_fold(entities(["a", "b"], [[], []]), by_word("a"))
    with pytest.raises(DataError, match="rows that were judged"):
        label_issues(reviews.select([0, 1]), out_of_fold(classes(TEXTS, [i % 2 for i in range(60)]), by_word("good")))
    with pytest.raises(DataError, match="the model returned"):
        out_of_fold(classes(TEXTS, [i % 2 for i in range(60)]), lambda train, texts: np.ones((1, 2)))


@pytest.mark.parametrize("odd", ["", "x", " ", "😀" * 40, "e\u0301\u0301 ﬁ ＡＢＣ", "<script>a(1)</script>", "a\x00b"])
def test_odd_texts_are_judged(odd):
    rows = classes([*TEXTS, odd], [i % 2 for i in range(61)])
    found = out_of_fold(rows, by_word("good"))
    assert len(found) == 61 and np.isfinite(found.probs).all()
