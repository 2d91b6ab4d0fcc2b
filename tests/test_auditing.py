"""Every planted leak is named, none crosses a split made here, and an estimate is right where the truth is known."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.auditing import audit_split, linear_scores, plant_leaks
from dataset_tutor.cleaning import drop_duplicates, drop_missing
from dataset_tutor.core import DataError, add_uids
from dataset_tutor.deduplication import group_duplicates, group_quotations
from dataset_tutor.distribution import part, split

QUICK = dict(meaning=False, score=False)


def rows(texts, source, **more):
    return add_uids(Dataset.from_dict({"text": list(texts), **more}), source)


def three(train, validation, test):
    return [rows(t, n) for n, t in zip(("a", "b", "c"), (train, validation, test))]


@pytest.fixture(scope="module", params=["reviews-en", "reviews-zh", "ner-zh"])
def clean(request):
    ds = load_sample(request.param, rows=1000, seed=11)
    ds = drop_duplicates(ds.select_columns([c for c in ("uid", "text", "label") if c in ds.column_names]))
    return drop_missing(ds)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_planted_leak_crosses_a_split_made_here(clean, seed):
    attacked = group_quotations(group_duplicates(plant_leaks(clean, seed=seed)))
    ours = split(attacked, group=["group", "document"], seed=seed)
    side = dict(zip(ours["uid"], ours["split"]))
    cases = [(u, o) for u, o in zip(ours["uid"], ours["leak_of"]) if o]
    assert len(cases) == 200 and all(side[u] == side[o] for u, o in cases)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_audit_names_every_planted_leak(clean, seed):
    attacked, rng = plant_leaks(clean, seed=seed), np.random.default_rng(seed)
    side = [str(rng.choice(["validation", "test"])) if leak else "train" for leak in attacked["leak"]]
    audit = audit_split(attacked.add_column("split", side).shuffle(seed=seed), group=["group", "document"], **QUICK)
    cases = {u: leak for u, leak in zip(attacked["uid"], attacked["leak"]) if leak}
    assert len(cases) == 200
    missed = {u: leak for u, leak in cases.items() if u not in set(audit.rows["uid"])}
    assert not missed and audit.verdict == "leaks"
    partners = dict(zip(attacked["uid"], attacked["leak_of"]))
    assert {partners[u] for u in cases} <= set(audit.tainted)  # what a clean-up would remove


KINDS_OF_LEAKS = {
    "exact": ("房间很干净，早餐也不错。", "房间很干净，早餐也不错。"),
    "normalised": ("Good  value for money", "ＧＯＯＤ value for money!!"),
    "near": ("the room was clean and the staff were kind", "the room was clean and the staff was kind"),
    "contained": ("位置很好，离地铁站只有五分钟，下次还会来住的。",
                  "朋友推荐我们来的，本来没有期待什么，位置很好，离地铁站只有五分钟，下次还会来住的。只是价格有点贵，停车也难。"),
}


@pytest.mark.parametrize("kind", KINDS_OF_LEAKS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("late", ["validation", "test"])
def test_each_kind_by_its_name(kind, turned, late):
    a, b = KINDS_OF_LEAKS[kind][:: -1 if turned else 1]
    others = {"validation": ["一个完全不同的句子，谈天气的"], "test": ["quite another thing, about the weather"]}
    others[late] = [*others[late], b]
    audit = audit_split(*three(["something else entirely", a], others["validation"], others["test"]), **QUICK)
    assert audit.rows[["part", "kind", "other part", "text", "other text"]].values.tolist() == [
        [late, kind, "train", b, a]]
    assert audit.leaked(late) == list(audit.rows["uid"]) and len(audit.tainted) == 1


def test_relations_by_columns():
    train = rows(["first text here", "second text here, longer", "third one"], "a", parent=["gone", None, None],
                 author=["Lu", None, ""], group=["g1", None, None])
    test = rows(["nothing alike at all 1", "utterly different 2", "who knows 3"], "b",
                parent=["gone", train["uid"][1], None], author=[None, "Ba", "Lu"], group=[None, None, "g1"])
    found = audit_split(train, test=test, group=["group", "author"], **QUICK).rows
    assert sorted(zip(found["kind"], found["uid"])) == sorted(
        [("parent", test["uid"][0]), ("parent", test["uid"][1]), ("group", test["uid"][2]), ("author", test["uid"][2])])


def test_same_ids_in_two_files():
    train, test = rows(["one text", "two texts"], "same"), rows(["three texts", "four of them"], "same")
    assert set(audit_split(train, test=test, **QUICK).rows["kind"]) == {"id"}


def test_meaning_finds_other_words_and_leaves_the_rest():
    train = ["a boring film with no plot at all", "the soup was cold", "stocks fell sharply on monday"]
    test = ["a dull movie that has no plot whatsoever", "the winter in norway is long"]
    found = audit_split(rows(train, "a"), test=rows(test, "b"), meaning=0.75, score=False).rows
    assert found[["kind", "text"]].values.tolist() == [["meaning", test[0]]]


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_what_is_unrelated_is_clean_and_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    letters = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"
    text = ["".join(rng.choice(list(letters), 24)) for _ in range(60)]
    side = rng.permutation(["train"] * 40 + ["validation"] * 8 + ["test"] * 12).tolist()
    ds = rows(text, "x", split=side)
    assert audit_split(ds, **QUICK).rows.empty
    torn = rows([*text, text[0]], "x", split=[*side, "test" if side[0] != "test" else "train"])
    one, two = (audit_split(d, **QUICK).rows[["part", "kind", "text"]] for d in (torn, torn.shuffle(seed=seed)))
    assert len(one) == 1 and one.values.tolist() == two.values.tolist()


def test_hostile_and_empty_texts():
    bad = ["<script>alert(1)</script> & more of it", "", "  ", "\u202eevil", "e\u0301", "🙂", "a" * 3000]
    audit = audit_split(*three(bad, ["", "x"], [*bad, "fine"]), **QUICK)
    assert "<script>" not in audit._repr_html_() and "\u202e" not in audit._repr_html_()
    assert "" not in set(audit.rows["text"]) and "leaks" in repr(audit)
    none, more = (Dataset.from_dict({"text": t, "label": [0, 1]}) for t in (["one", None], [None, "one"]))
    assert audit_split(none, test=more, **QUICK).leaked() == ["test[1]"]


def test_an_estimate_where_the_truth_is_known():
    "A model that remembers every training text and knows nothing: all of its score is the leak."
    rng = np.random.default_rng(0)
    text = [" ".join(rng.choice(list("abcdefghijklmnop"), 12)) for _ in range(300)]
    train = rows(text[:200], "a", label=[i % 2 for i in range(200)])
    test = rows(text[150:250], "b", label=[i % 2 for i in range(100)])

    def memory(a, b):
        return [float(t in set(a["text"])) for t in b["text"]]

    got = audit_split(train, test=test, meaning=False, score=memory).inflation
    assert (got.score, got.corrected, got.clean_rows, got.leaked, got.removed) == (0.5, 0.0, 0.0, 50, 50)
    assert got.low <= got.points == 50 <= got.high

    def constant(a, b):
        return np.ones(len(b))

    honest = audit_split(train, test=test, meaning=False, score=constant).inflation
    assert (honest.points, honest.corrected) == (0, 1)


def test_intervals_of_the_estimate_hold_what_they_promise():
    "A model that is right by lot, and more often where it has seen the row: the mean of the estimates is the truth."
    inside, n, points = 0, 60, []
    text = [f"unlike {i} " + "qwertyuiop"[i % 10] * (i % 7) + str(i * 7919) for i in range(700)]
    train, test = rows(text[:500], "a"), rows(text[400:600], "b")
    from dataset_tutor.auditing import _inflation

    for seed in range(n):
        rng = np.random.default_rng(seed)
        luck = rng.random(200)

        def score(a, b, luck=luck):
            seen = np.isin(b["text"], a["text"])
            return (luck < np.where(seen, 0.9, 0.6) - (0.05 if len(a) < 500 else 0)).astype(float)

        got = _inflation(train, test, np.arange(200) < 100, set(range(400, 500)), np.arange(200), score)
        points.append(got.points)
        inside += got.low <= 15 <= got.high
    assert abs(np.mean(points) - 15) < 1 and inside >= 0.85 * n


def test_what_cannot_be_estimated_says_why():
    train, test = rows(["one thing here", "two"], "a"), rows(["one thing here", "three"], "b")
    audit = audit_split(train, test=test, meaning=False)
    assert audit.inflation is None and "give score=" in audit.notes[0]
    both = rows(["one thing here"] * 2, "a", label=[0, 1])
    audit = audit_split(both, test=rows(["one thing here", "four"], "b", label=[0, 1]), meaning=False)
    assert audit.inflation is None and "every training row" in audit.notes[0]
    with pytest.raises(DataError, match="not one number for each"):
        audit_split(train, test=test, meaning=False, score=lambda a, b: [1.0])
    with pytest.raises(DataError, match="one class"):
        linear_scores(rows(["a b", "c d"], "a", label=[1, 1]), rows(["a"], "b", label=[1]))


def test_labels_count_by_name_and_shift_is_seen():
    names, turned = ClassLabel(names=["neg", "pos"]), ClassLabel(names=["pos", "neg"])
    texts = [f"text number {i} {'x' * (i % 9)}" for i in range(400)]
    train = rows(texts[:200], "a", label=[0, 1] * 100).cast_column("label", names)
    test = rows(texts[200:], "b", label=[1, 0] * 100).cast_column("label", turned)
    shifts = audit_split(train, test=test, **QUICK).shifts.set_index("what")
    assert shifts.loc["label", "distance"] == 0 and shifts.loc["label", "p"] == 1
    skewed = rows([t + " and a much longer ending to it" for t in texts[200:]], "b", label=[0] * 180 + [1] * 20)
    audit = audit_split(train, test=skewed.cast_column("label", names), near=1.0, **QUICK)
    assert (audit.shifts["p"] < 0.01).all() and audit.verdict == "look"


@pytest.mark.filterwarnings("error")
def test_a_part_of_one_row_has_a_shift_with_a_probability():
    train = rows([f"{'word ' * (i % 7)}number {i}" for i in range(50)], "a")
    for text, low, high in (("x", 0.01, 0.1), ("word word number 9", 0.3, 1)):
        shift = audit_split(train, test=rows([text], "b"), **QUICK).shifts.set_index("what").loc["length"]
        assert low < shift["p"] <= high


def test_random_label_shifts_alarm_as_rarely_as_stated():
    rng, hits = np.random.default_rng(0), 0
    from dataset_tutor.auditing import _label_shift

    for _ in range(300):
        labels = rng.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1]).tolist()
        hits += _label_shift(labels[:200], labels[200:], rng)["p"] < 0.05
    assert hits / 300 < 0.09


def test_mentions_that_training_has_shown():
    def ner(texts, spans, source):
        return rows(texts, source, spans=[[dict(zip(("start", "end", "label"), s)) for s in row] for row in spans])

    train = ner(["Berlin is big", "Ann sleeps"], [[(0, 6, "LOC")], [(0, 3, "PER")]], "a")
    test = ner(["in berlin today", "Berlin", "Bob"], [[(3, 9, "LOC")], [(0, 6, "ORG")], [(0, 3, "PER")]], "b")
    table = audit_split(train, test=test, **QUICK).entities.set_index("type")
    assert table.loc["LOC", "seen in train"] == 1 and table.loc["ORG", "as another type"] == 1
    assert table.loc["PER", "unseen rate"] == 1


def test_parts_that_are_no_split_are_refused():
    ds = rows(["a", "b", "c"], "x")
    with pytest.raises(DataError, match="no split"):
        audit_split(ds)
    with pytest.raises(DataError, match="'dev' is no part"):
        audit_split(ds.add_column("split", ["train", "dev", "test"]))
    with pytest.raises(DataError, match="in train only"):
        audit_split(ds.add_column("split", ["train"] * 3))
    with pytest.raises(DataError, match="no rows with this column"):
        audit_split(ds, test=ds.rename_column("text", "body"))
    with pytest.raises(DataError, match="there is no attack"):
        plant_leaks(ds, kinds=["magic"])
    with pytest.raises(DataError, match="rows without spans"):
        plant_leaks(ds)


def test_rows_without_uid_are_named_by_their_place():
    ds = Dataset.from_dict({"text": ["same thing here", "b"], "split": ["train", "train"]})
    test = Dataset.from_dict({"text": ["c", "same thing here"]})
    found = audit_split(ds.remove_columns("split"), test=test, **QUICK).rows
    assert found[["uid", "other uid"]].values.tolist() == [["test[1]", "train[0]"]]


def test_a_long_document_names_every_row_it_holds():
    "One training text that holds fifty test texts."
    rng = np.random.default_rng(0)
    pieces = ["".join(rng.choice(list("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往"), 20)) for _ in range(50)]
    train, test = rows(["".join(pieces), "something else"], "a"), rows(pieces, "b")
    found = audit_split(train, test=test, **QUICK)
    assert len(found.leaked()) == 50 and set(found.rows["kind"]) == {"contained"} and len(found.tainted) == 1


def test_splits_made_here_are_clean():
    ds = split(group_duplicates(load_sample("reviews-zh", rows=1500, seed=2)), seed=1)
    hard = audit_split(ds, **QUICK).rows
    assert len(hard) <= 0.01 * (len(ds) - len(part(ds, "train"))) and not set(hard["kind"]) & {"exact", "normalised"}


def test_rows_without_a_label_are_audited_all_the_same():
    train = rows(["one thing here", "two", "three"], "a", label=[0, 1, None])
    test = rows(["one thing here"], "b", label=[0])
    audit = audit_split(train, test=test, meaning=False)
    assert audit.verdict == "leaks" and audit.inflation is None and "no label" in audit.notes[0]
