"""Votes, shared encoders, replay, and reading first; models of two layers. For attacks see test_attacks.py."""

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor import lasting
from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import ner_en, ner_zh, reviews_en
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.distribution import part, split
from dataset_tutor.finetuning import _logits, finetune, load_run
from dataset_tutor.lasting import (
    _gaps,
    _Mean,
    _read,
    _replayed,
    _Turns,
    ensemble,
    learn_more,
    multitask,
    pretrain,
    scored,
)
from dataset_tutor.models import load_pretrained
from dataset_tutor.tagging import IGNORE

datasets.disable_progress_bars()
QUICK = dict(epochs=1, batch_size=16, progress=False, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def goods():
    return split(reviews_en()(load_sample("reviews-en", rows=70, genre="product")), seed=0)


@pytest.fixture(scope="module")
def two(films, shallow):
    return [finetune(films, model=shallow["en-small"], seed=s, lr=5e-4, **QUICK | dict(epochs=2)) for s in range(2)]


@pytest.fixture(scope="module")
def taggers(news, shallow):
    return [finetune(news, model=shallow["zh-small"], seed=s, lr=1e-3, **QUICK | dict(epochs=2)) for s in range(2)]


# votes


def test_probabilities_are_averaged(two):
    both, text = ensemble(two), "An endless, dull film."
    said = [r.predict(text)[0]["probabilities"]["negative"] for r in two]
    assert both.predict(text)[0]["probabilities"]["negative"] == pytest.approx(np.mean(said))
    for p, rows in both.rows.items():
        for i, row in enumerate(rows):
            said = [r.rows[p][i]["predicted"]["probabilities"]["positive"] for r in two]
            assert row["predicted"]["probabilities"]["positive"] == pytest.approx(np.mean(said))
    assert both.metrics["n"] == len(both.rows["test"]) and "2" in repr(both) and both.predict([]) == []


def test_tags_are_averaged_before_the_path(taggers, news):
    both, first = ensemble(taggers), taggers[0]
    ids = first.tokenizer(part(news, "test")["text"][:3])["input_ids"]
    own = [_logits(r.model, r.tokenizer, ids, "float32") for r in taggers]
    mean = _logits(_Mean([r.model for r in taggers]), first.tokenizer, ids, "float32")
    log = lambda x: torch.tensor(x).log_softmax(-1).numpy()  # noqa: E731
    assert all(np.allclose(m, (log(a) + log(b)) / 2, atol=1e-4) for m, a, b in zip(mean, *own))
    same = ensemble([first, first])
    key = lambda rows: [[(s["start"], s["end"], s["label"]) for s in r["predicted"]] for r in rows]  # noqa: E731
    assert key(same.rows["test"]) == key(first.rows["test"])
    assert len(both.predict("他在北京。")) == 1


def test_what_cannot_be_averaged_is_refused(two, taggers, films, shallow):
    other = finetune(split(films.remove_columns("split"), seed=9), model=shallow["en-small"], **QUICK)
    for runs, why in ((two[:1], "no ensemble"), ([two[0], other], "same rows"), ([two[0], taggers[0]], "same rows")):
        with pytest.raises(DataError, match=why):
            ensemble(runs)
    torn = lasting.replace(taggers[1].settings, stride=3)
    with pytest.raises(DataError, match="other windows"):
        ensemble([taggers[0], lasting.replace(taggers[1], settings=torn)])
    with pytest.raises(DataError, match="other pieces"):
        ensemble([taggers[0], lasting.replace(taggers[1], tokenizer=two[0].tokenizer)])


# two tasks


@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.integers(1, 9), st.integers(0, 3))
def test_tasks_take_turns(sizes, batch_size, epoch):
    turns = _Turns(sizes, batch_size, seed=1)
    turns.set_epoch(epoch)
    order = list(turns)
    assert len(order) == len(turns) and set(order) == set(range(sum(sizes)))
    task = np.repeat(np.arange(len(sizes)), sizes)[np.array(order)].reshape(-1, batch_size)
    assert (task == task[:, :1]).all()   # a batch has one task
    for k, n in enumerate(sizes):
        at = np.flatnonzero(task[:, 0] == k)
        assert len(at) == -(-n // batch_size)
        ideal = (np.arange(len(at)) + 0.5) / len(at) * len(task)
        assert np.abs(at + 0.5 - ideal).max() <= len(sizes)   # spread over the epoch


def test_one_encoder_two_heads(films, shallow, tmp_path):
    tweets = split(ner_en()(load_sample("ner-en", rows=60)), seed=0)
    runs = multitask(dict(names=tweets, mood=films), model=shallow["en-small"], **QUICK | dict(epochs=2))
    mood, names = runs["mood"], runs["names"]
    assert list(runs) == ["names", "mood"] and mood.model.base_model is names.model.base_model
    start = load_pretrained("AutoModel", shallow["en-small"]).state_dict()["encoder.layer.0.output.dense.weight"]
    assert not torch.equal(mood.model.base_model.encoder.layer[0].output.dense.weight, start)
    assert len(mood.log) == 2 and mood.notes["beside"] == "names" and mood.task == "classification"
    for name, run in runs.items():
        again = lasting.replace(load_run(run.save(tmp_path/name), "cpu"), settings=run.settings)
        texts = [r["text"] for r in run.rows["test"]][:4]
        key = lambda said: [[(s["start"], s["label"]) for s in p] if isinstance(p, list) else p["label"] for p in said]  # noqa: E731
        assert key(again.predict(texts)) == key(run.predict(texts))


def test_a_text_of_both_tasks_stands_on_one_side(films, shallow):
    turned = films.map(lambda r: dict(split="test" if r["split"] == "train" else "train"))
    turned = turned.map(lambda r, i: dict(split="validation" if i % 3 else r["split"]), with_indices=True)
    with pytest.raises(LeakageError, match="training texts of"):
        multitask(dict(a=films, b=turned), model=shallow["en-small"], **QUICK)
    with pytest.raises(DataError, match="two or more"):
        multitask(dict(a=films), model=shallow["en-small"])
    with pytest.raises(DataError, match="for one task"):
        multitask(dict(a=films, b=films), model=shallow["en-small"], adversarial="fgm")


# new rows


def test_only_what_is_replayed_comes_along(two, films, goods, monkeypatch):
    seen = {}
    monkeypatch.setattr(lasting, "finetune", lambda rows, *a, **k: seen.update(rows=rows, options=k) or two[0])
    for share in (0.0, 0.25, 1.0):
        learn_more(lasting.replace(two[0]), goods, films, replay=share)
        for p in ("train", "validation", "test"):
            old, new, got = (set(part(ds, p)["uid"][:]) for ds in (films, goods, seen["rows"]))
            assert new <= got and len(got - new) == (len(old) if p == "test" else round(share * len(old)))
            assert got - new <= old
    assert seen["options"]["lr"] == two[0].settings.lr   # the run's own settings
    learn_more(lasting.replace(two[0]), goods)
    assert set(seen["rows"]["uid"]) == set(goods["uid"])
    assert set(_replayed(films, 0.2, 0)) < set(_replayed(films, 0.6, 0))


def test_it_goes_on_from_where_the_run_was(two, films, goods):
    after = learn_more(two[0], goods, films, lr=1e-12, epochs=1, progress=False, device="cpu")
    assert scored(after, films)["accuracy"] == two[0].metrics["accuracy"]   # nothing learnt, nothing forgotten
    assert scored(after, goods)["n"] == len(part(goods, "test")) and after.settings.model == two[0].settings.model
    assert after.notes["continued_from"] == two[0].fingerprint
    with pytest.raises(DataError, match="old="):
        learn_more(two[0], goods, replay=0.5)
    with pytest.raises(DataError, match="none of these"):
        scored(two[0], goods)


def test_other_classes_are_refused(two, goods):
    turned = goods.cast_column("label", datasets.ClassLabel(names=["positive", "negative"]))
    with pytest.raises(DataError, match="in their order"):
        learn_more(two[0], turned)


def test_windows_stay_as_they_were(two, taggers, films, news, monkeypatch):
    seen = []
    monkeypatch.setattr(lasting, "finetune", lambda rows, *a, **k: seen.append(k) or lasting.replace(two[0]))
    learn_more(taggers[0], news)
    learn_more(two[0], films)
    windows = taggers[0].settings
    assert (seen[0]["max_length"], seen[0]["stride"]) == (windows.max_length, windows.stride) and windows.stride
    assert "max_length" not in seen[1]   # longer texts are not cut as the short old ones were


def test_other_tasks_are_refused(two, goods):
    pairs = lasting.replace(two[0], task="pairs")
    with pytest.raises(DataError, match="classes and entities"):
        learn_more(pairs, goods)
    with pytest.raises(DataError, match="classes and entities"):
        ensemble([pairs, pairs])


# reading


@pytest.fixture(scope="module")
def zh_tok(shallow):
    return load_pretrained("AutoTokenizer", shallow["zh-small"])


@settings(deadline=None)
@given(st.text("今天气很好我们去公园吃饭，。 film good", max_size=40), st.floats(0.05, 0.9), st.booleans(),
       st.integers(0, 9))
def test_gaps(zh_tok, text, share, whole, seed):
    for item in _read(zh_tok, [text], 24, whole):
        ids, labels = _gaps(item, share, np.random.default_rng(seed), zh_tok.mask_token_id, len(zh_tok))
        was, word, gone = np.array(item["input_ids"]), np.array(item["word"]), np.array(labels) != IGNORE
        assert len(ids) == len(labels) == len(was) <= 24 and gone.any()
        assert (np.array(labels)[gone] == was[gone]).all() and (np.array(ids)[~gone] == was[~gone]).all()
        assert not gone[word < 0].any()   # [CLS] and [SEP] stay
        assert set(word[gone]).isdisjoint(word[~gone])   # words are whole
        sizes = np.bincount(word[word >= 0])
        assert gone.sum() < max(1, round(share * (word >= 0).sum())) + max(sizes)


def test_words_are_whole_words(zh_tok):
    (item,) = _read(zh_tok, ["我喜欢北京大学"], 32, True)   # I like Peking University
    pieces = zh_tok.convert_ids_to_tokens(item["input_ids"])
    of = {}
    for piece, w in zip(pieces, item["word"]):
        of.setdefault(w, []).append(piece)
    assert ["喜", "欢"] in of.values() and ["北", "京", "大", "学"] in of.values()


def test_reading_goes_on_where_it_stopped(shallow, tmp_path, monkeypatch):
    texts = reviews_en()(load_sample("reviews-en", rows=90))["text"][:]
    asked = dict(epochs=3, lr=1e-3, batch_size=16, progress=False, device="cpu")
    whole = pretrain(texts, shallow["en-small"], tmp_path/"whole", **asked)
    judge, calls = lasting._Reader.judge, []

    def dies(self):
        calls.append(1)
        if len(calls) == 4:   # before, two epochs, and then
            raise KeyboardInterrupt
        return judge(self)

    monkeypatch.setattr(lasting._Reader, "judge", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(texts, shallow["en-small"], tmp_path/"torn", **asked)
    torn = pretrain(texts, shallow["en-small"], tmp_path/"torn", **asked)
    assert len(torn.log) == 3 and torn.before == whole.before and torn.after < torn.before
    assert [e["perplexity"] for e in torn.log] == [e["perplexity"] for e in whole.log]
    a, b = (load_pretrained("AutoModelForMaskedLM", f).state_dict() for f in (torn.folder, whole.folder))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not (tmp_path/"torn"/"checkpoints").exists()
    again = pretrain(texts, shallow["en-small"], tmp_path/"torn", **asked)
    assert again == torn
    with pytest.raises(DataError, match="another run"):
        pretrain(texts[1:], shallow["en-small"], tmp_path/"torn", **asked)


def test_of_rows_with_a_split_only_the_training_rows_are_read(films, shallow, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(lasting, "_read", lambda tok, texts, *rest: seen.extend(texts) or _read(tok, texts, *rest))
    monkeypatch.setattr(lasting, "_read_all", lambda *a: dict(before=1.0, after=1.0, log=[]))
    pretrain(films, shallow["en-small"], tmp_path/"one", device="cpu")
    assert set(seen) == set(part(films, "train")["text"][:])
    with pytest.raises(DataError, match="text 1 is None"):
        pretrain(["fine", None], shallow["en-small"], tmp_path/"two")
    with pytest.raises(DataError, match="too few"):
        pretrain(["fine"] * 50, shallow["en-small"], tmp_path/"two")


def test_a_chinese_reader_learns(shallow, tmp_path):
    texts = ner_zh()(load_sample("ner-zh", rows=80))["text"][:]
    read = pretrain(texts, shallow["zh-small"], tmp_path/"zh", epochs=2, lr=1e-3, progress=False, device="cpu")
    assert read.after < read.before and "by frequency" in repr(read)
    net = load_pretrained("AutoModelForMaskedLM", read.folder)
    assert net.get_input_embeddings().weight.data_ptr() == net.get_output_embeddings().weight.data_ptr()
