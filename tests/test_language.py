"""Words, sentences and languages are found right, mappers keep spans, noise stands out."""

import math
import time

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given

from dataset_tutor.acquisition import load_sample
from dataset_tutor.core import DataError, add_uids, dropped
from dataset_tutor.language import (
    CharModel,
    drop_improbable,
    drop_off_topic,
    drop_stop_words,
    expand_contractions,
    filter_language,
    filter_scripts,
    filter_words,
    language_of,
    lower_case,
    mask_numbers,
    off_topic,
    replace_words,
    script_shares,
    segment,
    sentences,
    stop_words,
    suggest_spelling,
    swear_words,
)
from tests.test_core import texts


def rows(some, **more):
    return add_uids(Dataset.from_dict({"text": some, **more}), "test")


@given(texts)
def test_words_and_sentences_cover_the_text(text):
    for places in (segment(text), sentences(text)):
        assert all(a < b for a, b in places)
        assert all(b <= c for (_, b), (c, _) in zip(places, places[1:]))
        covered = {i for a, b in places for i in range(a, b)}
        assert all(i in covered for i, c in enumerate(text) if c.isalnum())


@pytest.mark.parametrize("text, want", [
    ("我来到北京清华大学", ["我", "来到", "北京", "清华大学"]), ("it's 3.5 ok", ["it's", "3", ".", "5", "ok"]),
    ("用WiFi很快", ["用", "WiFi", "很快"]), ("𠮷野家好吃", None), ("", []),
])  # fmt: skip
def test_segment(text, want):
    got = [text[a:b] for a, b in segment(text)]
    assert got == want if want is not None else "".join(got) == text


@pytest.mark.parametrize("text, want", [
    ("He left. She stayed.", 2), ("Dr. Wu paid 3.5 yuan.", 1), ("J. Smith wrote it.", 1),
    ("真的吗？是的。“好！”他说。", 4), ("Wait... what?!", 2), ("one\n\ntwo", 2), ("no end", 1),
    ("", 0), ("e.g. this one.", 1), ("Any good? No. I left.", 3), ("You and I. We left.", 2),
    ("see http://x.com/?a=1", 1), ("No. 5 is best.", 1),
])  # fmt: skip
def test_sentences(text, want):
    assert len(sentences(text)) == want, [text[a:b] for a, b in sentences(text)]


@given(texts)
def test_lower_case_never_changes_the_length(text):
    assert len(lower_case(text)) == len(text)


@pytest.mark.parametrize("text, want", [
    ("I can't", "I can not"), ("Won’t go", "Will not go"), ("they've", "they have"), ("it's", "it's"),
    ("canteen", "canteen"), ("I'm, you're", "I am, you are"), ("a ‘great’ film", "a ‘great’ film"), ("aın't", "aın't"),
    ("Don't", "Do not"),
])  # fmt: skip
def test_contractions(text, want):
    assert expand_contractions(text) == want


@pytest.mark.parametrize("text, want", [
    ("3,500 rooms at 4.5%", "<NUM> rooms at <NUM>"), ("A4 paper", "A4 paper"), ("三百元", "<NUM>元"),
    ("一本书", "一本书"), ("v1.2.3", "v1.2.3"), ("-5 degrees", "<NUM> degrees"), ("房价300元", "房价<NUM>元"),
    ("2021年", "<NUM>年"), ("3.5cm", "3.5cm"), ("12:30pm", "12:30pm"), ("万一天气不好", "万一天气不好"),
    ("at 12:30", "at <NUM>"),
])  # fmt: skip
def test_numbers(text, want):
    assert mask_numbers(text) == want


