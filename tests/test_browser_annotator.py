"""The annotator in a real JupyterLab: by keyboard, by mouse, over a restart of the kernel; what the journal has."""
import json

from browser import HOSTILE, PHONE

BEGIN = '''
from datasets import ClassLabel, Dataset
from dataset_tutor.annotation import Session
from dataset_tutor.annotator import adjudicate, annotate, review_labels
from dataset_tutor.core import add_uids, show_progress
from dataset_tutor.guidelines import from_yaml
show_progress(False)
names = from_yaml("""
name: 新闻中的名称
task: ner
lang: zh
about: 标出新闻里的人名、地名和机构名。
labels:
- {name: PER, definition: 真实或虚构人物的姓名；称谓和职务不算。, positive: ["[李明](PER)先生到了"]}
- {name: LOC, definition: 国家、地区、城市、山河等地点。, positive: ["[北京](LOC)今天有雨"]}
- {name: ORG, definition: 公司、学校、政府部门、团体；取最长的全称。, positive: ["[新华社](ORG)报道"]}
""")
films = from_yaml("""
name: movie snippets
task: classification
about: Does the writer recommend the film?
labels:
- {name: positive, definition: The writer recommends it., positive: [a joy from start to end]}
- {name: negative, definition: The writer warns of it., positive: [two hours I want back]}
""")
texts = ["李明在北京对新华社记者说。", "😀👩‍👩‍👧在cafe\\u0301s北京见面。",
         "<img src=x onerror='window.ran=1'></style>\\u202e",
         "王芳从上海到巴黎，<script>window.ran=2</script>见到张伟。"]
ds = add_uids(Dataset.from_dict({"text": texts}), "demo")
'''
SPANS = BEGIN + '''
session = Session(ds, names, "JOURNAL", "李", order="as is")
w = annotate(session)
'''
CLASSES = BEGIN + '''
texts = ["a joy", "two hours I want back", "it is a film", "not bad at all", "<b>meh</b>"]
session = Session(add_uids(Dataset.from_dict({"text": texts}), "demo"), films, "JOURNAL", "ann", order="as is",
                  suggest=lambda row: "positive" if "joy" in row["text"] else None)
w = annotate(session)
'''
SETTLE = BEGIN + '''
per, loc, org = (dict(start=a, end=b, label=x) for a, b, x in [(0, 2, "PER"), (3, 5, "LOC"), (6, 9, "ORG")])
sessions = []
for name, answer in [("王", [per, loc, org]), ("赵", [per, loc, dict(org, end=11)])]:
    sessions.append(Session(ds.select([0, 1]), names, f"{name}-JOURNAL", name, order="as is"))
    for spans in (answer, []):
        if sessions[-1].current:                    # all decided, if the kernel was restarted
            sessions[-1].decide(spans)
w = adjudicate(sessions, "JOURNAL")
'''
REVIEW = BEGIN + '''
hotel = ["房间很干净，服务也好", "早餐不好，再也不来", "位置不错，<script>window.ran=3</script>"]
rated = add_uids(Dataset.from_dict({"text": hotel, "label": [0, 0, 0]}), "demo").cast_column(
    "label", ClassLabel(names=["negative", "positive"]))
issues = [dict(uid=u, given="negative", suggested="positive", quality=q) for u, q in zip(rated["uid"], [.02, .4, .1])]
w = review_labels(rated, issues, "JOURNAL", lang="zh")
'''


def events(lab, name):
    return [json.loads(line) for line in (lab.folder / name).read_text(encoding="utf-8").splitlines()]


def pieces(event, text):
    return [(text[s["start"]:s["end"]], s["label"]) for s in event["spans"]]


def text_of(nb):
    return nb.widget.get_by_role("textbox", name="待标注文本")


def point(nb, piece: str, place: float = 0.05):
    "Where on the page a piece of the text is: its first character, or with place > 0.5 its last; marks may cut it"
    text_of(nb).scroll_into_view_if_needed()
    box = nb.page.evaluate("""([piece, last]) => {
        const area = document.querySelector(".dt-w [data-select]"), walk = document.createTreeWalker(area, 4), all = [];
        for (let n; n = walk.nextNode();)
          if (!n.parentElement.closest("[data-skip]")) for (let i = 0; i < n.data.length; i++) all.push([n, i]);
        const at = all.map(([n, i]) => n.data[i]).join("").indexOf(piece);
        if (at < 0) return null;
        const [n, i] = all[last ? at + piece.length - 1 : at], r = document.createRange();
        r.setStart(n, i); r.setEnd(n, i + 1);
        const b = r.getBoundingClientRect(); return [b.x, b.y, b.width, b.height];
      }""", [piece, place > 0.5])
    assert box, f"{piece} is not on the page"
    x, y, width, height = box
    return x + place * width, y + height / 2


