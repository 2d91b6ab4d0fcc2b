"""Spans -> tags -> spans and spans -> subword labels -> spans lose nothing, or say what."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from dataset_tutor.core import DataError
from dataset_tutor.tagging import (
    SCHEMES,
    cut_offsets,
    decode_spans,
    encode_spans,
    join_tokens,
    spans_to_tags,
    tag_names,
    tags_to_spans,
    tokenize,
    word_tags,
)
from tests.test_core import CHARS, text_with_spans

TAGS = tag_names(["PER", "LOC"])


def visible(text, spans):
    return [s for s in spans if text[s["start"] : s["end"]].strip() == text[s["start"] : s["end"]] != ""]


@given(text_with_spans(), st.sampled_from(list(SCHEMES)))
def test_tags_round_trip(row, scheme):
    text, spans = row
    spans = visible(text, spans)
    offsets = cut_offsets(tokenize(text), spans)
    assert tags_to_spans(offsets, spans_to_tags(offsets, spans, scheme), scheme) == (spans, [])


@given(st.lists(st.sampled_from(TAGS), max_size=12), st.sampled_from(["en", "zh"]))
def test_any_bio_sequence_is_read_repaired_or_refused(tags, lang):
    _, offsets = join_tokens(["x"] * len(tags), lang)
    spans, repairs = tags_to_spans(offsets, tags, illegal="repair")
    assert tags_to_spans(offsets, spans_to_tags(offsets, spans)) == (spans, []), "a repair is legal"
    if repairs:
        with pytest.raises(DataError):
            tags_to_spans(offsets, tags)
    else:
        assert spans_to_tags(offsets, spans) == tags


@given(st.lists(st.sampled_from(tag_names(["P"], "BIOES")), max_size=9))
def test_any_bioes_sequence_too(tags):
    offsets = [(i, i + 1) for i in range(len(tags))]
    spans, repairs = tags_to_spans(offsets, tags, "BIOES", illegal="repair")
    assert bool(repairs) != (spans_to_tags(offsets, spans, "BIOES") == tags)


def touched_one_by_one(offsets, span):
    return [i for i, (a, b) in enumerate(offsets) if a < span["end"] and b > span["start"]]


def cut_one_by_one(offsets, spans):
    out = []
    for start, end in offsets:
        for p in sorted({p for s in spans for p in (s["start"], s["end"])}):
            if start < p < end:
                out.append((start, p))
                start = p
        out.append((start, end))
    return out


def tags_one_by_one(offsets, spans):
    tags = ["O"] * len(offsets)
    for s in spans:
        inside = touched_one_by_one(offsets, s)
        if not inside or offsets[inside[0]][0] < s["start"] or offsets[inside[-1]][1] > s["end"]:
            raise DataError("covers no token, or cuts one")
        if any(tags[i] != "O" for i in inside):
            raise DataError("overlaps another")
        for n, i in enumerate(inside):
            tags[i] = f"{'I' if n else 'B'}-{s['label']}"
    return tags


def words_one_by_one(offsets, spans):
    tags = ["O"] * len(offsets)
    for s in spans:
        for n, i in enumerate(touched_one_by_one(offsets, s)):
            tags[i] = ("I-" if n else "B-") + s["label"]
    return tags


def outcome(function, *args):
    try:
        return function(*args)
    except DataError:
        return "refused"


PAIRS = st.tuples(st.integers(0, 15), st.integers(0, 15))


@given(st.lists(PAIRS, max_size=8), st.lists(PAIRS, max_size=5), st.sampled_from(["as they come", "sorted", "tokens"]))
def test_bisection_finds_the_same_tokens(pairs, ends, order):
    "In any order, with gaps, overlaps and empty tokens such as the (0, 0) of special ones"
    offsets = {"as they come": pairs, "sorted": sorted(tuple(sorted(p)) for p in pairs),
               "tokens": tokenize("".join("ab "[(a + b) % 3] for a, b in pairs))}[order]
    spans = [dict(start=min(e), end=max(e), label="X") for e in ends]
    assert cut_offsets(offsets, spans) == cut_one_by_one(offsets, spans)
    assert word_tags(offsets, spans) == words_one_by_one(offsets, spans)
    assert outcome(spans_to_tags, offsets, spans) == outcome(tags_one_by_one, offsets, spans)


class Place(int):
    "A position that counts how often it is compared"
    seen = 0

    def __lt__(self, other):
        Place.seen += 1
        return int(self) < int(other)

    def __gt__(self, other):
        Place.seen += 1
        return int(self) > int(other)


@pytest.mark.parametrize("name", ["cut_offsets", "spans_to_tags", "word_tags"])
def test_long_documents_take_few_comparisons(name):
    n = 2_000
    offsets = [(3 * i, 3 * i + 2) for i in range(n)]
    spans = [dict(start=Place(3 * i), end=Place(3 * i + 2), label="X") for i in range(n)]
    Place.seen = 0
    {"cut_offsets": cut_offsets, "spans_to_tags": spans_to_tags, "word_tags": word_tags}[name](offsets, spans)
    assert 0 < Place.seen < 60 * n  # a comparison of each token with each span would be 2,000 * n


def wordpiece():
    vocab = dict.fromkeys(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdez0123456789中文王京。，！<&.,-", *("##" + c for c in "abz9")]
    )
    tok = Tokenizer(models.WordPiece({p: i for i, p in enumerate(vocab)}, unk_token="[UNK]"))
    tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    tok.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


def byte_bpe():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tok = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=tok)


def metaspace():
    pieces = [("<unk>", 0.0), ("▁", -2.0)] + [(c, -3.0) for c in "abcz09.中文王京"] + [("王京", -2.5), ("▁ab", -1.0)]
    tok = Tokenizer(models.Unigram(pieces, unk_id=0))
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tok, unk_token="<unk>")


TOKENIZERS = {"wordpiece": wordpiece(), "byte_bpe": byte_bpe(), "metaspace": metaspace()}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=150)
@given(row=text_with_spans())
@example(row=("", []))
@example(row=("王", [dict(start=0, end=1, label="PER")]))
@example(row=("e\u0301", [dict(start=0, end=2, label="PER")]))
def test_subwords_round_trip_or_report(name, row):
    text, spans = row
    enc, lost = encode_spans([text], [spans], TOKENIZERS[name], TAGS)
    key = lambda s: (s["start"], s["end"], s["label"])  # noqa: E731
    back = [key(s) for s in decode_spans([text], enc, enc["labels"], TAGS)[0]]
    assert sorted(map(key, spans)) == sorted([b for b in back if b in map(key, spans)] + [key(x["span"]) for x in lost])


@pytest.mark.parametrize("name", ["wordpiece", "byte_bpe"])
@settings(deadline=None, max_examples=150)
@given(row=text_with_spans())
def test_nothing_is_lost_where_pieces_are_small(name, row):
    """Letters and Chinese characters that the vocabulary has are single pieces: every visible span survives."""
    text, spans = row
    text = "".join(c if c in "abz9中文王京 " else "a" for c in text)
    spans = visible(text, spans)
    enc, lost = encode_spans([text], [spans], TOKENIZERS[name], TAGS)
    assert not lost
    assert decode_spans([text], enc, enc["labels"], TAGS) == [spans]


@settings(deadline=None, max_examples=60)
@given(row=text_with_spans(), size=st.integers(6, 12))
def test_windows_put_entities_together(row, size):
    text, spans = row
    text = "".join(c if c in "中文王京" else "文" for c in text)
    assume(all(s["end"] - s["start"] < size - 4 for s in spans))
    enc, lost = encode_spans([text], [spans], TOKENIZERS["wordpiece"], TAGS, max_length=size, stride=size - 4)
    assert not lost and decode_spans([text], enc, enc["labels"], TAGS) == [spans]


def test_padding_and_special_tokens_are_ignored():
    enc, _ = encode_spans(["a b"], [[]], TOKENIZERS["wordpiece"], TAGS)
    assert enc["labels"] == [[-100, 0, 0, -100]]


def test_unknown_type_is_refused():
    with pytest.raises(DataError, match="B-ORG"):
        encode_spans(["a"], [[dict(start=0, end=1, label="ORG")]], TOKENIZERS["wordpiece"], TAGS)


def test_alphabet_has_the_hard_characters():
    assert "\u200d" in CHARS and "\u0301" in CHARS and "Ａ" in CHARS
