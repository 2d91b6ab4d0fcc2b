"""The annotator without a browser: characters, spans, decisions in the journal, still pictures and hostile rows."""
import json
import unicodedata

import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given
from hypothesis import strategies as st
from test_widgets import HOSTILE, english, harmless

from dataset_tutor import annotator as A
from dataset_tutor.acquisition import load_sample
from dataset_tutor.annotation import Session, check_votes, read_events
from dataset_tutor.core import DataError, add_uids
from dataset_tutor.guidelines import from_yaml
from dataset_tutor.tagging import check_spans

NER = from_yaml("""
name: names
task: ner
lang: zh
labels: [{name: PER, definition: 人名}, {name: LOC, definition: 地名}, {name: ORG, definition: 机构名}]
""")
NESTED = from_yaml("{name: n, task: ner, rules: {nested: true}, labels: [{name: A}, {name: B}]}")
MOOD = from_yaml("{name: mood, task: classification, labels: [{name: good}, {name: bad}]}")
STARS = from_yaml("{name: stars, task: translation, labels: [{name: '1'}, {name: '2'}, {name: '3'}]}")
ZH = "李明在北京对新华社记者说。"


def rows(*texts, **more):
    return add_uids(Dataset.from_dict({"text": list(texts), **more}), "demo")


def journal(path):
    return read_events(path.read_bytes())[0]


@pytest.fixture
def open_session(tmp_path):
    "A session in a folder of its own, closed at the end"
    opened = []

    def make(ds, guide=NER, name="ann", **more):
        opened.append(Session(ds, guide, more.pop("path", tmp_path / f"{name}.jsonl"), name,
                              order="as is", **more))
        return opened[-1]

    yield make
    for s in opened:
        s.close()


# --- characters ---

SIGNS = ["e\u0301", "👩‍👩‍👧", "🇨🇳", "葛\U000e0100", unicodedata.normalize("NFD", "각"), "\r\n", "北", "a", "𠀀", "☝🏽",
         "1\ufe0f\u20e3"]


@given(st.lists(st.sampled_from(SIGNS), max_size=12))
def test_the_cursor_stops_between_signs_and_nowhere_else(signs):
    text, ends = "".join(signs), [0]
    for s in signs:
        ends.append(ends[-1] + len(s))
    if any(a == b == "🇨🇳" for a, b in zip(signs, signs[1:])):
        ends = A.clusters(text)                     # four letters in a row are two flags, as here
    assert A.clusters(text) == ends
    ed, seen = A.SpanEditor(text), [0]
    for _ in signs:
        ed.move("ArrowRight")
        seen.append(ed.at)
    assert seen == ends
    for at in ends[-2::-1]:
        ed.move("ArrowLeft")
        assert ed.at == at
    ed.move("ArrowLeft")
    assert ed.at == 0 == ed.anchor


@given(st.text(max_size=60), st.integers(-3, 70), st.integers(-3, 70))
def test_a_selection_never_cuts_a_sign_and_is_no_larger_than_needed(text, a, b):
    ed, whole = A.SpanEditor(text), A.clusters(text)
    ed.select(a, b)
    lo, hi = ed.chosen
    assert {lo, hi} <= set(whole)
    a, b = sorted(min(max(x, 0), len(text)) for x in (a, b))
    assert lo == max(x for x in whole if x <= a)
    assert hi == (lo if a == b else min(x for x in whole if x >= b))


@given(st.text(alphabet="a𠀀😀e\u0301\u200d ,。\n北京", max_size=40),
       st.lists(st.sampled_from(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "Shift+ArrowLeft",
                                 "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowDown", "Shift+Home", "Shift+End",
                                 "A", "B", "erase", "back", "tab", "accept", "all"]), max_size=25), st.booleans())
