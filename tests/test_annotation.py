"""Votes and sessions: what is promised about tables and journals."""
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from run_notebooks import ROOT

from dataset_tutor.annotation import (
    ORDERS,
    Session,
    check_votes,
    journal_votes,
    make_votes,
    merge_journals,
    queue_order,
    read_events,
    vote_kind,
)
from dataset_tutor.core import DataError
from dataset_tutor.guidelines import load_guideline
from tests.test_guidelines import CLASSES, classes, guide

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
    code = ("import sys; from datasets import Dataset; from dataset_tutor.annotation import Session\n"
            "from dataset_tutor.core import DataError; from dataset_tutor.guidelines import from_yaml\n"
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
    "Thirty real SIGKILLs, two writers, a full disk; benchmarks/journal.py does a thousand"
    command = [sys.executable, str(ROOT / "benchmarks" / "journal.py"), "--kills", "30", "--pairs", "5", "--full", "5",
               "--decisions", "50", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["kills"] == 30 and found["confirmed"] >= 24
    assert found["lost"] == found["unreadable"] == 0
    assert found["pairs confirmed"] and found["pairs lost"] == found["pairs unreadable"] == found["pairs twice"] == 0
    assert found["full hit"] and found["full confirmed"] == 500
    assert found["full lost"] == found["full unreadable"] == 0


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


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"do": "decide", "uid": "a"}\n')
    for act in (lambda: session(tmp_path, name="x.jsonl"), lambda: merge_journals([path], tmp_path / "y.jsonl")):
        with pytest.raises(DataError, match="no event of a session"):
            act()
    path.write_bytes(b"\xff\xfe")
    for file in (path, tmp_path / "none.yaml"):
        with pytest.raises(DataError, match="cannot be read"):
            load_guideline(file)
