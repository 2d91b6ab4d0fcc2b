"""Searches with trainings that are played, one that is real, and one that is killed."""
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import numpy as np
import pytest

from dataset_tutor import search as module
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.distribution import part, split
from dataset_tutor.search import confirm, expected_best, search

datasets.disable_progress_bars()
pytest.importorskip("optuna")
SPACE = dict(lr=(1e-5, 1e-3, "log"), epochs=(1, 4), batch_size=[8, 16, 32])


def played(trial, names, parts, s, tokenizer, device, progress, more):
    "A training that is played: good near lr=1e-4, better with more epochs; each epoch is reported."
    final = 0.9 - 0.2 * abs(np.log10(s.lr) + 4) - 0.001 * s.batch_size
    for epoch in range(1, s.epochs + 1):
        trial.report(final * (1 - 0.5**epoch), epoch)
        if epoch < s.epochs and trial.should_prune():
            return dict(score=final * (1 - 0.5**epoch), ran=epoch, seconds=1.0, noise=0.03, hopeless=True)
    return dict(score=final * (1 - 0.5**s.epochs), ran=s.epochs, seconds=1.0, noise=0.03, hopeless=False)


@pytest.fixture
def play(monkeypatch):
    monkeypatch.setattr(module, "_try", played)


def rows_of(found):
    return found.trials.drop(columns="seconds").to_dict("records")


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_the_expected_best_is_what_lots_say(n):
    drawn = np.random.default_rng(n).standard_normal((40_000, n)).max(1).mean()
    assert expected_best(n) == pytest.approx(drawn, abs=0.02)


@pytest.mark.parametrize("space, why", [
    (dict(seed=[0, 1]), "choosing luck"), (dict(task=["ner"]), "cannot be searched"), (dict(lr=(1, 0)), "no range"),
    (dict(learning_rate=(0, 1)), "cannot be searched"), (dict(lr=1e-4), "no range"), ({}, "nothing to search")])
def test_a_space_is_checked(films, space, why):
    with pytest.raises(DataError, match=why):
        search(films, space)


def test_unknown_words_are_refused(films):
    for wrong in (dict(sampler="grid"), dict(prune="never")):
        with pytest.raises(DataError, match="unknown"):
            search(films, SPACE, **wrong)
    with pytest.raises(DataError, match="searched and fixed"):
        search(films, SPACE, epochs=3)
    with pytest.raises(LeakageError):
        search(films.remove_columns("split"), SPACE)


def test_the_test_rows_are_out_of_reach(films, monkeypatch):
    seen = []

    def spying(trial, names, parts, *rest):
        seen.append({u for rows in parts.values() for u in rows.uids})
        return played(trial, names, parts, *rest)

    monkeypatch.setattr(module, "_try", spying)
    search(films, SPACE, trials=2)
    assert len(seen) == 2 and not set.union(*seen) & set(part(films, "test")["uid"][:])
    assert set.union(*seen) == {r["uid"] for r in films if r["split"] != "test"}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("prune", ["median", "hyperband", None])
def test_the_same_seed_proposes_the_same(films, play, sampler, prune):
    first, second = (search(films, SPACE, trials=7, sampler=sampler, prune=prune, seed=3) for _ in range(2))
    assert rows_of(first) == rows_of(second)
    assert rows_of(first) != rows_of(search(films, SPACE, trials=7, sampler=sampler, prune=prune, seed=4))
    assert prune or set(first.trials["state"]) == {"finished"}


def test_hopeless_trials_stop(films, play):
    found = search(films, SPACE, trials=15)
    stopped = found.trials.query("state == 'stopped'")
    assert len(stopped) and (stopped["ran"] < stopped["epochs"]).all()
    assert found.score == found.trials.query("state == 'finished'")["score"].max()
    assert set(found.importance) == set(SPACE) and sum(found.importance.values()) == pytest.approx(1, abs=0.01)


def test_the_defaults_are_tried_first(films, play):
    found = search(films, SPACE, trials=2)
    assert found.trials.loc[0, ["lr", "epochs", "batch_size"]].tolist() == [1e-4, 3, 32]
    assert found.default == found.trials.loc[0, "score"]
    assert search(films, SPACE | dict(lr=(1e-6, 1e-5)), trials=2).default is None


