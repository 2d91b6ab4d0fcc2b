"""Fine-tuning: real rows, small models cut from the packaged ones; a kill, a refusal, a saved folder."""
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import datasets
import pytest
import torch

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import ner_zh, reviews_en
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.distribution import part, split
from dataset_tutor.evaluation import ner_metrics
from dataset_tutor.finetuning import _last_checkpoint, _parameter_groups, baseline, finetune, load_run
from dataset_tutor.models import load_pretrained

datasets.disable_progress_bars()
QUIET = dict(progress=False, device="cpu")


@pytest.fixture(scope="module")
def films():
    return split(reviews_en()(load_sample("reviews-en", rows=240)), seed=0)


@pytest.fixture(scope="module")
def news():
    return split(ner_zh()(load_sample("ner-zh", rows=160)), seed=0)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    "name -> a folder with the first two layers of a packaged model"
    def cut(name):
        folder = tmp_path_factory.mktemp(name)
        load_pretrained("AutoModel", name, num_hidden_layers=2).save_pretrained(folder)
        load_pretrained("AutoTokenizer", name).save_pretrained(folder)
        return str(folder)
    return {name: cut(name) for name in ("en-small", "zh-small")}


@pytest.fixture(scope="module")
def tagger(news, shallow):
    return finetune(news, model=shallow["zh-small"], epochs=10, lr=1e-3, seed=0, **QUIET)


def weights(run):
    return {n: p.detach().clone() for n, p in run.model.named_parameters()}


def test_a_real_tagger_learns_and_its_scores_are_those_of_its_predictions(tagger, news):
    held = part(news, "test")
    assert tagger.metrics["f1"] > 0.15 and tagger.log[0]["loss"] > tagger.log[-1]["loss"]
    said = tagger.predict(held["text"][:])
    assert ner_metrics(held["spans"][:], said, held["text"][:]) == tagger.metrics
    assert all(0 < s["probability"] <= 1 for row in said for s in row)


def test_the_best_epoch_is_kept_not_the_last(tagger):
    assert tagger.validation["f1"] == pytest.approx(max(e["validation"] for e in tagger.log), abs=1e-4)


def test_saved_loaded_and_plain(tagger, tmp_path, news):
    again = load_run(tagger.save(tmp_path / "run"), device="cpu")
    assert again.metrics == tagger.metrics and again.validation == tagger.validation and again.log == tagger.log
    texts = part(news, "test")["text"][:8]
    assert again.predict(texts) == tagger.predict(texts)
    assert not [p for p in (tmp_path / "run").iterdir() if p.suffix in (".bin", ".pt", ".pkl")]
    from transformers import AutoModelForTokenClassification
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path / "run", local_files_only=True)
    assert plain.config.id2label[1] == "B-LOC"
    with pytest.raises(DataError, match="holds no finished run"):
        load_run(tmp_path)


def test_a_span_far_behind_the_window_is_found(tagger):
    seen = {s["label"] for s in tagger.predict("他在北京。")[0]}
    far = "。" * 700 + "他在北京。"
    assert {s["label"] for s in tagger.predict(far)[0] if s["start"] >= 700} == seen


def test_classification_learns_and_long_texts_are_counted(films, shallow):
    run = finetune(films, model=shallow["en-small"], epochs=2, lr=5e-4, max_length=16, **QUIET)
    assert run.notes["texts_cut"] > 20 and run.settings.max_length == 16
    row = run.predict(["a dull film", ""])
    assert [set(r) for r in row] == [{"label", "probability", "probabilities"}] * 2 and run.predict([]) == []
    assert list(run.errors(3).columns) == ["uid", "text", "gold", "predicted", "probability"]
    assert run.metrics.minus(baseline(films).metrics).low <= 1
    assert "fine-tuned, classification" in repr(run) and "<table>" in run._repr_html_()


def test_same_seed_same_weights_other_seed_others(films, shallow):
    small = films.select([*range(60), *range(len(films) - 20, len(films))])
    small = small.remove_columns("split")
    small = split(small, seed=0)
    runs = [finetune(small, model=shallow["en-small"], epochs=1, seed=s, **QUIET) for s in (1, 1, 2)]
    a, b, c = map(weights, runs)
    assert all(torch.equal(a[n], b[n]) for n in a) and not all(torch.equal(a[n], c[n]) for n in a)


