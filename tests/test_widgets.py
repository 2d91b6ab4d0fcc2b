"""Widgets without a browser: their state, their still picture, hostile rows, and what is said when something fails."""
import ast
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import product

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st
from run_notebooks import ROOT, notebooks

from dataset_tutor import widgets as W
from dataset_tutor.core import DataError, add_uids, escape, mapper
from dataset_tutor.interface import _GAP, SENTENCES, error_in, said_in
from dataset_tutor.tagging import check_spans

HOSTILE = ["<script>x</script>", "<img src=x onerror='x'>", "</style></table></div><h1>out</h1>", "\u202egnp.exe\u2066",
           "\x1b[31mred\x1b[0m\x00", "x" * 1_000_000, '" onclick="x', "' autofocus onfocus='x", "&lt;b&gt;",
           "{{7*7}}${1}", "", "😀👩‍👩‍👧 e\u0301 ﷽", "ＦＵＬＬ　ｗｉｄｔｈ", None]
FORBIDDEN = {"script", "iframe", "object", "link", "meta", "base", "form", "h1", "img"}


class Tags(HTMLParser):
    "Elements, attributes and text of a page; elements must be closed in order"

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.names, self.attrs, self.text = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attrs += attrs
        if tag not in W._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def harmless(page):
    seen = Tags(page)
    assert not FORBIDDEN & set(seen.names) and not [a for a, _ in seen.attrs if a.startswith("on") or a == "autofocus"]
    assert all(c.isprintable() or c in "\n\t" for c in "".join(seen.text))
    return seen


def rows(n=60, **more):
    data = dict(text=[f"row {i} of {'Paris' if i % 7 == 0 else '北京'}" for i in range(n)],
                label=[i % 3 for i in range(n)], score=[i / 2 if i % 5 else None for i in range(n)],
                spans=[[dict(start=0, end=3, label="A" if i % 2 else "B")] if i % 4 else [] for i in range(n)], **more)
    return add_uids(Dataset.from_dict(data), "demo").cast_column("label", ClassLabel(names=["no", "yes", "也许"]))


# --- pages ---

@given(st.text(), st.text())
def test_whatever_is_said_stays_text(text, value):
    page = W.tag("p", text, W.tag("b", text), title=value)
    seen = harmless(page)
    assert seen.names == ["p", "b"] and "".join(seen.text) == html.unescape(escape(text)) * 2
    assert dict(seen.attrs) == {"title": html.unescape(escape(value))}


@st.composite
def text_with_spans(draw):
    text = draw(st.text(min_size=1, max_size=40))
    cut = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(cut, cut), max_size=8))
    return text, [dict(start=min(p), end=max(p), label="L<") for p in pairs if p[0] != p[1]]


@given(text_with_spans(), st.lists(st.tuples(st.integers(0, 9), st.integers(10, 50)), max_size=2))
def test_marked_spans_leave_the_text_and_cover_what_they_say(case, hits):
    text, spans = case
    check_spans(text, spans)
    page = W.mark_spans(text, spans, hits=hits)
    harmless(page)
    bare = re.sub(r"<small.*?</small>", "", page)
    assert html.unescape(re.sub(r"<[^>]+>", "", bare)) == html.unescape(escape(text))
    depth, deep = 0, []
    for part in re.split(r"(<[^>]+>)", bare):
        if part.startswith("<"):
            depth += -1 if part.startswith("</") else 1
        else:
            deep += [depth] * len(html.unescape(part))
    over = [(s["start"], s["end"]) for s in spans] + hits
    covers = [sum(a <= i < b for a, b in over) for i in range(len(text))]
    assert deep == covers and page.count("<small") == len(spans)


@pytest.mark.parametrize("span", [dict(start=3, end=3, label="X"), dict(start=-1, end=2, label="X"), dict(label="X"),
                                  dict(start=0, end=99, label=None), dict(start="0", end="2", label="<b>")])
def test_a_span_outside_its_text_is_named(span):
    page = W.mark_spans("abc", [span])
    assert "⚠" in page and "<mark" not in page
    harmless(page)