def test_whatever_is_pressed_spans_stay_valid_and_can_be_taken_back(text, keys, flat):
    guesses = [dict(start=a, end=b, label="A") for a, b in [(0, 1), (1, 3), (2, 4)] if text[a:b].strip()]
    guesses = [g for g in guesses if g["end"] <= len(text)]
    ed = A.SpanEditor(text, guesses=guesses, flat=flat)
    begun = (ed.spans, ed.guesses)
    for key in keys:
        act = {"A": lambda: ed.mark("A"), "B": lambda: ed.mark("B"), "erase": ed.erase, "back": ed.back,
               "tab": ed.jump, "accept": ed.accept, "all": lambda: ed.accept(every=True)}.get(key)
        act() if act else ed.move(key)
        check_spans(text, ed.spans, flat=flat)
        assert 0 <= ed.chosen[0] <= ed.chosen[1] <= len(text)
        assert not any(text[s["start"]:s["end"]].strip() == "" for s in ed.spans)
    while ed.back():
        pass
    assert (ed.spans, ed.guesses) == begun


def test_long_texts_come_in_parts_that_cut_no_sign():
    text = "👩‍👩‍👧e\u0301北" * 2_000
    ed, seen, at = A.SpanEditor(text), [], 0
    while at < len(text):
        a, b = ed.part(at)
        assert a <= at < b <= a + A._PART + 100
        seen += ed.borders(at)[1:]
        at = b
    assert [0, *seen] == A.clusters(text)
    ed.move("End")
    assert ed.at == len(text) and ed.part()[1] == len(text)
    ed.move("ArrowLeft")
    assert ed.at == len(text) - 1
    assert A.SpanEditor("a" + "\u0301" * 10_000).part(5)[0] == 0        # one endless sign is cut somewhere
    assert A.SpanEditor("").part() == (0, 0) and A.SpanEditor("").borders() == [0]


def test_words_and_clauses():
    ed = A.SpanEditor("the cafe\u0301s open. 北京很好，人多。end")
    stops = []
    while ed.at < len(ed.text):
        ed.move("ArrowDown")
        stops.append(ed.text[ed.at:ed.at + 2])
    assert stops == ["ca", "op", "北京", "人多", "en", ""]
    for want in ["en", "人多", "北京", "op", "ca", "th"]:
        ed.move("ArrowUp")
        assert ed.text[ed.at:ed.at + 2] == want
    many = A.SpanEditor("one\ntwo\nthree")
    many.select(5, 5)
    many.move("End")
    assert many.at == 7
    many.move("Shift+Home")
    assert many.chosen == (4, 7)


# --- marking ---

def press(p, *keys):
    for key in keys:
        p.act("key", key)


def test_three_chinese_spans_by_keyboard(open_session, tmp_path):
    s = open_session(rows(ZH, "第二句"))
    p = A.Annotator(s)
    press(p, *["Shift+ArrowRight"] * 2)
    assert p.said == "已选：“李明”" and p.act("label", "PER") == "“李明”标为 PER"
    press(p, *["ArrowRight"] * 2, *["Shift+ArrowRight"] * 2)
    p.act("label", "ORG")
    p.act("label", "LOC")                           # the marked span stays selected: another label replaces it
    press(p, *["ArrowRight"] * 2, *["Shift+ArrowRight"] * 4)
    p.act("label", "ORG")
    p.act("undo")
    press(p, "Shift+ArrowLeft")
    p.act("label", "ORG")
    assert len(journal(tmp_path / "ann.jsonl")) == 1, "nothing is decided before it is saved"
    assert p.act("save").startswith("已保存：3 个标注")
    event = journal(tmp_path / "ann.jsonl")[-1]
    assert [(ZH[x["start"]:x["end"]], x["label"]) for x in event["spans"]] == \
        [("李明", "PER"), ("北京", "LOC"), ("新华社", "ORG")]
    assert p.text == "第二句" and p.ed.spans == [] and check_votes(p.votes)


