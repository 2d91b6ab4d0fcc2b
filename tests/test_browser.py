"""Widgets in a real JupyterLab and a real Voila, used as a person would use them."""
import json

from browser import HOSTILE, LAPTOP, PHONE

PROBE = '''
from dataset_tutor.widgets import Html, Panel, button, field, show, tag
class Probe(Panel):
    gives = ("heard",)
    def __init__(self):
        self.heard = []
        super().__init__()
    def do_keep(self, value):
        self.heard.append(value)
        return f"kept {value}"
    def do_fail(self, value=None):
        raise KeyError("lable")
    def do_type(self, value):
        self.heard.append(value)
        return "typed"
    def do_select(self, value, start, end):
        self.heard.append([start, end])
        return "selected"
    def do_lasso(self, value=None, points=()):
        self.heard.append(len(points) > 3 and all(0 <= x <= 1 for p in points for x in p))
        return "caught"
    def body(self, live):
        text = tag("p", "在😀", tag("small", "LABEL", data_skip=True), "北京 <img src=x onerror='window.ran=1'>",
                   data_select="select", class_="dt-text")
        area = tag("svg", tag("polygon", data_line=True), data_lasso="lasso", viewBox="0 0 1000 1000", height="80")
        return Html(text + tag("div", [button("Keep", "keep", 1, keys="k"), button("Drop", "keep", 0, keys="d")])
                    + button("Fail", "fail") + field("Say", "type", live=50) + area)
w = show(Probe())
'''
INSPECT = HOSTILE + '''
from datasets import Dataset
from dataset_tutor.core import add_uids, mapper, show_progress
from dataset_tutor.widgets import inspect
show_progress(False)
@mapper
def tidy(text):
    return " ".join(text.split())
texts = hostile + ["房间  很干净", "房间很干净。", "早餐不好"] + [f"review {i}" for i in range(191)]
ds = add_uids(Dataset.from_dict({"text": texts, "note": texts[::-1],
                                 "group": [None] * 6 + ["g", "g"] + [None] * 192}), source="demo")
w = inspect(tidy(ds), keep="ticks.jsonl", lang=LANG, size=10)
'''


def test_the_front_end_hears_everything_and_runs_nothing(lab):
    nb = lab.open(PROBE, "w")
    nb.widget.get_by_role("button", name="Keep").click()
    nb.said("kept 1")
    nb.page.keyboard.press("d")                 # twice d would delete the cell, were the keys JupyterLab's
    nb.page.keyboard.press("d")
    nb.until("w.heard", ["1", "0", "0"])
    assert nb.page.locator(".jp-CodeCell").count() == 2
    nb.widget.get_by_label("Say").press_sequentially("kd早")
    nb.until("w.heard[-1]", "kd早")          # in a field, k and d are letters
    assert nb.ask("w.heard.count('1')") == 1
    nb.page.evaluate("""() => {                  // from 😀 to 北, over the label between them
        const t = document.querySelector(".dt-w [data-select]").childNodes, r = document.createRange();
        t[0].parentElement.dispatchEvent(new MouseEvent("mousedown", { bubbles: true }));
        r.setStart(t[0], 1); r.setEnd(t[2], 1);
        document.getSelection().removeAllRanges(); document.getSelection().addRange(r);
        t[0].parentElement.dispatchEvent(new MouseEvent("mouseup", { bubbles: true })); }""")
    nb.said("selected")
    nb.until("w.heard[-1]", [1, 3])             # characters, not UTF-16 units
    box = nb.widget.locator("svg").bounding_box()
    nb.page.mouse.move(box["x"] + 5, box["y"] + 5)
    nb.page.mouse.down()
    for x, y in [(60, 10), (60, 60), (10, 60)]:
        nb.page.mouse.move(box["x"] + x, box["y"] + y)
    nb.page.mouse.up()
    nb.said("caught")
    assert nb.ask("w.heard[-1]") is True
    nb.widget.get_by_role("button", name="Fail").click()
    nb.said("Error: 'lable'")
    assert nb.ask("repr(w.error)") == "KeyError('lable')"
    nb.widget.get_by_role("button", name="Keep").click()
    nb.said("kept 1")
    assert nb.ask("w.error") is None and nb.page.evaluate("window.ran") is None