def test_colours_can_be_read_and_told_apart():
    for theme in W.THEMES.values():
        for ink, paper in product(("ink", "soft", "accent", "bad", "good"), ("paper", "band")):
            assert W.contrast(theme[ink], theme[paper]) >= 4.5, (ink, paper)
        assert W.contrast(theme["on"], theme["accent"]) >= 4.5 and W.contrast(theme["ink"], theme["hit"]) >= 4.5
        assert W.contrast(theme["edge"], theme["paper"]) >= 3
    assert W.contrast("#000000", "#ffffff") == pytest.approx(21) and len(set(W.KINDS)) == len(W.KINDS)


def test_the_style_touches_nothing_else():
    plain = re.sub(r"@container[^{]*\{", "", W._style())
    selectors = [s for rule in re.findall(r"(?:^|})([^{}]+){", plain) for s in rule.split(",")]
    assert len(selectors) > 50 and all(".dt-w.dt-w" in s for s in selectors)


# --- words ---

def test_every_word_is_there_in_both_languages_and_used():
    source = (ROOT / "dataset_tutor" / "widgets.py").read_text(encoding="utf-8")
    for key, (en, zh) in W.WORDS.items():
        assert set(re.findall(r"\{(\w+)", en)) == set(re.findall(r"\{(\w+)", zh)), key
        own = len(re.findall(rf'"{re.escape(key)}"', source))   # other chapters add words of their own
        assert own != 1 or key in W.OPS, f"{key} is never used"
    assert W.Panel("en").word("rows", n=1) == "1 row" and W.Panel("zh").word("rows", n=1) == "1 行"


@pytest.mark.parametrize("texts, lang", [(["hello"], "en"), (["你好"], "zh"), ([None, ""], "en"), ([], "en"),
                                         ([3], "en")])
def test_the_interface_speaks_the_language_of_the_rows(texts, lang):
    assert W.interface_lang(Dataset.from_dict({"text": texts})) == lang


# --- sentences of other modules ---

SPEAKERS = ["widgets", "studios", "annotator", "monitor", "distribution", "cleaning", "noise", "deduplication",
            "language", "augmentation"]
CODE = re.compile(r"[\w. =]+\(.*\)|7 would be empty: 7")         # what is typed, not said; and half of a sentence


def said_by(node):
    "A string or f-string of the source with 7 in its gaps; each alternative; nothing for what is computed elsewhere"
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(v.value if isinstance(v, ast.Constant) else "7" for v in node.values)]
    if isinstance(node, ast.IfExp):
        return said_by(node.body) + said_by(node.orelse)
    return [a + b for a in said_by(node.left) for b in said_by(node.right)] if isinstance(node, ast.BinOp) else []


