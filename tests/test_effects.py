"""The instrument is tested before what it measures: a null step differs by nothing, harm is seen, intervals cover."""
import json
import re
from functools import partial

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, concatenate_datasets, disable_progress_bars

from dataset_tutor import effects
from dataset_tutor.cleaning import Recipe, drop_duplicates, normalize_unicode, normalize_whitespace, text_key
from dataset_tutor.core import DataError, LeakageError, fill_column, mapper, step
from dataset_tutor.distribution import split
from dataset_tutor.effects import Effect, describe_step, draw, effect, effects_table, freeze, paired_interval
from dataset_tutor.evaluation import classification_metrics, ner_metrics
from dataset_tutor.ledger import ledger
from dataset_tutor.weak_labels import hide_labels

disable_progress_bars()
WORDS = "good fine lovely great bright".split(), "bad poor ugly dull dark".split()
FILLER = "the film was shown in town on a day with rain and we went".split()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DATASET_TUTOR_HOME", str(tmp_path))
    effects._LATEST.clear()


def bag(texts, *args, **kw):
    "In place of the encoder: hashed words, unit length."
    out = np.zeros((len(texts), 64), "float32")
    for i, t in enumerate(texts):
        for w in re.findall(r"\w+", t):
            out[i, sum(map(ord, w)) % 64] += 1
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)


def bag_tokens(texts, *args, **kw):
    out = []
    for t in texts:
        at = [m.span() for m in re.finditer(r"\w+", t)]
        out.append((at, bag([t[a:b] for a, b in at])))
    return out


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(effects, "embed", bag)
    monkeypatch.setattr(effects, "embed_tokens", bag_tokens)