def test_mouse_selections_count_as_python_does_and_belong_to_their_item(open_session):
    s = open_session(rows("😀👩‍👩‍👧北京e\u0301", "b"))
    p = A.Annotator(s)
    p.act("select", f"{p.turn}:0", start=2, end=7)   # the middle of the family to the middle of 北京
    assert p.ed.chosen == (1, 7)
    p.act("label", "LOC")
    stale = f"{p.turn}:0"
    p.act("save")
    assert p.act("select", stale, start=0, end=1) == p.word("an_stale") and p.ed.chosen == (0, 0)
    assert s.votes()["spans"][0] == [dict(start=1, end=7, label="LOC")]


def test_tab_goes_from_span_to_span_and_lets_the_focus_leave():
    ed = A.SpanEditor("abcdef", [dict(start=0, end=2, label="X"), dict(start=3, end=4, label="Y")],
                      guesses=[dict(start=4, end=6, label="Z")])
    seen = []
    while ed.jump():
        seen.append(ed.chosen)
    assert seen == [(0, 2), (3, 4), (4, 6)] and not ed.jump()
    assert ed.jump(back=True) and ed.chosen == (3, 4)


def test_the_page_takes_tab_only_where_there_is_another_span(open_session):
    p = A.Annotator(open_session(rows(ZH)))
    assert 'Tab"' not in p.body(True) and "Shift+Tab" not in p.body(True)
    p.act("select", None, start=0, end=2)
    p.act("label", "PER")
    assert "Tab" not in p.body(True).split('data-take="')[1].split('"')[0]
    press(p, "End")
    assert "Shift+Tab" in p.body(True)


def test_flat_spans_replace_and_nested_ones_stay(open_session):
    flat = A.SpanEditor(ZH)
    for a, b, label in [(0, 2, "PER"), (1, 5, "LOC")]:
        flat.select(a, b)
        done = flat.mark(label)
    assert done[1] == [dict(start=0, end=2, label="PER")] and len(flat.spans) == 1
    p = A.Annotator(open_session(rows("北京大学"), NESTED))
    for b in (4, 2):
        p.act("select", None, start=0, end=b)
        p.act("label", "A")
    assert len(p.ed.spans) == 2
    press(p, "Home")
    p.act("erase")
    assert p.ed.spans == [dict(start=0, end=4, label="A")], "the inner one is meant"


def test_without_a_selection_nothing_is_marked(open_session):
    p = A.Annotator(open_session(rows("北  京")))
    assert p.act("label", "LOC") == p.word("an_select") and not p.ed.spans
    p.act("select", None, start=1, end=3)
    assert p.act("label", "LOC") == p.word("an_select"), "white space alone is no span"
    assert p.act("erase") == p.word("an_no_span")
    p.act("select", None, start=0, end=3)
    p.act("label", "LOC")
    assert p.ed.spans == [dict(start=0, end=1, label="LOC")]
    with pytest.raises(DataError, match="one of PER, LOC, ORG"):
        p.act("label", "XYZ")


# --- decisions ---

def test_classes_skip_flag_comment_undo(open_session, tmp_path):
    s = open_session(rows("a", "b", "c", "d"), MOOD)
    p = A.Annotator(s)
    assert p.act("label", "good") == "Saved: good" and p.text == "b"
    p.act("comment", "why? ")
    p.act("label", "bad")
    assert p.note == "" and p.act("skip") and p.text == "d"
    assert p.act("flag") == p.word("an_reason") and p.asking
    with pytest.raises(DataError, match="needs a reason"):
        p.act("flag", fields={"reason": "  ", "turn": str(p.turn)})
    p.act("flag", fields={"reason": "two languages", "turn": str(p.turn)})
    assert p.flagged and p.text == "c" and p.votes["comment"][:] == [None, "why?"]
    p.act("undo")                                   # the flag
    p.act("undo")                                   # the skip
    p.act("undo")
    assert p.text == "b" and p.was == "bad" and "before: bad" in p.body(True)
    p.act("undo")
    assert p.act("undo") == p.word("an_nothing") and p.votes.num_rows == 0
    assert [e["do"] for e in journal(tmp_path / "ann.jsonl")].count("undo") == 4


