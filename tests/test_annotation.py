"""Votes, guidelines and sessions: what is promised about tables, rules and journals."""
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st
from run_notebooks import ROOT

from dataset_tutor.annotation import (
    ANSWERS,
    ORDERS,
    Example,
    Guideline,
    Label,
    Session,
    SpanRules,
    check_votes,
    draft_guideline,
    from_yaml,
    journal_votes,
    lint,
    load_guideline,
    make_votes,
    merge_journals,
    parse_marked,
    queue_order,
    read_events,
    save_guideline,
    to_html,
    to_markdown,
    to_marked,
    to_yaml,
    version,
    vote_kind,
)
from dataset_tutor.core import DataError
from dataset_tutor.tasks import TASKS

PER = dict(start=0, end=3, label="PER")


def rows(texts):
    return Dataset.from_dict({"uid": [f"u{i}" for i in range(len(texts))], "text": texts})


@pytest.mark.parametrize("kind, value", [("label", "好"), ("spans", [PER]), ("spans", []), ("rating", -1.5)])
def test_good_votes_pass(kind, value):
    votes = make_votes([{"uid": "u0", "annotator": "ann", kind: value, "seconds": 1.5, "at": "2026-01-31T12:00:00Z"}])
    assert check_votes(votes, rows(["Ann is here"])) is votes and vote_kind(votes) == kind
    assert votes.column_names == ["uid", "annotator", kind, "seconds", "at"]


@pytest.mark.parametrize("change, column", [
    (dict(uid=""), "uid"), (dict(uid=None), "uid"), (dict(annotator=" "), "annotator"), (dict(label=None), "label"),
    (dict(label=""), "label"), (dict(seconds=-1.0), "seconds"), (dict(seconds=float("nan")), "seconds"),
    (dict(at="yesterday"), "at"), (dict(at="2026-01-31T12:00:00+08:00"), "at"), (dict(uid="u9"), "uid")])
def test_bad_votes_are_refused_by_column(change, column):
    vote = dict(uid="u0", annotator="ann", label="x", seconds=1.0, at="2026-01-31T12:00:00Z") | change
    with pytest.raises(DataError) as e:
        check_votes(make_votes([vote]), rows(["Ann"]))
    assert e.value.column == column and e.value.fix


@pytest.mark.parametrize("spans", [None, [dict(start=2, end=2, label="A")], [dict(start=0, end=9, label="A")],
                                   [dict(start=0, end=2, label="")], [dict(start=-1, end=2, label="A")]])
def test_bad_spans_are_refused(spans):
    with pytest.raises(DataError) as e:
        check_votes(make_votes([dict(uid="u0", annotator="ann", spans=spans)], "spans"), rows(["Ann"]))
    assert e.value.uid == "u0"


def test_one_vote_for_each_pair():
    vote = dict(uid="u0", annotator="ann", label="x")
    with pytest.raises(DataError, match="'ann' voted twice"):
        make_votes([vote, vote])
    assert len(make_votes([vote, vote | dict(annotator="bob")])) == 2


def test_no_votes_are_votes_too_and_two_kinds_are_refused():
    assert len(make_votes([], "rating")) == 0
    with pytest.raises(DataError, match="no votes"):
        make_votes([])
    with pytest.raises(DataError, match="label and rating"):
        vote_kind(Dataset.from_dict(dict(uid=["a"], annotator=["b"], label=["x"], rating=[1])))
    with pytest.raises(DataError, match="'uid'"):
        check_votes(Dataset.from_dict(dict(annotator=["b"], label=["x"])))


def test_class_numbers_are_no_names():
    with pytest.raises(DataError, match="no name of a class"):
        check_votes(Dataset.from_dict(dict(uid=["a"], annotator=["b"], label=[1])))


# Guidelines

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


# Sessions


def session(tmp_path, n=5, g=classes, name="j.jsonl", **options):
    return Session(rows([f"text {i}" for i in range(n)]), g, tmp_path / name, **options)