def test_stop_words_keep_what_judges():
    assert drop_stop_words("This is not a good film.") == "not good film."
    left = drop_stop_words("这家酒店的早餐不是很好")
    assert "不是" in left and "好" in left and "的" not in left
    assert drop_stop_words("a b", words=["a"]) == "b"
    assert "don't" in drop_stop_words("I don't like it") and "hardly" in drop_stop_words("it was hardly good")
    assert drop_stop_words("的！") == "！"
    assert not {"not", "no", "不"} & (stop_words("en") | stop_words("zh"))
    with pytest.raises(DataError, match="has no list here"):
        stop_words("fr")


def test_mappers_keep_spans_on_their_text():
    ner = load_sample("ner-zh", rows=150, seed=4)
    for step in (lower_case, mask_numbers, replace_words):
        options = {"words": {"中国": "中华"}} if step is replace_words else {}
        before = {r["uid"]: [r["text"][s["start"]:s["end"]] for s in r["spans"]] for r in ner}
        for r in step(ner, **options):
            now = [r["text"][s["start"]:s["end"]] for s in r["spans"]]
            assert now == [str(step(w, **options)) for w in before[r["uid"]]] or step is mask_numbers
            assert all(now)
    for r in drop_stop_words(ner):
        assert all(r["text"][s["start"]:s["end"]].strip() for s in r["spans"])


def test_spelling_is_only_suggested():
    some = ["a beautifull film", "by Kubrick", "a beautiful day"]
    table = suggest_spelling(some)
    assert table[["word", "suggestion"]].values.tolist() == [["beautifull", "beautiful"]]
    assert suggest_spelling(["beautifull"] * 5).empty and suggest_spelling([]).empty
    assert replace_words(some[0], words=dict(zip(table.word, table.suggestion))) == some[2].replace("day", "film")


def test_a_word_that_a_dictionary_knows_is_meant():
    "`thon` and `phony` are no slips; in many texts, the suggestion must be one of their words"
    assert suggest_spelling(["a phony suavity", "a beautifull phone"]).word.tolist() == ["beautifull"]
    many = [*["plain words only"] * 1000, "a beautifull film"]
    assert suggest_spelling(many).empty and len(suggest_spelling(many, in_texts=0)) == 1
    assert len(suggest_spelling([*many, "a beautiful one"])) == 1


def test_rows_in_other_scripts_go():
    some = add_uids(Dataset.from_dict({"text": ["iPhone 很好用吧", "all Latin", "только", "12:30", None]}), "t")
    assert filter_scripts(some)["text"][:] == ["iPhone 很好用吧", "all Latin", "12:30", None]
    left = filter_scripts(some, scripts=["latin"], least=0.7)
    assert list(dropped(left).reason) == ["written in latin (60%), han (40%)", "written in cyrillic (100%)"]
    with pytest.raises(DataError, match="han, kana"):
        filter_scripts(some, scripts=["hanzi"])


@pytest.mark.parametrize("text, lang", [
    ("这家酒店的房间很大", "zh"), ("the breakfast was rather poor", "en"), ("la chambre était très sale", "fr"),
    ("この部屋は狭いです", "ja"), ("12:30", ""), ("", ""),
])  # fmt: skip
def test_language(text, lang):
    assert language_of(text)[0] == lang


def test_filter_language_keeps_doubtful_rows():
    some = rows(["这家酒店不错", "la chambre était très sale et petite", "ok", "123", "nice place to stay"])
    left = filter_language(some)
    assert left["text"][:] == [some["text"][i] for i in (0, 2, 3, 4)]
    assert dropped(left).reason.str.startswith("language fr").all()


def test_scripts():
    assert script_shares("iPhone 很好用") == {"han": pytest.approx(3 / 9), "latin": pytest.approx(6 / 9)}
    assert script_shares("123!") == {}


