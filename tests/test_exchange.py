"""Exchange formats: what goes out comes back sign by sign, or is refused with the row and the reason."""
import json
import os
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_tutor.annotation import make_votes
from dataset_tutor.core import DataError
from dataset_tutor.exchange import FORMATS, export_labels, from_utf16, import_labels, resolve_spans, to_utf16

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from exchange import NAMES, SIGNS, comes_back, documents, key  # noqa: E402

EXAMPLES = int(os.environ.get("EXAMPLES", 12))  # per format; EXAMPLES=1000 pytest tests/test_exchange.py takes minutes
LOSSLESS = ["label-studio", "doccano", "argilla"]  # these hold any text and any spans


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", FORMATS)
def test_clean_documents_come_back_from_every_format(name, lang, tmp_path):
    assert comes_back(list(documents(60, lang, 0, clean=True)), name, tmp_path / "x")


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "BMES"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_scheme(scheme, lang, tmp_path):
    assert comes_back(list(documents(60, lang, 1, clean=True)), "conll", tmp_path / "x.conll", scheme=scheme)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", FORMATS)
def test_wild_documents_come_back_or_are_refused_by_name(name, lang, tmp_path):
    "Nested, crossing, repeated spans, borders in white space and inside words"
    back = 0
    for i, row in enumerate(documents(25, lang, 2)):
        try:
            assert comes_back([row], name, tmp_path / f"x{i}")
            back += 1
        except DataError as e:
            assert name not in LOSSLESS and e.uid == row["uid"] and e.column in ("spans", "text") and e.fix
    assert back >= (25 if name in LOSSLESS else 3)


@st.composite
def wild(draw):
    text = draw(st.text(st.one_of(st.sampled_from(SIGNS), st.characters(codec="utf-8")), min_size=1, max_size=25))
    ends = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=4))
    return dict(uid="u", text=text, spans=[dict(start=min(e), end=max(e), label=draw(st.sampled_from(NAMES)))
                                           for e in ends if e[0] != e[1]])


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=wild())
@example(row=dict(uid="u", text="\r\n", spans=[dict(start=0, end=1, label="O")]))
@example(row=dict(uid="u", text="# uid = 1", spans=[dict(start=0, end=1, label="PER")]))
@example(row=dict(uid="u", text="-DOCSTART- x", spans=[dict(start=0, end=10, label="PER")]))
@pytest.mark.parametrize("name", FORMATS)
def test_any_text_comes_back_or_is_refused(name, row, tmp_path):
    try:
        assert comes_back([row], name, tmp_path / f"x{len(list(tmp_path.iterdir()))}")
    except DataError as e:
        assert name not in LOSSLESS and e.uid == "u"


@given(st.text(st.one_of(st.sampled_from(SIGNS), st.characters(codec="utf-8")), max_size=30))
def test_counting_there_and_back(text):
    for i in range(len(text) + 1):
        assert to_utf16(text, i) == len(text[:i].encode("utf-16-le")) // 2
        assert from_utf16(text, to_utf16(text, i)) == i


class Text(str):
    "A text that counts how many of its characters are looked at"
    seen = 0

    def __getitem__(self, at):
        Text.seen += len(part := super().__getitem__(at))
        return part

    def __iter__(self):
        Text.seen += len(self)
        return super().__iter__()


@pytest.mark.parametrize("count", [to_utf16, from_utf16])
def test_many_positions_in_a_long_text_look_at_it_once(count):
    text, Text.seen = Text("😀 ab" * 1_000), 0
    found = [count(text, 4 * i) for i in range(1_000)]
    assert found[:3] == ([0, 5, 10] if count is to_utf16 else [0, 3, 6])
    assert Text.seen <= 4 * len(text)


def test_places_outside_the_text_are_none():
    assert [from_utf16("a😀", at) for at in (-1, 0, 1, 2, 3, 4, None)] == [None, 0, 1, None, 2, None, None]
    with pytest.raises(DataError, match="however one counts"):
        resolve_spans("😀a", [dict(start=None, end=2, label="X")])


def test_a_long_document_goes_out_and_comes_back(tmp_path):
    text, n = "😀 李明 " * 3_000, 3_000
    row = dict(uid="u", text=text, spans=[dict(start=5 * i + 2, end=5 * i + 4, label="PER") for i in range(n)])
    for name in ("doccano", "prodigy", "conll", "mturk"):  # text and spans of the last are longer than csv's limit
        back = import_labels(export_labels(Dataset.from_list([row]), tmp_path / name, name), name).rows
        assert back["text"] == [text] and key(back["spans"][0]) == key(row["spans"])


