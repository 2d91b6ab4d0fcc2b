"""Models as operators: gaps are filled where they are, spans survive, the batch does not matter; tiny real models."""
import random

import pytest
from datasets import ClassLabel, Dataset

from dataset_tutor import generation
from dataset_tutor.acquisition import load_sample
from dataset_tutor.augmentation import OPERATORS, augment, lots
from dataset_tutor.cleaning import ner_zh, reviews_zh
from dataset_tutor.core import DataError, LeakageError, add_uids, move_spans, records
from dataset_tutor.distribution import leaks, split
from dataset_tutor.generation import (
    back_translation,
    contextual_insertion,
    contextual_words,
    from_prompts,
    from_templates,
    paraphrase,
)

ZH = ["房间很大，也很干净，但是早餐一般。", "这本书的内容太简单了，不值得买。", "屏幕清晰", "好", "送货速度很快！" * 8]
EN = ["The film is a joy.", "Nobody would watch this twice", "fine", "A long and tiring evening with old jokes."]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    "Tiny models of the real kinds, with a word tokeniser made of the sentences above"
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder, special = tmp_path_factory.mktemp("models"), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({w.strip(".") for t in EN for w in t.split()} | {"plot", "cast", "night", "."})
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                                         special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]",
                                                     cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
                                                     eos_token="[SEP]", bos_token="[CLS]")
    n = len(special + words)
    torch.manual_seed(0)
    mlm = transformers.BertForMaskedLM(transformers.BertConfig(
        vocab_size=n, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32))
    marian = transformers.MarianMTModel(transformers.MarianConfig(
        vocab_size=n, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=300, pad_token_id=0,
        eos_token_id=3, decoder_start_token_id=0, forced_eos_token_id=3))
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=n, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=3))
    for name, model in (("mlm", mlm), ("marian", marian), ("gpt", gpt)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def checked(texts, made):
    "Edits in order, inside their text"
    for text, edits in zip(texts, made):
        at = 0
        for a, b, new in edits:
            assert at <= a <= b <= len(text) and new.strip()
            at = b
    return made


def rngs(texts, seed=0):
    return [lots(seed, t) for t in texts]


@pytest.mark.parametrize("op", [contextual_words(rate=0.3), contextual_insertion(rate=0.3)])
def test_chinese_gaps(op):
    made = checked(ZH, op.edits(ZH, rngs(ZH), [()] * len(ZH)))
    assert sum(map(bool, made)) >= 3
    for text, edits in zip(ZH, made):
        for a, b, new in edits:
            assert new != text[a : a + 1] and len(new) == 1 and "\u4e00" <= new <= "\u9fff"
            assert (b == a + 1) == (op.name == "contextual_words")


def test_the_batch_does_not_change_a_child():
    together = contextual_words(rate=0.3).edits(ZH, rngs(ZH), [()] * len(ZH))
    alone = [contextual_words(rate=0.3).edits([t], rngs([t]), [()])[0] for t in ZH]
    assert [[e[:2] for e in row] for row in together] == [[e[:2] for e in row] for row in alone]
    same = sum(a == b for a, b in zip(together, alone))
    assert same >= len(ZH) - 1  # a padded batch may round a near tie otherwise


def test_negations_are_not_masked():
    text = "这本书不值得买，没有意思，太差"
    for seed in range(5):
        for a, b, _ in contextual_words(rate=1.0).edits([text], [random.Random(seed)], [()])[0]:
            assert text[a:b] not in "不没差"


def test_english_gaps_need_a_model_and_fill_whole_words(tiny):
    with pytest.raises(DataError, match="no masked language model for English"):
        contextual_words("The film is a joy.", seed=0)
    options = dict(model=str(tiny / "mlm"), least=0.0, rate=0.5)
    made = checked(EN, contextual_words(**options).edits(EN, rngs(EN), [()] * len(EN)))
    assert all(made)
    for text, edits in zip(EN, made):
        assert all(new.isalpha() and text[a:b].isalpha() and new.lower() != text[a:b].lower() for a, b, new in edits)
    put = contextual_insertion("The film is a joy.", seed=1, **options)
    assert len(put.split()) > 5 and "  " not in put
    with pytest.raises(DataError, match="could be loaded"):
        contextual_words("a film", model=str(tiny / "nothing"))


def test_a_gap_beyond_the_limit_leaves_the_text_alone(tiny):
    long = "film " * 600
    assert contextual_words(model=str(tiny / "mlm"), least=0.0).edits([long], [random.Random(0)], [()])[0] == []


def test_spans_survive_gaps():
    ds = split(ner_zh()(load_sample("ner-zh", rows=60, seed=0)), seed=0)
    out = augment(ds, [contextual_words(rate=0.2), contextual_insertion(rate=0.2)], per_row=2, seed=0)
    by_uid, n = {r["uid"]: r for r in out}, 0
    for child in (r for r in out if r["op"]):
        names = [[(r["text"][s["start"] : s["end"]], s["label"]) for s in r["spans"]]
                 for r in (child, by_uid[child["parent"]])]
        assert names[0] == names[1]
        n += 1
    assert n > 20 and leaks(out) == []


def test_paraphrases_are_new_repeatable_and_short():
    ds = split(reviews_zh()(load_sample("reviews-zh", rows=400, seed=0)), seed=0).select(range(40))
    op = paraphrase(longest=25)
    texts = ds["text"][:]
    made = op.edits(texts, rngs(texts), [()] * len(texts))
    assert made == op.edits(texts, rngs(texts), [()] * len(texts)) and sum(map(bool, made)) >= 2
    for text, edits in zip(texts, made):
        assert not edits or (len(text) <= 25 and edits[0][:2] == (0, len(text)) and edits[0][2] != text)
        assert not edits or len(edits[0][2]) <= len(text) + 12
    assert op.edits(["李明来了"], rngs("x"), [[dict(start=0, end=2, label="PER")]]) == [[]]
    with pytest.raises(DataError, match="writes Chinese only"):
        paraphrase("The film is a joy.")


def test_there_and_back_and_remembered(tiny, monkeypatch):
    op = back_translation(there=str(tiny / "marian"), back=str(tiny / "marian"), device="cpu")
    made = checked(EN, op.edits(EN, rngs(EN), [()] * len(EN)))
    assert any(made) and all(edits[0][:2] == (0, len(t)) for t, edits in zip(EN, made) if edits)
    monkeypatch.setattr(generation, "_loaded", lambda *a: pytest.fail("asked again"))
    assert op.edits(EN, rngs(EN), [()] * len(EN)) == made
    assert op.edits(["Bob came"], rngs(["x"]), [[dict(start=0, end=3, label="PER")]]) == [[]]


def test_paraphrase_by_another_model(tiny):
    made = paraphrase(model=str(tiny / "marian"), prefix="say: ").edits(EN, rngs(EN), [()] * len(EN))
    assert any(made)


def test_the_verb_takes_them_like_all_others(tiny):
    ds = Dataset.from_dict({"text": EN, "label": [0, 1, 0, 1], "split": ["train"] * 4})
    ds = add_uids(ds.cast_column("label", ClassLabel(names=["n", "p"])), "t")
    op = contextual_words(model=str(tiny / "mlm"), least=0.0)
    out = augment(ds, [op, "random_swap"], per_row=2, seed=0, num_proc=2)
    assert {"contextual_words", "random_swap"} <= set(out["op"]) and str(tiny / "mlm") in str(records(out)[-1].params)
    assert {"contextual_words", "contextual_insertion", "paraphrase", "back_translation"} <= set(OPERATORS)


def rows():
    ds = {"text": ["a dull film", "a fine film", "a film"], "label": [0, 1, 0], "split": ["train", "train", "test"]}
    return add_uids(Dataset.from_dict(ds).cast_column("label", ClassLabel(names=["bad", "good"])), "t")


def test_templates():
    said = {"bad": ["the {x} is weak", "a {x}"], "good": ["the {x} is fine"]}
    how = dict(templates=said, words={"x": ["plot", "film"]})
    out = from_templates(rows(), rows=9, seed=1, **how)
    new = [r for r in out if r["op"] == "from_templates"]
    weak, fine = {"the plot is weak", "the film is weak", "a plot"}, {"the plot is fine", "the film is fine"}
    assert {r["text"] for r in new} == weak | fine
    assert all(r["label"] == ("fine" in r["text"]) and r["split"] == "train" and r["parent"] is None for r in new)
    assert "a film" not in [r["text"] for r in new]  # it stands in the test
    assert out["text"][:] == from_templates(rows(), rows=9, seed=1, **how)["text"][:]
    with pytest.raises(DataError, match="gap 'y'"):
        from_templates(rows(), rows=1, templates={"bad": ["{y}"]}, words={})
    with pytest.raises(LeakageError):
        from_templates(rows().remove_columns("split"), rows=1, **how)


def test_prompts(tiny):
    how = dict(prompts={"bad": ["The film"], "good": ["A long"]}, model=str(tiny / "gpt"), rows=3, seed=0)
    out = from_prompts(rows(), **how)
    new = [r for r in out if r["op"] == "from_prompts"]
    assert new and {r["split"] for r in new} == {"train"} and {r["label"] for r in new} <= {0, 1}
    assert from_prompts(rows(), **how)["text"][:] == out["text"][:]


def test_moved_spans_of_an_insertion_stay_outside():
    text, spans = "王小明喜欢北京", [dict(start=0, end=3, label="PER"), dict(start=5, end=7, label="LOC")]
    for seed in range(5):
        child = contextual_insertion(text, spans=spans, seed=seed, rate=1.0)
        moved, lost = move_spans(spans, child.edits)
        assert not lost and [child[s["start"] : s["end"]] for s in moved] == ["王小明", "北京"]
