"""Children: span-true, the same on every machine, of training rows only, never equal to a row that is known."""

import random
from collections import Counter

import pytest
from datasets import ClassLabel, Dataset, Value
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor import augmentation
from dataset_tutor.acquisition import load_sample
from dataset_tutor.augmentation import (
    OPERATORS,
    antonyms,
    augment,
    chinese_synonyms,
    english_synonyms,
    free_units,
    learn_mentions,
    learn_tokens,
    lots,
    operator,
    random_deletion,
    random_insertion,
    random_swap,
    script_variants,
    shuffle_segments,
    swap_mentions,
    swap_tokens,
    synonyms,
    width_variants,
)
from dataset_tutor.cleaning import ner_en, ner_zh, reviews_en, text_key
from dataset_tutor.core import DataError, LeakageError, add_uids, move_spans, read_rows, records, story, write_rows
from dataset_tutor.distribution import leaks, split
from dataset_tutor.tagging import check_spans, cut_offsets, spans_to_tags, tags_to_spans, tokenize

# those of this chapter, whatever another test has imported; one needs a list of names
PLAIN = sorted(name for name, op in OPERATORS.items()
               if op.fn.__module__ == "dataset_tutor.augmentation" and name != "gazetteer_mentions")
NAMES = {"PER": ["Li Na", "王小明", "O'Neill"], "LOC": ["Oslo", "北京市"], "ORG": ["UN"]}
OUTSIDE = ["random_swap", "random_deletion", "random_insertion", "synonyms", "keyboard_noise", "ocr_noise",
           "spelling_noise", "homophones", "similar_shapes"]
PIECES = ["the film ", "Anna ", "was not good ", "房间", "很干净", "，", "!", " ", "😀", "e\u0301 ", "ＷｉＦｉ",
          "@ann ", "3.5 ", "http://t.cn/x ", "\n", "don't ", "\u200b", "早餐", "a", "\ud800"]


@st.composite
def tagged(draw):
    "A text of odd pieces, and flat spans over some of them"
    text, spans = "", []
    for piece in draw(st.lists(st.sampled_from(PIECES), max_size=12)):
        start, label = len(text), draw(st.sampled_from([None, None, "PER", "LOC"]))
        text += piece
        end = start + len(piece.rstrip())
        if label and any(a < end and b > start for a, b in tokenize(text)):
            spans.append(dict(start=start, end=end, label=label))
    return text, spans


def surfaces(text, spans):
    return [(text[s["start"] : s["end"]], s["label"]) for s in spans]


BY_CHARACTERS = ["random_swap", "random_deletion", "homophones"]
WAYS = [(name, {}) for name in OUTSIDE] + [(name, {"unit": "characters"}) for name in (*BY_CHARACTERS,
                                                                                       "random_insertion")]


@given(tagged(), st.sampled_from(WAYS), st.integers(0, 5), st.sampled_from([0.1, 0.5, 1.0]))
def test_what_is_outside_changes_and_what_is_inside_stays(row, way, seed, rate):
    (text, spans), (name, options) = row, way
    child = OPERATORS[name](text, spans=spans, seed=seed, rate=rate, **options)
    moved, lost = move_spans(spans, child.edits)
    assert not lost and surfaces(child, moved) == surfaces(text, spans)
    check_spans(child, moved, flat=True)


@given(tagged(), st.sampled_from(["swap_mentions", "gazetteer_mentions", "swap_tokens", "shuffle_segments"]),
       st.integers(0, 5))
def test_types_stay_and_tags_come_back(row, name, seed):
    text, spans = row
    more = {"pool": NAMES} if name == "swap_mentions" else {"names": NAMES} if name == "gazetteer_mentions" else {}
    if name == "swap_tokens":
        more = {"pool": learn_tokens([text, "Bob met Li Na"], [spans, [dict(start=0, end=3, label="PER")]])}
    child = OPERATORS[name](text, spans=spans, seed=seed, rate=1.0, **more)
    moved, lost = move_spans(spans, child.edits)
    assert not lost and [s["label"] for s in moved] == [s["label"] for s in spans]
    offsets = cut_offsets(tokenize(child), moved)
    assert tags_to_spans(offsets, spans_to_tags(offsets, moved))[0] == sorted(moved, key=lambda s: s["start"])
    if name.endswith("mentions"):
        pairs = zip(surfaces(child, moved), surfaces(text, spans))
        assert all(new in NAMES[t] or new == old for (new, t), (old, _) in pairs)
    if name == "shuffle_segments":
        assert sorted(child) == sorted(text)
        assert [sorted(a) for a, _ in surfaces(child, moved)] == [sorted(a) for a, _ in surfaces(text, spans)]