def test_a_decision_is_in_the_journal_before_the_next_item(open_session, tmp_path, monkeypatch):
    s = open_session(rows("a", "b"), MOOD)
    p, seen = A.Annotator(s), []
    begin = p.begin
    monkeypatch.setattr(p, "begin", lambda *a: (seen.append(len(journal(tmp_path / "ann.jsonl"))), begin(*a)))
    p.act("label", "good")
    assert seen == [2]                              # opened, decided


def test_if_the_disk_refuses_the_item_stays(open_session, tmp_path):
    s = open_session(rows("a", "b"), MOOD)
    p = A.Annotator(s)
    (tmp_path / "ann.jsonl").rename(tmp_path / "gone.jsonl")
    with pytest.raises(DataError, match="not saved"):
        p.act("label", "good")
    assert p.text == "a" and p.progress["done"] == 0
    (tmp_path / "gone.jsonl").rename(tmp_path / "ann.jsonl")
    p.act("label", "good")
    assert p.text == "b"


def test_a_key_pressed_twice_decides_once(open_session):
    s = open_session(rows("a", "b", "c"), MOOD)
    p = A.Annotator(s)
    shown = {"turn": str(p.turn)}
    p.act("label", "good", fields=shown)
    assert p.act("label", "good", fields=shown) == p.word("an_stale")
    assert p.text == "b" and p.progress["done"] == 1
    page = p.body(True)
    assert f'name="turn" value="{p.turn}"' in page or f'value="{p.turn}"' in page


def test_ratings_and_other_columns(open_session):
    s = open_session(rows("guten Tag", target=["good <b>day"]), STARS)
    p = A.Annotator(s)
    assert "good &lt;b&gt;day" in p.body(True)
    assert p.act("label", "2") == "Saved: 2" and s.votes()["rating"][:] == [2.0]


def test_undo_brings_spans_back_for_correction(open_session):
    p = A.Annotator(open_session(rows(ZH, "x")))
    p.act("select", None, start=0, end=2)
    p.act("label", "PER")
    p.act("save")
    p.act("undo")
    assert p.text == ZH and p.ed.spans == [dict(start=0, end=2, label="PER")]
    p.act("save")
    assert p.progress["done"] == 1


def test_resume_goes_on_where_it_was(open_session, tmp_path):
    ds = rows(*"abcdef")
    s = open_session(ds, MOOD)
    p = A.Annotator(s)
    p.act("label", "good")
    p.act("skip")
    s.close()
    with open(tmp_path / "ann.jsonl", "ab") as f:
        f.write(b'{"do": "decide", "uid"')
    p = A.Annotator(open_session(ds, MOOD))
    assert p.text == "c" and "torn" in p.said
    p.act("undo")
    assert p.text == "b"


def test_no_session_no_window():
    with pytest.raises(DataError, match="annotate\\(Session"):
        A.annotate(rows("a"))


# --- suggestions ---

def test_suggestions_are_dashed_and_taken_one_by_one_or_all(open_session):
    guess = [dict(start=0, end=2, label="PER"), dict(start=3, end=5, label="LOC"), dict(start=6, end=9, label="ORG")]
    p = A.Annotator(open_session(rows(ZH, "二"), suggest=lambda row: guess if row["text"] == ZH else None))
    assert p.still().split("</style>")[1].count("dt-guess") == 3 and not p.ed.spans
    p.act("accept")
    assert p.ed.spans == guess[:1] and p.ed.chosen == (0, 2)
    press(p, "Tab")
    p.act("erase")                                  # turned down
    assert p.act("accept", "all") == "已采纳：新华社 (ORG)"
    assert p.ed.spans == [guess[0], guess[2]] and p.act("accept") == p.word("an_no_guess")
    for _ in range(3):
        p.act("undo")
    assert p.ed.guesses == guess and not p.ed.spans
    p.act("save")
    assert p.guess is None and p.act("accept") == p.word("an_no_guess")