CLASSES = Features(uid=Value("string"), text=Value("string"), label=ClassLabel(names=["negative", "positive", "中性"]))


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if "label" in f.holds])
def test_classes_come_back(name, tmp_path):
    ds = Dataset.from_dict(dict(uid=["a", "b", "c", "d"], text=["x", "好", "😀", "y"], label=[1, 0, 2, None]), CLASSES)
    if name == "spacy":
        ds = ds.select(range(3))  # it says nothing where there is no class
    back = import_labels(export_labels(ds, tmp_path / "x", name), name, label_names=CLASSES["label"].names).rows
    assert back["label"] == ds["label"] and back["text"] == ds["text"]
    assert back.features["label"] == ds.features["label"]


@pytest.mark.parametrize("name", FORMATS)
def test_span_votes_of_several_people_come_back(name, tmp_path):
    rows = list(documents(6, "zh", 3, clean=True))
    ds = Dataset.from_list(rows)
    votes = make_votes([dict(uid=r["uid"], annotator=a, spans=r["spans"][i:]) for i,
                        a in enumerate(["ann", "bob", "eve"])
                        for r in rows[i:]])
    back = import_labels(export_labels(ds.remove_columns("spans"), tmp_path / "x", name, votes=votes), name)
    assert {(v["uid"], v["annotator"]): key(v["spans"]) for v in back.votes} == \
        {(v["uid"], v["annotator"]): key(v["spans"]) for v in votes}
    assert dict(zip(back.rows["uid"], back.rows["text"])) == {r["uid"]: r["text"] for r in rows}


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if {"votes", "at", "seconds", "comment"} <= f.holds])
def test_everything_about_a_vote_comes_back(name, tmp_path):
    ds = Dataset.from_dict(dict(uid=["a", "b"], text=["x <b>", "😀\n好"], lang=["en", "zh"]))
    more = dict(seconds=1.25, at="2026-01-31T12:00:00.250Z", comment="“so, so”\n好 <i>")
    votes = make_votes([dict(uid=u, annotator=w, label="yes" if u == "a" else "no") | (more if w == "bob" else {})
                        for u in "ab" for w in ("ann", "bob")])
    back = import_labels(export_labels(ds, tmp_path / "x", name, votes=votes, columns=["lang"]), name)
    assert sorted(map(str, back.votes.to_list())) == sorted(map(str, votes.to_list()))
    assert back.rows["lang"] == ["en", "zh"] and back.rows["text"] == ds["text"]


@pytest.mark.parametrize("name, column, change", [
    ("doccano", "rating", dict(rating=1.0)), ("argilla", "rating", dict(rating=1.5)), ("argilla", "seconds",
                                                                                       dict(seconds=1.0)),
    ("conll", "label", {}), ("brat", "label", {}), ("spacy", "comment", dict(comment="x"))])
def test_what_a_format_cannot_hold_is_named(name, column, change, tmp_path):
    vote = dict(uid="a", annotator="ann", label="x") | change
    vote = {k: v for k, v in vote.items() if k != "label" or "rating" not in change}
    with pytest.raises(DataError) as e:
        export_labels(Dataset.from_dict(dict(uid=["a"], text=["x"])), tmp_path / "x", name, votes=make_votes([vote]))
    assert (e.value.column, e.value.uid) == (column, "a") and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, row, words", [
    ("conll", dict(text="a b", spans=[dict(start=0, end=2, label="X")]), "white space"),
    ("conll", dict(text="a b", spans=[dict(start=0, end=1, label="X Y")]), "label 'X Y'"),
    ("conll", dict(text=" \n", spans=[]), "single token"),
    ("conll", dict(text="abc", spans=[dict(start=0, end=2, label="X"), dict(start=1, end=3, label="X")]),
     "nested or overlapping"),
    ("brat", dict(text="a\nb", spans=[dict(start=0, end=2, label="X")]), "line break"),
    ("brat", dict(text="abc", spans=[dict(start=0, end=2, label="人名")]), "ASCII"),
    ("brat", dict(uid="../evil", text="abc", spans=[]), "name of a file"),
    ("spacy", dict(text="a b", spans=[dict(start=0, end=2, label="X")]), "spaCy ignores"),
    ("prodigy", dict(text="a b", spans=[dict(start=1, end=2, label="X")]), "covers no token"),
    ("mturk", dict(text="a\0b", spans=[dict(start=0, end=1, label="X")]), "mturk cannot hold"),
    ("doccano", dict(text="\ud800", spans=[]), "surrogate")])