@pytest.mark.parametrize("gap", ["", "，"])
def test_mentions_that_begin_with_a_sign_are_shuffled_apart(gap):
    text = f"《红楼梦 新编》{gap}《三国 演义》好看 的 书"
    spans = [dict(start=a, end=text.index("》", a) + 1, label="BOOK") for a in (0, text.index("《", 1))]
    seen = {str(shuffle_segments(text, spans=spans, seed=s, rate=1.0)) for s in range(20)}
    assert len(seen) > 2
    for t in seen:
        first, second = t.split("》")[:2]
        assert sorted(first) == sorted("《红楼梦 新编") and sorted(second) == sorted(f"{gap}《三国 演义")


@given(st.text(max_size=60), st.sampled_from(PLAIN), st.integers(0, 3))
def test_any_text_has_edits_in_order_inside_it(text, name, seed):
    at = 0
    for start, end, new in OPERATORS[name](text, seed=seed).edits:
        assert at <= start <= end <= len(text) and isinstance(new, str)
        at = end


@given(st.text(max_size=60), st.sampled_from(["words", "characters"]), st.integers(0, 3))
def test_a_swap_keeps_every_character_and_a_deletion_adds_none(text, unit, seed):
    assert sorted(random_swap(text, unit=unit, seed=seed)) == sorted(text)
    left = random_deletion(text, unit=unit, seed=seed, rate=0.5)
    assert len(left) <= len(text) and (len(free_units(left, unit=unit)) > 0 or not free_units(text, unit=unit))


@given(st.lists(tagged(), max_size=5), st.sampled_from(BY_CHARACTERS), st.integers(0, 3))
def test_characters_are_drawn_for_each_text_alone(rows, name, seed):
    "Together, one by one, with a plain generator: the same lots"
    op, texts, spans = OPERATORS[name](unit="characters", rate=0.3), [t for t, _ in rows], [s for _, s in rows]
    together = op.edits(texts, [lots(seed, i) for i in range(len(rows))], spans)
    assert together == [op.edits([t], [lots(seed, i)], [s])[0] for i, (t, s) in enumerate(rows)]
    back = op.edits(texts[::-1], [lots(seed, i) for i in range(len(rows))][::-1], spans[::-1])
    assert together == back[::-1]
    for text, edits in zip(texts, op.edits(texts, [random.Random(seed) for _ in rows], spans)):
        assert all(0 <= a < b <= len(text) for a, b, _ in edits)


def test_how_many_characters_and_which():
    text, chosen = "房间很大也很干净但是早餐一般" * 10, Counter()
    for seed in range(60):
        child = augmentation.homophones(text, unit="characters", rate=0.1, seed=seed)
        assert len(child.edits) == 14 and all(text[a:b] != new and len(new) == 1 for a, b, new in child.edits)
        chosen.update(a for a, *_ in child.edits)
        assert len(random_deletion(text, unit="characters", spare=False, seed=seed)) == 126
        gone = random_deletion(text, unit="characters", rate=1.0, seed=seed)
        assert set(gone) >= set("很但") and len(gone) < len(text)   # what bears the label is spared
        moved = random_swap(text, unit="characters", rate=0.1, seed=seed)
        assert sum(a != b for a, b in zip(text, moved)) == len(moved.edits) <= 28
    assert len(chosen) > 134 and max(chosen.values()) < 20   # each 6 times expected
    assert random_deletion("好 坏 书 店", unit="characters", rate=1.0, spare=False, seed=1).count("  ") == 0


@given(st.text("房间大不好。a ", max_size=40), st.integers(0, 5), st.sampled_from([0.1, 0.5, 1.0]))
def test_inserted_characters_are_of_the_text_and_no_negations(text, seed, rate):
    child = OPERATORS["random_insertion"](text, unit="characters", rate=rate, seed=seed)
    places = [c for c in text if "\u3400" <= c <= "\u9fff"]
    able = {c for c in places if not augmentation._bears_label(c)}
    assert all(a == b and new in able for a, b, new in child.edits)
    assert len(child.edits) == (max(1, round(rate * len(places))) if able else 0)
    assert child.count("不") == text.count("不")


