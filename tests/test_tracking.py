"""Diaries of a run: TensorBoard's is read back; the large ones where they are installed."""
import os
import sys

import datasets
import pytest

from dataset_tutor.core import DataError
from dataset_tutor.finetuning import finetune

datasets.disable_progress_bars()


def test_tensorboard_has_what_the_log_has(films, shallow, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    before = dict(os.environ)
    brief = dict(model=shallow["en-small"], epochs=2, progress=False, device="cpu")
    run = finetune(films, out=tmp_path/"run", track="tensorboard", **brief)
    assert dict(os.environ) == before
    events = EventAccumulator(str(tmp_path/"run"/"tensorboard")).Reload()
    for tag, key in (("train/loss", "loss"), ("eval/score", "validation")):
        assert [e.value for e in events.Scalars(tag)] == pytest.approx([e[key] for e in run.log], abs=1e-3)
    quiet = finetune(films, out=tmp_path/"quiet", **brief)
    assert quiet.fingerprint == run.fingerprint and not list((tmp_path/"quiet").rglob("events.out*"))


@pytest.mark.parametrize("name, extra", [("tensorboard", "track"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_who_lacks_a_tracker_is_told_what_to_install(films, shallow, tmp_path, monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=rf"dataset-tutor\[{extra}\]"):
        finetune(films, model=shallow["en-small"], out=tmp_path/"run", track=name)
    assert not (tmp_path/"run").exists()


def test_a_diary_needs_a_known_name_and_a_folder(films, shallow, tmp_path):
    with pytest.raises(DataError, match="one of tensorboard, wandb, mlflow"):
        finetune(films, model=shallow["en-small"], out=tmp_path/"run", track="excel")
    with pytest.raises(DataError, match="needs a folder"):
        finetune(films, model=shallow["en-small"], track="mlflow")


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_the_large_ones_write_where_they_are_installed(films, shallow, tmp_path, name):
    pytest.importorskip(name)
    run = finetune(films, model=shallow["en-small"], epochs=1, out=tmp_path/"run", track=name, progress=False,
                   device="cpu")
    if name == "wandb":
        assert list((tmp_path/"run"/"wandb").rglob("*.wandb"))
    else:
        import sqlite3
        with sqlite3.connect(tmp_path/"run"/"mlflow.db") as db:
            told = dict(db.execute("select key, value from metrics").fetchall())
        assert told["eval_score"] == pytest.approx(run.log[0]["validation"], abs=1e-3)
