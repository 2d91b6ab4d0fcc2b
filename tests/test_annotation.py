"""Votes, guidelines and sessions: what is promised about tables, rules and journals."""
import pytest
from datasets import Dataset

from dataset_tutor.annotation import check_votes, make_votes, vote_kind
from dataset_tutor.core import DataError

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