def test_many_characters_and_any_number_of_processes():
    long = ["书店" * 200_000, "", "很好", "a"]
    for name in BY_CHARACTERS:
        made = OPERATORS[name](unit="characters").edits(long, [lots(0, i) for i in range(4)], [()] * 4)
        assert 30_000 < len(made[0]) <= 80_000 and made[1] == made[3] == []
    ds = split(load_sample("reviews-zh", rows=80).filter(lambda r: r["text"]), seed=0)
    ops = [OPERATORS[name](unit="characters") for name in BY_CHARACTERS]
    assert augment(ds, ops, seed=1).to_dict() == augment(ds, ops, seed=1, num_proc=2).to_dict()


@pytest.mark.parametrize("text", ["", " ", "a", "好", "😀", "\u0301", "Ｗ"])
@pytest.mark.parametrize("name", PLAIN)
def test_tiny_texts(text, name):
    assert isinstance(OPERATORS[name](text, seed=1), str)


def test_opposites_never():
    "Over every adjective and verb of real reviews"
    found = 0
    for text in load_sample("reviews-en", rows=400)["text"]:
        for (a, b), tag in augmentation._tagged(text).items():
            kind, ending = augmentation._ENDINGS.get(tag, ("", ""))
            lemma = kind and augmentation._lemma(text[a:b].lower(), kind, ending)
            if lemma:
                found += 1
                assert not antonyms(lemma) & set(english_synonyms(lemma, kind, senses=9, least=0))
    assert found > 1000 and "good" in antonyms("bad") and "slow" in antonyms("fast")


def test_word_class_form_and_fixed_words():
    choose = augmentation._english_choices
    assert choose("films", "NNS", 2) and all(w.endswith("s") for w in choose("films", "NNS", 2))
    assert "movie" in choose("film", "NN", 2) and "movie" not in choose("film", "VB", 2)
    assert choose("not", "RB", 2) == choose("good", "JJ", 2) == choose("went", "VBD", 2) == ()
    assert "屋子" in chinese_synonyms("房间") and chinese_synonyms("不") == chinese_synonyms("干净") == ()
    assert len(augmentation._cilin()["干净"]) == 2 and "绝望" in chinese_synonyms("干净", senses=2)  # so 1
    assert "农业" not in augmentation._cilin() and chinese_synonyms("没有这个词") == ()


def test_negations_and_names_stay():
    for seed in range(20):
        assert "not" in random_deletion("it is not a film that we like", rate=0.5, seed=seed)
        assert "不会" in random_deletion("我想我不会再选择这个酒店了", rate=0.5, seed=seed)
        assert "Hope" in synonyms("the film with Hope is a joy", rate=1.0, seed=seed)
    assert any("not" not in random_deletion("it is not a film", rate=0.5, spare=False, seed=s) for s in range(20))


def test_variants():
    assert script_variants("这里的面") == "這裏的面" or script_variants("这里的面") == "這裡的面"
    assert script_variants("這裡的麵") == "这里的面" and script_variants("plain") == "plain"
    assert width_variants("3天WiFi") == "３天ＷｉＦｉ" and width_variants("好，！") == "好,!"
    assert width_variants(width_variants("a1"), to="half") == "a1"
    with pytest.raises(DataError, match="auto"):
        script_variants("x", to="simple")


def test_options_are_checked():
    with pytest.raises(TypeError, match="it has rate, unit"):
        random_swap("a b", share=1)
    with pytest.raises(DataError, match="no share"):
        random_swap("a b", rate=0)
    with pytest.raises(DataError, match="'words' or 'characters'"):
        random_swap("a b", unit="letters")
    with pytest.raises(DataError, match="empty name"):
        OPERATORS["gazetteer_mentions"]("Bob", spans=[dict(start=0, end=3, label="PER")], names={"PER": [" "]})
    assert repr(random_swap(rate=0.5)(unit="characters")) == "random_swap(rate=0.5, unit='characters')"


def reviews(n=200, seed=0):
    return split(reviews_en()(load_sample("reviews-en", rows=n, seed=seed)), seed=0)


def test_no_split_no_children():
    ds = load_sample("reviews-en", rows=50)
    with pytest.raises(LeakageError, match="not split"):
        augment(ds, ["random_swap"])
    torn = add_uids(Dataset.from_dict({"text": ["same film", "same film!"], "split": ["train", "test"]}), "t")
    with pytest.raises(LeakageError, match="relatives"):
        augment(torn.map(lambda r: {"text": "same film"}), ["random_swap"])