def test_a_suggested_class_is_taken_by_one_key(open_session):
    p = A.Annotator(open_session(rows("a", "b"), MOOD, suggest=lambda row: "bad"))
    assert "bad (suggested)" in p.body(True)
    p.act("accept")
    assert p.votes["label"][:] == ["bad"]


@pytest.mark.parametrize("hook", [lambda row: 1 / 0, lambda row: [dict(start=0, end=99, label="PER")],
                                  lambda row: "PER", lambda row: [dict(start=0, end=1, label="<b>")]])
def test_a_broken_hook_is_told_and_costs_no_decision(open_session, hook):
    s = open_session(rows("a", "b", "c"))
    p = A.Annotator(s)
    s.suggest = hook
    with pytest.raises(DataError, match="no suggestion for this item"):
        p.act("save")
    assert p.text == "b" and p.progress["done"] == 1
    s.suggest = None
    p.act("save")
    assert p.text == "c"


def test_the_widget_keeps_the_error(open_session):
    s = open_session(rows("a", "b"))
    w = A.annotate(s, lang="en")
    s.suggest = lambda row: 1 / 0
    with pytest.raises(DataError):
        w.act("save")
    assert "division by zero" in str(w.error) and w.surface.failed and "division by zero" in w.surface.said
    assert len(w.votes) == 1


# --- adjudication ---

def decided(open_session, name, answers, guide=MOOD, ds=None, **more):
    s = open_session(ds if ds is not None else rows(*"abcd"), guide, name, **more)
    for a in answers:
        s.decide(a)
    return s


def test_only_what_differs_is_settled(open_session, tmp_path):
    one = decided(open_session, "ann", ["good", "bad", "good", "bad"])
    two = decided(open_session, "bob", ["good", "good", "good", "good"])
    w = A.adjudicate([one, two], lang="en")
    uids = rows(*"abcd")["uid"]
    assert set(w.disputed) == {uids[1], uids[3]} and "Cohen" in w.panel.body(True)
    assert "bob" not in w.panel.body(True) and "A · 1 vote" in w.panel.body(True)
    first = w.panel.here[0].value
    assert w.act("choose", 0) == f"Saved: {first}"
    w.act("label", "good")
    assert w.panel.row is None and len(w.settled) == 4 and "Everything is decided" in w.panel.body(True)
    done = dict(zip(w.settled["uid"], w.settled["label"]))
    assert done[uids[0]] == done[uids[2]] == "good"
    assert {v["annotator"] for v in w.settled.to_list()} == {"agreed", "adjudicator"}
    assert len(journal(tmp_path / "adjudication.jsonl")) == 3
    w.session.close()


def test_spans_that_differ_stand_out_and_a_third_answer_is_possible(open_session):
    per, loc = dict(start=0, end=2, label="PER"), dict(start=3, end=5, label="LOC")
    one = decided(open_session, "王", [[per, loc]], NER, rows(ZH))
    two = decided(open_session, "赵", [[per]], NER, rows(ZH))
    w = A.adjudicate([one, two], blind=False)
    assert w.panel.body(True).count("dt-differs") == 1 and "王" in w.panel.body(True)
    w.act("edit", 1)
    w.act("select", None, start=6, end=9)
    w.act("label", "ORG")
    w.act("save")
    assert w.votes["spans"][0] == [per, dict(start=6, end=9, label="ORG")]
    w.session.close()


def test_what_cannot_be_adjudicated_is_refused(open_session, tmp_path):
    one = decided(open_session, "ann", ["good"])
    two = decided(open_session, "bob", ["good"])
    w = A.adjudicate([one, two])
    assert w.disputed == [] and len(w.settled) == 1 and "Everything" in w.panel.still()
    w.session.close()
    with pytest.raises(DataError, match="answered by two"):
        A.adjudicate([one])
    with pytest.raises(DataError, match="2 guidelines"):
        A.adjudicate([one, decided(open_session, "eve", [[]], NER)])
    (tmp_path / "x").mkdir()
    same = decided(open_session, "ann", ["bad"], path=tmp_path / "x" / "ann.jsonl")
    with pytest.raises(DataError, match="voted twice"):
        A.adjudicate([one, same])