KILLED = """
    import sys, datasets
    from dataset_tutor.finetuning import finetune
    datasets.disable_progress_bars()
    rows, model, out = sys.argv[1:]
    rows = datasets.load_from_disk(rows)
    finetune(rows, model=model, epochs=4, lr=5e-4, seed=0, out=out, progress=False, device="cpu")
"""


def test_killed_and_resumed_equals_uninterrupted(news, shallow, tmp_path):
    news.save_to_disk(str(tmp_path / "rows"))
    model, out = shallow["zh-small"], tmp_path / "run"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "rows"), model, str(out)],
                             env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(2400):
            if list((out / "checkpoints").glob("checkpoint-*/trainer_state.json")) or child.poll() is not None:
                break
            time.sleep(0.05)
        time.sleep(0.3)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert json.loads((out / "run.json").read_text())["state"] == "running"
    (out / "checkpoints" / "checkpoint-9999").mkdir()  # as a kill while saving leaves it
    rows = datasets.load_from_disk(str(tmp_path / "rows"))
    options = dict(model=model, epochs=4, lr=5e-4, seed=0, **QUIET)
    with pytest.raises(DataError, match=r"holds another run \(lr=0.0005 there, 0.001 now\)"):
        finetune(rows, **options | dict(lr=1e-3), out=out)
    resumed, whole = finetune(rows, **options, out=out), finetune(rows, **options)
    assert len(resumed.log) == 4 and [e["validation"] for e in resumed.log] == [e["validation"] for e in whole.log]
    a, b = weights(resumed), weights(whole)
    assert max((a[n] - b[n]).abs().max().item() for n in a) < 1e-6
    assert resumed.metrics == whole.metrics and not (out / "checkpoints").exists()
    assert finetune(rows, **options, out=out).seconds == resumed.seconds  # finished: read back
    changed = rows.map(lambda r, i: {"text": r["text"] + "。"} if i == 0 else {}, with_indices=True)
    with pytest.raises(DataError, match="other rows"):
        finetune(changed, **options, out=out)


def test_half_written_checkpoints_are_passed_over(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-12").mkdir()
    (tmp_path / "checkpoint-12" / "trainer_state.json").write_text('{"epo')
    assert _last_checkpoint(tmp_path).name == "checkpoint-3" and not (tmp_path / "checkpoint-12").exists()


def test_a_foreign_folder_is_left_alone(films, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no run"):
        finetune(films, out=tmp_path, **QUIET)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("rows, error, message", [
    (lambda ds: ds.remove_columns("split"), LeakageError, "the rows are not split"),
    (lambda ds: ds.map(lambda r: {"text": "the same text"}), LeakageError, "several sides"),
    (lambda ds: ds.filter(lambda r: r["split"] != "validation"), DataError, "no row is in validation"),
    (lambda ds: ds.filter(lambda r: r["label"] == 0), DataError, "all training rows have the class"),
    (lambda ds: ds.select([]), DataError, "no rows"),
])
def test_refused_before_anything_is_loaded(films, rows, error, message):
    with pytest.raises(error, match=message):
        finetune(rows(films), model="/no/such/model", **QUIET)


def test_a_model_that_exists_nowhere_and_an_option_that_does_not_exist(films, tmp_path):
    with pytest.raises(DataError, match="could be loaded"):
        finetune(films, model=tmp_path / "nowhere", **QUIET)
    with pytest.raises(DataError, match="knows no option 'learning_rate'"):
        finetune(films, learning_rate=1, **QUIET)


def test_no_decay_on_biases_and_norms_and_slower_low_layers(tagger):
    from dataclasses import replace
    s = replace(tagger.settings, lr=1.0, layer_decay=0.5, head_lr=3.0, weight_decay=0.1)
    names = {id(p): n for n, p in tagger.model.named_parameters()}
    groups = _parameter_groups(tagger.model, s)
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert "roformer.encoder.embed_positions.weight" not in found
    assert found["classifier.weight"] == (3.0, 0.1) and found["classifier.bias"] == (3.0, 0.0)
    assert found["roformer.encoder.layer.1.output.dense.weight"] == (1.0, 0.1)
    assert found["roformer.encoder.layer.0.output.LayerNorm.weight"] == (0.5, 0.0)
    assert found["roformer.embeddings.word_embeddings.weight"] == (0.25, 0.1)
