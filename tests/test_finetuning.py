"""Fine-tuning: real rows, small models cut from the packaged ones; a kill, a refusal, a saved folder."""
import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor import finetuning
from dataset_tutor.acquisition import load_sample
from dataset_tutor.baselines import _prepare
from dataset_tutor.cleaning import ner_zh, reviews_en
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.distribution import part, split
from dataset_tutor.evaluation import ner_metrics
from dataset_tutor.finetuning import (
    DEFAULTS,
    Settings,
    _Balanced,
    _ByLength,
    _Collate,
    _data_digest,
    _fingerprint,
    _last_checkpoint,
    _parameter_groups,
    _weights,
    baseline,
    finetune,
    focal_loss,
    load_run,
)
from dataset_tutor.models import doctor, load_pretrained, pick_dtype

datasets.disable_progress_bars()
QUIET = dict(progress=False, device="cpu")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def films():
    return split(reviews_en()(load_sample("reviews-en", rows=240)), seed=0)


@pytest.fixture(scope="module")
def news():
    return split(ner_zh()(load_sample("ner-zh", rows=160)), seed=0)


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


@pytest.mark.parametrize("patience, ran, best", [(0, 6, 6), (1, 3, 2), (2, 4, 2), (3, 5, 2)])
def test_early_stopping_waits_so_many_epochs_and_takes_the_best(films, shallow, monkeypatch, patience, ran, best):
    script, real = iter([0.5, 0.7, 0.6, 0.65, 0.7, 0.9]), finetuning._report   # as good as the best is no better

    def told(*args):
        report = real(*args)
        report["macro_f1"] = next(script)
        return report

    monkeypatch.setattr(finetuning, "_report", told)
    few = films.filter(lambda r, i: r["split"] != "train" or i % 4 == 0, with_indices=True)
    run = finetune(few, model=shallow["en-small"], epochs=6, early_stopping=patience, max_length=16, **QUIET)
    assert (len(run.log), run.notes["epochs"], run.notes["best_epoch"]) == (ran, ran, best)


def test_a_saved_run_says_what_it_was_made_of(films, shallow, tmp_path):
    few = films.filter(lambda r, i: r["split"] != "train" or i % 4 == 0, with_indices=True)
    few = few.map(lambda r: {"text": r["text"] + "\u2028and so on"})   # a sign at which `splitlines` would end a line
    options = dict(model=shallow["en-small"], epochs=1, max_length=16, **QUIET)
    one = finetune(few, seed=3, out=tmp_path / "one", **options)
    about = json.loads((tmp_path / "one" / "run.json").read_text())
    assert about["settings"]["seed"] == 3 and about["settings"]["lr"] == one.settings.lr
    assert about["versions"]["torch"] == torch.__version__ and {"dataset-tutor", "transformers", "datasets"} <= \
        about["versions"].keys()
    other = finetune(few, seed=4, **options)
    assert other.data == one.data == load_run(tmp_path / "one", device="cpu").data == about["data"]
    assert other.fingerprint != one.fingerprint
    kept = _prepare(few, None)[1:]
    for change in ({"text": "another"}, {"label": 1 - few[0]["label"]}, {"split": "validation"}):
        rows = few.map(lambda r, i, new=change: new if i == 0 else {}, with_indices=True)
        assert _data_digest(*_prepare(rows, None)[1:]) != _data_digest(*kept) == one.data


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


def checkpoint(folder, step, best=None):
    "The files that a Trainer leaves"
    from safetensors.torch import save_file
    at = folder / f"checkpoint-{step}"
    at.mkdir()
    save_file({"w": torch.zeros(64)}, at / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"x": torch.zeros(8)}, at / name)
    (at / "trainer_state.json").write_text(json.dumps(dict(epoch=1.0, best_model_checkpoint=best and str(best))))
    return at


@pytest.mark.parametrize("damaged", ["trainer_state.json", "model.safetensors", "optimizer.pt", "scheduler.pt",
                                     "rng_state.pth"])
@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_half_written_checkpoints_are_passed_over(tmp_path, damaged, how):
    checkpoint(tmp_path, 3)
    file = checkpoint(tmp_path, 12) / damaged
    assert _last_checkpoint(tmp_path).name == "checkpoint-12"
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-3] if how == "cut" else b"")
    assert _last_checkpoint(tmp_path).name == "checkpoint-3" and not (tmp_path / "checkpoint-12").exists()