def test_the_chinese_annotator_speaks_chinese(open_session, tmp_path):
    "Faults of spans, notes of a session, errors, agreement, and why a label is doubted"
    s = open_session(rows(ZH, ZH + "，"), path=tmp_path / "a.jsonl")
    p = A.Annotator(s)
    p.act("select", None, start=8, end=13)
    p.act("label", "ORG")
    assert "请检查：首尾有标点" in p.body(True) and not english(p.body(True))
    assert "首尾有标点" in p.act("save") and not english(p.said)
    for act, value in [("label", "none"), ("flag", None), ("nowhere", 1)]:
        with pytest.raises(DataError) as e:
            p.act(act, value, fields={"reason": " "}) if act == "flag" else p.act(act, value)
        assert not english(p.tell(e.value)), p.tell(e.value)
    s.close()
    other = from_yaml("{name: names, task: ner, lang: zh, labels: [{name: PER}, {name: LOC}, {name: ORG}]}")
    again = A.Annotator(open_session(rows(ZH, ZH + "，"), other, path=tmp_path / "a.jsonl"))
    assert again.said.startswith("较早的判定") and not english(again.still())
    per, loc = dict(start=0, end=2, label="PER"), dict(start=3, end=5, label="LOC")
    both = [decided(open_session, n, [x], NER, rows(ZH)) for n, x in (("王", [per, loc]), ("赵", [per]))]
    w = A.adjudicate(both)
    assert "位标注者" in w.panel.body(True) and not english(w.panel.body(True))
    w.session.close()
    ds = labelled()
    doubt = [dict(uid=ds["uid"][0], given="bad", suggested="good", quality=0.1, why="model 0.83, 3 of 4 copies")]
    w = A.review_labels(ds, doubt, tmp_path / "r.jsonl", lang="zh")
    assert "4 个副本中有 3 个" in w.panel.body(True) and not english(w.panel.body(True), ["text 0"])
    w.session.close()


# --- review ---

def labelled(n=6):
    return rows(*[f"text {i}" for i in range(n)], label=[0] * n).cast_column("label", ClassLabel(names=["bad", "good"]))


@pytest.mark.parametrize("form", ["frame", "dataset", "dicts"])
def test_issues_are_reviewed_worst_first(tmp_path, form):
    import pandas as pd
    ds = labelled()
    table = [dict(uid=u, given="bad", suggested="good", score=q) for u, q in zip(ds["uid"], (.5, .1, .9))]
    table = {"frame": pd.DataFrame, "dataset": Dataset.from_list, "dicts": list}[form](table)
    w = A.review_labels(ds, table, tmp_path / "r.jsonl", lang="en")
    assert w.panel.text == "text 1" and "quality 0.100" in w.panel.still()
    w.act("choose", 1)
    assert w.panel.text == "text 0"
    w.act("choose", 0)
    w.act("unsure")
    assert dict(zip(w.votes["uid"], w.votes["label"])) == {ds["uid"][1]: "good", ds["uid"][0]: "bad"}
    assert w.flagged == {ds["uid"][2]: "unsure"}
    w.session.close()