def errors_of(module):
    "Problems and fixes of all errors that a module raises"
    tree = ast.parse((ROOT / "dataset_tutor" / f"{module}.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
             and n.func.id in ("DataError", "LeakageError")]
    return {s for n in calls for a in [*n.args[:1], *n.args[3:4], *(k.value for k in n.keywords if k.arg == "fix")]
            for s in said_by(a)}


def is_chinese(text):
    return re.search("[\u4e00-\u9fff]", text)


@pytest.mark.parametrize("module", SPEAKERS)
def test_every_error_that_a_widget_can_show_has_a_translation(module):
    found = errors_of(module)
    assert found
    assert not [s for s in found if not is_chinese(said_in(s, "zh")) and not CODE.fullmatch(s)]


def test_a_translation_has_the_gaps_of_its_sentence():
    for english, other in SENTENCES.items():
        assert set(_GAP.findall(english)) == set(_GAP.findall(other)), english
        assert is_chinese(other) or CODE.fullmatch(other) or "κ" in other or "α" in other, english
        assert said_in(english, "en") == english


@pytest.mark.parametrize("text, said", [
    ("12 tokens, more than 9", "12 个词元，多于 9 个"), ("62% signs", "62% 为符号"),
    ("similarity 0.61; perplexity 2.3 times its parent's", "相似度 0.61；困惑度为父文本的 2.3 倍"),
    ("similarity 0.61; something else", "相似度 0.61；something else"), ("one; two of yours", "one; two of yours"),
    ("dropped, holds personal data: PHONE", "删除：含个人信息：PHONE"), ("", ""), ("unknown", "unknown"),
    ("holds similarity 0.5", "含有 similarity 0.5")])
def test_sentences_are_recognised_and_what_is_not_stays(text, said):
    assert said_in(text, "zh") == said and said_in(text, "en") == text


@given(st.text(), st.text(max_size=20))
def test_anything_can_be_said_and_data_is_left_alone(text, value):
    assert isinstance(said_in(text, "zh"), str) and isinstance(error_in(text, "zh"), str)
    shown = said_in(f"the text is a placeholder: {value}", "zh")
    assert ";" in value or not value or shown == f"文本只是占位符：{value}"


def test_errors_are_said_part_by_part_also_from_a_file():
    e = DataError("there are no rows to work on", "label", "ab12", "load some, and look at one row or more")
    said = "列 'label'，行 ab12：没有可处理的行。解决办法：请载入数据，并至少查看一行"
    assert error_in(e, "zh") == error_in(str(e), "zh") == said and error_in(e, "en") == str(e)
    assert error_in(f"DataError: {e}", "zh") == "DataError: " + said
    assert error_in(KeyError("lable"), "zh") == "'lable'" == W.Panel("zh").word("error", e=KeyError("lable"))[3:]
    assert error_in(DataError("a problem of your own"), "zh") == "a problem of your own"
    assert W.Panel("zh").word("error", e=e) == "出错：" + said


ENGLISH = re.compile(r"[A-Za-z][a-z]+(?:[ ,;:]+[A-Za-z]?[a-z]+)+")


def english(page, data=()):
    "What a page of the Chinese interface says in English: two words or more that are no data"
    seen = Tags(re.sub(r"<pre.*?</pre>", "", str(page), flags=re.S))
    labels = [v for k, v in seen.attrs if k in ("aria-label", "title", "placeholder") and v]
    texts = [t for t in [*seen.text, *labels] if not any(t.strip() in d for d in data)]
    names = r"[“`][^”`]*[”`]|[a-z_]+(, [a-z_]+)+"       # in quotes, or listed
    return [t for t in texts if ENGLISH.search(re.sub(names, "", t))]


def test_the_chinese_inspector_speaks_chinese(tmp_path):
    @mapper
    def tidy(text):
        return text.replace("号", "")

    ds = Dataset.from_dict({"text": [f"第{i}号房间" for i in range(30)], "group": ["g"] * 3 + [None] * 27})
    p = W.Inspector(tidy(add_uids(ds, "demo")), lang="zh", keep=tmp_path / "t.jsonl")
    wish = dict(column="text", op="has", value="1")
    for act, value in [("open", 1), ("search", "房"), ("view", "cards"), ("sort", "-#text"), ("tick", 2),
                       ("page", "next"), ("filter", wish), ("only", None), ("column", "uid")]:
        p.act(act, value)
        assert not english(p.body(True)) and not english(p.still()) and not english(p.said)
    for act, value in [("filter", dict(column="text", op="over", value="x")), ("nowhere", 1), ("column", "no"),
                       ("filter", dict(column="text", op="matches", value="(")), ("sort", "no")]:
        with pytest.raises(DataError) as e:
            p.act(act, value)
        assert not english(p.tell(e.value)), p.tell(e.value)


# --- the widget ---

class Echo(W.Panel):
    gives = ("heard",)

    def __init__(self, **more):
        self.heard, self.broken = [], False
        super().__init__(**more)

    def do_say(self, value, shift=False):
        self.heard.append((value, shift))
        return f"said {value}"

    def do_break(self, value=None):
        raise ZeroDivisionError("<b>zero</b>")

    def do_spoil(self, value=None):
        self.broken = True

    def body(self, live):
        if self.broken:
            raise RuntimeError("cannot draw")
        return W.tag("p", str(self.heard), W.button("Say", "say", 1) if live else None)


def test_clicks_reach_the_panel_and_unknown_parts_of_a_message_do_not():
    w = W.show(Echo())
    w._heard(w.surface, {"act": "say", "value": "a", "shift": True, "fields": None, "other": 3}, [])
    assert w.heard == [("a", True)] and w.surface.said == "said a" and w.surface.tick == 1
    assert "&#x27;a&#x27;" in w.surface.html
    assert not hasattr(w, "nothing")


@pytest.mark.parametrize("act", ["break", "nonsense", "__class__", "spoil"])
def test_no_error_is_swallowed(act):
    w = W.show(Echo())
    with pytest.raises((ZeroDivisionError, DataError, RuntimeError)) as e:
        w._heard(w.surface, {"act": act}, [])
    assert w.error is e.value and w.surface.failed and w.surface.said == f"Error: {e.value}"
    assert w.surface.tick == 1, "the page hears of it"


def test_an_error_is_over_with_the_next_action():
    w = W.show(Echo())
    with pytest.raises(ZeroDivisionError):
        w.act("break")
    w.act("say", 1)
    assert w.error is None and not w.surface.failed


def test_without_a_page_only_the_picture_is_left():
    w = W.show(Echo())
    bundle = w._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    seen = harmless(bundle["text/html"])
    assert not {"button", "input", "select"} & set(seen.names)
    assert not re.search(r"https?:|url\(|@import", bundle["text/html"]), "it needs no other file"
    assert w._repr_mimebundle_() == bundle
    with pytest.raises(NotImplementedError):
        w._ipython_display_()


def test_no_committed_notebook_holds_a_widget_that_is_gone():
    for path in notebooks():
        assert "widget-view+json" not in path.read_text(encoding="utf-8"), f"make outputs ARGS={path.name}"


@pytest.mark.parametrize("absent", ["anywidget", "ipywidgets"])
def test_what_is_missing_is_said(absent):
    code = f"""import sys; sys.modules[{absent!r}] = None
import dataset_tutor.widgets as W
loaded = {{m for m, v in sys.modules.items() if v}}
assert not loaded & {{'ipywidgets', 'anywidget', 'IPython', 'matplotlib', 'datasets'}}
W.Panel().body = None
try: W.show(W.Panel())
except W.DataError as e: print(e)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert absent in done.stdout and 'pip install "dataset-tutor[lab]"' in done.stdout, done.stderr


# --- finding rows ---

CASES = [("text", "has", "PARIS", lambda r: "Paris" in r["text"]),
         ("text", "lacks", "北京", lambda r: "北京" not in r["text"]),
         ("text", "is", "row 3 of 北京", lambda r: r["text"] == "row 3 of 北京"),
         ("score", "over", "20", lambda r: (r["score"] or 0) > 20),
         ("text", "matches", r"row \d of", lambda r: re.match(r"row \d of", r["text"])),
         ("text", "under", "13", lambda r: len(r["text"]) < 13), ("score", "empty", "", lambda r: r["score"] is None),
         ("score", "filled", "", lambda r: r["score"] is not None), ("label", "is", "也许", lambda r: r["label"] == 2),
         ("label", "has", "Y", lambda r: r["label"] == 1), ("spans", "empty", "", lambda r: not r["spans"]),
         ("spans", "has", "a", lambda r: any(s["label"] == "A" for s in r["spans"])),
         ("spans", "lacks", "A", lambda r: not any(s["label"] == "A" for s in r["spans"])),
         ("spans", "over", "0", lambda r: len(r["spans"]) > 0), ("score", "is", "10.5", lambda r: r["score"] == 10.5)]


@pytest.mark.parametrize("column, op, value, same", CASES, ids=lambda x: str(x) if isinstance(x, str) else "")
@pytest.mark.parametrize("order", ["as it is", "shuffled"])
def test_conditions_are_what_a_loop_would_find(column, op, value, same, order, monkeypatch):
    monkeypatch.setattr(W._blocks, "__defaults__", (7,))        # many blocks, the last one short
    ds = rows() if order == "as it is" else rows().shuffle(seed=1)
    assert W.rows_where(ds, column, op, value).tolist() == [bool(same(r)) for r in ds]


@given(st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=20), st.text(min_size=1, max_size=2))
def test_search_is_like_python_for_any_text(texts, piece):
    texts = [None if t is None else t.encode("utf-8", "replace").decode() for t in texts]
    piece = piece.encode("utf-8", "replace").decode()
    ds = Dataset.from_dict({"text": texts}, features=Features({"text": Value("string")}))
    found = W.rows_where(ds, "text", "is", piece)
    assert found.tolist() == [t == piece for t in texts]
    exact = W.rows_where(ds, "text", "has", piece)
    assert all(f for t, f in zip(texts, exact) if t and piece in t)
    assert not any(f for t, f in zip(texts, exact) if not t)
    assert W.rows_where(ds, "text", "empty").tolist() == [not t for t in texts]


@pytest.mark.parametrize("column, op, value, said", [
    ("txt", "has", "a", "the data has"), ("text", "like", "a", "use one of"), ("score", "over", "many", "no number"),
    ("text", "matches", "(", "no pattern")])
def test_conditions_that_cannot_be_are_refused(column, op, value, said):
    with pytest.raises(DataError, match="Fix: ") as e:
        W.rows_where(rows(), column, op, value)
    assert said in str(e.value)


def test_search_filter_and_order_together():
    p = W.Inspector(rows(), lang="en", size=4)
    assert p.act("search", "paris") == "9 of 60 rows found"
    p.act("filter", fields={"column": "score", "op": "filled", "value": ""})
    p.act("sort", "-score")
    scores = p.found["score"][:]
    assert scores == sorted(scores, reverse=True) and len(scores) == p.count == 7
    assert p.act("page", "last") == "Page 2 of 2" and len(p.shown()) == 3
    assert p.act("page", "99") == "Page 2 of 2" and p.act("page", "1") == "Page 1 of 2"
    p.act("unfilter", 0)
    p.act("search", "")
    assert p.count == 60 and p.found["score"][-1] is None, "missing values come last"
    p.act("sort", "-#text")
    sizes = [len(t) for t in p.found["text"]]
    assert sizes == sorted(sizes, reverse=True)
    assert p.act("sort", "") and p.places is None
    with pytest.raises(DataError, match="no pattern"):
        p.act("filter", {"column": "text", "op": "matches", "value": "["})
    assert p.filters == [], "a condition that fails is not kept"


def test_pages_show_every_row_once():
    p, seen = W.Inspector(rows(), size=7), []
    for page in range(1, p.last + 2):
        p.act("page", page)
        seen += p.shown().tolist()
    assert seen == list(range(60))
    p.act("size", "20")
    assert p.last == 2 and p.at == 2, "the row on top stays in view"


@pytest.mark.parametrize("columns", [
    {"text": []}, {"a": [1]}, {"text": [None]}, {"text": [[1, 2]]}, {"text": [b"\x00"]},
    {"text": ["a"], "spans": [None]}, {"text": [{"a": 1}]}, {"text": ["a"], "b": [True]}])
def test_odd_data_is_shown_all_the_same(columns):
    ds = Dataset.from_dict(columns)
    p = W.Inspector(ds)
    for view, live in product(("table", "cards"), (True, False)):
        p.act("view", view)
        harmless(p.body(live))
    for at in range(len(ds)):
        p.act("open", at)
        harmless(p.body(True))
    assert p.act("search", "a")


def test_a_stream_is_refused_with_a_way_out():
    with pytest.raises(DataError, match="take some"):
        W.inspect(rows().to_iterable_dataset())
    with pytest.raises(DataError, match="the data has"):
        W.inspect(rows(), columns=["txt"])


# --- ticking ---

def test_ticks_are_rows_for_code():
    w = W.inspect(rows(), lang="en", size=10)
    w.act("sort", "-score")
    page = w.panel.shown()
    w.act("tick", int(page[1]))
    assert w.act("tick", int(page[4]), shift=True) == "4 ticked as “selected”"
    places = sorted(page[1:5].tolist())
    assert w.selected == [w.panel.ds["uid"][i] for i in places] == w.rows["uid"][:]
    w.act("tick", places[0], on=False)
    w.act("name", "doubtful")
    assert w.selected == [] and w.act("tick_found") == "60 ticked as “doubtful”"
    assert {k: len(v) for k, v in w.selections.items()} == {"selected": 3, "doubtful": 60}
    w.act("name", "selected")
    w.act("only")
    assert w.panel.count == 3 and len(w.found) == 3
    w.act("untick")
    assert w.selected == [] and "✓</td>" not in w.panel.still()


def test_ticks_need_uids_only_when_they_are_asked_for():
    w = W.inspect(Dataset.from_dict({"text": ["a"]}))
    w.act("tick", 0)
    assert len(w.rows) == 1
    with pytest.raises(DataError, match="add_uids"):
        assert w.selected


def test_ticks_come_back_from_their_file(tmp_path):
    file, ds = tmp_path / "sub" / "ticks.jsonl", rows()
    w = W.inspect(ds, keep=file, lang="en")
    for at in (3, 5, 9):
        w.act("tick", at)
    w.act("tick", 5, on=False)
    w.act("name", "二")
    w.act("tick_page")
    before = w.selections
    with file.open("ab") as f:
        f.write(b'{"selection": "selected", "tick": ["')       # a crash in the middle of a line
    again = W.inspect(ds.shuffle(seed=3), keep=file, lang="en")
    assert {k: set(v) for k, v in again.selections.items()} == {k: set(v) for k, v in before.items()}
    fewer = W.inspect(ds.select(range(4)), keep=file, lang="en")
    assert len(fewer.selected) == 1 and "17 of the file's rows are not in this data" in fewer.surface.said
    again.act("name", "selected")
    again.act("tick", 0)                                       # after the unfinished line
    assert set(W.inspect(ds, keep=file).selected) == set(again.selected)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    for notes in ("[1]\nmy notes\n", "my notes", "{}", "\x00", '{"selection": "a", "tick": ["u"]}\nmine'):
        (tmp_path / "x").write_text(notes)
        with pytest.raises(DataError, match=r"line \d of x is no tick"):
            W.inspect(rows(), keep=tmp_path / "x")
        assert (tmp_path / "x").read_text() == notes


# --- the open row ---

@mapper
def shorten(text):
    return text.replace("row ", "r ")


def test_an_open_row_tells_its_story_and_shows_its_copies():
    ds = shorten(rows(group=["g" if i in (2, 5) else None for i in range(60)]))
    p = W.Inspector(ds, lang="en")
    assert p.act("open", 2) == "Row 3 is open"
    page = p.still()
    assert "shorten" in page and "1 near copy" in page and "Row 6" in page and "<del" in page
    p.act("open", 3)
    assert "near cop" not in p.still()
    assert p.act("close") == "Row 4 is closed" and p.act("close") == ""
    assert "No step has touched" in (W.Inspector(rows(), lang="en").act("open", 0) and _opened(rows()))


def _opened(ds):
    p = W.Inspector(ds, lang="en")
    p.act("open", 0)
    return p.still()


def test_a_child_tells_of_its_parent():
    from dataset_tutor.core import add_record
    ds = rows(4)
    uids = ds["uid"][:]
    ds = ds.add_column("parent", [None, None, uids[0], None])
    ds = add_record(ds, "augment", rows_in=3, added=[dict(uid=uids[2], parent=uids[0])])
    p = W.Inspector(ds, lang="en")
    p.act("open", 2)
    assert f"made from {uids[0]}" in p.still()


def test_long_texts_come_in_parts():
    p = W.Inspector(Dataset.from_dict({"text": ["字" * 50_000]}), lang="en")
    assert len(p.still()) < 20_000
    p.act("open", 0)
    first = p.body(True).count("字")
    p.act("more")
    assert first < 5_000 < p.body(True).count("字") < 30_000


# --- hostile rows ---

@pytest.mark.parametrize("lang, view", [("en", "table"), ("zh", "table"), ("en", "cards"), ("zh", "cards")])
def test_hostile_rows_stay_text(lang, view):
    n = len(HOSTILE)
    data = dict(text=HOSTILE, note=HOSTILE[::-1], group=[t and t[:99] for t in HOSTILE], **{"<b onclick='x'>": HOSTILE},
                spans=[[dict(start=0, end=3, label=(t or "")[:50]), dict(start=1, end=9**6, label=t)] for t in HOSTILE])
    p = W.Inspector(add_uids(Dataset.from_dict(data), "<i>src"), lang=lang, view=view, size=n, name="<u>")
    p.columns = p.ds.column_names
    for at in range(n):
        p.act("tick", at)
        p.act("open", at)
        p.act("search", (HOSTILE[at] or "x")[:20])
        p.act("search", "")
        for live in (True, False):
            page = p.body(live)
            assert len(page) < 150_000
            harmless(page)
    p.act("filter", {"column": "<b onclick='x'>", "op": "has", "value": "<script>"})
    harmless(p.body(True))
    assert p.still().count("</style>") == 1 and p.ds["text"][:] == HOSTILE


def test_hostile_messages_do_no_harm():
    p = W.Inspector(rows())
    for act, value in [("page", "<b>"), ("tick", "x"), ("open", None), ("size", "-"), ("unfilter", 9),
                       ("column", "<i>"), ("sort", "-#nothing")]:
        with pytest.raises((ValueError, TypeError, IndexError)):
            p.act(act, value)
    harmless(p.body(True))


# --- many rows ---

def test_pages_of_many_rows_cost_nothing(tmp_path):
    import pyarrow as pa
    from datasets import load_from_disk
    n = 300_000
    Dataset.from_dict({"text": [f"review {i} of room {i % 997}" for i in range(n)]}).save_to_disk(tmp_path)
    p = W.Inspector(load_from_disk(tmp_path), lang="en")
    before = pa.total_allocated_bytes()
    assert p.act("search", "room 996") == "300 of 300,000 rows found"
    p.act("search", "")
    for page in (1, 7_000, 15_000):
        p.act("page", page)
        assert f"review {(page - 1) * 20} of" in p.body(True)
    p.act("tick_found")
    assert pa.total_allocated_bytes() - before < 1e6
    kept = sum(b.nbytes for b in p.picks.values()) + sum(b.nbytes for b in p._kept.values())
    assert kept == n and isinstance(p.bits(), np.ndarray)


def test_nested_lists_are_searched():
    talk = [[{"role": "user", "content": "你好"}, {"role": "assistant", "content": "hello"}], [], None]
    ds = Dataset.from_dict({"messages": talk, "deep": [[["a"], ["b"]], [["c"], []], None]},
                           features=Features({"messages": List({"role": Value("string"), "content": Value("string")}),
                                              "deep": List(List(Value("string")))}))
    assert W.rows_where(ds, "messages", "has", "hello").tolist() == [True, False, False]
    assert W.rows_where(ds, "deep", "is", "b").tolist() == [True, False, False]
    p = W.Inspector(ds, text="messages", lang="en")
    assert p.act("search", "你好") == "1 of 3 rows found"
    json.dumps(p.body(True))


@pytest.mark.parametrize("kind", ["large_string", "string"])
def test_every_kind_of_string_is_text(kind):
    ds = Dataset.from_dict({"text": ["a" * 900, None, "", "北京 b"]}, features=Features({"text": Value(kind)}))
    p = W.Inspector(ds, lang="en")
    assert "660 more characters" in p.body(True) and p.act("search", "B") == "1 of 4 rows found"
    assert [W.rows_where(ds, "text", op, "3").sum() for op in ("over", "under", "empty")] == [2, 1, 2]