def test_a_checkpoint_needs_the_best_one_and_finds_it_in_its_own_folder(tmp_path):
    best = checkpoint(tmp_path, 3)
    last = checkpoint(tmp_path, 12, best="/elsewhere/checkpoints/checkpoint-3")
    assert _last_checkpoint(tmp_path) == last
    assert json.loads((last / "trainer_state.json").read_text())["best_model_checkpoint"] == str(best)
    (best / "model.safetensors").unlink()   # without it the last epoch would be taken for the best
    assert _last_checkpoint(tmp_path) is None


def test_stopped_in_the_middle_of_an_epoch_not_a_step_is_lost(films, shallow, tmp_path, monkeypatch):
    import transformers

    options = dict(model=shallow["en-small"], epochs=3, lr=5e-4, max_length=16, dropout=0.1, early_stopping=0, **QUIET)
    whole, save, steps = finetune(films, **options), transformers.Trainer._save_checkpoint, []

    def save_and_stop(self, *args, **more):
        save(self, *args, **more)
        steps.append(self.state.global_step)
        if steps[-1] == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(transformers.Trainer, "_save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(films, out=tmp_path / "run", save_every=2, **options)
    assert steps == [2, 4, 6, 8]   # six steps an epoch
    assert {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()} == {"checkpoint-6", "checkpoint-8"}
    resumed = finetune(films, out=tmp_path / "run", save_every=2, **options)
    a, b = weights(whole), weights(resumed)
    assert all(torch.equal(a[n], b[n]) for n in a) and whole.rows == resumed.rows
    assert [e["validation"] for e in whole.log] == [e["validation"] for e in resumed.log]
    with pytest.raises(DataError, match="saves nothing"):
        finetune(films, save_every=2, **options)


def test_killed_at_the_worst_moments():
    "SIGKILL before the first checkpoint and while one is written; benchmarks/kills.py does ten"
    command = [sys.executable, str(Path(__file__).parent.parent / "benchmarks" / "kills.py"), "--kills", "2", "--json"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = json.loads(done.stdout)
    assert first["alive"] and second["alive"] and not first["checkpoints"] and second["half-written"]
    assert first["largest difference"] == second["largest difference"] == 0


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 33), st.integers(0, 3))
def test_batches_of_like_length_have_every_row_once(lengths, size, epoch):
    sampler = _ByLength(lengths, size, seed=1)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths))) and len(sampler) == len(lengths)
    again = _ByLength(lengths, size, seed=1)
    again.set_epoch(epoch)
    assert list(again) == order   # the epochs before were never drawn here, as after a resume


def test_batches_of_like_length_waste_little_and_differ_from_epoch_to_epoch():
    lengths = np.random.default_rng(0).gamma(4, 8, 2000).astype(int) + 2
    sampler, seen = _ByLength(lengths, 32, seed=0), []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = [lengths[b] for b in np.split(np.array(list(sampler)), range(32, 2000, 32))]
        assert 1 - lengths.sum() / sum(len(b) * b.max() for b in batches) < 0.06
        means = [b.mean() for b in batches[:-1]]
        assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.4   # the batches come in no order
        seen.append({frozenset(b) for b in np.split(np.array(list(sampler)), range(32, 2000, 32))})
    assert len(seen[0] & seen[1]) < 3


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


def test_doctor_names_what_will_be_used(monkeypatch):
    plain, html = repr(doctor()), doctor()._repr_html_()
    assert {"python", "torch", "device", "dtype"} <= doctor().keys() and "<table>" in html
    assert all(k in plain and k in html for k in doctor()) and "processes" not in doctor()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert doctor()["processes"].startswith("2")


def test_a_copy_of_a_trained_model_is_a_model_of_its_own(films, shallow):
    run = finetune(films, model=shallow["en-small"], epochs=1, dtype="bfloat16", seed=0, **QUIET)
    twin = copy.deepcopy(run.model)
    with torch.no_grad():
        for p in twin.classifier.parameters():
            p.zero_()
        words = torch.tensor([[101, 2204, 102]])
        assert twin(input_ids=words).logits.abs().max() == 0 < run.model(input_ids=words).logits.abs().max()


@pytest.mark.parametrize("capability, dtype", [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"),
                                               ((7, 0), "float16"), ((6, 1), "float32")])