def test_char_model_counts_as_the_formula_says():
    alone = CharModel(1).fit(["ab"])
    n, kinds, floor = 3, 3, 1 / 20_000   # a, b and the end
    want = -math.log2((1 + kinds * floor) / (n + kinds))
    assert alone.bits(["a"])[0] == pytest.approx(want)
    model, letters = CharModel(3).fit(["abab", "abba", "bab"]), "ab"
    threes = [x + y + z for x in letters for y in letters for z in letters]
    lengths = {t: model.bits([t])[0] * 4 for t in threes}
    assert sum(2 ** -b for b in lengths.values()) < 1   # texts of three letters are some of all texts
    assert lengths["bab"] < lengths["bbb"] and model.bits(["abab"]) < model.bits(["qxzj"])
    assert model.bits([""])[0] > 0


def test_noise_is_improbable():
    clean = load_sample("reviews-zh", rows=1000, seed=6)["text"][:]
    rng = np.random.default_rng(0)
    noise = ["".join(rng.permutation(list(t[:60]))) for t in clean if len(t) > 40][:20]
    some = rows(clean + noise)
    gone = dropped(drop_improbable(some, share=40 / len(some)))
    assert gone.text.isin(noise).sum() >= 15
    assert len(drop_improbable(some, share=40 / len(some), least=10_000)) == len(some)
    with pytest.raises(DataError, match="between 0 and 1"):
        drop_improbable(some, share=2)


def test_drop_improbable_is_repeatable():
    some = load_sample("reviews-en", rows=200, seed=1)
    assert drop_improbable(some, share=0.1)["uid"][:] == drop_improbable(some, share=0.1)["uid"][:]


def test_few_rows_and_few_texts():
    for n in (0, 1, 2):
        assert len(drop_improbable(rows(["a b c d e f g h i j k l"] * 2).select(range(n)))) == n
    assert len(CharModel().fit([]).bits([])) == 0 and CharModel().fit([]).bits(["a"])[0] > 10
    assert suggest_spelling([None, "fine"]).empty


def test_asked_languages_are_judged_and_unknown_ones_refused():
    some = rows(["Det här är en mycket bra film som jag gärna ser igen", "การเดินทาง"])
    assert len(filter_language(some, langs=["sv"])) == 2
    with pytest.raises(DataError, match="no language that can be told"):
        filter_language(some, langs=["xx"])


@pytest.mark.parametrize(
    "bait", ["." * 200_000 + "x", "一" * 200_000, "a'" * 50_000, "!?" * 50_000 + "x", "No. " * 20_000],
    ids=["dots", "numerals", "apostrophes", "shouts", "abbreviations"],
)  # fmt: skip
def test_hostile_texts_end_in_time(bait):
    start = time.perf_counter()
    for fn in (sentences, segment, mask_numbers, expand_contractions, drop_stop_words, lower_case):
        fn(bait)
    assert time.perf_counter() - start < 20


def test_listed_words_count_whole_in_latin_and_anywhere_in_chinese():
    ds = rows(["Scunthorpe", "CUNT!", "你他妈的", "good", ""])
    assert filter_words(ds, words=["cunt", "他妈的"])["text"][:] == ["Scunthorpe", "good", ""]
    assert filter_words(rows(["a b a", "a"]), words=["A"], most=1)["text"][:] == ["a"]
    assert len(filter_words(ds, words=[])) == len(ds)
    assert "他妈的" in swear_words("zh") and len(swear_words("en")) > 300
    with pytest.raises(DataError, match="no list"):
        swear_words("xx")


def test_off_topic_rows_stand_apart():
    texts = [f"the hotel room number {i} was clean and quiet" for i in range(40)] + ["stock prices fell in Tokyo today"]
    assert off_topic(texts).argmax() == 40
    assert off_topic(texts, like=texts[40:], neighbours=1).argmin() == 40
    assert off_topic(texts, sample=10).argmax() == 40
    gone = dropped(drop_off_topic(rows(texts), share=0.02))
    assert list(gone.text) == texts[40:] and "usual is" in gone.reason[0]
    for bad in (0, 1):
        with pytest.raises(DataError, match="between 0 and 1"):
            drop_off_topic(rows(texts), share=bad)
    with pytest.raises(DataError, match="no neighbours"):
        drop_off_topic(rows(["one"]))
