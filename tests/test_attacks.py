"""Attacks on word vectors that leave no trace, and frozen layers; models of two layers."""
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from dataset_tutor.core import DataError
from dataset_tutor.finetuning import Settings, _attacked_step, _new_model, finetune
from dataset_tutor.models import load_pretrained

datasets.disable_progress_bars()
QUICK = dict(epochs=1, batch_size=16, progress=False, device="cpu", dtype="float32")


class Bare:
    "As much of a Trainer as a step needs."
    accelerator = SimpleNamespace(unwrap_model=lambda model: model)
    _prepare_inputs = staticmethod(dict)

    def compute_loss(self, model, inputs):
        return model(**inputs).loss


@pytest.fixture(params=["en-small", "zh-small"])
def attacked(request, shallow):
    torch.manual_seed(0)
    net = load_pretrained("AutoModelForSequenceClassification", shallow[request.param], num_labels=2)
    tokenizer = load_pretrained("AutoTokenizer", shallow[request.param])
    zh = request.param == "zh-small"
    texts = ["好", "今天天气很好，我们去公园。"] if zh else ["Good.", "A film that one forgets at once."]
    batch = tokenizer(texts, padding=True, return_token_type_ids=False, return_tensors="pt")
    return net, dict(batch, labels=torch.tensor([1, 0]))


def options(**more):
    return Settings("classification", "en-small", 0, epochs=1, lr=1e-4, batch_size=2, max_length=32, **more)


def watched_step(losses, pushes):
    def step(model, inputs):
        with_hook = model.get_input_embeddings()
        pushes.append((with_hook(inputs["input_ids"]) - torch.nn.functional.embedding(
            inputs["input_ids"], with_hook.weight)).detach())
        loss = model(**inputs).loss
        loss.backward()
        losses.append(loss.item())
        return loss.detach()
    return step


@pytest.mark.parametrize("name", ["fgm", "pgd"])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_push_is_as_long_as_it_may_be_and_hurts(attacked, name, frozen):
    net, batch = attacked
    net.get_input_embeddings().weight.requires_grad_(not frozen)
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    losses, pushes = [], []
    first = _attacked_step(Bare(), watched_step(losses, pushes), net, batch, options(adversarial=name, epsilon=0.05))
    clean, hurt = losses
    assert float(first) == pytest.approx(clean) and hurt > clean
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())
    assert not net.get_input_embeddings()._forward_hooks
    real = batch["attention_mask"].bool()
    assert not pushes[0].any() and not pushes[1][~real].any()
    own = torch.nn.functional.embedding(batch["input_ids"], net.get_input_embeddings().weight) * real[..., None]
    share = pushes[1].flatten(1).norm(dim=1) / own.detach().flatten(1).norm(dim=1)
    assert (share <= 0.05 + 1e-5).all() and (name == "pgd" or (share > 0.05 - 1e-5).all())


def test_fgm_goes_up_the_gradient_and_both_gradients_count(attacked):
    net, batch = attacked
    losses, pushes = [], []
    _attacked_step(Bare(), watched_step(losses, pushes), net, batch, options(adversarial="fgm", epsilon=0.05))
    together = net.classifier.weight.grad if hasattr(net.classifier, "weight") else net.classifier.dense.weight.grad
    together = together.clone()
    net.zero_grad()
    vectors = torch.nn.functional.embedding(batch["input_ids"], net.get_input_embeddings().weight).detach()
    vectors.requires_grad_()
    rest = {k: v for k, v in batch.items() if k != "input_ids"}
    net(inputs_embeds=vectors, **rest).loss.backward()
    g = vectors.grad * batch["attention_mask"][..., None]
    most = 0.05 * (vectors * batch["attention_mask"][..., None]).detach().flatten(1).norm(dim=1)
    expected = most[:, None, None] * g / g.flatten(1).norm(dim=1)[:, None, None]
    assert torch.allclose(pushes[1], expected, atol=1e-5)
    net(inputs_embeds=vectors.detach() + expected, **rest).loss.backward()
    own = net.classifier.weight.grad if hasattr(net.classifier, "weight") else net.classifier.dense.weight.grad
    assert torch.allclose(own, together, atol=1e-5)


def test_an_exception_leaves_no_push_behind(attacked):
    net, batch = attacked

    def fails(model, inputs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _attacked_step(Bare(), fails, net, batch, options(adversarial="fgm"))
    assert not net.get_input_embeddings()._forward_hooks


def test_a_push_of_no_length_is_plain_training(films, shallow):
    shared = dict(QUICK, model=shallow["en-small"], lr=1e-3, trainer=dict(max_grad_norm=1e9))
    runs = [finetune(films, **shared, **more) for more in (
        dict(), dict(adversarial="fgm", epsilon=1e-9), dict(adversarial="pgd", epsilon=0.05))]
    plain, nothing, real = runs
    assert nothing.log[0]["loss"] == pytest.approx(plain.log[0]["loss"], abs=5e-3)
    assert not torch.allclose(plain.model.classifier.weight, real.model.classifier.weight, atol=5e-5)


def test_attacks_go_with_accumulation_bfloat16_and_frozen_vectors(films, shallow):
    run = finetune(films, model=shallow["en-small"], adversarial="pgd", freeze_embeddings=True,
                   trainer=dict(gradient_accumulation_steps=2), **QUICK | dict(dtype="bfloat16"))
    start = load_pretrained("AutoModel", shallow["en-small"]).get_input_embeddings().weight
    assert torch.equal(run.model.get_input_embeddings().weight, start) and np.isfinite(run.log[0]["loss"])


@pytest.mark.parametrize("wrong", [
    dict(adversarial="fgsm"), dict(adversarial="fgm", epsilon=0), dict(adversarial_steps=0)])
def test_impossible_attacks_are_refused(films, shallow, wrong):
    with pytest.raises(DataError, match="out of range"):
        finetune(films, model=shallow["en-small"], **QUICK, **wrong)
    with pytest.raises(DataError, match="uncompiled"):
        finetune(films, model=shallow["en-small"], adversarial="fgm", compile=True, **QUICK)


def test_low_layers_can_be_frozen(shallow):
    s = options(freeze_layers=1)
    net = _new_model(Settings(**{**s.__dict__, "model": shallow["en-small"]}), ["a", "b"], "cpu")
    learns = {n for n, p in net.named_parameters() if p.requires_grad}
    assert not any("embeddings" in n or "layer.0." in n for n in learns)
    assert any("layer.1." in n for n in learns) and "classifier.weight" in learns
    with pytest.raises(DataError, match="from 0 to 2"):
        _new_model(Settings(**{**s.__dict__, "model": shallow["en-small"], "freeze_layers": 3}), ["a", "b"], "cpu")