def test_children_are_of_training_rows_and_new():
    ds = reviews()
    out = augment(ds, list(OUTSIDE), per_row=3, seed=0)
    by_uid, old = {r["uid"]: r for r in out}, {text_key(t) for t in ds["text"]}
    assert out.select(range(len(ds)))["text"][:] == ds["text"][:] and len(set(out["uid"])) == len(out)
    children = [r for r in out if r["op"]]
    assert len(children) > 300 and len({text_key(r["text"]) for r in children} | old) == len(old) + len(children)
    for child in children:
        parent = by_uid[child["parent"]]
        assert child["split"] == parent["split"] == "train" and parent["op"] is None
        assert child["label"] == parent["label"] and child["op"] in OUTSIDE
    assert leaks(out) == [] and out.features["label"] == ds.features["label"]
    notes = records(out)[-1].notes
    assert notes["children"] == len(children) == sum(notes.get(op, 0) for op in OUTSIDE)


def test_a_child_that_equals_a_test_row_is_thrown_away():
    ds = add_uids(Dataset.from_dict({"text": ["a movie", "movie"], "split": ["train", "test"]}), "t")
    out = augment(ds, random_deletion, per_row=10)
    assert out["text"][:] == ["a movie", "movie", "a"] and records(out)[-1].notes["duplicates"] > 0


def test_the_same_children_for_any_order_and_any_number_of_processes():
    ds = reviews(120)
    one = augment(ds, ["synonyms", "random_swap", "homophones"], per_row=2, seed=4)
    two = augment(ds, ["synonyms", "random_swap", "homophones"], per_row=2, seed=4, num_proc=2)
    back = augment(ds.select(range(len(ds))[::-1]), ["synonyms", "random_swap", "homophones"], per_row=2, seed=4)
    assert one.to_dict() == two.to_dict() and records(one)[-1].id == records(two)[-1].id
    assert sorted(zip(one["uid"], one["text"])) == sorted(zip(back["uid"], back["text"]))
    other = augment(ds, ["synonyms", "random_swap", "homophones"], per_row=2, seed=5)
    assert set(one["text"]) != set(other["text"])


def test_again_gives_others_and_children_have_no_children():
    once = augment(reviews(100), ["random_swap"], seed=0)
    twice = augment(once, ["random_swap"], seed=0)
    grown = [r for r in twice if r["op"]]
    assert len(grown) > 1.5 * sum(o is not None for o in once["op"])
    originals = {r["uid"] for r in twice if not r["op"]}
    assert all(r["parent"] in originals for r in grown)


def test_rows_without_a_label_are_no_class_to_balance():
    ds = reviews(200).map(lambda r, i: {"label": None if i % 2 else r["label"]}, with_indices=True)
    made = [r for r in augment(ds, ["random_swap"], target="balance", seed=0) if r["op"]]
    assert made and all(r["label"] is not None for r in made)


def test_a_target_is_met_or_what_is_missing_is_told():
    ds = reviews(300)
    out = augment(ds, ["random_swap", "random_deletion"], target={"negative": 300, "positive": 10}, seed=0)
    train = [out.features["label"].int2str(y) for y, p in zip(out["label"], out["split"]) if p == "train"]
    had = [ds.features["label"].int2str(y) for y, p in zip(ds["label"], ds["split"]) if p == "train"]
    assert train.count("negative") == 300 and train.count("positive") == had.count("positive")
    even = augment(ds, ["random_swap"], target="balance")
    counts = [sum(y == k and p == "train" for y, p in zip(even["label"], even["split"])) for k in (0, 1)]
    assert counts[0] == counts[1]
    tiny = add_uids(Dataset.from_dict({"text": ["a b", "c d"], "label": [0, 1], "split": ["train"] * 2}), "t")
    short = augment(tiny.cast_column("label", ClassLabel(names=["n", "p"])), ["random_swap"], target={"n": 9})
    assert len(short) == 3 and records(short)[-1].notes["short"] == {"0": 7}
    with pytest.raises(DataError, match="'balance' or"):
        augment(ds, ["random_swap"], target="even")
    with pytest.raises(DataError, match="no training row has class 'bad'"):
        augment(ds, ["random_swap"], target={"bad": 3})


def test_ways_to_name_operators():
    ds = reviews(60)
    by_name = augment(ds, ["random_swap"], rate=0.5)
    assert by_name["text"][:] == augment(ds, random_swap(rate=0.5))["text"][:]
    assert by_name["text"][:] == augment(ds, [{"random_swap": {"rate": 0.5}}])["text"][:]
    assert by_name["text"][:] == augment([random_swap(rate=0.5)])(ds)["text"][:]
    assert by_name["text"][:] == augment(ds, ops="random_swap", rate=0.5)["text"][:]
    with pytest.raises(DataError, match="no operator 'swap'"):
        augment(ds, ["swap"])
    with pytest.raises(DataError, match="put the decorator"):
        augment(ds, [len])
    with pytest.raises(DataError, match="no operators"):
        augment(ds, [])


