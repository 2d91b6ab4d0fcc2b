"""Guidelines: written down, shown, compared, and held against rows."""
from dataclasses import replace

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.core import DataError
from dataset_tutor.guidelines import (
    ANSWERS,
    Example,
    Guideline,
    Label,
    SpanRules,
    draft_guideline,
    from_yaml,
    lint,
    load_guideline,
    parse_marked,
    save_guideline,
    to_html,
    to_markdown,
    to_marked,
    to_yaml,
    version,
)
from dataset_tutor.tasks import TASKS

PER = dict(start=0, end=3, label="PER")

GUIDE = """
name: names
task: ner
labels:
- name: PER
  definition: A person.
  positive: ["[Ann](PER) sings"]
  negative: ["the singer"]
- name: LOC
  definition: A place.
  positive: ["in [Rome](LOC)"]
  border: [{text: "[White House](LOC)", why: a building}]
"""
CLASSES = """
name: snippets
task: classification
labels:
- {name: good, definition: Praise., positive: [a joy]}
- {name: bad, definition: Blame., positive: [a bore], negative: [{text: not bad, label: good}]}
"""
guide, classes = from_yaml(GUIDE), from_yaml(CLASSES)


@st.composite
def nested(draw):
    "A text with spans that nest or stand apart, outer ones first."
    text, spans = draw(st.text(min_size=1, max_size=30)), []

    def inside(a, b, deep):
        if a < b and deep and draw(st.booleans()):
            start = draw(st.integers(a, b - 1))
            end = draw(st.integers(start + 1, b))
            spans.append(dict(start=start, end=end, label=draw(st.sampled_from(["PER", "地点", "geo-loc"]))))
            inside(start, end, deep - 1)
            inside(end, b, deep - 1)
    inside(0, len(text), 4)
    return text, sorted({(s["start"], s["end"], s["label"]) for s in spans}, key=lambda s: (s[0], -s[1], s[2]))


@given(nested())
def test_marked_text_comes_back(case):
    text, keys = case
    back, spans = parse_marked(to_marked(text, [dict(start=a, end=b, label=x) for a, b, x in keys]))
    assert back == text and sorted((s["start"], s["end"], s["label"]) for s in spans) == sorted(keys)


@pytest.mark.parametrize("marked", ["[Ann", "Ann]", "[Ann]", "[Ann]()", "[Ann](PER", "[[Ann](PER)"])
def test_broken_brackets_are_refused(marked):
    with pytest.raises(DataError):
        parse_marked(marked)


def test_crossing_spans_cannot_be_marked():
    with pytest.raises(DataError, match="cross"):
        to_marked("abcdef", [dict(start=0, end=3, label="A"), dict(start=2, end=5, label="B")])


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_guidelines(task, tmp_path):
    labels = ("1", "2", "3") if ANSWERS[task] == "rating" else ("A", "B")
    g = Guideline("g", task, tuple(Label(n, f"about {n}") for n in labels), lang="zh")
    assert load_guideline(save_guideline(g, tmp_path / "g.yaml")) == g
    assert task in to_markdown(g) and task in to_html(g) and g.answer == ANSWERS[task]


def test_a_version_is_the_content():
    assert version(guide) == version(from_yaml(to_yaml(guide)))
    assert version(replace(guide, number=2)).startswith("2-")
    assert version(replace(guide, about="x"))[2:] != version(guide)[2:]


@pytest.mark.parametrize("text, problem", [
    ("", "not known"), ("[1]", "not known"), ("name: [", "not YAML"), ("name: x", "needed|labels"),
    ("name: x\ntask: ner\nlabels: []", "labels with names"), (GUIDE.replace("LOC", "PER"), "stands twice"),
    (GUIDE.replace("task: ner", "task: parsing"), "no task"), (GUIDE + "lang: fr\n", "no interface"),
    (GUIDE + "number: '2'\n", "no int"), (GUIDE + "rules: {nested: 1}\n", "no bool"), (GUIDE + "rules: {neste: true}\n",
     "neste"), (GUIDE.replace("[Ann](PER)", "[Ann"), "never closed"), (GUIDE + "order: PER\n", "no list"),
    ("!!python/object/apply:os.system ['true']", "not YAML"), (CLASSES.replace(", label: good", ""), "says no answer"),
    (CLASSES.replace("task: classification", "task: summarization"), "points of the scale")])
