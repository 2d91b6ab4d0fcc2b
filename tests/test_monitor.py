"""The monitor without a browser: what a training writes and how it ends, cells and rows, lassos and points."""
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from test_widgets import HOSTILE, english, harmless

from dataset_tutor import monitor as M
from dataset_tutor.baselines import Fitted, _judged, _Rows
from dataset_tutor.core import DataError, add_uids
from dataset_tutor.distribution import split
from dataset_tutor.finetuning import finetune, load_run
from dataset_tutor.maps import map_table
from dataset_tutor.models import load_pretrained
from dataset_tutor.widgets import WORDS

datasets.disable_progress_bars()


# --- what a training writes, and how it is read ---

def folder_of(path: Path, *events, state="running", **about) -> Path:
    "A run folder as a training leaves it"
    path.mkdir(exist_ok=True)
    about = dict(state=state, settings=dict(task="classification"), **about)
    (path / "run.json").write_text(json.dumps(about), encoding="utf-8")
    (path / "watch.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    return path


def begin(step=0, time=100.0, steps=40, epochs=4):
    return dict(do="begin", time=time, step=step, steps=steps, epochs=epochs)


def step(n, time, loss=0.5, lr=1e-4):
    return dict(do="step", time=time, step=n, epoch=n / 10, loss=loss, lr=lr)


def score(n, value, time=200.0):
    return dict(do="score", time=time, step=n, epoch=n / 10, score=value)


def test_an_empty_folder_and_one_that_is_not_there_are_silent(tmp_path):
    assert M.read_progress(tmp_path).state == M.read_progress(tmp_path / "none").state == "silent"
    assert not (tmp_path / "none").exists()
    page = M.TrainingMonitor(tmp_path / "none").body(True)
    assert "No news" in page and "callbacks=[watcher(folder)]" in page and 'aria-disabled="true"' in page


def test_time_left_follows_the_pace_of_the_later_half(tmp_path):
    slow_then_fast = [step(i, 100 + 10 * i) for i in range(1, 6)] + [step(i, 150 + i - 5) for i in range(6, 21)]
    watch = M.Watch(folder_of(tmp_path / "r", begin(), *slow_then_fast))
    watch.lock = lock(tmp_path / "r")
    got = M.read_progress(tmp_path / "r")
    assert got.state == "running" and got.left == pytest.approx(20, abs=0.01) and got.step == 20
    assert len(got.loss) == len(got.rate) == 20
    watch.lock.release()
    assert M.read_progress(tmp_path / "r").state == "lost" and M.read_progress(tmp_path / "r").left is None


def lock(folder):
    from filelock import FileLock
    held = FileLock(folder / "watch.lock")
    held.acquire()
    return held


def test_after_a_resume_steps_that_were_done_twice_count_once(tmp_path):
    first = [begin(), *(step(i, 100 + i, loss=i) for i in range(1, 16)), score(10, 0.7)]
    again = [begin(10, 500.0), *(step(i, 500 + i, loss=-i) for i in range(11, 14))]
    got = M.read_progress(folder_of(tmp_path / "r", *first, *again))
    assert [e for e, _ in got.loss] == [i / 10 for i in range(1, 14)]
    assert [v for _, v in got.loss[10:]] == [-11, -12, -13] and got.scores == [(1.0, 0.7)]


@given(st.binary(max_size=200))
@settings(max_examples=40)
def test_whatever_a_kill_left_in_the_last_line_is_passed_over(tmp_path_factory, tail):
    path = folder_of(tmp_path_factory.mktemp("r") / "r", begin(), step(1, 101))
    with (path / "watch.jsonl").open("ab") as f:
        f.write(b'{"do": "st' + tail.replace(b"\n", b""))
    assert M.read_progress(path).step == 1


def test_a_broken_loss_is_said_and_drawn_without_it(tmp_path):
    panel = M.TrainingMonitor(folder_of(tmp_path / "r", begin(), step(1, 101), step(2, 102, loss=float("nan"))))
    page = panel.body(True)
    assert "no number any more" in page and "nan" not in " ".join(re.findall(r' d="([^"]*)"', page))
    harmless(page)


def test_a_finished_run_is_shown_from_its_log_alone(tmp_path):
    log = [dict(epoch=1.0, loss=0.6, validation=0.7), dict(epoch=2.0, loss=0.4, validation=0.8)]
    path = folder_of(tmp_path / "r", state="done", log=log)
    got = M.read_progress(path)
    assert (got.state, got.best, got.metric, got.loss) == ("done", (2.0, 0.8), "macro-F1", [(1.0, 0.6), (2.0, 0.4)])
    panel = M.TrainingMonitor(path)
    assert panel.final and "Finished" in panel.still() and "<svg" in panel.still() and "0.800" in panel.still()
    assert panel.act("stop").startswith("There is nothing to stop") and not (path / "stop").exists()


def test_a_stop_is_a_file_that_anybody_can_write_and_a_wish_of_yesterday_is_none(tmp_path):
    path = folder_of(tmp_path / "r", begin(), step(1, 101))
    held = lock(path)
    panel = M.TrainingMonitor(path)
    assert panel.progress.state == "running"
    assert "best checkpoint" in panel.act("stop") and (path / "stop").exists() and panel.progress.state == "stopping"
    held.release()
    assert not M.Watch(path).asked() and not (path / "stop").exists()


def test_lines_are_few_however_many_steps(tmp_path):
    watch = M.Watch(folder_of(tmp_path / "r"))
    watch.pause = 0
    told = [watch.due(i, 100_000) for i in range(1, 100_001)]
    assert told[-1] and 900 <= sum(told) <= 1_001


def test_two_trainings_do_not_share_a_folder(tmp_path, monkeypatch):
    import filelock
    held = lock(folder_of(tmp_path / "r"))
    real = filelock.FileLock.acquire
    monkeypatch.setattr(filelock.FileLock, "acquire", lambda self, timeout=0: real(self, timeout=0.05))
    with pytest.raises(DataError, match="another training writes into r"):
        M.Watch(tmp_path / "r").begin(0, 10, 1)
    held.release()


@pytest.mark.parametrize("state", M.STATES)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_state_has_its_words(state, lang, tmp_path):
    panel = M.TrainingMonitor(tmp_path, lang)
    panel.progress = M.Progress(state, 3, 40, 4.0, 50.0, 120.0, 20.0, [(0.1, 0.6), (0.3, 0.5)], [(0.1, 1e-4)],
                                [(0.3, 0.7)], "macro-F1", "<b>why</b>")
    for page in (panel.body(True), panel.still()):
        harmless(page)
        assert "<b>why" not in page and ("macro-F1" in page) == (state != "silent")


# --- a training, really ---

@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    load_pretrained("AutoModel", "en-small", num_hidden_layers=1).save_pretrained(folder)
    load_pretrained("AutoTokenizer", "en-small").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def films():
    nouns = "story cast music plot scene camera ending dialogue humour pace set costume".split()
    texts = [f"the {nouns[i % 12]} of film {i * 7919 % 1009} was {'lovely' if i % 2 else 'awful'} {nouns[i * 5 % 12]}"
             for i in range(80)]
    ds = add_uids(Dataset.from_dict(dict(text=texts, label=[i % 2 for i in range(80)])), "demo")
    return split(ds.cast_column("label", ClassLabel(names=["bad", "good"])), seed=0)


def options(shallow):
    return dict(model=shallow, batch_size=8, lr=1e-3, max_length=16, device="cpu", early_stopping=0)


def test_a_training_is_stopped_within_an_epoch_and_keeps_its_best(films, shallow, tmp_path):
    training = M.start_training(films, tmp_path / "run", epochs=200, **options(shallow))
    panel, end = M.TrainingMonitor(training), time.monotonic() + 60
    while len(panel.progress.scores) < 2 and time.monotonic() < end:
        time.sleep(0.02)
        panel.look()
    assert panel.progress.state == "running" and "at work" in repr(training)
    panel.act("stop")
    run = training.run
    panel.look()
    assert panel.progress.state == "stopped" and panel.final and panel.progress.epoch < 199
    assert run.validation.score == pytest.approx(max(e["validation"] for e in run.log), abs=1e-4)
    assert run.notes["epochs"] == pytest.approx(panel.progress.epoch, abs=0.01)
    assert panel.run is run and not list((tmp_path / "run").glob("stop"))
    again = load_run(tmp_path / "run", device="cpu")
    assert again.validation == run.validation and M.TrainingMonitor(tmp_path / "run").progress.state == "stopped"


def test_watching_changes_nothing(films, shallow, tmp_path):
    plain = finetune(films, epochs=2, seed=1, progress=False, **options(shallow))
    watched = M.start_training(films, tmp_path / "run", epochs=2, seed=1, **options(shallow)).run
    assert plain.log == watched.log and plain.metrics == watched.metrics
    got = M.read_progress(tmp_path / "run")
    assert got.state == "done" and got.step == got.steps and [round(s, 4) for _, s in got.scores] == \
        [e["validation"] for e in plain.log]
    first = [v for e, v in got.loss if e <= 1]
    assert got.rate[-1][1] < 1e-3 and first and all(np.isfinite(first))


def test_a_stop_before_the_first_step_ends_after_it(films, shallow, tmp_path):
    training = M.start_training(films, tmp_path / "run", epochs=50, **options(shallow))
    training.stop()
    assert 0 < training.run.notes["epochs"] < 2


def test_what_a_training_raises_is_raised_and_shown(films, tmp_path):
    training = M.start_training(films.remove_columns("split"), tmp_path / "run", epochs=1)
    with pytest.raises(DataError, match="not split"):
        _ = training.run
    panel = M.TrainingMonitor(training, lang="zh")
    assert panel.progress.state == "failed" and "失败" in panel.body(True) and not (tmp_path / "run").exists()
    assert "尚未划分" in panel.still() and not english(panel.body(True))


KILLED = """
    import sys, datasets
    from dataset_tutor.finetuning import finetune
    from dataset_tutor.monitor import watcher
    datasets.disable_progress_bars()
    rows, model, out = sys.argv[1:]
    rows = datasets.load_from_disk(rows)
    finetune(rows, model=model, epochs=200, batch_size=8, lr=1e-3, max_length=16, device="cpu", early_stopping=0,
             seed=0, out=out, progress=False, callbacks=[watcher(out)])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_training_of_another_process_is_followed_killed_and_stopped(films, shallow, tmp_path):
    films.save_to_disk(str(tmp_path / "rows"))
    out, env = tmp_path / "run", os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "rows"), shallow, str(out)]
    panel = M.TrainingMonitor(out)

    def until(state, scores=0):
        end = time.monotonic() + 120
        while (panel.progress.state != state or len(panel.progress.scores) < scores) and time.monotonic() < end:
            time.sleep(0.05)
            panel.look()
        assert panel.progress.state == state

    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("running", scores=2)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    until("lost")
    assert "last checkpoint" in panel.body(True) and panel.act("stop").startswith("There is nothing to stop")
    at = panel.progress.step
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("running")
        panel.act("stop")
        assert child.wait(120) == 0
    finally:
        child.kill()
    until("stopped")
    run = panel.run
    assert panel.progress.step >= at - 8 and run.validation.score == pytest.approx(
        max(e["validation"] for e in run.log), abs=1e-4)


def test_the_view_follows_and_ends_with_the_training(tmp_path):
    now = time.time()  # of old news the view says every second how old it is: that would draw, too
    path = folder_of(tmp_path / "r", begin(time=now), step(1, now))
    held = lock(path)
    panel, drawn = M.TrainingMonitor(path), []
    w = SimpleNamespace(surface=SimpleNamespace(comm=object()), refresh=lambda: drawn.append(panel.progress.step))
    M._follow(w, panel, 0.01)
    with (path / "watch.jsonl").open("a") as f:
        f.write(json.dumps(step(7, now + 1)) + "\n")
    end = time.monotonic() + 5
    while not drawn and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.2)  # some twenty looks without news
    assert drawn == [7]
    held.release()
    folder_of(path, begin(time=now), step(7, now + 1), state="done")
    for thread in [t for t in threading.enumerate() if t.name == "training monitor"]:
        thread.join(5)
        assert not thread.is_alive()


# --- errors ---

def said(label, p):
    return dict(label=label, probability=p, probabilities={label: p})


def classifier(n=40, names=("no", "yes", "也许")):
    gold = [i % 3 for i in range(n)]
    pred = [said(names[g if i % 4 else (g + 1) % 3], 0.5 + i / 100) for i, g in enumerate(gold)]
    texts = (HOSTILE[:-1] + [f"row {i}" for i in range(n)])[:n]
    part = _Rows([f"u{i}" for i in range(n)], texts, gold)
    return Fitted(**_judged("classification", list(names), {"validation": part, "test": part},
                            {"validation": pred, "test": pred}), log=[], seconds=0)


def span(a, b, label, p=None):
    return dict(start=a, end=b, label=label) | ({} if p is None else {"probability": p})


def tagger():
    texts = ["Ann met Bob in Rome", "李明在北京", "nothing here"]
    gold = [[span(0, 3, "PER"), span(8, 11, "PER"), span(15, 19, "LOC")], [span(0, 2, "PER"), span(3, 5, "LOC")], []]
    pred = [[span(0, 3, "PER", 0.9), span(8, 14, "PER", 0.6), span(15, 19, "PER", 0.8)], [span(3, 5, "LOC", 0.7)],
            [span(0, 7, "ORG", 0.4)]]
    part = _Rows(["a", "b", "c"], texts, gold)
    return Fitted(**_judged("ner", ["LOC", "ORG", "PER"], {"validation": part, "test": part},
                            {"validation": pred, "test": pred}), log=[], seconds=0)


def test_the_cells_of_the_matrix_are_the_rows_behind_it():
    run = classifier()
    panel = M.ErrorPanel(run, lang="en")
    assert panel.counts.tolist() == run.validation["confusion"] and panel.names == run.names
    for i in range(3):
        for j in range(3):
            panel.act("cell", "all")
            panel.act("cell", f"{i},{j}")
            assert panel.count == run.validation["confusion"][i][j]
            assert set(zip(panel.found["gold"], panel.found["predicted"])) <= {(run.names[i], run.names[j])}
    panel.act("cell", "2,2")
    assert panel.cell == "errors" and panel.count == 10          # the same cell again shows all errors
    sure = panel.found["confidence"][:]
    assert sure == sorted(sure, reverse=True)


def test_entities_are_right_missed_spurious_or_beside():
    table = M.error_table(tagger())
    assert sorted(zip(table["outcome"], table["true"], table["taken"])) == sorted([
        ("right", "PER", "PER"), ("boundary", "PER", "PER"), ("type", "LOC", "PER"), ("missed", "PER", M.NOTHING),
        ("right", "LOC", "LOC"), ("spurious", M.NOTHING, "ORG")])
    by = {o: (g, p, c) for o, g, p, c in zip(table["outcome"], table["gold"], table["predicted"], table["confidence"])}
    assert by["missed"] == ("李明 (PER)", "", None) and by["boundary"] == ("Bob (PER)", "Bob in (PER)", 0.6)
    panel = M.ErrorPanel(tagger(), lang="zh")
    assert panel.names == ["LOC", "ORG", "PER", M.NOTHING]
    panel.act("cell", "missed")
    assert panel.count == 1 and "漏标：1" in panel.body(True)
    assert "PER ✓" in panel.body(False)
    assert not english(panel.body(True), panel.table["text"]) and not english(panel.said)


def test_a_tick_is_one_of_the_row_not_of_the_entity(tmp_path):
    panel = M.ErrorPanel(tagger(), lang="en", keep=tmp_path / "ticks.jsonl")
    panel.act("tick", panel.shown()[0])
    assert panel.selected == ["a"] and panel.rows["uid"][:] == ["a"] and panel.bits().sum() == 3
    again = M.ErrorPanel(tagger(), lang="en", keep=tmp_path / "ticks.jsonl")
    assert again.selected == ["a"] and again.selections == {"selected": ["a"]}


def test_rows_of_ones_own_are_predicted_once_and_keep_their_columns():
    run, asked = classifier(), []
    run.predict = lambda texts: asked.extend(texts) or [said("yes", 0.9) for _ in texts]
    rows = Dataset.from_dict(dict(uid=["u3", "new"], text=[run.rows["validation"][3]["text"], "a new one"],
                                  label=["no", "no"], more=[1, 2]))
    panel = M.ErrorPanel(run, rows, lang="en")
    assert asked == ["a new one"] and panel.count == 1
    panel.act("tick", panel.shown()[0])
    assert panel.rows["more"][:] == [2]


@pytest.mark.parametrize("call, message", [
    (lambda: M.errors(classifier(), split="train"), "no predictions for 'train'"),
    (lambda: M.errors(classifier(), Dataset.from_dict(dict(uid=["a"], text=["b"]))), "column is missing"),
    (lambda: M.ErrorPanel(classifier()).act("cell", "nowhere"), "no cell 'nowhere'"),
    (lambda: M.MapPanel(points(), placed()).act("lasso", points=[[0, 0]]), "enclose nothing"),
    (lambda: M.MapPanel(points(), placed(), by="colour"), "no such column"),
    (lambda: M.MapPanel(points(5), placed()), "has a row"),
])
def test_refusals_say_what_to_do(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_many_classes_become_a_list_and_nothing_of_a_row_runs():
    names = [f"class <b>{i}</b>" for i in range(15)]
    gold = list(range(15)) * 2
    pred = [said(names[(g + (i % 3 == 0)) % 15], 0.7) for i, g in enumerate(gold)]
    part = _Rows([f"u{i}" for i in range(30)], [HOSTILE[i % 13] for i in range(30)], gold)
    run = Fitted(**_judged("classification", names, {"validation": part, "test": part},
                           {"validation": pred, "test": pred}), log=[], seconds=0)
    for panel in (M.ErrorPanel(run), M.ErrorPanel(classifier()), M.ErrorPanel(tagger())):
        panel.act("cell", "all")
        for page in (panel.body(True), panel.still()):
            harmless(page)
            assert "<b>" not in page
    assert "dt-matrix" not in M.ErrorPanel(run).body(True).replace("table.dt-matrix", "")


# --- the map ---

def points(n=60):
    texts = [*HOSTILE[:-1], *(f"row {i}" for i in range(n))][:n]
    data = dict(text=[t or "–" for t in texts], label=[f"<b>{i % 3}" for i in range(n)])
    return add_uids(Dataset.from_dict(data), "d")


def placed(n=60):
    return map_table(points(n), vectors=np.random.default_rng(0).normal(size=(n, 6)), k=5)


def crossing(point, polygon):
    "Even-odd, the slow way"
    x, y, inside = *point, False
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1]):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


@given(st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=3, max_size=12))
@settings(max_examples=60)
def test_a_lasso_ticks_what_lies_inside(polygon):
    panel = PANEL
    got = set(panel.inside(polygon).tolist())
    for row, point in zip(panel.at_row, panel.xy):
        if min(np.hypot(*(np.array(polygon) - point).T)) > 1e-6:
            assert (int(row) in got) == crossing(point, polygon) or near_edge(point, polygon)


def near_edge(point, polygon):
    for a, b in zip(polygon, polygon[1:] + polygon[:1]):
        a, b = np.array(a), np.array(b)
        t = np.clip(np.dot(point - a, b - a) / max(np.dot(b - a, b - a), 1e-12), 0, 1)
        if np.hypot(*(point - (a + t * (b - a)))) < 1e-6:
            return True
    return False


PANEL = M.MapPanel(points(), placed())


def test_shift_takes_away_and_names_keep_selections_apart(tmp_path):
    panel = M.MapPanel(points(), placed(), keep=tmp_path / "ticks.jsonl", lang="en")
    whole, left = [[-1, -1], [2, -1], [2, 2], [-1, 2]], [[-1, -1], [0.5, -1], [0.5, 2], [-1, 2]]
    assert "60 rows inside" in panel.act("lasso", points=whole)
    panel.act("lasso", points=left, shift=True)
    right = panel.at_row[panel.xy[:, 0] > 0.5]
    assert panel.selected == [points()["uid"][i] for i in sorted(right)]
    panel.act("name", "other")
    panel.act("lasso", points=left)
    assert set(panel.selections) == {"selected", "other"} and panel.name == "other"
    again = M.MapPanel(points(), placed(), keep=tmp_path / "ticks.jsonl", lang="en", name="other")
    assert again.selections == panel.selections


def test_the_circle_moves_grows_and_stays_on_the_map():
    panel = M.MapPanel(points(), placed(), lang="en")
    for _ in range(80):
        panel.act("key", "ArrowLeft")
        panel.act("key", "Shift+ArrowUp")
        panel.act("key", "+")
    assert panel.circle == (0, 0, 0.7)
    for _ in range(80):
        panel.act("key", "-")
    assert panel.circle[2] == pytest.approx(0.01, abs=1e-6) and "nearest" in panel.said
    panel.circle = (0.5, 0.5, 0.3)
    panel.act("key", "Space")
    inside = panel.at_row[np.hypot(*(panel.xy - 0.5).T) <= 0.3]
    assert len(panel.selected) == len(inside) > 0
    panel.act("key", "Delete")
    assert not panel.selected and "<circle" in panel.body(True) and "<circle" not in panel.body(False)


@pytest.mark.parametrize("by", ["label", "duplicates"])
def test_map_pages_are_small_and_harmless(by):
    panel = M.MapPanel(points(), placed(), lang="zh")
    panel.act("by", by)
    panel.act("lasso", points=[[-1, -1], [2, -1], [2, 2], [-1, 2]])
    for page in (panel.body(True), panel.still()):
        harmless(page)
        assert "<b>" not in page and len(page) < 60_000
        assert not english(re.sub("<ul.*?</ul>|<title.*?</title>", "", page, flags=re.S), panel.table["label"])
    assert panel.body(True).count("<path") <= 12


def test_rows_all_in_one_place_and_rows_that_the_map_left_out():
    same = map_table(points(), vectors=np.ones((60, 3)), k=3)
    assert np.isfinite(M.MapPanel(points(), same).xy).all()
    few = map_table(points(), vectors=np.random.default_rng(0).normal(size=(60, 6)), k=3, most=20)
    panel = M.MapPanel(points(), few, lang="en")
    panel.act("lasso", points=[[-1, -1], [2, -1], [2, 2], [-1, 2]])
    assert len(panel.selected) == 20 and "20 of 60 rows are on the map" in panel.body(True)
    assert isinstance(few, pd.DataFrame)


def test_every_string_is_there_in_both_languages():
    own = [k for k in WORDS if re.match(r"(mo_|er_|em_|er |em )", k)]
    assert len(own) > 50
    for k in own:
        en, zh = WORDS[k]
        holes = [set(re.findall(r"\{(\w+)", part)) for part in (*en.split("|"), zh)]
        assert all(h == holes[0] for h in holes), k