def test_inspect_by_mouse_and_keyboard(lab):
    nb = lab.open("LANG = 'en'\n" + INSPECT, "w")
    nb.harmless()
    nb.widget.get_by_label("Search all text").fill("review 1")
    nb.said("of 200 rows found")
    nb.until("w.found['uid'][:]", nb.ask("[r['uid'] for r in ds if 'review 1' in r['text'] + r['note']]"))
    nb.widget.get_by_text("Filter, sort, columns").click()
    nb.widget.get_by_label("Condition").select_option("is under (number, length)")
    nb.widget.get_by_label("Value").fill("9")
    nb.page.keyboard.press("Enter")
    nb.said("found")
    nb.until("[f[1:] for f in w.panel.filters]", [["under", "9"]])
    nb.widget.get_by_label("Sort by").select_option("note ↓")
    nb.said("sorted by note")
    assert nb.ask("(lambda n: n == sorted(n, reverse=True))(w.found['note'][:])")
    nb.widget.get_by_role("button", name="Remove filter").click()
    nb.widget.get_by_label("Sort by").select_option("order of the data")
    nb.said("order of the data")
    nb.picture("inspect-en-tools")
    boxes = nb.widget.locator("tbody input")
    boxes.nth(0).click()
    nb.said("is ticked")
    boxes.nth(3).click(modifiers=["Shift"])
    nb.said("4 ticked")
    first = nb.ask("w.selected")
    assert len(first) == 4 and nb.ask("w.rows['text'][:] == w.found['text'][:4]")
    nb.page.keyboard.press("n")                 # from here on no mouse
    nb.said("Page 2 of 19")
    nb.page.keyboard.press("/")
    nb.page.keyboard.type("房间")
    nb.said("found")
    nb.page.keyboard.press("Tab")
    while nb.page.evaluate("document.activeElement.dataset.nav") != "tick":
        nb.page.keyboard.press("Tab")
    nb.page.keyboard.press("Space")
    nb.said("5 ticked")
    nb.page.keyboard.press("ArrowDown")
    nb.page.keyboard.press("ArrowUp")
    nb.page.keyboard.press("Enter")
    nb.said("is open")
    row = nb.widget.get_by_role("region", name="Row 7")
    assert "tidy: changed text" in row.inner_text() and "1 near copy" in row.inner_text()
    assert nb.page.evaluate("document.activeElement.textContent") == "Row 7"
    nb.both_pictures("inspect-en")
    nb.page.keyboard.press("Escape")
    nb.said("is closed")
    assert nb.page.evaluate("document.querySelector('.dt-w').contains(document.activeElement)")
    assert nb.ask("len(w.selected)") == 5 and nb.ask("w.error") is None


def test_ticks_outlive_the_kernel_and_the_picture_outlives_both(lab):
    (lab.folder / "ticks.jsonl").unlink(missing_ok=True)
    nb = lab.open("LANG = 'zh'\n" + INSPECT, "w")
    nb.widget.get_by_label("勾选第 9 行").click()
    nb.said("已勾选第 9 行")
    ticked = nb.ask("w.selected")
    nb.restart()
    nb.run_all()
    nb.said("已从 ticks.jsonl 读入 1 个勾选")
    nb.until("w.selected", ticked)
    nb.widget.get_by_role("button", name="卡片").click()
    nb.said("卡片")
    nb.both_pictures("inspect-zh")
    assert nb.page.locator(".dt-after").is_hidden()
    saved = nb.save()["cells"][1]["outputs"]
    still = "".join(saved[1]["data"]["text/html"])
    assert "早餐不好" in still and "✓" in still and "dt-cards" in still       # as it was last, not as it began
    lab.close()
    again = lab.reopen(nb.path)                 # the kernel that knew the widget is gone
    again.page.locator(".dt-after").wait_for()
    again.page.get_by_text("model not found").wait_for(state="attached")       # what JupyterLab says of the widget ...
    assert again.page.get_by_text("model not found").is_hidden(), "... stands in no reader's way"
    assert again.page.locator(".dt-after").is_visible() and again.page.evaluate("window.ran") is None
    again.shot("inspect-zh-saved")