@pytest.mark.parametrize("name, clean", [("ner-en", ner_en()), ("ner-zh", ner_zh())])
def test_real_entities(name, clean):
    ds = split(clean(load_sample(name, rows=600, seed=1)), seed=0)
    out = augment(ds, ["swap_mentions", "swap_tokens", "shuffle_segments", *OUTSIDE], seed=0, per_row=2)
    by_uid = {r["uid"]: r for r in out}
    train = [r for r in ds if r["split"] == "train"]
    pool = learn_mentions([r["text"] for r in train], [r["spans"] for r in train])
    for child in (r for r in out if r["op"]):
        parent = by_uid[child["parent"]]
        check_spans(child["text"], child["spans"], child["uid"], flat=True)
        assert [s["label"] for s in child["spans"]] == [s["label"] for s in parent["spans"]]
        now, then = surfaces(child["text"], child["spans"]), surfaces(parent["text"], parent["spans"])
        assert now == then or child["op"] not in OUTSIDE
        if child["op"] == "swap_mentions":
            assert all(text in pool[label] for text, label in now)


def test_chinese_words_stay_whole_and_links_stay():
    text, spans = "李明昨天从中国去了上海看球赛 http://t.cn/Rab", [dict(start=5, end=7, label="LOC")]
    for seed in range(10):
        child = shuffle_segments(text, spans=spans, seed=seed, rate=1.0)
        assert all(w in child for w in ("昨天", "中国", "上海", "球赛", "http://t.cn/Rab"))
        child = swap_tokens(text, spans=spans, seed=seed, rate=1.0, pool={"O": ["词"], "B-LOC": ["法国"]})
        assert "http://t.cn/Rab" in child and "法国" in child


def test_pools_hold_training_rows_only():
    ds = {"text": ["Ann is in Oslo", "Zoe is in Rome"], "split": ["train", "test"],
          "spans": [[dict(start=0, end=3, label="PER"), dict(start=10, end=14, label="LOC")]] * 2}
    out = augment(add_uids(Dataset.from_dict(ds), "t"), [swap_mentions(rate=1.0), swap_tokens(rate=1.0)], per_row=6)
    assert not any("Zoe" in t or "Rome" in t for t in out["text"][2:])


def test_old_columns_stay_and_the_record_survives(tmp_path):
    ds = reviews(60).add_column("extra", list(range(len(reviews(60))))).add_column("parent", [None] * len(reviews(60)))
    out = augment(ds, [random_swap(rate=0.3)], seed=0)
    child = next(r for r in out if r["op"])
    assert child["extra"] == next(r["extra"] for r in out if r["uid"] == child["parent"])
    assert out.features["parent"] == Value("string")
    again = read_rows(write_rows(out, tmp_path / "rows.parquet"))
    assert "made from" in str(story(again, child["uid"])) and records(again)[-1].op == "augment"


def test_an_operator_of_ones_own_runs_in_processes():
    @operator(variant=True)
    def capital(text, rng, spans=()):
        return [(0, 1, text[0].upper())] if text else []
    try:
        ds = reviews(60)
        out = augment(ds.map(lambda r: {"text": r["text"].lower()}), [capital], num_proc=2)
        assert all(r["text"][0] == r["text"][0].upper() for r in out if r["op"]) and len(out) > len(ds)
    finally:
        del OPERATORS["capital"]


def test_empty_and_missing():
    ds = Dataset.from_dict({"text": ["a b c", None, ""], "split": ["train"] * 3})
    out = augment(add_uids(ds, "t"), ["random_swap"], seed=1)
    assert len(out) in (3, 4) and out["text"][1] is None


def test_lots_depend_on_the_key_alone():
    assert lots(1, "a").random() == lots(1, "a").random() != lots(1, "b").random()
    rng, same = lots("x"), random.Random(lots("x").number)
    assert [rng.random(), rng.choice("abc"), rng.sample(range(9), 3)] == [
        same.random(), same.choice("abc"), same.sample(range(9), 3)]
    with pytest.raises(AttributeError):
        rng.nothing()
    assert random_insertion("the film is a joy", seed=1) == random_insertion("the film is a joy", seed=1)
    assert len({str(shuffle_segments("one two three four", seed=s, rate=1.0)) for s in range(9)}) > 3