def reviews(n=300, noise=0.1, seed=0, copies=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    text = [" ".join([*rng.choice(FILLER, 6), *rng.choice(WORDS[y], 2), str(i)]) for i, y in enumerate(label)]
    label = np.where(rng.random(n) < noise, 1 - label, label)
    ds = Dataset.from_dict(dict(uid=[f"u{i}" for i in range(n + copies)], text=text + text[:copies],
                                label=np.concatenate([label, label[:copies]])))
    return ds.cast_column("label", ClassLabel(names=["bad", "good"]))


def people(n=200, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        name = str(rng.choice(["Ann", "Bob", "Cid", "Dora"]))
        text = f"{i}  {name} went  home" if rng.random() < 0.7 else f"{i} nobody went home"
        spans = [dict(start=text.index(name), end=text.index(name) + len(name), label="PER")] if name in text else []
        rows.append(dict(uid=f"u{i}", text=text, spans=spans))
    return Dataset.from_list(rows)


def nothing(ds):
    return ds


@step
def few(ds, *, every=12):
    return ds.select(range(0, len(ds), every))


@step
def flip(ds, *, share=0.4, seed=0):
    hit = np.random.default_rng(seed).random(len(ds)) < share
    new = [1 - y if h and p == "train" else y for y, h, p in zip(ds["label"], hit, ds["split"])]
    return ds.remove_columns("label").add_column("label", new, feature=ds.features["label"])


@mapper
def shout(text):
    return text.upper()


# --- the frozen test

def test_the_test_has_no_relatives_copies_or_unknown_truths():
    ds = reviews(200, copies=40)
    quarrel = Dataset.from_dict(dict(uid=["q1", "q2"], text=["so so!", "so  so"], label=[0, 1]))
    both = concatenate_datasets([ds, quarrel.cast_column("label", ds.features["label"])])
    leaky = np.random.default_rng(1).choice(["train", "validation", "test"], len(both))
    both = both.add_column("split", leaky.tolist())
    frozen = freeze(both)
    keys = [text_key(t) for t in frozen.test["text"]]
    assert len(keys) == len(set(keys)) and not set(keys) & {text_key(t) for t in frozen.rows["text"]}
    assert text_key("so so") not in keys
    assert len(frozen.rows) + len(frozen.test) + sum(frozen.left_out.values()) == len(both)
    train, valid = ({text_key(t) for t, p in zip(frozen.rows["text"], frozen.rows["split"]) if p == q}
                    for q in ("train", "validation"))
    assert not train & valid


def test_rows_without_text_are_left_out_and_rows_without_label_wait_for_one():
    ds = reviews(100)
    text, label = ds["text"][:], ds["label"][:]
    text[0], text[1], label[2], label[3] = None, "  ", None, -1
    bad = Dataset.from_dict(dict(uid=ds["uid"][:], text=text, label=label)).cast_column("label", ds.features["label"])
    frozen = freeze(bad)
    assert frozen.left_out["without a text or a label"] == 2 and "(2 without a label)" in repr(frozen)
    assert not {"u0", "u1"} & {*frozen.rows["uid"], *frozen.test["uid"]}
    assert [u for u, known in zip(frozen.rows["uid"], frozen.known) if not known] == ["u2", "u3"]


@step
def ask(ds, *, truth):
    "Somebody labels the rest."
    return fill_column(ds, "label", [truth[u] if y is None else y for u, y in zip(ds["uid"], ds["label"])])


def test_rows_without_label_do_not_change_the_draw_of_the_others_and_never_meet_the_test():
    whole = reviews(300, copies=60)
    poor = hide_labels(split(whole, seed=0), keep=40)
    known = poor.filter(lambda y: y is not None, input_columns="label")
    a, b = freeze(poor), freeze(known)
    assert a.test["uid"][:] == b.test["uid"][:] and not a.known.all() and b.known.all()
    for seed in range(3):
        some = draw(a, seed)
        assert [u for u, y in zip(some["uid"], some["label"]) if y is not None] == draw(b, seed)["uid"][:]
        drawn = sum(y is None for y in some["label"]) / (~a.known).sum()
        assert 0.7 < drawn < 0.9
    tested = {text_key(t) for t in a.test["text"]}
    copy = Dataset.from_dict(dict(uid=["c"], text=[a.test["text"][0] + "!"], label=[None], split=["train"]))
    with_copy = freeze(concatenate_datasets([poor, copy.cast(poor.features)]))
    assert text_key(copy["text"][0]) in tested and "c" not in with_copy.rows["uid"][:]
    assert with_copy.left_out["without a label and with relatives in the test"] == 1
    assert with_copy.test["uid"][:] == a.test["uid"][:]


@mapper
def read_as_utf8(text):
    return text.encode("latin-1").decode("utf-8")


def test_the_encoder_fits_the_texts_as_either_arm_reads_them():
    ds = reviews(100)
    text = [f"房间很好，早餐不错{i}" if y else f"房间很差，不会再来{i}" for i, y in enumerate(ds["label"])]
    garbled = fill_column(ds, "text", [t.encode().decode("latin-1") for t in text])
    assert effect(nothing, garbled, seeds=2).model == "en-small"
    assert effect(read_as_utf8(), garbled, seeds=2).model == "zh-small"
    assert effect(nothing, garbled, seeds=2, against=read_as_utf8()).model == "zh-small"


def test_a_test_of_one_class_is_refused():
    ds = reviews(300)
    ordered = ds.select(np.argsort(ds["label"], kind="stable"))
    with pytest.raises(DataError, match="all 15 test rows are 'bad'.*shuffle"):
        freeze(ordered.select(range(100)))


@pytest.mark.parametrize("ds", [reviews(), people()], ids=["classes", "entities"])
def test_a_test_from_elsewhere_counts_as_the_test_of_a_split_does(ds):
    rows = split(ds, seed=0)
    test = rows.filter(lambda r: r["split"] == "test").remove_columns("split")
    learn = rows.filter(lambda r: r["split"] != "test")
    a, b = effect(few, rows, seeds=2), effect(few, learn, seeds=2, test=test)
    assert (a.scores_without, a.scores_with, a.test_rows) == (b.scores_without, b.scores_with, b.test_rows)
    plain = learn.remove_columns("split")
    c = effect(few, plain, seeds=2, test=test)   # without a split all rows are learnt from
    assert c.changes["rows_in"] == len(learn) and c.test_rows == a.test_rows
    whole = ledger([few], learn, seeds=2, test=test).whole
    assert (whole.scores_with, whole.test_rows) == (b.scores_with, b.test_rows)


def test_another_set_may_number_the_classes_in_another_order_but_not_have_others():
    rows, other = reviews(200), reviews(120, seed=1)
    other = fill_column(other, "uid", [f"v{i}" for i in range(120)])
    other = other.map(lambda r: {"text": r["text"] + " elsewhere"})
    names = [other.features["label"].names[y] for y in other["label"]]
    turned = Dataset.from_dict({"uid": other["uid"], "text": other["text"], "label": names}).cast_column(
        "label", ClassLabel(names=["good", "bad"]))
    assert turned["label"][:] != other["label"][:]
    same = effect(few, rows, seeds=2, test=turned)
    assert same.scores_without == effect(few, rows, seeds=2, test=other).scores_without and same.scores_without[0] > 0.7
    with pytest.raises(DataError, match="row v0.*class 'odd'.*bad, good"):
        effect(few, rows, test=Dataset.from_dict(other.to_dict() | {"label": ["odd"] * 120}))


@pytest.mark.parametrize("lean, said", [
    (lambda r, i: {"uid": f"u{i}"}, "row u0.*among the rows to learn from"),
    (lambda r, i: {"text": f"  {reviews(200)[0]['text']}" if i == 7 else r["text"]}, "row v7.*relative.*decontaminate"),
    (lambda r, i: {"parent": "u3" if i == 5 else None}, "row v5.*relative"),
], ids=["uid", "text", "parent"])
def test_a_test_from_elsewhere_with_relatives_is_refused(lean, said):
    other = reviews(60, seed=2).map(lambda r, i: {"uid": f"v{i}", "text": r["text"] + " elsewhere"}, with_indices=True)
    other = fill_column(other, "parent", [None] * len(other)).map(lean, with_indices=True)
    for rows in (reviews(200), fill_column(reviews(200), "parent", [None] * 200)):
        with pytest.raises(LeakageError, match=said):
            effect(few, rows, test=other)


def test_a_test_from_elsewhere_beside_one_at_home_is_refused_and_so_is_one_without_truths():
    other = reviews(60, seed=2).map(lambda r, i: {"uid": f"v{i}", "text": r["text"] + " elsewhere"}, with_indices=True)
    with pytest.raises(DataError, match="a test of their own"):
        effect(few, split(reviews(), seed=0), test=other)
    with pytest.raises(DataError, match="'group': holds string in test= and int64 in the rows"):
        effect(few, reviews().add_column("group", list(range(300))), test=other.add_column("group", ["shop"] * 60))
    with pytest.raises(DataError, match="lack this column"):
        effect(few, reviews(), test=other.remove_columns("label"))


def test_a_step_that_labels_is_measured_and_its_labels_are_counted():
    whole = reviews(900)
    poor = hide_labels(split(whole, seed=0), keep=30)
    told = effect(ask(truth=dict(zip(whole["uid"], whole["label"]))), poor)
    assert told.verdict == "helps" and told.changes["labelled"] == told.labels > 500
    assert told.changes["truths_changed"] == told.changes["removed"] == 0
    assert f"{told.labels} labelled" in repr(told)
    wrong = effect(ask(truth={u: 1 - y for u, y in zip(whole["uid"], whole["label"])}), poor)
    assert wrong.verdict == "hurts" and wrong.labels == told.labels


def test_both_arms_start_from_the_same_families():
    frozen = freeze(reviews(200, copies=60))
    a, b = draw(frozen, 3), draw(frozen, 3)
    assert a["uid"][:] == b["uid"][:] != draw(frozen, 4)["uid"][:]
    kept = {text_key(t) for t in a["text"]}
    assert all(u in a["uid"][:] for u, t in zip(frozen.rows["uid"], frozen.rows["text"]) if text_key(t) in kept)
    assert 0.7 < sum(p == "train" for p in a["split"]) / sum(p == "train" for p in frozen.rows["split"]) < 0.9


# --- what it sees

@pytest.mark.parametrize("ds", [reviews(), people()], ids=["classes", "entities"])
def test_a_step_that_does_nothing_differs_by_exactly_nothing(ds):
    e = effect(nothing, ds, seeds=3)
    assert (e.difference, e.low, e.high, e.unchanged, e.verdict) == (0, 0, 0, True, "no effect shown")
    assert "no prediction changes" in repr(e)


def test_harm_is_seen_and_a_gain_too():
    ds = reviews(600)
    harmed = effect(flip(), ds)
    assert harmed.verdict == "hurts" and harmed.low <= harmed.difference <= harmed.high < 0
    assert harmed.changes["truths_changed"] > 100 and harmed.changes["removed"] == 0
    assert effect(few(every=40), ds).difference < 0

    noisy = reviews(900, noise=0.0)
    truth = dict(zip(noisy["uid"], noisy["label"]))
    frozen = freeze(noisy)
    learn = set(frozen.rows["uid"])
    rng = np.random.default_rng(0)
    wrong = [1 - y if u in learn and rng.random() < 0.42 else y for u, y in truth.items()]
    parts = dict(zip(frozen.rows["uid"], frozen.rows["split"]))
    parts = [parts.get(u, "test") for u in truth]
    spoilt = Dataset.from_dict(dict(uid=list(truth), text=noisy["text"][:], label=wrong, split=parts))
    spoilt = spoilt.cast_column("label", noisy.features["label"])

    def repair(ds):
        right = [truth[u] for u in ds["uid"]]
        return ds.remove_columns("label").add_column("label", right, feature=ds.features["label"])

    mended = effect(repair, spoilt)
    assert mended.verdict == "helps" and mended.low > 0 and mended.fingerprint is None


@pytest.mark.parametrize("ds, harm", [(reviews(120), flip(share=0.5)), (people(120), few())],
                         ids=["classes", "entities"])
def test_the_full_probe_trains_and_sees_harm(ds, harm, shallow):
    options = dict(probe="full", seeds=2, model=shallow["en-small"], lr=1e-3, max_length=24)
    hurt = effect(harm, ds, epochs=4, **options)
    assert hurt.difference < -0.05 and hurt.probe == "full" and np.mean(hurt.scores_without) > 0.6
    none = effect(nothing, ds, epochs=1, **options)
    assert none.unchanged and (none.difference, none.low, none.high) == (0.0, 0.0, 0.0)


def test_forgotten_entities_hurt():
    def forget(ds):
        keep = [row if i % 10 == 0 else [] for i, row in enumerate(ds["spans"])]
        return ds.remove_columns("spans").add_column("spans", keep, feature=ds.features["spans"])
    e = effect(forget, people(400), seeds=3)
    assert e.metric == "f1" and np.mean(e.scores_without) > 0.9 and e.verdict == "hurts"


def test_a_mapper_edits_test_texts_in_its_arm_and_spans_move():
    ds = people()
    e = effect(normalize_whitespace(), ds, seeds=2)
    assert e.changes["texts_changed"] > 0 and e.changes["truths_changed"] == 0
    assert min(e.scores_with) > 0.9, "spans must move with the text"
    seen = []

    def spy(texts, *args, **kw):
        seen.extend(texts)
        return bag(texts)
    effects.embed = spy  # restored by monkeypatch
    effect(Recipe(shout(), name="loud"), reviews(100), seeds=2)
    test = freeze(reviews(100)).test["text"]
    assert {t.upper() for t in test} <= set(seen) and set(test) <= set(seen)


def test_a_destroyed_entity_stays_in_the_truth():
    @mapper
    def mask(text):
        return re.sub("Ann|Bob|Cid|Dora", "#", text)
    e = effect(mask(), people(), seeds=2)
    assert max(e.scores_with) == 0.0 and min(e.scores_without) > 0.9


def test_seeds_and_results_repeat():
    a, b = (effect(flip(), reviews(), seeds=3, cache=False) for _ in range(2))
    a, b = ({k: v for k, v in e.to_dict().items() if not k.endswith("seconds")} for e in (a, b))
    assert a == b


def test_other_metrics_and_labels_as_strings():
    ds = reviews(200)
    names = ["bad" if y == 0 else "good" for y in ds["label"]]
    words = Dataset.from_dict(dict(uid=ds["uid"][:], text=ds["text"][:], label=names))
    a, b = (effect(few(), rows, metric="accuracy", seeds=2) for rows in (ds, words))
    assert a.scores_with == b.scores_with and a.metric == "accuracy"


# --- the interval

def runs(rng, gain, seeds=5, rows=300, noise=1.0, luck=0.1):
    "Right or wrong of both arms: difficulty and gain of a row, noise that the arms of a seed share, and own luck."
    row, own = rng.normal(1.5, 2, rows), rng.normal(gain, 0.5, rows)
    shared, out = rng.normal(0, noise, (seeds, rows)), []
    for arm in (0, 1):
        alone = rng.normal(0, luck, (seeds, 1)) + rng.normal(0, noise / 2, (seeds, rows))
        out.append((row + arm * own + shared + alone > 0).astype(int))
    return out


def reported(correct):
    return [classification_metrics([1] * len(c), c.tolist(), ["wrong", "right"]) for c in correct]


@pytest.mark.parametrize("gain, kw", [
    (0.0, {}), (0.2, {}), (0.2, dict(luck=0.4, noise=0.5)), (0.2, dict(seeds=3, rows=150)),
    (0.1, dict(noise=0.2, luck=0.02))])
def test_the_interval_covers_what_it_claims(gain, kw):
    rng = np.random.default_rng(0)
    shape = {k: v for k, v in kw.items() if k in ("noise", "luck")}
    truth = np.mean([np.mean(b - a) for a, b in (runs(rng, gain, 40, 1000, **shape) for _ in range(40))])
    inside = 0
    for _ in range(150):
        a, b = runs(rng, gain, **kw)
        _, low, high = paired_interval(reported(a), reported(b), "accuracy", n_boot=400)
        inside += low <= truth <= high
    assert 0.90 <= inside / 150 <= 0.999


def test_the_interval_of_macro_f1_and_entities_is_that_of_the_reports():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 200)

    def four(right):
        said = [np.where(rng.random(200) < right, gold, 0) for _ in range(4)]
        return [classification_metrics(gold, s, ["x", "y", "z"]) for s in said]

    a, b = four(0.7), four(0.9)
    value, low, high = paired_interval(a, b)
    assert value == pytest.approx(np.mean([y["macro_f1"] - x["macro_f1"] for x, y in zip(a, b)]))
    assert low < value < high
    span = dict(start=0, end=1, label="PER")
    found = [[span] if r < 0.6 else [] for r in rng.random(50)]
    worse, better = [ner_metrics([[span]] * 50, found)] * 2, [ner_metrics([[span]] * 50, [[span]] * 50)] * 2
    assert paired_interval(worse, better).low > 0
    with pytest.raises(DataError, match="two seeds"):
        paired_interval(a[:1], b[:1])


# --- leaks

def test_test_rows_do_not_come_back():
    ds = reviews(200)
    with pytest.raises(LeakageError, match="brought back"):
        effect(lambda rows: ds, ds, seeds=2)


def test_a_text_of_the_test_is_refused_without_a_parent_and_taken_out_with_one():
    ds = reviews(200)
    stolen = freeze(ds).test["text"][0]

    def add(rows, parent):
        row = rows.select([0])
        more = row.map(lambda r: {"uid": "new", "text": stolen})
        if parent:
            rows, more = rows.add_column("parent", [None] * len(rows)), more.add_column("parent", row["uid"][:])
        return concatenate_datasets([rows, more])

    with pytest.raises(LeakageError, match="parent"):
        effect(partial(add, parent=None), ds, seeds=2)
    e = effect(partial(add, parent=True), ds, seeds=2)
    assert e.met_test == 2 and e.unchanged and e.changes["added"] == 1


def test_an_edit_onto_a_test_text_must_be_declared():
    ds = reviews(200)
    same = [f"row number {i // 2}{'?' * (i % 2)}" for i in range(200)]
    ds = Dataset.from_dict(dict(uid=ds["uid"][:], text=same, label=[i // 2 % 2 for i in range(200)]))

    @mapper
    def no_question(text):
        return text.replace("?", "")

    e = effect(no_question(), ds, seeds=2)
    assert e.met_test > 0
    with pytest.raises(LeakageError, match="mapper"):
        effect(lambda rows: no_question()(rows), ds, seeds=2)


# --- asking wrongly

@pytest.mark.parametrize("call, said", [
    (lambda ds: effect(nothing, ds, probe="slow"), 'probe="fast"'),
    (lambda ds: effect(nothing, ds, seeds=1), "seeds=2"),
    (lambda ds: effect(nothing, ds, epochs=3), "epochs"),
    (lambda ds: effect(lambda r: None, ds), "Dataset -> Dataset"),
    (lambda ds: effect(lambda r: r.select([]), ds), "left no training row"),
    (lambda ds: effect(nothing, ds.remove_columns("uid")), "add_uids"),
    (lambda ds: effect(nothing, ds.select(range(30))), "too few")])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match=re.escape(said)):
        call(reviews(100))


# --- remembering

def test_a_kept_result_is_equal_and_used(tmp_path):
    ds = reviews(150)
    first = effect(few(), ds, seeds=2)
    again = effect(few(), ds, seeds=2)
    assert again == first and again.cached and not first.cached and repr(again) == repr(first)
    assert effect(few(every=6), ds, seeds=2) != first and effect(few(), reviews(150, seed=1), seeds=2) != first
    (tmp_path / "effects" / f"{first.fingerprint}.json").write_text("{", encoding="utf-8")
    assert not effect(few(), ds, seeds=2).cached, "a damaged file is measured anew"
    assert not effect(few(), ds, seeds=2, cache=False).cached


def test_steps_without_a_stable_description_are_measured_but_not_kept(tmp_path):
    ds, k = reviews(150), 3
    closure, odd = (lambda rows: rows.select(range(len(rows) - k))), partial(nothing_else, other=object())
    for strange in (lambda rows: rows, closure, odd):
        assert describe_step(strange) is None
        assert effect(strange, ds, seeds=2).fingerprint is None
    assert not (tmp_path / "effects").exists()


def nothing_else(rows, other=None):
    return rows


def test_descriptions_tell_steps_apart():
    recipes = Recipe(normalize_unicode(), name="a"), Recipe(normalize_unicode(), normalize_whitespace(), name="a")
    steps = [few, few(every=3), few(every=4), drop_duplicates, nothing, *recipes, partial(few, every=9),
             partial(nothing_else, other=1)]
    said = [json.dumps(describe_step(s), sort_keys=True) for s in steps]
    assert len(set(said)) == len(said) and "null" != said[0]
    assert describe_step(few) == describe_step(few()) and not re.search("0x[0-9a-f]{6}", "".join(said))


# --- showing

def test_an_effect_shows_itself_and_escapes():
    e = effect(few(), reviews(150), seeds=2, name="<b>few</b>")
    assert "<b>few" not in e._repr_html_() and "&lt;b&gt;few" in e._repr_html_()
    table = effects_table([e, e])
    assert list(table["difference"]) == [round(100 * e.difference, 1)] * 2 and len(table) == 2
    assert json.loads(json.dumps(e.to_dict()))["verdict"] == e.verdict
    assert Effect(**{k: v for k, v in e.to_dict().items() if k not in ("seeds", "verdict", "labels")}) == e


def test_copies_of_rows_buy_nothing_and_cost_nothing():
    "Five times the rows are five times the loss beside one penalty; children share their parents' weight instead."
    @step
    def copied(ds):
        train = ds.select(np.flatnonzero(np.array(ds["split"]) == "train"))
        own, rest = train["uid"][:], train.remove_columns("uid").add_column("parent", train["uid"][:])
        return concatenate_datasets([ds, *(rest.add_column("uid", [f"{u}-{k}" for u in own]) for k in range(9))])

    e = effect(copied(), reviews(), seeds=2, cache=False)
    assert e.changes["added"] == 9 * 210 and e.unchanged


def test_labels_that_were_changed_or_added_are_counted():
    @step
    def longer(ds, *, children=False):
        extra = ds.select(range(5))
        uids = extra["uid"][:]
        extra = fill_column(extra, "uid", [u + "x" for u in uids])
        return concatenate_datasets([ds, extra.add_column("parent", uids) if children else extra])

    ds = reviews()
    steps = flip(), longer(), longer(children=True), few()
    flipped, more, made, fewer = (effect(s, ds, seeds=2, cache=False) for s in steps)
    assert flipped.labels == flipped.changes["truths_changed"] > 50 and more.labels == 5 and fewer.labels == 0
    assert made.labels == 0 and made.changes["added"] == made.changes["inherited"] == 5   # what their parents say
    assert effects_table([flipped, more])["labels"].tolist() == [flipped.labels, 5]
    assert flipped.to_dict()["labels"] == flipped.labels and f"{flipped.labels} labels" in str(flipped)