def test_a_session_goes_on_where_it_was(tmp_path):
    with session(tmp_path) as s:
        first = s.current["uid"]
        s.decide("good", comment="sure")
        s.skip()
        s.flag("no text")
        s.comment("odd")
        before, progress = s.current["uid"], s.progress
    with session(tmp_path) as s:
        assert s.current["uid"] == before and s.progress == progress
        assert s.votes()["uid"] == [first] and s.votes()["comment"] == ["sure"]
        assert list(s.flagged.values()) == ["no text"]
        while s.current:
            s.decide("bad")
        assert len(s.votes()) == 4 and s.progress["left"] == s.progress["skipped"] == 0


def test_undo_reaches_back_over_sessions(tmp_path):
    with session(tmp_path) as s:
        order = []
        for act in (lambda: s.decide("good"), s.skip, lambda: s.flag("x")):
            order.append(s.current["uid"])
            act()
    with session(tmp_path) as s:
        assert [s.undo(), s.undo(), s.undo(), s.undo()] == [*reversed(order), None]
        assert s.current["uid"] == order[0] and not len(s.votes()) and s.progress["left"] == 5
    with session(tmp_path) as s:
        assert s.progress["left"] == 5 and s.progress["skipped"] == 0


def test_skipped_items_come_back_once(tmp_path):
    with session(tmp_path, 2) as s:
        shown = []
        while s.current:
            shown.append(s.current["uid"])
            s.skip()
        assert len(shown) == 4 and shown[:2] == shown[2:] and s.progress["skipped"] == 2


@pytest.mark.parametrize("answer", ["neutral", None, 1, [], ["good"]])
def test_answers_that_the_guideline_does_not_know(tmp_path, answer):
    with session(tmp_path) as s:
        uid = s.current["uid"]
        with pytest.raises(DataError):
            s.decide(answer)
        assert s.current["uid"] == uid and not len(s.votes())


def test_spans_are_checked_and_faults_told(tmp_path):
    with session(tmp_path, g=guide) as s:
        for bad in ([dict(start=0, end=99, label="PER")], [dict(start=0, end=2, label="?")],
                    [dict(start=0, end=0, label="PER")],
                    [dict(start=0, end=3, label="PER"), dict(start=1, end=4, label="LOC")], "PER", [{}]):
            with pytest.raises(DataError):
                s.decide(bad)
        assert s.decide([dict(start=0, end=5, label="PER")])[0][0] == "white space at an end"
        assert s.decide([(0, 4, "PER")]) == [] and s.decide([]) == []
        assert sorted(map(len, s.votes()["spans"])) == [0, 1, 1]


def test_one_writer_at_a_time(tmp_path):
    with session(tmp_path) as s:
        with pytest.raises(DataError, match="another session"):
            session(tmp_path, annotator="bob")
        (tmp_path / "link.jsonl").symlink_to(tmp_path / "j.jsonl")
        with pytest.raises(DataError, match="another session"):
            session(tmp_path, name="link.jsonl", annotator="bob")
        s.decide("good")
    with session(tmp_path, annotator="bob") as s:
        s.decide("bad")
        assert sorted(s.votes()["annotator"]) == ["ann", "bob"]
    with pytest.raises(DataError, match="closed"):
        s.decide("bad")


def test_another_process_is_refused_too_and_may_write_later(tmp_path):
    code = ("import sys; from datasets import Dataset; from dataset_tutor.annotation import Session, from_yaml\n"
            "from dataset_tutor.core import DataError\n"
            "ds = Dataset.from_dict(dict(uid=['u0', 'u1'], text=['a', 'b']))\n"
            "try:\n    Session(ds, from_yaml(sys.argv[2]), sys.argv[1], 'bob').decide('bad')\n"
            "except DataError as e:\n    print(e)")
    command = [sys.executable, "-c", code, str(tmp_path / "j.jsonl"), CLASSES]
    with session(tmp_path, 2) as s:
        s.decide("good")
        assert "another session is writing" in subprocess.run(command, capture_output=True, text=True,
                                                              check=True).stdout
        s.decide("good")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""  # it ends without close()
    with session(tmp_path, 2) as s:
        assert sorted(s.votes()["annotator"]) == ["ann", "ann", "bob"]


