"""Trainings, confusion cells and lassos in a real JupyterLab and Voila: stopped by a click, opened, drawn."""
import json
import time

import pytest
from browser import LAPTOP, PHONE

BEGIN = '''
from datasets import ClassLabel, Dataset
from dataset_tutor.core import add_uids, show_progress
from dataset_tutor.distribution import split
from dataset_tutor.baselines import baseline
from dataset_tutor.finetuning import finetune
from dataset_tutor.monitor import embedding_map, errors, read_progress, start_training, training_monitor, watcher
show_progress(False)
nouns = "story cast music plot scene camera ending dialogue humour pace set costume".split()
texts = [f"the {nouns[i % 12]} of film {i * 7919 % 1009} was {'lovely' if i % 2 else 'awful'} {nouns[i * 5 % 12]}"
         for i in range(80)]
ds = add_uids(Dataset.from_dict(dict(text=texts, label=[i % 2 for i in range(80)])), "demo")
films = split(ds.cast_column("label", ClassLabel(names=["bad", "good"])), seed=0)
slow = dict(model="en-small", epochs=400, batch_size=8, max_length=16, device="cpu", early_stopping=0)
'''
ERRORS = BEGIN + '''
import numpy as np
from dataset_tutor.baselines import Fitted, _judged, _Rows
names = ["差评", "好评", "<img src=x onerror='window.ran=1'>"]
gold = [i % 3 for i in range(60)]
said = [names[g if i % 4 else (g + 1) % 3] for i, g in enumerate(gold)]
sure = [dict(label=s, probability=0.5 + i / 150, probabilities={s: 0.5 + i / 150}) for i, s in enumerate(said)]
lines = [f"第 {i} 行 <script>window.ran=2</script> 房间干净" for i in range(60)]
shown = _Rows([f"u{i}" for i in range(60)], lines, gold)
run = Fitted(**_judged("classification", names, dict(validation=shown, test=shown), dict(validation=sure, test=sure)),
             log=[], seconds=0)
w = errors(run, lang=LANG, keep="errors.jsonl")
'''
MAP = BEGIN + '''
import numpy as np
from dataset_tutor.maps import map_table
rng = np.random.default_rng(0)
hostile = ["<script>window.ran=3</script>", "</svg><h1>out</h1>", "\\u202egnp", "x" * 100_000]
rows = add_uids(Dataset.from_dict(dict(text=hostile + [f"第 {i} 条评论" for i in range(116)],
                                       label=["hotel"] * 60 + ["<b>book</b>"] * 60)), "demo")
vectors = rng.normal(size=(120, 6)) + 6 * np.repeat([[0], [1]], 60, axis=0)
w = embedding_map(rows, map_table(rows, vectors=vectors), lang=LANG, keep="map.jsonl")
'''


def until(nb, expression, seconds=90):
    end = time.monotonic() + seconds
    while not nb.ask(expression) and time.monotonic() < end:
        time.sleep(0.2)
    assert nb.ask(expression), expression


def state(nb, text, seconds=90):
    "Wait until the monitor says how the training does"
    nb.widget.locator(".dt-state", has_text=text).wait_for(timeout=1000 * seconds)


def test_a_click_ends_a_training_and_the_best_is_kept(lab):
    nb = lab.open(BEGIN, "training = start_training(films, 'run-a', **slow)\n"
                         "w = training_monitor(training, every=0.3)", "w")
    state(nb, "Training")
    nb.widget.locator("svg").first.wait_for(timeout=60_000)
    until(nb, "len(w.progress.scores) > 1")
    before = nb.ask("w.progress.step")
    until(nb, f"w.progress.step > {before}")              # it draws by itself, without a click
    nb.fits()
    nb.picture("monitor-running-phone")
    nb.page.set_viewport_size(LAPTOP)
    nb.picture("monitor-running")
    nb.widget.get_by_role("button", name="Stop and keep the best checkpoint").click()
    nb.said("It ends after this step")
    state(nb, "Stopped; the best checkpoint was kept")
    until(nb, "not training.busy")
    assert nb.ask("w.progress.state") == "stopped" and nb.ask("w.progress.epoch") < 399
    assert nb.ask("abs(training.run.validation.score - max(e['validation'] for e in training.run.log)) < 1e-3")
    assert nb.ask("w.error") is None and not (lab.folder / "run-a" / "stop").exists()
    assert json.loads((lab.folder / "run-a" / "run.json").read_text())["state"] == "done"
    nb.picture("monitor-stopped")
    nb.theme("JupyterLab Dark")
    nb.picture("monitor-stopped-dark")
    nb.theme("JupyterLab Light")                          # the server keeps it for the next test
    saved = "".join(nb.save()["cells"][2]["outputs"][1]["data"]["text/html"])
    assert "Stopped; the best checkpoint was kept" in saved and "<svg" in saved and "data-act" not in saved