def drag(nb, piece: str):
    "Select a piece of the text with the mouse"
    nb.page.mouse.move(*point(nb, piece))
    nb.page.mouse.down()
    nb.page.mouse.move(*point(nb, piece, 0.5), steps=3)
    nb.page.mouse.move(*point(nb, piece, 0.95), steps=3)
    nb.page.mouse.up()


def press(nb, *keys):
    for key in keys:
        nb.page.keyboard.press(key)


def test_three_chinese_spans_by_keyboard_then_by_mouse(lab):
    nb = lab.open(SPANS.replace("JOURNAL", "spans.jsonl"), "w")
    text_of(nb).focus()                             # from here on no mouse
    press(nb, "Shift+ArrowRight", "Shift+ArrowRight")
    nb.said("已选：“李明”")
    press(nb, "1", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "2")
    nb.said("“北京”标为 LOC")
    press(nb, "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "3")
    nb.said("“新华社”标为 ORG")
    nb.both_pictures("annotate-zh")
    text_of(nb).focus()
    press(nb, "Shift+Tab")
    nb.said("已选：“北京” (LOC)")
    press(nb, "Delete")
    nb.said("已删除：北京")
    press(nb, "z")
    nb.said("已撤销上一步")
    assert len(events(lab, "spans.jsonl")) == 1     # opened; nothing is decided yet
    press(nb, "Enter")
    nb.said("已保存：3 个标注")
    assert pieces(events(lab, "spans.jsonl")[-1], nb.ask("texts[0]")) == \
        [("李明", "PER"), ("北京", "LOC"), ("新华社", "ORG")]
    # the second text by mouse: emoji before the span, accents in it
    drag(nb, "北京")
    nb.said("已选：“北京”")
    nb.widget.get_by_role("button", name="LOC").click()
    nb.said("“北京”标为 LOC")
    press(nb, "Home", "ArrowRight", "Shift+ArrowRight")
    nb.until("list(w.panel.ed.chosen)", [1, 6])     # the family is one step
    press(nb, "1")
    nb.said("标为 PER")
    drag(nb, "cafe\u0301s")
    nb.until("w.panel.text[slice(*w.panel.ed.chosen)]", "cafe\u0301s")
    press(nb, "3")
    nb.until("len(w.panel.ed.spans)", 3)
    nb.widget.get_by_role("button", name="保存").click()
    nb.said("已保存：3 个标注")
    nb.until("w.progress['done']", 2)
    second = nb.ask("texts[1]")
    assert pieces(events(lab, "spans.jsonl")[-1], second) == \
        [("👩‍👩‍👧", "PER"), ("cafe\u0301s", "ORG"), ("北京", "LOC")]
    nb.until("list(w.panel.ed.chosen)", [0, 0])     # the click on the button selected nothing in the next text
    assert nb.page.evaluate("window.ran") is None and nb.widget.locator("img, script").count() == 0
    press(nb, "f")
    nb.said("此条有什么问题？")
    nb.page.keyboard.type("没有文字 123")             # in a field, digits are digits
    press(nb, "Enter")
    nb.said("已标记并移出：没有文字 123")
    assert events(lab, "spans.jsonl")[-1]["reason"] == "没有文字 123"
    press(nb, "z", "z")
    nb.until("w.progress['done']", 1)
    nb.until("w.panel.text == texts[1] and len(w.panel.ed.spans)", 3)
    # the kernel dies; the journal does not
    nb.restart()
    nb.run_all()
    nb.until("w.progress", {**nb.ask("w.progress"), "done": 1, "left": 3})
    assert nb.ask("w.votes['spans'][0] == [dict(start=0, end=2, label='PER'), dict(start=3, end=5, label='LOC'), "
                  "dict(start=6, end=9, label='ORG')]")
    assert nb.ask("w.panel.text == texts[1] and w.error is None")


def test_the_mouse_may_leave_the_text_and_a_click_sets_the_cursor(lab):
    nb = lab.open(SPANS.replace("JOURNAL", "mouse.jsonl").replace("Session(ds,", "Session(ds.select([3]),"), "w")
    nb.page.mouse.click(*point(nb, "到巴黎"))
    nb.said("字")
    for piece, key in [("王芳", "1"), ("上海", "2"), ("巴黎", "2")]:
        drag(nb, piece)
        nb.until("w.panel.text[slice(*w.panel.ed.chosen)]", piece, seconds=6)
        press(nb, key)
        nb.said(f"“{piece}”标为")
    nb.page.mouse.click(*point(nb, "上海", 0.5))
    nb.until("w.panel.ed.active()", {"start": 3, "end": 5, "label": "LOC"})
    press(nb, "x")
    nb.said("已删除：上海")
    press(nb, "Control+z")
    nb.until("len(w.panel.ed.spans)", 3)
    nb.page.mouse.move(*point(nb, "张伟"))
    nb.page.mouse.down()
    box = text_of(nb).bounding_box()
    nb.page.mouse.move(box["x"] + box["width"] + 300, box["y"] + box["height"] + 40, steps=4)
    nb.page.mouse.up()
    nb.said("已选：“张伟")
    nb.until("w.panel.ed.chosen[1] == len(w.panel.text)", True)
    assert nb.page.evaluate("window.ran") is None


def test_classes_by_number_keys_and_back(lab):
    nb = lab.open(CLASSES.replace("JOURNAL", "classes.jsonl"), "w")
    nb.both_pictures("annotate-en")
    nb.widget.get_by_label("Text to label").focus()
    press(nb, "a")
    nb.said("Saved: positive")
    press(nb, "2")
    nb.said("Saved: negative")
    press(nb, "m")
    nb.page.keyboard.type("12 or more?")
    press(nb, "Enter")
    nb.said("Comment noted")
    press(nb, "s")
    nb.said("Skipped")
    press(nb, "1")
    nb.until("w.progress['done']", 3)
    press(nb, "z")
    nb.said("Taken back")
    press(nb, "2")
    nb.until("[e.get('label') for e in session.journal.events if e['do'] == 'decide']",
             ["positive", "negative", "positive", "negative"])
    labels = [e.get("label") for e in events(lab, "classes.jsonl") if e["do"] == "decide"]
    assert labels == ["positive", "negative", "positive", "negative"]
    assert [e["comment"] for e in events(lab, "classes.jsonl") if e["do"] == "comment"] == ["12 or more?"]
    nb.until("w.votes['label'][:]", ["positive", "negative", "negative"])
    nb.restart()
    nb.run_all()
    nb.until("w.votes['label'][:]", ["positive", "negative", "negative"])
    assert nb.ask("w.panel.text") == "<b>meh</b>" and nb.widget.locator("b", has_text="meh").count() == 0


def test_a_dispute_is_settled_by_letter(lab):
    nb = lab.open(SETTLE.replace("JOURNAL", "settle.jsonl"), "w")
    nb.both_pictures("adjudicate-zh")
    text_of(nb).focus()
    press(nb, "A")
    nb.said("3 个标注")
    press(nb, "Enter")
    nb.said("已保存：3 个标注")
    nb.until("len(w.settled)", 2)
    press(nb, "z")
    nb.said("已撤销，请重新判定")
    press(nb, "b")
    nb.until("len(w.votes)", 1)
    assert len([e for e in events(lab, "settle.jsonl") if e["do"] == "decide"]) == 2
    nb.restart()
    nb.run_all()
    nb.until("len(w.votes)", 1)
    assert nb.ask("w.error") is None


def test_doubted_labels_are_kept_changed_or_left(lab):
    nb = lab.open(REVIEW.replace("JOURNAL", "review.jsonl"), "w")
    nb.both_pictures("review-zh")
    nb.widget.get_by_label("待标注文本").focus()
    press(nb, "c")
    nb.said("已保存：positive")
    press(nb, "u")
    nb.said("已标记并移出")
    press(nb, "k")
    nb.said("已保存：negative")
    nb.until("w.votes['label'][:]", ["positive", "negative"])
    assert nb.ask("w.votes['uid'][:] == [rated['uid'][0], rated['uid'][1]]")
    assert nb.page.evaluate("window.ran") is None
    assert [e["do"] for e in events(lab, "review.jsonl")] == ["open", "decide", "flag", "decide"]
    nb.restart()                                    # the kernel dies; the journal does not
    nb.run_all()
    nb.until("w.votes['label'][:]", ["positive", "negative"])
    assert nb.ask("len(w.flagged)") == 1 and nb.ask("w.error") is None


def test_voila_serves_it_on_a_phone(voila):
    nb = voila.open(CLASSES.replace("JOURNAL", "voila.jsonl"), "w", size=PHONE)
    nb.fits(PHONE)
    nb.widget.get_by_role("button", name="negative").click()
    nb.said("Saved: negative")
    assert events(voila, "voila.jsonl")[-1]["label"] == "negative"


def test_voila_serves_spans_disputes_and_doubted_labels(voila):
    "By keyboard, on one page with three widgets"
    spans, settle, review = (c[len(BEGIN):].replace("JOURNAL", f"{n}.jsonl")
                             for c, n in ((SPANS, "v-spans"), (SETTLE, "v-settle"), (REVIEW, "v-review")))
    nb = voila.open(BEGIN, spans + "w", settle + "w", review + "w", size=PHONE)
    first, second, third = (nb.page.locator(".dt-widget .dt-w").nth(i) for i in range(3))
    third.wait_for()
    nb.fits(PHONE)
    first.get_by_role("textbox", name="待标注文本").focus()
    press(nb, "Shift+ArrowRight", "Shift+ArrowRight", "1", "Enter")
    first.locator("[role=status]", has_text="已保存：1 个标注").wait_for()
    assert pieces(events(voila, "v-spans.jsonl")[-1], "李明在北京") == [("李明", "PER")]
    second.get_by_role("textbox", name="待标注文本").focus()
    press(nb, "b")
    second.locator("[role=status]", has_text="已保存").wait_for()
    third.get_by_label("待标注文本").focus()
    press(nb, "c")
    third.locator("[role=status]", has_text="已保存：positive").wait_for()
    assert [events(voila, f"v-{n}.jsonl")[-1]["do"] for n in ("settle", "review")] == ["decide", "decide"]
    nb.legible()
    nb.shot("annotator-voila-phone")


HOSTILE_ROWS = BEGIN + HOSTILE + '''
rated = add_uids(Dataset.from_dict({"text": hostile, "label": [0, 1] * 3}), "demo").cast_column(
    "label", ClassLabel(names=["<b>no</b>", "yes"]))
plain = rated.remove_columns("label")
w = annotate(Session(plain, films, "h-classes.jsonl", "ann", order="as is"))
'''
HOSTILE_MORE = ['''
annotate(Session(plain, names, "h-spans.jsonl", "<b>ann</b>", order="as is"))
''', '''
both = [Session(plain, names, f"h-{who}.jsonl", who, order="as is") for who in ("<b>a</b>", "b")]
for i, s in enumerate(both):
    while s.current:
        s.decide([dict(start=0, end=2 + i, label="PER")])
adjudicate(both, "h-settle.jsonl")
''', '''
issues = [dict(uid=u, given=g, suggested=s, quality=.1)
          for u, g, s in zip(rated["uid"], ["<b>no</b>", "yes"] * 3, ["yes", "<b>no</b>"] * 3)]
review_labels(rated, issues, "h-review.jsonl", lang="en")
''']


def test_hostile_rows_are_only_text(lab):
    "Each of the six is shown in each of the four widgets, and passed on"
    nb = lab.open(HOSTILE_ROWS, "w", *HOSTILE_MORE)
    widgets = nb.page.locator(".dt-widget .dt-w")
    widgets.nth(3).wait_for()
    for i, key in enumerate(["1", "Enter", "b", "c"]):
        for _ in range(6):
            nb.harmless()
            widgets.nth(i).locator("[data-home]").first.focus()
            before = widgets.nth(i).inner_text()[:200]
            press(nb, key)
            nb.page.wait_for_function("([i, t]) => document.querySelectorAll('.dt-widget .dt-w')[i].innerText"
                                      ".slice(0, 200) !== t", arg=[i, before])
    nb.fits()
    names = ["h-classes", "h-spans", "h-settle", "h-review"]
    assert [sum(e["do"] == "decide" for e in events(lab, f"{n}.jsonl")) for n in names] == [6, 6, 6, 6]