def test_bad_guidelines_are_refused(text, problem):
    with pytest.raises(DataError, match=problem):
        from_yaml(text)


def test_everything_in_a_guideline_is_escaped():
    evil = "<script>alert(1)</script>"
    g = Guideline(evil, "ner", (Label(evil, evil, (Example(f"[{evil.replace('(', '').replace(')', '')}](PER) {evil}",
                                                           why=evil),)),), about=evil, order=(evil,),
                  rules=SpanRules(outside=(evil,)))
    assert "<script>" not in to_html(g) and "<script>" not in to_markdown(g)
    assert "<script>" not in lint(g)._repr_html_()


def ner(*rows):
    return Dataset.from_list([dict(uid=f"u{i}", text=t, spans=s) for i, (t, s) in enumerate(map(parse_marked, rows))])


@pytest.mark.parametrize("row, rule", [
    ("[Ann ](PER) is", "white space at an end"), ("[Ann,](PER) is", "punctuation at an end"),
    ("[“Ann](PER)” is", "punctuation at an end"), ("[Annab](PER)el", "a word is cut"),
    ("[Ann [Lee](LOC)](PER)", "spans overlap"), ("[Bob](ORG)", "unknown label"),
    ("[Rome](PER) sings", "an example is labelled otherwise"), ("to Rome", "an example is not marked")])
def test_lint_finds(row, rule):
    assert [f.where for f in lint(guide, ner("[Bo](PER) in [Oslo](LOC)", row)).of(rule)] == ["u1"]


@pytest.mark.parametrize("row",
                         ["[Ann](PER)", "[“Ann”](PER) is", "in the [U.S.](LOC) now", "[李明](PER)在[北京](LOC)。",
                                 "[《诗经》](PER)很美", "[@ann](PER)", "[Yahoo!](LOC)", "[B2B](LOC)", "Romeo"])
def test_lint_leaves_good_rows_alone(row):
    assert lint(guide, ner("[Bo](PER) in [Oslo](LOC)", row)) == []


def test_lint_of_classes():
    ds = Dataset.from_dict(dict(uid=["a", "b", "c", "d"], text=["a joy", "hm", "hm", "x"],
                                label=["bad", "bad", "good", "?"]))
    assert lint(classes, ds).counts() == {"an example is labelled otherwise": 1, "one text, two labels": 1,
                                         "unknown label": 1, "no counterexample": 1}
    assert lint(classes, ds.select([1])).of("label never used").uids() == ["good"]


def test_lint_of_relations():
    g = Guideline("r", "relations", (Label("lives in", "x", joins=("PER", "LOC")),))
    spans = [dict(start=0, end=3, label="PER"), dict(start=7, end=11, label="LOC")]
    ds = Dataset.from_list([dict(uid=f"u{i}", text="Ann in Rome", spans=spans, relations=[r]) for i, r in enumerate(
        [dict(head=0, tail=1, label="lives in"), dict(head=1, tail=0, label="lives in"),
         dict(head=0, tail=1, label="?")])])
    found = lint(g, ds)
    assert found.of("a relation joins the wrong labels").uids() == ["u1"] and found.of("unknown label").uids() == ["u2"]


def test_lint_of_answers_and_ratings():
    qa = Guideline("q", "qa", (Label("ANSWER", "x"),))
    ds = Dataset.from_list([dict(uid="a", text="Ann, 30, sings", question="how old?",
                                 answers=[dict(start=5, text="30,")])])
    assert lint(qa, ds).of("punctuation at an end").uids() == ["a"]
    scale = Guideline("s", "summarization", (Label("1", "bad"), Label("5", "good")))
    ds = Dataset.from_dict(dict(uid=["a", "b", "c"], text=["x"] * 3, target=["y"] * 3, rating=[5.0, 6.0, None]))
    assert lint(scale, ds).of("not on the scale").uids() == ["b"]
    assert draft_guideline(ds, "d", "summarization").answer == "rating"


def test_lint_of_the_guideline_alone():
    g = Guideline("g", "ner", (Label("A", "", (Example("[x](B)"),)), Label("B", "same", (Example("[y](B)"),)),
                               Label("C", "Same", (Example("[y](C)"), Example("[z ](C)")))), order=("A", "B"))
    assert set(lint(g).counts()) == {"no definition", "a positive example without its label", "no counterexample",
                                     "same definition", "not in the order", "two examples disagree",
                                     "an example breaks a span rule"}