def test_refusals_say_why(name, row, words, tmp_path):
    ds = Dataset.from_dict({k: [v] for k, v in (dict(uid="u7") | row).items() if k != "text"})
    with pytest.raises((DataError, UnicodeEncodeError)) as e:
        export_labels(ds.add_column("text", [row["text"]]), tmp_path / "x", name)
    if isinstance(e.value, DataError):
        assert words in str(e.value) and e.value.uid == row.get("uid", "u7")
    assert not list(tmp_path.iterdir())


def test_an_old_export_stays_if_the_new_one_is_refused(tmp_path):
    path = tmp_path / "x.conll"
    rows = list(documents(3, "en", 4, clean=True))
    export_labels(Dataset.from_list(rows), path, "conll")
    before = path.read_bytes()
    rows[1]["spans"] = [dict(start=0, end=2, label="A"), dict(start=1, end=3, label="B")]
    with pytest.raises(DataError):
        export_labels(Dataset.from_list(rows), path, "conll")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# Files as the tools write them


def read(tmp_path, name, content, file="x.json", **options):
    path = tmp_path / file
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return import_labels(path, name, **options)


LS = {"id": 7, "data": {"text": "💩This is an annotation."}, "annotations": [
    {"id": 1, "completed_by": 3, "lead_time": 8.4, "created_at": "2021-08-23T12:19:18.905800Z", "was_cancelled": False,
     "result": [{"id": "BtfOIVC3G2", "from_name": "label", "to_name": "text", "type": "labels",
                 "value": {"start": 13, "end": 23, "text": "annotation", "labels": ["Annotation"]}}]},
    {"id": 2, "completed_by": {"id": 4, "email": "bob@example.org"}, "was_cancelled": True, "result": []}]}


@pytest.mark.parametrize("start", [12, 13])
def test_label_studio_old_and_new_counting(start, tmp_path):
    value = LS["annotations"][0]["result"][0]["value"]
    task = json.loads(json.dumps(LS).replace('"start": 13, "end": 23', f'"start": {start}, "end": {start + 10}'))
    assert value["start"] == 13
    back = read(tmp_path, "label-studio", [task])
    assert back.votes["spans"] == [[dict(start=12, end=22, label="Annotation")]] and back.votes["annotator"] == ["3"]
    with pytest.raises(DataError, match="however one counts"):
        read(tmp_path, "label-studio", json.loads(json.dumps([task]).replace("This is", "These were all")))


@pytest.mark.parametrize("change",
                         [{"type": "relation"}, {"type": "labels", "value": {"start": 0, "end": 1, "labels": []}},
                                    {"type": "choices", "value": {"choices": ["a", "b"]}}])
def test_label_studio_refuses_what_rows_cannot_hold(change, tmp_path):
    task = json.loads(json.dumps(LS))
    task["annotations"][0]["result"][0].update(change)
    with pytest.raises(DataError):
        read(tmp_path, "label-studio", [task])


def test_doccano_counts_as_a_browser_unless_told(tmp_path):
    line = {"id": 5, "text": "😀 Ann", "label": [[3, 6, "PER"]], "Comments": []}
    with pytest.raises(DataError, match="counts='utf-16'"):
        read(tmp_path, "doccano", {**line, "label": [[2, 4, "PER"]]}, "a.jsonl")
    back = read(tmp_path, "doccano", line, "admin.jsonl", counts="utf-16").rows
    assert back["spans"] == [[dict(start=2, end=5, label="PER")]]
    entities = {"id": 5, "text": "Ann", "entities": [{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3}],
                "relations": []}
    assert read(tmp_path, "doccano", entities, "b.jsonl").rows["spans"] == [[dict(start=0, end=3, label="PER")]]
    with pytest.raises(DataError, match="relations"):
        read(tmp_path, "doccano", {**entities, "relations": [{"id": 1}]}, "c.jsonl")