def test_a_restarted_kernel_attaches_and_another_notebook_stops_by_key(lab):
    nb = lab.open(BEGIN, "w = training_monitor('run-b', every=0.3, lang='zh')", "w")
    state(nb, "此文件夹尚无消息")
    other = lab.open(BEGIN, "training = start_training(films, 'run-b', **slow)\nw = training_monitor(training)", "w")
    state(nb, "训练中")               # seen from the other kernel
    nb.restart()
    nb.run_all()
    state(nb, "训练中")
    until(nb, "len(w.progress.scores) > 0")
    nb.widget.locator("[data-home]").focus()
    nb.page.keyboard.press("s")
    nb.said("将在这一步之后停止")
    state(nb, "已停止，保留了最佳检查点")
    until(other, "not training.busy")
    assert other.ask("training.error") is None and nb.ask("w.progress.state") == "stopped"
    nb.both_pictures("monitor-zh")
    other.restart()                                                          # the kernel that trained is gone
    other.run_all()
    state(other, "Stopped; the best checkpoint was kept")


def test_a_confusion_cell_leads_to_its_rows(lab):
    (lab.folder / "errors.jsonl").unlink(missing_ok=True)
    nb = lab.open("LANG = 'en'\n" + ERRORS, "w")
    matrix = nb.ask("run.validation['confusion']")
    cell = nb.widget.get_by_role("button", name="差评 taken for 好评")
    assert cell.inner_text() == str(matrix[0][1])
    cell.click()
    nb.said(f"{matrix[0][1]} × 差评 taken for 好评")
    nb.until("list(w.cell)", ["差评", "好评"])
    lines = nb.widget.locator("tbody tr[data-scope]")
    assert lines.count() == matrix[0][1]
    assert set(lines.locator("td[data-name=gold]").all_inner_texts()) == {"差评"}
    assert set(lines.locator("td[data-name=predicted]").all_inner_texts()) == {"好评"}
    sure = [float(t) for t in lines.locator("td[data-name=confidence]").all_inner_texts()]
    assert sure == sorted(sure, reverse=True)
    nb.widget.get_by_label("Name of the selection").fill("doubted")
    nb.page.keyboard.press("Tab")
    lines.first.locator("input").click()
    nb.said("is ticked")
    nb.until("{n: len(u) for n, u in w.selections.items()}", {"doubted": 1})
    assert nb.ask("w.rows['uid'][:] == w.selected")
    cell.focus()                                                             # from here on no mouse
    for _ in range(12):
        nb.page.keyboard.press("ArrowUp")
    first = nb.page.evaluate("document.activeElement.getAttribute('aria-label')")
    nb.page.keyboard.press("Enter")
    nb.said(first)
    nb.page.keyboard.press("ArrowDown")
    nb.page.keyboard.press("Space")
    nb.until("isinstance(w.cell, tuple) and w.cell[1]", "好评")
    nb.both_pictures("errors-en")
    assert nb.page.evaluate("window.ran") is None and nb.widget.locator("script, img").count() == 0
    assert nb.ask("w.error") is None