def test_doubted_entities_keep_change_or_edit(tmp_path):
    per, wrong, org = (dict(start=a, end=b, label=x) for a, b, x in [(0, 2, "PER"), (3, 6, "LOC"), (6, 9, "ORG")])
    ds = rows(ZH, "李明", spans=[[per, wrong], [per]])
    new = dict(start=3, end=5, label="LOC")
    table = [dict(uid=ds["uid"][0], given="北京对 (LOC)", suggested="北京 (LOC)", old=wrong, new=new, quality=.1),
             dict(uid=ds["uid"][0], given="", suggested="新华社 (ORG)", old=None, new=org, quality=.2)]
    w = A.review_labels(ds, table, tmp_path / "r.jsonl", guideline=NER)
    assert w.panel.ed.spans == [per, wrong] and w.panel.ed.guesses == [new, org]
    assert [len(a.value) for a in w.panel.here] == [2, 3]
    w.act("choose", 1)
    assert w.votes["spans"][0] == [per, new, org]
    w.act("undo")
    assert w.panel.ed.spans == [per, new, org], "what was decided is there to be corrected"
    w.session.close()


def test_issues_that_do_not_fit_are_refused(tmp_path):
    ds = labelled()
    for table, said in [([dict(uid="x", given="a", suggested="b")], "not among the rows"),
                        ([dict(uid=ds["uid"][0], given="a")], "needs this column")]:
        with pytest.raises(DataError, match=said):
            A.review_labels(ds, table, tmp_path / "r.jsonl")
    with pytest.raises(DataError, match="low"):
        A.review_labels(ds, [], tmp_path / "r.jsonl", worst="best")
    with pytest.raises(DataError, match="no label of these rows is doubted"):
        A.review_labels(ds, [], tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_without_a_table_the_rows_are_judged_first(tmp_path):
    ds = load_sample("reviews-zh", rows=400, seed=3)
    planted = set(ds["uid"][::40])
    ds = ds.map(lambda r: dict(label=1 - r["label"] if r["uid"] in planted else r["label"]))
    w = A.review_labels(ds, journal=tmp_path / "r.jsonl")
    assert len(planted & set(w.answers)) >= 5 and len(w.answers) < 100     # half of ten; by lot it were one
    w.session.close()


# --- pictures ---

@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("guide", [NER, MOOD])
def test_hostile_rows_stay_text(open_session, lang, guide):
    texts = [t for t in HOSTILE if t]
    spans = guide is NER
    ds = rows(*texts, question=texts[::-1])
    s = open_session(ds, guide, "<img src=x onerror=y>",
                     suggest=lambda row: [dict(start=0, end=1, label="LOC")] if spans else "bad")
    p = A.Annotator(s, lang=lang)
    while p.row:
        if spans:
            p.act("select", None, start=1, end=5)
            p.act("label", "PER")
            press(p, "End", "Shift+ArrowLeft", "Tab")
        p.act("comment", None, fields={"comment": "<script>", "turn": str(p.turn)})
        for page in (p.body(True), p.still()):
            harmless(page)
            assert len(page) < 60_000
        p.act("flag")
        harmless(p.body(True))
        p.act("cancel")
        p.act("save" if spans else "accept")
    assert p.progress["done"] == len(texts) and p.still().count("</style>") == 1


def test_the_still_picture_has_no_controls_and_shows_what_is_marked(open_session):
    w = A.annotate(open_session(rows(ZH)))
    w.act("select", None, start=0, end=2)
    w.act("label", "PER")
    page = w._repr_mimebundle_()["text/html"]
    seen = harmless(page)
    assert not {"button", "input"} & set(seen.names) and "PER" in page and "tabindex" not in page.split("dt-edit")[-1]
    assert "dt-sel" not in page.split("</style>")[1] and "标注规范" in page


def test_hostile_messages_do_no_harm(open_session):
    p = A.Annotator(open_session(rows(ZH)))
    for act, more in [("select", dict(value="x")), ("select", dict(start="a")), ("label", dict(value=None)),
                      ("key", dict(value="<b>")), ("choose", dict(value=0)), ("flag", dict(fields={"reason": ""}))]:
        try:
            p.act(act, more.pop("value", None), **more)
        except (ValueError, TypeError, DataError):
            continue
    harmless(p.body(True))
    assert p.progress["done"] == 0 and json.dumps(p.progress)