def test_argilla_refuses_to_guess(tmp_path):
    record = {"id": "r", "fields": {"text": "yeah 🚀 rocket!"}, "metadata": {}, "suggestions": {}, "vectors": {},
              "responses": {"spans": [{"value": [{"start": 8, "end": 14, "label": "X"}], "user_id": "8f"}]}}
    with pytest.raises(DataError, match="nothing tells"):
        read(tmp_path, "argilla", [record])
    back = read(tmp_path, "argilla", [record], counts="utf-16")
    assert back.votes["spans"] == [[dict(start=7, end=13, label="X")]]


def test_prodigy_answers(tmp_path):
    line = {"text": "Ann", "_input_hash": -153, "spans": [{"start": 0, "end": 3, "label": "PER", "token_start": 0,
                                                          "token_end": 0}], "_session_id": "d-ann"}
    text = "\n".join(json.dumps(line | dict(answer=a, _session_id=f"d-{a}")) for a in ("accept", "ignore"))
    back = read(tmp_path, "prodigy", text, "x.jsonl")
    assert back.votes["annotator"] == ["d-accept"] and len(back.rows) == 1
    text += "\n" + json.dumps(line | dict(answer="reject"))
    with pytest.raises(DataError, match="line 3 rejects"):
        read(tmp_path, "prodigy", text, "x.jsonl")
    assert len(read(tmp_path, "prodigy", text, "x.jsonl", rejected="leave out").votes) == 1


def brat(tmp_path, text, ann):
    folder = tmp_path / "brat"
    folder.mkdir(exist_ok=True)
    (folder / "d.txt").write_bytes(text.encode())
    (folder / "d.ann").write_bytes(ann.encode())
    return folder


def test_brat_pieces_emoji_and_other_lines(tmp_path):
    folder = brat(tmp_path, "😀 New\nYork", "T1\tLOC 3 6;7 11\tNew York\n")  # counted by a browser
    assert import_labels(folder, "brat").rows["spans"] == [[dict(start=2, end=10, label="LOC")]]
    with pytest.raises(DataError, match="several pieces"):
        import_labels(brat(tmp_path, "North and South America", "T1\tLOC 0 5;16 23\tNorth America\n"), "brat")
    with pytest.raises(DataError, match="does not stand"):
        import_labels(brat(tmp_path, "Ann", "T1\tPER 0 3\tBob\n"), "brat")
    folder = brat(tmp_path, "Ann", "T1\tPER 0 3\tAnn\nA1\tNegated T1\n")
    with pytest.raises(DataError, match="ignore='A'"):
        import_labels(folder, "brat")
    assert import_labels(folder, "brat", ignore="A").rows["spans"] == [[dict(start=0, end=3, label="PER")]]


def test_conll_without_comments(tmp_path):
    content = "李\tB-PER\n明\tE-PER\n在\tO\n\n京\tS-LOC\n"
    back = read(tmp_path, "conll", content, "x.bmes", scheme="BMES").rows
    assert back["text"] == ["李明在", "京"] and back["spans"][0] == [dict(start=0, end=2, label="PER")]
    with pytest.raises(DataError, match="continues nothing"):
        read(tmp_path, "conll", "a\tO\nb\tI-PER\n", "x.bio")
    ds = Dataset.from_list([dict(uid="u", text="a  b", spans=[dict(start=0, end=1, label="X")])])
    with pytest.raises(DataError, match="tokens alone"):
        export_labels(ds, tmp_path / "y", "conll", comments=False, lang="en")


def test_mturk_results_as_they_come(tmp_path):
    entities = json.dumps([{"crowd": {"entities": [{"startOffset": 3, "endOffset": 6, "label": "PER"}]}}])
    head = ("HITId,AssignmentId,WorkerId,AssignmentStatus,SubmitTime,WorkTimeInSeconds,Input.uid,Input.text,"
            "Answer.taskAnswers")
    cells = '"{}","a","W1","{}","Sat Oct 02 09:18:31 PDT 2021","12","u","&#128512; Ann","{}"'
    good, bad = (cells.format("h", s, entities.replace('"', '""')) for s in ("Approved", "Rejected"))
    back = read(tmp_path, "mturk", f"{head}\n{good}\n{bad}\n", "x.csv")
    assert back.votes.to_list() == [dict(uid="u", annotator="W1", spans=[dict(start=2, end=5, label="PER")],
                                         seconds=12.0,
                                         at="2021-10-02T16:18:31Z")]
    assert back.rows["text"] == ["😀 Ann"]