def drag(nb, points, shift=False):
    "Draw a line on the map; points from 0 to 1"
    area = nb.widget.locator("svg.dt-map")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    if shift:
        nb.page.keyboard.down("Shift")
    for i, (x, y) in enumerate(points):
        nb.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4 if i else 1)
        if not i:
            nb.page.mouse.down()
    nb.page.mouse.up()
    if shift:
        nb.page.keyboard.up("Shift")


HALF = [(0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99)]


def test_a_lasso_and_a_circle_fill_a_selection(lab):
    (lab.folder / "map.jsonl").unlink(missing_ok=True)
    nb = lab.open("LANG = 'en'\n" + MAP, "w", size=dict(LAPTOP, height=1000))
    drag(nb, HALF)
    nb.said("inside")
    left = nb.ask("[w.table['uid'][i] for i in range(120) if w.panel.xy[i][0] < 0.495]")
    near = nb.ask("[w.table['uid'][i] for i in range(120) if w.panel.xy[i][0] < 0.505]")
    got = set(nb.ask("w.selected"))
    assert set(left) <= got <= set(near) and 0 < len(got) < 120
    assert nb.ask("w.rows['uid'][:] == w.selected")
    drag(nb, [(0.01, 0.01), (0.5, 0.01), (0.5, 0.5), (0.01, 0.5)], shift=True)
    nb.until(f"len(w.selected) < {len(got)}", True)
    rest = set(nb.ask("w.selected"))
    assert rest < got
    nb.picture("map-en")
    nb.widget.locator("svg.dt-map").focus()                                   # from here on no mouse
    for key in ["ArrowRight"] * 3 + ["Shift+ArrowRight", "+", "+"]:
        nb.page.keyboard.press(key)
    nb.said("Circle at")
    nb.page.keyboard.press("Space")
    nb.said("inside")
    inside = nb.ask("[u for u, (x, y) in zip(w.table['uid'], w.panel.xy) if np.hypot(x - w.panel.circle[0], "
                    "y - w.panel.circle[1]) <= w.panel.circle[2]]")
    nb.until("len(w.selected)", len(rest | set(inside)))
    nb.widget.get_by_label("Colour by").select_option("near copies")
    nb.said("Coloured by near copies")
    nb.both_pictures("map-circle")
    ticked = nb.ask("w.selected")
    nb.restart()
    nb.run_all()
    nb.until("w.selected", ticked)                                            # ticks outlive the kernel
    assert nb.page.evaluate("window.ran") is None and nb.widget.locator("script, h1").count() == 0
    assert nb.ask("w.error") is None


@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_voila_serves_map_and_errors(voila, size):
    for name in ("errors.jsonl", "map.jsonl"):
        (voila.folder / name).unlink(missing_ok=True)
    nb = voila.open("LANG = 'zh'\n" + MAP, "w", size=size)
    nb.fits(size)
    drag(nb, HALF)
    nb.said("圈内")
    end = time.monotonic() + 10
    while not (voila.folder / "map.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.1)
    (line,) = (voila.folder / "map.jsonl").read_text(encoding="utf-8").splitlines()
    assert 40 < len(json.loads(line)["tick"]) < 80
    nb.shot(f"map-voila-{size['width']}")
    nb = voila.open("LANG = 'zh'\n" + ERRORS, "w", size=size)
    nb.fits(size)
    nb.widget.get_by_role("button", name="差评 被判为 好评").first.click()
    nb.said("差评 被判为 好评")
    assert nb.page.evaluate("window.ran") is None
    nb.shot(f"errors-voila-{size['width']}")


def test_voila_stops_a_training(voila):
    nb = voila.open(BEGIN, "training = start_training(films, 'run-v', **slow)\n"
                           "w = training_monitor(training, every=0.3)", "w", size=PHONE)
    nb.widget.locator("svg").first.wait_for(timeout=90_000)
    nb.fits(PHONE)
    nb.widget.get_by_role("button", name="Stop and keep the best checkpoint").click()
    state(nb, "Stopped; the best checkpoint was kept")
    assert json.loads((voila.folder / "run-v" / "run.json").read_text())["notes"]["epochs"] < 399