def test_voila_serves_the_same_widget(voila):
    (voila.folder / "ticks.jsonl").unlink(missing_ok=True)
    nb = voila.open("LANG = 'en'\n" + INSPECT, "w", size=PHONE)
    nb.fits(PHONE)
    nb.widget.get_by_label("Search all text").fill("早餐")
    nb.said("2 of 200 rows found")
    nb.widget.get_by_role("button", name="Tick all found").click()
    nb.said("2 ticked")
    assert nb.page.locator(".dt-after").is_hidden() and nb.page.evaluate("window.ran") is None
    (line,) = (voila.folder / "ticks.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(json.loads(line)["tick"]) == 2
    nb.shot("inspect-voila-phone")


STUDIOS = '''
from datasets import Dataset
from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import Recipe, drop_duplicates, drop_missing
from dataset_tutor.core import add_uids, show_progress
from dataset_tutor.distribution import split
from dataset_tutor.noise import clean_html
from dataset_tutor.studios import augment_studio, clean_studio, split_studio
show_progress(False)
few = drop_missing(load_sample("reviews-zh", rows=120, seed=0))
texts = few["text"][:] + [f"<b>{t}</b>" for t in few["text"][:20]] + ["<img src=x onerror='window.ran=1'>"]
ds = add_uids(Dataset.from_dict({"text": texts, "label": few["label"][:] + few["label"][:20] + [0]}), source="demo")
'''


def test_steps_are_put_in_order_with_the_keyboard(lab):
    nb = lab.open(STUDIOS, "w = clean_studio(ds, Recipe(drop_duplicates(), clean_html()), lang='en')", "w")
    left = nb.widget.locator("tbody tr").nth(1).locator("td").nth(3)
    rows = nb.ask("len(ds)")
    assert left.inner_text() == str(rows)
    nb.widget.get_by_role("button", name="1. drop_duplicates").focus()         # from here on no mouse
    nb.page.keyboard.press("Alt+ArrowDown")
    nb.said("drop_duplicates is step 2 now")
    nb.until("[s.name for s in w.recipe.steps]", ["clean_html", "drop_duplicates"])
    assert int(left.inner_text()) < rows and int(left.inner_text()) == nb.ask("len(w.rows)")
    assert nb.page.evaluate("document.activeElement.textContent") == "2. drop_duplicates"
    nb.page.keyboard.press("Alt+ArrowUp")
    nb.said("drop_duplicates is step 1 now")
    nb.page.keyboard.press("u")
    nb.said("Taken back")
    nb.page.keyboard.press("ArrowUp")
    nb.page.keyboard.press("Enter")
    nb.said("clean_html: what it does")
    nb.fits(PHONE, LAPTOP)
    nb.page.keyboard.press("o")
    nb.said(f"{rows} rows are left")
    nb.until("[s.name for s in w.recipe.steps]", ["drop_duplicates"])
    nb.page.keyboard.press("Escape")
    nb.said("What the whole recipe does")
    nb.widget.get_by_label("Add a step").select_option("filter_length")
    nb.widget.get_by_role("button", name="Add", exact=True).click()
    nb.said("filter_length was added")
    nb.widget.get_by_label("least", exact=True).fill("many")
    nb.page.keyboard.press("Enter")
    nb.said("Error: filter_length: least cannot be 'many'")
    assert nb.ask("type(w.error).__name__") == "DataError"
    nb.widget.get_by_label("least", exact=True).fill("30")
    nb.page.keyboard.press("Enter")
    nb.until("w.recipe.steps[-1].params", {"least": 30})
    assert nb.ask("w.error") is None and nb.page.evaluate("window.ran") is None
    nb.both_pictures("clean-studio")
    still = "".join(nb.save()["cells"][2]["outputs"][1]["data"]["text/html"])
    assert "filter_length(least=30)" in still and "data-act" not in still


def test_a_split_is_set_and_a_leak_refused(lab):
    nb = lab.open(STUDIOS, "w = split_studio(ds, lang='en')", "w")
    nb.widget.get_by_text("This split leaks and is refused").first.wait_for()
    runs = "w.panel.act.__func__ and w.surface.tick"
    before = nb.ask(runs)
    nb.widget.get_by_label("test:").focus()
    for _ in range(10):
        nb.page.keyboard.press("ArrowRight")
    nb.until("w.panel.sizes[2]", 0.25)
    nb.page.wait_for_timeout(600)
    assert nb.ask(runs) - before == 1                                          # ten presses, one run
    nb.widget.get_by_label("near copies, found by their text").focus()         # no mouse at all
    nb.page.keyboard.press("Space")
    nb.until("w.panel.near", True)
    nb.widget.get_by_label("leave out validation").focus()
    nb.page.keyboard.press("Space")
    nb.widget.get_by_text("Nothing connects the parts").wait_for()
    assert nb.ask("sorted(set(w.rows['split']))") == ["test", "train", "validation"]
    nb.both_pictures("split-studio")
    assert nb.ask("w.error") is None and nb.page.evaluate("window.ran") is None


def test_children_follow_the_sliders(lab):
    nb = lab.open(STUDIOS, "w = augment_studio(split(few), ['random_swap'], rows=60, lang='zh')", "w")
    nb.widget.get_by_label("启用把关").focus()     # no mouse at all
    nb.page.keyboard.press("Space")
    nb.until("w.panel.gated", False)
    first = nb.ask("[c['text'] for c in w.made]")
    nb.widget.get_by_label("强度").focus()
    for _ in range(15):
        nb.page.keyboard.press("ArrowRight")
    nb.until("w.panel.rate", 0.4)
    nb.until(f"[c['text'] for c in w.made] != {first!r}", True)
    assert nb.widget.locator("ins").count()
    nb.widget.get_by_label("random_deletion").focus()
    nb.page.keyboard.press("Space")
    nb.until("w.panel.ops", ["random_swap", "random_deletion"])
    nb.widget.get_by_label("启用把关").focus()
    nb.page.keyboard.press("Space")
    nb.widget.get_by_text("通过").first.wait_for(timeout=60_000)
    nb.both_pictures("augment-studio")
    assert nb.ask("w.error") is None


def test_hostile_rows_in_the_studios(lab):
    "All of them, in each of the three; what the steps make of them, too"
    rows = HOSTILE + """
rows = add_uids(Dataset.from_dict({"text": hostile + few["text"][:54], "label": [0, 1] * 30}), source="demo")
from datasets import ClassLabel
rows = rows.cast_column("label", ClassLabel(names=["<b>no</b>", "yes"]))
"""
    nb = lab.open(STUDIOS + rows, "w = clean_studio(rows, Recipe(drop_duplicates(), clean_html()), lang='en')\nw",
                  "split_studio(rows, lang='en')",
                  "augment_studio(split(rows), ['random_swap', 'homophones'], rows=40, lang='en')")
    studios = nb.page.locator(".dt-widget .dt-w")
    studios.nth(2).wait_for()
    nb.harmless()
    nb.widget.get_by_role("button", name="2. clean_html").click()
    nb.said("clean_html: what it does")
    studios.nth(1).get_by_label("leave out validation").click()
    studios.nth(2).get_by_role("button", name="Other parents").click()
    studios.nth(2).locator("[role=status]", has_text="Parents from").wait_for(timeout=90_000)
    nb.harmless()
    nb.fits()
    assert nb.ask("w.error") is None


def test_voila_serves_the_studios(voila):
    "All three on one page, on a phone: each is used, and answers in its own status line"
    nb = voila.open(STUDIOS, "clean_studio(ds, Recipe(drop_duplicates(), clean_html()), lang='en')",
                    "split_studio(ds, lang='en')",
                    "augment_studio(split(few), ['random_swap'], rows=60, lang='en')", size=PHONE)
    studios = nb.page.locator(".dt-widget .dt-w")
    for i, (name, answer) in enumerate([("Move drop_duplicates down", "drop_duplicates is step 2 now"),
                                        ("leave out validation", "train,"), ("Other parents", "Parents from 7 on")]):
        studio = studios.nth(i)
        studio.locator("[role=status]").wait_for(state="attached")
        (studio.get_by_label(name) if i < 2 else studio.get_by_role("button", name=name)).click()
        studio.locator("[role=status]", has_text=answer).wait_for()
    nb.fits(PHONE)
    nb.legible()
    assert nb.page.evaluate("window.ran") is None
    nb.shot("studios-voila-phone")
    nb.fits(LAPTOP)