def test_mturk_files_hold_no_markup_and_no_emoji(tmp_path):
    ds = Dataset.from_dict(dict(uid=["u"], text=["<script>😀</script>\n=1+1"]))
    content = Path(export_labels(ds, tmp_path / "x.csv", "mturk")).read_text(encoding="utf-8")
    assert "<" not in content and max(content) <= "\uffff" and content.count("\n") == 2


def test_words_decide_how_a_tool_counted():
    span = dict(start=2, end=3, label="X")
    assert resolve_spans("😀 a", [span | dict(words="a")]) == [span]
    assert resolve_spans("😀 a", [dict(start=3, end=4, label="X", words="a")]) == [span]
    assert resolve_spans("nothing special", [span]) == [span]
    with pytest.raises(DataError, match="counts="):
        resolve_spans("😀aaa", [span | dict(words="a")])  # both ways of counting find an a
    with pytest.raises(DataError, match="unknown"):
        resolve_spans("a", [], "bytes")


def test_two_annotators_with_different_texts_are_refused(tmp_path):
    folder = tmp_path / "votes"
    folder.mkdir()
    for who, text in (("ann", "x"), ("bob", "y")):
        (folder / f"{who}.jsonl").write_text(json.dumps(dict(uid="u", text=text, label=["a"])), encoding="utf-8")
    with pytest.raises(DataError, match="different texts"):
        import_labels(folder, "doccano")


@pytest.mark.parametrize("name", FORMATS)
def test_broken_files_are_data_errors(name, tmp_path):
    path = tmp_path / "x"
    if FORMATS[name].folder:
        path = brat(tmp_path, "Ann", "T1 broken")
    else:
        path.write_bytes(b'{"broken": [\n')
    with pytest.raises(DataError):
        import_labels(path, name)
    with pytest.raises(DataError):
        import_labels(tmp_path / "nothing", name)


WRONG = {"lines": '{"text": "a", "label": "x"}\n{"text": "b"}\n', "list": '[{"text": "a", "label": [1]}, 5]',
         "pairs": '["a", {"entities": [[0, 1]]}]\n', "table": "text,label\na,x\n", "numbers": "3\n4\n",
         "json": '{"data": [1], "id": 3, "fields": "a", "text": 4, "label": 5}', "task": '[{"id": 1, "text": "a"}]',
         "record": '[{"id": 1, "fields": {"text": "a"}, "responses": {"label": ["x"]}}]', "utf-16": "a\0b\0\n\0"}


@pytest.mark.parametrize("content", WRONG)
@pytest.mark.parametrize("name", FORMATS)
def test_files_of_another_format_are_data_errors_or_rows(name, content, tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "x", tmp_path / "folder" / "x.txt"):
        path.write_text(WRONG[content], encoding="utf-8")
    (tmp_path / "folder" / "x.ann").write_text(WRONG[content], encoding="utf-8")
    for path in (tmp_path / "x", tmp_path / "folder"):
        try:
            assert len(import_labels(path, name).rows)
        except DataError as e:
            assert e.fix
    if content == "task" and name == "argilla":
        with pytest.raises(DataError, match="not written as argilla writes it"):
            import_labels(tmp_path / "x", name)
    with pytest.raises(DataError, match="no option 'txt'"):
        import_labels(tmp_path / "x", name, txt="text")


def test_an_empty_list_of_doccano_is_no_label(tmp_path):
    def lines(*labels):
        return "\n".join(json.dumps(dict(id=i, text="Ann", label=x)) for i, x in enumerate(labels))
    assert read(tmp_path, "doccano", lines(["pos"], [], ["neg"]), "a.jsonl").rows["label"] == [1, None, 0]
    rows = read(tmp_path, "doccano", lines([[0, 3, "PER"]], []), "b.jsonl").rows
    assert rows["spans"] == [[dict(start=0, end=3, label="PER")], []] and "label" not in rows.column_names


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    rows = Dataset.from_list(list(documents(2, "en", 5, clean=True)))
    for name in ("brat", "doccano"):
        with pytest.raises(DataError, match="not empty"):
            export_labels(rows, tmp_path / "mine", name)
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "years of work"
