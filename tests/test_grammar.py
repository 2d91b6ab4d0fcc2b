"""Words have kinds in both languages, lemmas and signs keep spans, suggestions change nothing."""

import io
import pickle

import pytest
from datasets import Dataset
from hypothesis import given

from dataset_tutor.core import DataError, add_uids
from dataset_tutor.grammar import (
    KINDS,
    _Data,
    lemmatize,
    normalize_punctuation,
    suggest_homophones,
    tag_words,
)
from tests.test_core import texts


@given(texts)
def test_tags_cover_all_words(text):
    tagged = tag_words(text)
    assert all(a < b and kind in KINDS for a, b, kind in tagged)
    assert all(x[1] <= y[0] for x, y in zip(tagged, tagged[1:]))
    assert "".join(text[a:b] for a, b, _ in tagged) == "".join(text.split())


@pytest.mark.parametrize(("text", "kinds"), [
    ("", []),
    ("猫", ["NOUN"]),
    ("I don't know.", ["PRON", "VERB", "ADV", "VERB", "PUNCT"]),
    ("北京的房间", ["PROPN", "PART", "NOUN"]),
    ("Mary’s dog", ["PROPN", "PART", "NOUN"]),
])
def test_kinds(text, kinds):
    assert [kind for *_, kind in tag_words(text)] == kinds


def test_own_tags_are_of_both_sets():
    assert [k for *_, k in tag_words("the dog 北京", own=True)] == ["DT", "NN", "ns"]


@given(texts)
def test_mappers_keep_spans(text):
    "Every span of a non-blank character is either moved to the same text or reported as lost"
    if not text.strip():
        return
    at = next(i for i, c in enumerate(text) if not c.isspace())
    spans = [[{"start": at, "end": at + 1, "label": "X"}]]
    ds = add_uids(Dataset.from_dict({"text": [text], "spans": spans}), "test")
    for verb in (lemmatize, normalize_punctuation):
        after = verb(ds)[0]
        for s in after["spans"]:
            assert 0 <= s["start"] < s["end"] <= len(after["text"])


@pytest.mark.parametrize(("text", "full"), [
    ("", ""), ("好,", "好，"), ("3.5元,10:30", "3.5元，10:30"),
    ("Hello, world.", "Hello, world."), ("好:)", "好:)"),
    ("好...", "好……"), ("房间(WiFi)好", "房间（WiFi）好"), ("见酒店.com", "见酒店.com"), ("好。”,", "好。”，"),
    ("a,b", "a,b"),
])
def test_punctuation(text, full):
    assert normalize_punctuation(text) == full
    assert normalize_punctuation(str(normalize_punctuation(text))) == full


@given(texts)
def test_punctuation_is_stable(text):
    for to in ("full", "half"):
        once = str(normalize_punctuation(text, to=to))
        assert str(normalize_punctuation(once, to=to)) == once


def test_bad_width():
    with pytest.raises(DataError, match="use 'full' or 'half'"):
        normalize_punctuation("好", to="wide")


def test_names_have_no_lemma():
    assert str(lemmatize("In Bridges we saw bridges")) == "In Bridges we see bridge"


def test_homophones():
    good = ["这个苹果很好吃", "苹果手机不错", "我要苹果"] * 15
    table = suggest_homophones([*good, "这个平果很好吃", None, ""], gain=1)
    assert list(table.word) == ["平果"] and list(table.suggestion) == ["苹果"]
    assert suggest_homophones(good).empty and suggest_homophones([]).empty


class Harm:
    def __reduce__(self):
        return print, ("harm",)


def test_no_pickle_runs(capsys):
    with pytest.raises(DataError, match="wants to import"):
        _Data(io.BytesIO(pickle.dumps(Harm()))).load()
    assert not capsys.readouterr().out