def test_a_journal_belongs_to_its_guideline(tmp_path):
    session(tmp_path).close()
    with pytest.raises(DataError, match="belongs to the guideline 'snippets'"):
        session(tmp_path, g=guide)
    with session(tmp_path, g=replace(classes, number=2)) as s:
        assert any("made under version 1-" in n for n in s.notes)


def test_a_journal_that_was_moved_is_missed_at_once(tmp_path):
    with session(tmp_path) as s:
        s.decide("good")
        (tmp_path / "j.jsonl").rename(tmp_path / "k.jsonl")
        with pytest.raises(DataError, match="moved or deleted|No such file"):
            s.decide("good")


def test_cut_at_every_byte_no_confirmed_decision_is_lost(tmp_path):
    with session(tmp_path, 4) as s:
        while s.current:
            s.decide("good", comment="好😀\u0301")
    whole = (tmp_path / "j.jsonl").read_bytes()
    ends = [i + 1 for i, c in enumerate(whole) if c == 10]
    for n in range(len(whole) + 1):
        events, torn = read_events(whole[:n])
        assert len(events) >= sum(e <= n for e in ends) and torn <= 1
    for n in [*range(ends[1] - 3, ends[1] + 4), len(whole) - 1, len(whole)]:  # and it can be gone on with from there
        (tmp_path / "j.jsonl").write_bytes(whole[:n])
        with session(tmp_path, 4) as s:
            done = s.progress["done"]
            assert done >= sum(e <= n for e in ends) - 1
            while s.current:
                s.decide("bad")
        with session(tmp_path, 4) as s:
            assert s.progress["done"] == 4 and len(s.votes()) == 4


