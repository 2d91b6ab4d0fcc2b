"""Smaller and cheaper: real rows, models of two layers cut from the packaged ones."""
import json
import sys
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from dataset_tutor import efficient
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.distribution import part
from dataset_tutor.efficient import (
    METHODS,
    OnnxModel,
    as_float32,
    compare_predictions,
    distill,
    export_onnx,
    keep_layers,
    prune,
    soft_loss,
    training_memory,
    tune,
)
from dataset_tutor.finetuning import finetune, load_run
from dataset_tutor.models import load_pretrained

datasets.disable_progress_bars()
QUICK = dict(epochs=1, progress=False, device="cpu", freeze_embeddings=True)


@pytest.fixture(scope="module")
def critic(films, shallow):
    return tune(films, "full", model=shallow["en-small"], lr=5e-4, **QUICK | dict(epochs=3))


@pytest.fixture(scope="module")
def tagger(news, shallow):
    return tune(news, "full", model=shallow["zh-small"], lr=1e-3, **QUICK | dict(epochs=6))


@pytest.fixture(scope="module")
def exported(critic, tagger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    return {r.task: export_onnx(r, folder / r.task) for r in (critic, tagger)}


def test_full_is_finetune(films, shallow):
    a, b = tune(films, "full", model=shallow["en-small"], **QUICK), finetune(films, model=shallow["en-small"], **QUICK)
    assert a.rows == b.rows and a.settings == b.settings


@pytest.mark.parametrize("method", [m for m in METHODS if m != "full"])
def test_only_the_method_s_weights_are_trained_and_what_comes_back_is_plain(method, films, shallow):
    run = tune(films, method, model=shallow["en-small"], rank=2, batch_size=4, **QUICK)
    base = load_pretrained("AutoModel", shallow["en-small"]).state_dict()
    every = sum(p.numel() for p in load_pretrained("AutoModelForSequenceClassification",
                                                   shallow["en-small"]).parameters())
    assert 0 < run.notes["trained"] < every / 10 and run.notes["memory_mb"] > 0
    assert len(run.predict(["good", ""])) == 2
    if method == "prefix":
        assert "peft" in type(run.model).__module__
        return
    if method == "adapter":   # the pretrained weights stand untouched behind the detours
        now = {n.replace("dense.layer.", "dense."): w for n, w in run.model.bert.state_dict().items()}
        assert all(torch.equal(now[n], w) for n, w in base.items() if not n.startswith("pooler"))
        assert any(w.any() for n, w in now.items() if n.endswith("up.weight"))
        return
    assert type(run.model).__name__ == "BertForSequenceClassification"
    now = run.model.bert.state_dict()
    moved = {n for n, w in now.items() if n in base and not torch.equal(w, base[n])} - {
        n for n in base if n.startswith("pooler")}
    assert not any("embeddings.word" in n for n in moved)
    if method == "head":
        assert not moved
    elif method == "bias":
        assert moved and all(n.endswith("bias") for n in moved)
    else:   # IA3's factors scale a layer's bias with its output
        assert moved and (method == "ia3" or all(n.endswith("weight") for n in moved))


@pytest.mark.parametrize("method", ["adalora", "adapter"])
def test_chinese_entities_too(method, news, shallow):
    run = tune(news, method, model=shallow["zh-small"], rank=2, batch_size=4, **QUICK)
    assert type(run.model).__name__ == "RoFormerForTokenClassification" and run.notes["method"] == method


def test_adalora_comes_back_to_its_best_epoch(films, shallow, monkeypatch):
    "peft cannot read a checkpoint whose ranks were others, so the weights of the best epoch are kept in memory."
    net, scores, seen = [], iter([0.9, 0.2, 0.1]), []
    make, ids = efficient._trainable, torch.tensor([[101, 2204, 102]])

    def caught(*args):
        net.append(make(*args))
        return net[0]

    def falling(*args):
        with torch.inference_mode():
            seen.append(net[0].eval()(input_ids=ids).logits)
        return SimpleNamespace(score=next(scores), headline=())

    monkeypatch.setattr(efficient, "_trainable", caught)
    monkeypatch.setattr(efficient, "_report", falling)
    options = QUICK | dict(epochs=3, dtype="float32")
    run = tune(films, "adalora", model=shallow["en-small"], rank=2, batch_size=4, early_stopping=0, **options)
    with torch.inference_mode():
        now = run.model(input_ids=ids).logits
    assert run.notes["best_epoch"] == 1 and len(seen) == 3
    assert torch.allclose(now, seen[0], atol=1e-5) and not torch.allclose(seen[2], seen[0], atol=1e-4)


def test_merging_changes_nothing():
    net = load_pretrained("AutoModelForSequenceClassification", "en-small", num_hidden_layers=1)
    both = efficient._trainable(net, "lora", 4, 10)
    torch.manual_seed(0)
    for n, p in both.named_parameters():
        if "lora_B" in n:
            torch.nn.init.normal_(p, std=0.05)
    ids = torch.tensor([[101, 2204, 102]])
    with torch.inference_mode():
        before = both.eval()(input_ids=ids).logits
        after = both.merge_and_unload()(input_ids=ids).logits
    assert torch.allclose(before, after, atol=1e-5)


def test_a_finished_run_comes_back_and_a_changed_question_is_refused(films, shallow, tmp_path):
    options = dict(model=shallow["en-small"], rank=2, out=tmp_path / "r", **QUICK)
    run = tune(films, "lora", **options)
    again = tune(films, "lora", **options)
    assert again.rows == run.rows and not (tmp_path / "r" / "checkpoints").exists()
    assert load_run(tmp_path / "r", "cpu").predict(["good"]) == run.predict(["good"])
    with pytest.raises(DataError, match="another run"):
        tune(films, "ia3", **options)


def test_memory_is_counted():
    net = load_pretrained("AutoModelForSequenceClassification", "en-small", num_hidden_layers=2)
    batch = dict(input_ids=torch.full((4, 32), 2204), attention_mask=torch.ones(4, 32, dtype=torch.long),
                 labels=torch.zeros(4, dtype=torch.long))
    found = {}
    for method in ("full", "head", "lora"):
        m = efficient._trainable(load_pretrained("AutoModelForSequenceClassification", "en-small",
                                                 num_hidden_layers=2), method, 4, 10)
        found[method] = training_memory(m, batch)
        trained = sum(p.numel() for p in m.parameters() if p.requires_grad) * 4 / 1e6
        assert found[method]["gradients"] == pytest.approx(trained, abs=0.06)
        assert found[method]["optimizer"] == pytest.approx(2 * trained, abs=0.11)
    assert found["head"]["activations"] < 0.1 * found["lora"]["activations"]
    wider = {k: v.repeat(2, *[1] * (v.ndim - 1)) for k, v in batch.items()}
    twice = training_memory(net, wider)["activations"] / training_memory(net, batch)["activations"]
    assert 1.8 < twice < 2.1 and not net.training


@pytest.mark.parametrize("call, says", [
    (lambda ds: tune(ds, "lorra"), "adalora"),
    (lambda ds: tune(ds, "lora", colour=1), "colour"), (lambda ds: tune(ds, "adalora", epochs=1), "steps"),
    (lambda ds: tune(ds.remove_columns("split"), "lora"), "split"),
])
def test_bad_wishes(call, says, films):
    with pytest.raises(DataError, match=says):
        call(films)


def test_prefix_says_where_it_does_not_fit(news, films, shallow, tmp_path):
    with pytest.raises(DataError, match="lora"):
        tune(news, "prefix", model=shallow["zh-small"], **QUICK)
    run = tune(films, "prefix", model=shallow["en-small"], **QUICK)
    with pytest.raises(DataError, match="lora"):
        run.save(tmp_path / "x")
    distil = DistilBertForSequenceClassification(DistilBertConfig(dim=8, n_layers=1, n_heads=1, hidden_dim=8))
    with pytest.raises(DataError, match="no place for adapters"):
        efficient._trainable(distil, "adapter", 2, 10)


@pytest.mark.parametrize("module, act", [
    ("peft", lambda run, films, to: tune(films, "lora", model=run.settings.model, **QUICK)),
    ("onnx", lambda run, films, to: export_onnx(run, to)),
    ("onnxruntime", lambda run, films, to: export_onnx(run, to)),
])
def test_what_is_not_installed_is_named(module, act, critic, films, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"dataset-tutor\[efficient\]"):
        act(critic, films, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@given(st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=2, max_size=5), st.floats(0.5, 10))
def test_the_soft_loss_is_the_formula(rows, t):
    a, b = torch.tensor(rows), torch.tensor(rows[::-1])
    p, q = torch.softmax(a.double() / t, -1), torch.softmax(b.double() / t, -1)
    wanted = float(t**2 * (p * (p.log() - q.log())).sum(-1).mean())
    assert float(soft_loss(b, a, t)) == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    assert float(soft_loss(a, a, t)) == pytest.approx(0, abs=1e-4)


def test_students_are_cut_from_their_teachers(critic):
    one = keep_layers(critic.model, [1])
    assert torch.equal(one.bert.encoder.layer[0].output.dense.weight,
                       critic.model.bert.encoder.layer[1].output.dense.weight)
    assert one.config.num_hidden_layers == 1 and critic.model.config.num_hidden_layers == 2
    for bad in (0, [1, 0], [2], [-1], [0, 0], []):
        with pytest.raises(DataError):
            keep_layers(critic.model, bad)


def test_distilling_classes_and_entities(critic, tagger, films, news, tmp_path):
    more = ["A film that nobody has labelled.", "Dull, long and grey."]
    a = distill(critic, films, keep=1, texts=more, out=tmp_path / "s", **{k: QUICK[k] for k in ("epochs", "progress")})
    assert a.notes["layers"] == 1 and a.notes["extra_texts"] == 2
    assert load_run(tmp_path / "s", "cpu").predict(more) == a.predict(more)
    b = distill(tagger, news, keep=1, texts=["他在北京。"], epochs=1, progress=False)
    assert b.notes["extra_texts"] == 1 and b.model.config.num_hidden_layers == 1


def test_a_student_that_hears_only_the_teacher_comes_to_agree_with_it(tagger, news):
    s = distill(tagger, news, keep=[0], weight=1.0, epochs=6, lr=1e-3, early_stopping=0, progress=False)
    losses = [e["loss"] for e in s.log]
    assert losses[-1] < losses[0] / 2 and s.notes["layers"] == 1


def test_distilling_refuses_what_it_should(critic, films, news):
    with pytest.raises(LeakageError):
        distill(critic, films, texts=part(films, "test")["text"][:1])
    with pytest.raises(DataError, match="colour"):
        distill(critic, films, colour=3)
    other = films.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    with pytest.raises(DataError, match="teacher"):
        distill(critic, other)


def test_pruning(critic, tagger):
    assert prune(critic).rows == critic.rows
    ours = [m.weight for m in efficient._layers(prune(critic, weights=0.3).model)[1].modules()
            if isinstance(m, torch.nn.Linear)]
    assert sum(int((w == 0).sum()) for w in ours) == pytest.approx(0.3 * sum(w.numel() for w in ours), rel=0.01)
    heads = prune(tagger, heads=0.5).model
    gone = sum(int((w.view(384, -1, 384 // heads.config.num_attention_heads) == 0).all(2).all(0).sum())
               for n, w in heads.named_parameters() if n.endswith("attention.output.dense.weight"))
    assert gone == heads.config.num_attention_heads   # half of two layers' heads
    cut = prune(critic, layers=1)
    assert cut.model.config.num_hidden_layers == 1 and cut.metrics["n"] == critic.metrics["n"]
    for bad in (dict(weights=1.0), dict(heads=-0.1), dict(layers=2)):
        with pytest.raises(DataError):
            prune(critic, **bad)


def test_an_export_says_what_the_model_says(exported, critic, tagger, films, news):
    hostile = ["", " \n\t", "\0", "🙂👍🏽", "e\u0301", "ＡＢＣ", "北京" * 700, "word " * 900, "<b>&amp;</b>"]
    for run, ds in ((critic, films), (tagger, news)):
        texts, model = [*ds["text"][:], *hostile], exported[run.task]
        found = compare_predictions(as_float32(run).predict(texts), model.predict(texts))
        assert found["differ"] == 0 and found["largest"] < 1e-3
        assert model.predict(texts[0]) == model.predict(texts[:1]) and model.predict([]) == []
    assert any(exported["ner"].predict(news["text"][:]))   # it finds something: the comparison is not empty


def test_order_and_company_do_not_matter(exported, news):
    texts = news["text"][:40]
    alone = [exported["ner"].predict(t)[0] for t in texts]
    assert compare_predictions(alone, exported["ner"].predict(texts))["differ"] == 0


def test_eight_bits_are_smaller_and_close(critic, tagger, tmp_path, exported):
    for run in (critic, tagger):
        model = export_onnx(run, tmp_path / run.task, int8=True, tolerance=0.25)
        check = model.about["check"]
        assert model.about["megabytes"] < 0.3 * exported[run.task].about["megabytes"]
        assert check["differ"] <= max(1, 0.25 * check["compared"])
        assert 0 <= check["score_onnx"] <= 1 and "int8" in repr(model)


def test_a_wrong_export_is_refused_and_leaves_nothing(critic, tmp_path, monkeypatch):
    real = efficient._to_onnx

    def damaged(model, tokenizer, path, texts):
        "An export whose head was turned around after tracing"
        real(model, tokenizer, path, texts)
        import onnx
        graph = onnx.load(str(path))
        for w in graph.graph.initializer:
            if w.name.endswith("classifier.weight"):
                w.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(w), w.name))
        onnx.save(graph, str(path))
    monkeypatch.setattr(efficient, "_to_onnx", damaged)
    with pytest.raises(DataError, match="not the model"):
        export_onnx(critic, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_folders_are_checked(exported, critic, tmp_path):
    import shutil
    home = shutil.copytree(exported["classification"].folder, tmp_path / "a")
    assert OnnxModel(home).predict("good") == exported["classification"].predict("good")
    about = json.loads((home / "onnx.json").read_text())
    about["probes"]["said"][0]["probabilities"] = dict.fromkeys(about["names"], 0.0)
    (home / "onnx.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match="this machine"):
        OnnxModel(home)
    (home / "model.onnx").write_bytes(b"x")
    with pytest.raises(DataError, match="not the file"):
        OnnxModel(home)
    (home / "onnx.json").write_text("{")
    with pytest.raises(DataError, match="no export"):
        OnnxModel(home)
    with pytest.raises(DataError, match="no export"):
        OnnxModel(tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        export_onnx(critic, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


def test_comparing():
    a = [dict(label="x", probability=0.7, probabilities=dict(x=0.7, y=0.3))]
    b = [dict(label="y", probability=0.6, probabilities=dict(x=0.4, y=0.6))]
    assert compare_predictions(a, a) == dict(compared=1, differ=0, largest=0.0)
    found = compare_predictions(a, b)
    assert found["differ"] == 1 and found["largest"] == pytest.approx(0.3)
    assert compare_predictions([], []) == dict(compared=0, differ=0, largest=0.0)
    assert np.isfinite(found["largest"])