def test_the_number_format_follows_the_gpu(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    assert pick_dtype("cuda") == dtype


def test_a_format_that_the_device_cannot_train_in(films):
    with pytest.raises(DataError, match="cpu cannot train in 'float16'.*dtype='float32' or 'bfloat16'"):
        finetune(films, dtype="float16", **QUIET)


def test_another_gpu_than_the_first_is_refused_with_the_way_to_get_it(films, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(DataError, match="CUDA_VISIBLE_DEVICES=1"):
        finetune(films, device="cuda:1", progress=False)


def test_widths_on_cuda_are_multiples_of_eight_but_not_beyond_the_longest():
    tokenizer = load_pretrained("AutoTokenizer", "en-small")
    items = [dict(input_ids=[5] * n, labels=0) for n in (3, 11)]
    widths = [_Collate(tokenizer, *o)(items)["input_ids"].shape[1] for o in ((), ("cuda", 64), ("cuda:0", 13))]
    assert widths == [11, 16, 13]
    batch = _Collate(tokenizer, "cuda", 64)([dict(input_ids=[5] * 3, labels=[1] * 3)])
    assert batch["labels"].tolist() == [[1] * 3 + [-100] * 5] and batch["attention_mask"].sum() == 3


def test_out_of_memory_is_answered_with_the_settings_to_change(films, shallow, tmp_path, monkeypatch):
    import transformers

    def full(*args, **options):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total ...")

    options = dict(model=shallow["en-small"], epochs=1, max_length=16, out=tmp_path / "run", **QUIET)
    with monkeypatch.context() as m:
        m.setattr(transformers.Trainer, "training_step", full)
        with pytest.raises(DataError) as e:
            finetune(films, batch_size=64, **options)
    said = str(e.value)
    for part_of_it in ("Tried to allocate 20.00 GiB", "batch_size=32 (now 64)", "gradient_accumulation_steps': 2",
                       "max_length (now 16)", "gradient_checkpointing"):
        assert part_of_it in said, said
    assert e.value.__context__ is None  # the frames that hold the tensors are gone
    run = finetune(films, batch_size=32, trainer=dict(gradient_accumulation_steps=2), **options)
    assert run.log and (tmp_path / "run" / "run.json").exists()  # the folder was free for the next try


def test_errors_that_are_not_about_memory_pass(films, shallow, monkeypatch):
    import transformers

    def broken(*args, **options):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(transformers.Trainer, "training_step", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        finetune(films, model=shallow["en-small"], epochs=1, **QUIET)


def test_accumulated_batches_are_averaged_not_summed(news, shallow):
    options = dict(model=shallow["zh-small"], epochs=1, seed=0, **QUIET)
    whole = finetune(news, batch_size=16, **options)
    halves = finetune(news, batch_size=8, trainer=dict(gradient_accumulation_steps=2), **options)
    assert halves.log[0]["loss"] == pytest.approx(whole.log[0]["loss"], rel=0.1)
    assert halves.fingerprint != whole.fingerprint


def test_trainer_options_belong_to_the_run(films, shallow, tmp_path):
    options = dict(model=shallow["en-small"], epochs=1, max_length=16, out=tmp_path / "run", **QUIET)
    finetune(films, **options)
    with pytest.raises(DataError, match="other rows or trainer options"):
        finetune(films, trainer=dict(max_grad_norm=0.5), **options)


def test_compiled_steps_make_the_same_model(films, shallow, tmp_path):
    "With the backend that compiles nothing, so that no compiler is needed; the wrapping is the same"
    options = dict(model=shallow["en-small"], epochs=1, seed=0, max_length=16, **QUIET)
    plain = finetune(films, **options)
    compiled = finetune(films, compile=True, trainer=dict(torch_compile_backend="eager"), **options)
    a, b = weights(plain), weights(compiled)
    assert a.keys() == b.keys()   # traced operations round in another order, and Adam amplifies it
    assert max((a[n] - b[n]).abs().max().item() for n in a) < 1e-4
    again = load_run(compiled.save(tmp_path / "run"), device="cpu")
    assert [p["label"] for p in again.predict(films["text"][:9])] == [
        p["label"] for p in compiled.predict(films["text"][:9])]


COMPILED = """
    import sys, datasets
    from dataset_tutor.finetuning import finetune
    datasets.disable_progress_bars()
    rows, model = datasets.load_from_disk(sys.argv[1]), sys.argv[2]
    options = dict(model=model, epochs=1, seed=0, max_length=16, dtype="float32", progress=False, device="cpu")
    plain, compiled = (finetune(rows, compile=c, **options).log[0]["loss"] for c in (False, True))
    print(abs(plain - compiled))
"""


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_compiled_steps_on_a_processor(films, shallow, tmp_path):
    "By the default backend, which writes C++; in a process of its own, where nothing was compiled before"
    films.filter(lambda r, i: r["split"] != "train" or i % 4 == 0, with_indices=True).save_to_disk(tmp_path / "rows")
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(COMPILED), tmp_path / "rows", shallow["en-small"]],
                          env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-3


def logits_and_labels(seed=0, rows=40, classes=5):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (rows, 3), generator=rng)
    labels[::4, 1] = -100
    return 4 * torch.randn(rows, 3, classes, generator=rng, dtype=torch.float64), labels


@pytest.mark.parametrize("seed", range(5))
def test_focal_loss_without_gamma_is_cross_entropy_and_hidden_labels_do_not_count(seed):
    from torch.nn.functional import cross_entropy

    x, y = logits_and_labels(seed)
    plain = cross_entropy(x.flatten(0, 1), y.flatten(), ignore_index=-100)
    torch.testing.assert_close(focal_loss(x, y, 0.0), plain)
    w = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    each = cross_entropy(x.flatten(0, 1), y.flatten(), w, ignore_index=-100, reduction="sum")
    torch.testing.assert_close(focal_loss(x, y, 0.0, w), each / (y != -100).sum())
    other = x.clone()
    other[y == -100] = 1e3
    assert torch.equal(focal_loss(other, y, 2.0), focal_loss(x, y, 2.0))


def test_focal_loss_against_the_formula_written_out():
    x, y = logits_and_labels()
    p = x.softmax(-1)
    terms = [-(1 - p[i, j, y[i, j]]) ** 1.5 * torch.log(p[i, j, y[i, j]])
             for i in range(len(y)) for j in range(3) if y[i, j] != -100]
    torch.testing.assert_close(focal_loss(x, y, 1.5), torch.stack(terms).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_the_slope_of_the_focal_loss(gamma):
    x, y = logits_and_labels(rows=6)
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, y, gamma), (x.requires_grad_(),))
    sure = torch.tensor([[300.0, -300.0], [-300.0, 300.0]], requires_grad=True)   # right and wrong beyond all doubt
    focal_loss(sure, torch.tensor([0, 0]), gamma).backward()
    assert sure.grad.isfinite().all() and focal_loss(sure, torch.tensor([0, 1]), gamma) == 0
    none = focal_loss(sure, torch.tensor([-100, -100]), gamma)
    assert none == 0   # a batch without a label that counts
    assert focal_loss(sure.bfloat16(), torch.tensor([0, 0]), gamma).dtype == torch.float32