def test_damage_in_the_middle_is_an_error(tmp_path):
    with session(tmp_path) as s:
        s.decide("good")
        s.decide("good")
    path = tmp_path / "j.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1][:20], *lines[2:]]))
    with pytest.raises(DataError, match="line 2 of j.jsonl is damaged"):
        session(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_full_disk_loses_nothing(tmp_path):
    "A limit on the file's size stands for the disk: writing ends in the middle of a line"
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with session(tmp_path, 40) as s:
        confirmed, refused = {}, 0
        for room in (1_500, 2_217, 3_333, hard):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            try:
                while s.current:
                    uid = s.current["uid"]
                    s.decide("good" if len(confirmed) % 2 else "bad")
                    confirmed[uid] = "good" if len(confirmed) % 2 else "bad"
            except DataError as e:
                refused += 1
                assert "not saved" in str(e) and s.current["uid"] == uid
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            _, torn = read_events((tmp_path / "j.jsonl").read_bytes())
            assert torn <= refused
    with session(tmp_path, 40) as s:
        votes = dict(zip(s.votes()["uid"], s.votes()["label"]))
        assert refused == 3 and len(confirmed) == 40 and votes == confirmed and s.current is None


def test_a_journal_needs_a_place(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "j.jsonl"):
        with pytest.raises(DataError):
            Session(rows(["x"]), classes, path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_at_random_moments():
    "Thirty real SIGKILLs; benchmarks/journal.py does a thousand"
    command = [sys.executable, str(ROOT / "benchmarks" / "journal.py"), "--kills", "30", "--decisions", "50", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["kills"] == 30 and found["confirmed"] >= 24
    assert found["lost"] == found["unreadable"] == 0


def test_sessions_share_work_without_talking(tmp_path):
    names, queues = ["ann", "bob", "eve"], {}
    for a in names:
        with session(tmp_path, 200, name=f"{a}.jsonl", annotator=a, annotators=names, overlap=0.3) as s:
            queues[a] = set(s._queue)
    assert set.union(*queues.values()) == {f"u{i}" for i in range(200)}
    both = set.intersection(*queues.values())
    assert 30 < len(both) < 90
    assert all(sum(u in q for q in queues.values()) in (1, 3) for u in set.union(*queues.values()))
    with pytest.raises(DataError, match="overlap between whom"):
        session(tmp_path, overlap=0.3)


def test_gold_calibrates_and_stays_hidden(tmp_path):
    gold = Dataset.from_dict(dict(uid=[f"g{i}" for i in range(4)], text=list("abcd"), label=["good", "bad"] * 2))
    with session(tmp_path, 20, gold=gold, gold_every=5) as s:
        seen = []
        while s.current:
            seen.append(s.current["uid"])
            assert "label" not in s.current
            s.decide("good")
        assert len(seen) == 24 and all(sum(u[0] == "g" for u in seen[i:i + 5]) <= 2 for i in range(0, 20, 5))
        assert (s.calibration["seen"], s.calibration["right"], sorted(s.calibration["missed"])) == (4, 2, ["g1", "g3"])
        assert len(s.votes()) == 20 and len(s.votes(gold=True)) == 24
    with session(tmp_path, 20, gold=gold, gold_every=5) as s:
        assert s.calibration["seen"] == 4 and s.current is None


@pytest.mark.parametrize("order", ORDERS)
def test_orders_are_repeatable_and_complete(order):
    ds = rows([str(i) for i in range(30)]).add_column("label", [i % 3 for i in range(30)])
    scores = {f"u{i}": (i * 7) % 30 for i in range(30)}
    queue = queue_order(ds, order, seed=1, scores=scores)
    assert queue == queue_order(ds, order, seed=1, scores=scores) and sorted(queue) == sorted(ds["uid"])
    if order in ("uncertain", "worst"):
        assert [scores[u] for u in queue] == sorted(scores.values())
    if order == "stratified":
        assert all(sorted(int(u[1:]) % 3 for u in queue[i:i + 3]) == [0, 1, 2] for i in range(0, 30, 3))


def test_merging_loses_nothing_and_names_conflicts(tmp_path):
    with session(tmp_path, 3, name="a.jsonl") as s:
        s.decide("good")
    (tmp_path / "b.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())  # two copies go on apart
    for name, answer in (("a.jsonl", "good"), ("b.jsonl", "bad")):
        with session(tmp_path, 3, name=name) as s:
            uid = s.current["uid"]
            s.decide(answer)
    with open(tmp_path / "b.jsonl", "ab") as f:
        f.write(b'{"torn')
    report = merge_journals([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "c.jsonl")
    assert report["conflicts"] == [("ann", uid)] and report["repeated"] == 2 and report["torn"] == 1
    events = [read_events((tmp_path / n).read_bytes())[0] for n in ("a.jsonl", "b.jsonl", "c.jsonl")]
    assert {e["id"] for e in events[2]} == {e["id"] for e in events[0] + events[1]}
    votes = journal_votes(events[2], "label")
    assert dict(zip(votes["uid"], votes["label"]))[uid] == "bad"  # the later one
    with session(tmp_path, 3, name="c.jsonl") as s:
        assert s.progress["done"] == 2
    with pytest.raises(DataError, match="exists"):
        merge_journals([tmp_path / "a.jsonl"], tmp_path / "c.jsonl")


def test_suggestions_and_hidden_columns(tmp_path):
    ds = Dataset.from_dict(dict(uid=["a", "b"], text=["x", "y"], label=[0, 1]),
                           Features(uid=Value("string"), text=Value("string"), label=ClassLabel(names=["good", "bad"])))
    with Session(ds, classes, tmp_path / "s.jsonl", order="worst", scores=[0.9, 0.1]) as s:
        assert s.current == dict(uid="b", text="y") and s.suggestion == "bad"
    with Session(ds, classes, tmp_path / "t.jsonl", order="as is", suggest=lambda row: row["text"].upper()) as s:
        assert s.suggestion == "X"