def test_it_goes_on_as_if_nothing_had_happened(films, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_try", played)
    whole = search(films, SPACE, trials=10, out=tmp_path/"whole")
    calls = []

    def dies(*asked):
        calls.append(1)
        if len(calls) in (3, 6):
            raise KeyboardInterrupt
        return played(*asked)

    monkeypatch.setattr(module, "_try", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            search(films, SPACE, trials=10, out=tmp_path/"torn")
    torn = search(films, SPACE, trials=10, out=tmp_path/"torn")
    assert rows_of(torn) == rows_of(whole) and torn.best == whole.best
    assert len(calls) == 12
    more = search(films, SPACE, trials=12, out=tmp_path/"torn")
    assert rows_of(more)[:10] == rows_of(whole) and len(calls) == 14


KILLED = """
    import os, signal, sys
    import datasets
    from tests.test_search import SPACE, module, played
    datasets.disable_progress_bars()
    calls = []

    def dies(*asked):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return played(*asked)

    module._try = dies
    module.search(datasets.load_from_disk(sys.argv[1]), SPACE, trials=6, out=sys.argv[2])
"""


def test_a_search_that_was_killed_goes_on(films, monkeypatch, tmp_path):
    films.save_to_disk(str(tmp_path/"rows"))
    root = Path(__file__).parent.parent
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path/"rows"), str(tmp_path/"out")],
                           env=os.environ | {"PYTHONPATH": str(root)}, cwd=root, capture_output=True, timeout=120)
    assert child.returncode == -signal.SIGKILL
    calls = []

    def counted(*asked):
        calls.append(1)
        return played(*asked)

    monkeypatch.setattr(module, "_try", counted)
    torn = search(films, SPACE, trials=6, out=tmp_path/"out")
    assert len(calls) == 4 and rows_of(torn) == rows_of(search(films, SPACE, trials=6))


def test_the_budget_of_seconds(films, play):
    assert len(search(films, SPACE, trials=50, seconds=4).trials) == 4
    with pytest.raises(DataError, match="budget is 0"):
        search(films, SPACE, trials=0)


def test_what_cannot_be_trained_stands_in_the_table(films, monkeypatch):
    def small(trial, names, parts, s, *rest):
        if s.batch_size == 32:
            raise DataError("this run does not fit", fix="batch_size=16")
        return played(trial, names, parts, s, *rest)

    monkeypatch.setattr(module, "_try", small)
    found = search(films, SPACE, trials=6)
    assert found.trials.loc[0, "state"] == "refused" and "batch_size=16" in found.trials.loc[0, "problem"]
    assert found.default is None and found.best["batch_size"] != 32
    with pytest.raises(DataError, match="no trial could be finished"):
        search(films, dict(batch_size=[32]), trials=2)


def test_a_folder_belongs_to_one_search(films, play, tmp_path):
    search(films, SPACE, trials=1, out=tmp_path/"one")
    for other in (dict(space=dict(lr=(1e-5, 1e-4))), dict(sampler="random"), dict(seed=1), dict(dropout=0.2)):
        with pytest.raises(DataError, match="another search"):
            search(films, **dict(space=SPACE, trials=1, out=tmp_path/"one") | other)
    (tmp_path/"full").mkdir()
    (tmp_path/"full"/"thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        search(films, SPACE, trials=1, out=tmp_path/"full")
    lines = (tmp_path/"one"/"trials.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_two_processes_are_one_too_many(films, play, tmp_path):
    from filelock import FileLock
    (tmp_path/"busy").mkdir()
    with FileLock(tmp_path/"busy"/"search.lock"), pytest.raises(DataError, match="another process"):
        search(films, SPACE, trials=1, out=tmp_path/"busy")


def test_it_shows_itself_without_markup_of_others(films, play):
    found = search(films, SPACE, trials=5)
    assert "flatters" in repr(found) and f"{found.flattery:.3f}" in repr(found)
    assert found.flattery == pytest.approx(0.03 * expected_best(5))
    found.best = {"<b>": "<script>"}
    assert "<script>" not in found._repr_html_()


def test_a_real_search_is_confirmed(films, shallow):
    found = search(films, dict(lr=(1e-5, 1e-3, "log")), trials=2, model=shallow["en-small"], epochs=1, progress=False,
                   device="cpu")
    table, runs = confirm(found, films, seeds=2, progress=False, device="cpu")
    assert table["settings"].tolist() == ["winner", "defaults"] and len(runs["winner"]) == len(runs["defaults"]) == 2
    assert [r.settings.seed for r in runs["winner"]] == [1, 2] and runs["winner"][0].settings.epochs == 1
    assert runs["winner"][0].settings.lr == found.best["lr"] and runs["defaults"][0].settings.lr == 3e-5
    assert table.loc[0, "test"] == pytest.approx(np.mean([r.metrics.score for r in runs["winner"]]))
    with pytest.raises(DataError, match="not the rows"):
        confirm(found, split(films.remove_columns("split"), seed=7), seeds=2)