def test_class_weights_are_those_of_chapter_43(films):
    from dataset_tutor.balance import class_weights

    train = part(films, "train")
    items = [dict(labels=y) for y in train["label"]]
    assert _weights(items, 2, 1.0) == pytest.approx(list(class_weights(films).values()))
    y = np.array(train["label"][:])
    assert _weights(items, 2, 0.5)[y].mean() == pytest.approx(1) and _weights(items, 2, 0.0) == pytest.approx([1, 1])
    assert np.isfinite(_weights(items, 3, 1.0)).all()   # a class without a row


@pytest.mark.parametrize("counts, batch", [((1, 50), 8), ((5, 3, 90), 8), ((40, 40), 7), ((1, 1, 1, 9), 16)])
def test_every_balanced_batch_has_the_classes_evenly(counts, batch):
    labels = np.repeat(np.arange(len(counts)), counts)
    sampler, seen = _Balanced(labels, seed=3), set()
    for epoch in range(2 + max(counts) * len(counts) // sum(counts)):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler) == len(labels)
        for at in range(0, len(order) - batch + 1, batch):
            n = np.bincount(labels[order[at:at + batch]], minlength=len(counts))
            assert n.max() - n.min() <= 2
        seen |= set(order)
    assert seen == set(range(len(labels)))   # over the epochs every row has its turn


def test_a_balanced_order_follows_from_seed_and_epoch_alone():
    labels = [0] * 30 + [1] * 4
    a, b, c = _Balanced(labels, 0), _Balanced(labels, 0), _Balanced(labels, 1)
    first = list(a)
    a.set_epoch(2)
    b.set_epoch(2)   # as after a resume: the epochs before were never drawn here
    assert list(a) == list(b) != first and list(c) != first


def test_processes_share_a_balanced_order_step_by_step():
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    labels = np.array([0] * 56 + [1] * 8)
    alone = list(BatchSampler(_Balanced(labels, 5), 8, False))
    team = [list(BatchSamplerShard(BatchSampler(_Balanced(labels, 5), 4, False), 2, rank)) for rank in range(2)]
    assert [x + y for x, y in zip(*team)] == alone   # each step of the team has the rows of one step alone


def test_older_runs_keep_their_fingerprint(films):
    "The hash as it was made before there were a focal loss, class weights, balanced batches, attacks, frozen layers"
    import hashlib
    from dataclasses import asdict, replace

    from dataset_tutor.baselines import _prepare
    from dataset_tutor.models import _stamp

    _, names, parts = _prepare(films, None)
    s = Settings("classification", "en-small", 0, max_length=64, dtype="float32",
                 **DEFAULTS["classification", "en-small"])
    later = ("focal", "class_weights", "balanced_batches", "adversarial", "epsilon", "adversarial_steps",
             "freeze_layers")
    was = {k: v for k, v in asdict(s).items() if k not in later}
    digest = hashlib.blake2b(digest_size=12)
    for item in ([was, names, _stamp("en-small")],
                 *(r for rows in parts.values() for r in zip(rows.uids, rows.texts, rows.gold))):
        line = json.dumps(item, sort_keys=True, ensure_ascii=False, default=str)
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    assert _fingerprint(s, names, parts) == digest.hexdigest()
    new = [replace(s, **o) for o in (dict(focal=2.0), dict(class_weights=1.0), dict(balanced_batches=True),
                                     dict(adversarial="fgm"), dict(freeze_layers=1))]
    assert len({_fingerprint(x, names, parts) for x in (s, *new)}) == 6


@pytest.mark.parametrize("options, message", [
    (dict(focal=-1.0), "out of range"), (dict(class_weights=2.0), "out of range"),
    (dict(focal=2.0, label_smoothing=0.1), "label smoothing"),
    (dict(balanced_batches=True, class_weights=1.0), "balance twice"),
])
def test_remedies_that_do_not_go_together(films, options, message):
    with pytest.raises(DataError, match=message):
        finetune(films, **options, **QUIET)


def test_a_tagger_learns_with_focal_loss_and_weights_but_not_with_balanced_batches(news, shallow):
    with pytest.raises(DataError, match="no class to balance batches by"):
        finetune(news, balanced_batches=True, **QUIET)
    run = finetune(news, model=shallow["zh-small"], epochs=2, lr=1e-3, focal=2.0, class_weights=0.5, **QUIET)
    assert run.log[0]["loss"] > run.log[-1]["loss"] and run.settings.focal == 2.0


def test_a_balanced_run_that_was_stopped_goes_on_as_if_it_had_not(films, shallow, tmp_path, monkeypatch):
    import transformers

    options = dict(model=shallow["en-small"], epochs=2, lr=5e-4, max_length=16, balanced_batches=True, focal=1.0,
                   early_stopping=0, **QUIET)
    whole, save = finetune(films, **options), transformers.Trainer._save_checkpoint

    def save_and_stop(self, *args, **more):
        save(self, *args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(transformers.Trainer, "_save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(films, out=tmp_path / "run", **options)
    resumed = finetune(films, out=tmp_path / "run", **options)
    a, b = weights(whole), weights(resumed)
    assert len(resumed.log) == 2 and max((a[n] - b[n]).abs().max().item() for n in a) < 1e-6
    plain = finetune(films, **options | dict(balanced_batches=False))
    c = weights(plain)
    assert max((a[n] - c[n]).abs().max().item() for n in a) > 1e-4


LAUNCHED = """
    import json, os, sys, datasets
    from dataset_tutor.core import DataError
    from dataset_tutor.finetuning import finetune
    datasets.disable_progress_bars()
    rows, model, out, device = sys.argv[1:]
    options = dict(model=model, epochs=1, lr=5e-4, seed=0, max_length=16, progress=False, device=device or None)
    rows, said = datasets.load_from_disk(rows), None
    try:
        finetune(rows, batch_size=33, **options)
    except DataError as e:
        said = str(e)
    run = finetune(rows, out=out, **options)
    again = finetune(rows, out=out, **options)
    mine = dict(score=run.metrics.score, log=run.log, notes=run.notes, refused=said,
                seconds=[run.seconds, again.seconds])
    with open(f"{out}-{os.environ['RANK']}.json", "w") as f:
        json.dump(mine, f)
"""


# `--multi_gpu` stands for several processes, on a CPU too
LAUNCHERS = {"torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node"],
             "accelerate launch": ["accelerate.commands.launch", "--multi_gpu", "--num_machines", "1",
                                   "--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes"]}


def launched(films, model, tmp_path, processes, device, launcher="torchrun"):
    "What each process of a `torchrun` or `accelerate launch` said, and the folder they made."
    films.save_to_disk(str(tmp_path / "rows"))
    script, out = tmp_path / "train.py", tmp_path / "run"
    script.write_text(textwrap.dedent(LAUNCHED))
    done = subprocess.run([sys.executable, "-m", *LAUNCHERS[launcher], str(processes), str(script),
                           str(tmp_path / "rows"), model, str(out), device],
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(Path(f"{out}-{i}.json").read_text()) for i in range(processes)], out


def test_two_processes_train_one_model(films, shallow, tmp_path):
    said, out = launched(films, shallow["en-small"], tmp_path, 2, "cpu")
    assert [s["notes"]["processes"] for s in said] == [2, 2]
    assert said[0]["seconds"][0] == said[0]["seconds"][1] == said[1]["seconds"][1]  # the second time it was read
    assert said[0]["score"] == said[1]["score"] and said[0]["log"] == said[1]["log"]
    assert "batch_size=34" in said[0]["refused"] and said[0]["refused"] == said[1]["refused"]
    run = load_run(out, device="cpu")
    held = part(films, "test")
    assert run.metrics.score == said[0]["score"] and run.metrics["n"] == len(held)
    assert [r["uid"] for r in run.rows["test"]] == held["uid"][:]  # shared out and put together in order
    alone = finetune(films, model=shallow["en-small"], epochs=1, lr=5e-4, seed=0, max_length=16, **QUIET)
    assert alone.fingerprint == run.fingerprint  # the same run, whatever the number of processes
    assert said[0]["log"][0]["loss"] == pytest.approx(alone.log[0]["loss"], rel=0.1)
    assert not (out / "checkpoints").exists()


def test_accelerate_launch_does_the_same(films, shallow, tmp_path):
    said, out = launched(films, shallow["en-small"], tmp_path, 2, "cpu", "accelerate launch")
    assert [s["notes"]["processes"] for s in said] == [2, 2] and said[0]["score"] == said[1]["score"]
    assert load_run(out, device="cpu").metrics.score == said[0]["score"]


@on_cuda
def test_cuda_is_chosen_and_its_model_loads_on_a_cpu(films, shallow, tmp_path):
    run = finetune(films, model=shallow["en-small"], epochs=2, lr=5e-4, progress=False, out=tmp_path / "run")
    assert run.model.device.type == "cuda" and run.settings.dtype == pick_dtype("cuda")
    assert run.notes["peak_memory_gib"] > 0 and run.notes["gpu"] in doctor()["gpu"]
    texts = part(films, "test")["text"][:]
    here, there = load_run(tmp_path / "run", device="cpu").predict(texts), run.predict(texts)
    assert np.mean([a["label"] == b["label"] for a, b in zip(here, there)]) > 0.9
    assert max(abs(a["probabilities"][k] - b["probabilities"][k]) for a, b in zip(here, there)
               for k in a["probabilities"]) < 0.02


@on_cuda
def test_on_cuda_float16_learns_too(films, shallow):
    options = dict(epochs=6, lr=5e-4, early_stopping=0, dtype="float16", progress=False)
    run = finetune(films, model=shallow["en-small"], **options)  # its first steps only look for the loss scale
    assert run.settings.dtype == "float16" and run.log[-1]["loss"] < 0.5 * run.log[0]["loss"]


@on_cuda
def test_a_gpu_that_is_really_full(films, shallow):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(200 * 2**20 / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(DataError, match=r"CUDA out of memory.*batch_size=64 \(now 128\)"):
            finetune(films, model=shallow["en-small"], epochs=1, batch_size=128, max_length=64, progress=False)
        assert torch.cuda.memory_allocated() < 100 * 2**20
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@on_cuda
def test_torchrun_on_one_gpu(films, shallow, tmp_path):
    (said,), out = launched(films, shallow["en-small"], tmp_path, 1, "")
    assert said["notes"]["device"] == "cuda" and load_run(out, device="cpu").metrics.score == said["score"]
