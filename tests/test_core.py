"""Spans survive every edit, records tell the truth: properties of the core."""

import json
import re
import subprocess
import sys
import time

import pytest
from datasets import Dataset, concatenate_datasets, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor import core
from dataset_tutor.core import DataError, add_uids, apply_edits, diff_edits, dropped, history, move_spans, story

# what breaks naive span code: emoji (also with joiners), combining marks, full-width forms, mixed scripts, controls
CHARS = (
    "ab Z9.,-<&\n\t\u3000"
    + "中文王京。，！"
    + "ＡＢ１"
    + "é\u0301\u0327"
    + "😀👩\u200d🔬🇨🇳"
    + "اрЖ한か"
    + "\ufeff\u202e\x00"
)
texts = st.text(alphabet=CHARS, max_size=40) | st.text(max_size=12)


@st.composite
def text_with_spans(draw, flat=True):
    text = draw(texts)
    cuts = sorted(set(draw(st.lists(st.integers(0, len(text)), max_size=8))))
    spans = [dict(start=a, end=b, label=draw(st.sampled_from(["PER", "LOC"]))) for a, b in zip(cuts[::2], cuts[1::2])]
    return text, spans


@given(texts, texts)
def test_edits_rebuild_the_new_text(old, new):
    assert apply_edits(old, diff_edits(old, new)) == new


@settings(deadline=None)
@given(st.integers(300, 900), st.integers(0, 10**6), st.sampled_from(["word ", "好看", "x"]))
def test_edits_of_long_texts(n, k, unit):
    old = unit * n
    at = k % len(old)
    new = old[:at] + "NEW" + old[at + k % 7 :]
    assert apply_edits(old, diff_edits(old, new)) == new


@given(text_with_spans(), texts, texts)
def test_spans_move_exactly_with_what_surrounds_them(row, before, after):
    """Text put before and after shifts every span by exactly that much (the edits are known, not guessed)."""
    text, spans = row
    moved, lost = move_spans(spans, [(0, 0, before), (len(text), len(text), after)])
    new = before + text + after
    assert not lost
    assert [new[s["start"] : s["end"]] for s in moved] == [text[s["start"] : s["end"]] for s in spans]


@given(text_with_spans(), texts)
def test_spans_are_moved_or_lost_never_broken(row, new):
    text, spans = row
    moved, lost = move_spans(spans, diff_edits(text, new))
    assert len(moved) + len(lost) == len(spans)
    for s in moved:
        assert 0 <= s["start"] < s["end"] <= len(new)
    for a, b in zip(moved, moved[1:]):
        assert a["end"] <= b["start"], "spans that did not overlap still do not"


@given(text_with_spans())
def test_no_edit_moves_nothing(row):
    text, spans = row
    assert move_spans(spans, diff_edits(text, text)) == (spans, [])


@given(text_with_spans())
def test_deleting_outside_keeps_entity_text(row):
    """Delete everything outside the spans: every entity keeps its text, in order."""
    text, spans = row
    edits, at = [], 0
    for s in spans:
        edits += [(at, s["start"], "")] if s["start"] > at else []
        at = s["end"]
    edits += [(at, len(text), "")] if at < len(text) else []
    moved, lost = move_spans(spans, edits)
    new = apply_edits(text, edits)
    assert not lost
    assert [new[s["start"] : s["end"]] for s in moved] == [text[s["start"] : s["end"]] for s in spans]


@core.mapper
def _upper(text: str, *, times: int = 1) -> str:
    return text.upper() * times


@core.row_filter
def _no_x(text):
    return "has an x" if "x" in text else None


def rows(n=50):
    return add_uids(Dataset.from_dict({"text": [f"row {i} {'x' * (i % 3 == 0)}" for i in range(n)]}), "test")


def test_processes_give_the_same_rows():
    one, two = _upper(rows()), _upper(rows(), num_proc=2)
    assert one.to_list() == two.to_list()
    assert [r.id for r in history(one)] == [r.id for r in history(two)]


def test_the_input_stays_as_it_was():
    ds = rows()
    before = ds.to_list()
    _no_x(_upper(ds))
    assert ds.to_list() == before and not history(ds)


def test_records_survive_disk_and_joins(tmp_path):
    ds = _upper(_no_x(rows()))
    ds.save_to_disk(tmp_path / "d")
    core.write_rows(ds, tmp_path / "d.parquet")
    for back in (
        load_from_disk(tmp_path / "d"),
        core.read_rows(tmp_path / "d.parquet"),
        ds.select([1]),
        ds.shuffle(seed=1),
    ):
        assert [r.id for r in history(back)] == [r.id for r in history(ds)]
        assert len(dropped(back)) == 17
    joined = concatenate_datasets([ds.select([0]), core.add_record(ds.select([1]), "more")])
    assert [r.op for r in history(joined)] == ["_no_x", "_upper", "more"]


def test_every_dropped_row_can_be_told():
    ds = _no_x(_upper(_no_x(rows())))
    for d in dropped(ds).itertuples():
        assert "has an x" in repr(story(ds, d.uid)) and d.text.startswith("row")


def test_a_step_cannot_hide_what_it_did():
    @core.step
    def sly(ds):
        """Drops one row, changes another, adds a third, and says nothing."""
        r = ds.to_list()
        r[1]["text"] = "changed"
        new = dict(r[2], uid="new")
        return Dataset.from_list(r[1:] + [new])

    rec = history(sly(rows(5)))[0]
    assert (rec.dropped, rec.changed, rec.added) == (1, 1, 1)


def test_duplicate_uids_are_refused():
    ds = rows(3)
    twice = concatenate_datasets([ds, ds])
    with pytest.raises(DataError, match="two rows"):
        _no_x(twice)


def test_rows_without_uid_get_a_fix():
    with pytest.raises(DataError, match="add_uids"):
        _no_x(Dataset.from_dict({"text": ["a"]}))


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = core.write_rows(rows(3), tmp_path / "a.jsonl")
    before = path.read_bytes()

    class Broken:
        features = None

        def with_format(self, _):
            return self

        def iter(self, _):
            yield {"text": ["new"]}
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        core.write_rows(Broken(), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_hostile_text_is_escaped_everywhere():
    evil = "<img src=x onerror=alert(1)></style>"
    ds = add_uids(Dataset.from_dict({"text": [evil, "fine x"]}), "test")
    out = core.add_record(_no_x(_upper(ds)), evil, {"p": evil})
    for page in (history(out)._repr_html_(), story(out, out["uid"][0])._repr_html_()):
        assert "<img" not in page.lower()


def test_half_characters_do_not_break_the_trail():
    ds = core.add_record(rows(2), "load", dropped=[dict(uid="u", reason="bad byte", row={"text": "a\udcffb"})])
    assert dropped(ds).text[0] == "a\ufffd\ufffd\ufffdb"


@core.mapper
def _swap(text: str) -> str:
    return text.replace("Ann Lee", "QQ")


def named(n=1000):
    "Rows with a span, some of which `_swap` destroys, and some that `_no_x` drops"
    texts = [f"{i} {'Ann Lee' if i % 7 else 'Bob'} {'x' * (i % 3 == 0)}" for i in range(n)]
    spans = [[dict(start=t.index(" ") + 3, end=t.index(" ") + 7, label="PER")] if "Ann" in t else [] for t in texts]
    return add_uids(Dataset.from_dict({"text": texts, "spans": spans}), "named")


def told(ds):
    "All that records say, without seconds and ids"
    keep = ("op", "params", "rows_in", "rows_out", "changed", "dropped", "added", "notes")
    return [([getattr(r, k) for k in keep], core.unpack_trail(r)) for r in history(ds)]


@pytest.mark.parametrize("rows", [rows, named])
def test_a_stream_leaves_the_records_of_a_data_set(tmp_path, rows):
    ds = rows(1000)
    a = _no_x(_upper(_swap(_no_x(ds)), times=2))
    s = _no_x(_upper(_swap(_no_x(ds.to_iterable_dataset())), times=2))
    back = core.read_rows(core.write_rows(s, tmp_path / "s.parquet", batch_size=100))
    assert told(back) == told(a) == told(s)
    assert rows is not named or history(back)[1].notes["rows_with_lost_spans"] > 300
    assert all(isinstance(r.seconds, float) for r in history(back))
    uid = dropped(a).uid[0]
    assert repr(story(back, uid)) == repr(story(a, uid)) and dropped(back).equals(dropped(a))
    assert list(s) == list(a) and told(s) == told(a), "reading again counts anew"


def test_seconds_of_a_stream_are_those_of_its_steps():
    @core.mapper
    def _slow(text: str) -> str:
        time.sleep(0.002)
        return text

    s = _no_x(_slow(rows(60).to_iterable_dataset()))
    list(s)
    assert history(s)[0].seconds >= 0.12 > history(s)[1].seconds


def test_two_streams_that_go_the_same_way_keep_their_own_counts():
    a, b = (_upper(rows(n).to_iterable_dataset()) for n in (3, 5))
    assert (len(list(a)), len(list(b))) == (3, 5)
    assert [history(x)[0].rows_in for x in (a, b)] == [3, 5]


def test_a_stream_remembers_a_bounded_number_of_rows(monkeypatch):
    monkeypatch.setattr(core, "_KEPT", 10)
    s = _no_x(_upper(rows(50).to_iterable_dataset()))
    list(s)
    upper, no_x = history(s)
    assert (upper.changed, upper.notes) == (50, {"changed_not_kept": 40}) and not no_x.notes
    assert len(core.unpack_trail(upper)["changed"]) == 10


LONG = {
    "dirty blanks": lambda t: t.replace(" ", " \u3000"), "entities": lambda t: t.replace("a", "&amp;"),
    "half as long": lambda t: t[::2], "gone": lambda t: "",
    "a block in the middle": lambda t: t[: len(t) // 2] + "#" * 200_000 + t[len(t) // 2 :],
    "a block gone": lambda t: t[:100_000] + t[-100_000:], "other script": lambda t: "好" * len(t),
    "upper": str.upper,
}  # fmt: skip


@pytest.mark.parametrize("how", LONG)
def test_huge_texts_are_aligned_in_time(how):
    "A megabyte and a half, changed throughout: seconds, where a quadratic alignment takes minutes"
    old = "".join(f"line {i} of {i % 7} rooms, Ann Lee lives in Paris {i * i % 997}\n" for i in range(30_000))
    new, began = LONG[how](old), time.process_time()
    edits = diff_edits(old, new)
    assert time.process_time() - began < 20
    assert apply_edits(old, edits) == new and all(a[1] < b[0] for a, b in zip(edits, edits[1:]))
    spans = [dict(start=m.start(), end=m.end(), label="PER") for m in re.finditer("Ann Lee", old)]
    moved, lost = move_spans(spans, edits)
    assert len(moved) + len(lost) == len(spans)
    if how in ("dirty blanks", "a block in the middle", "a block gone", "upper"):
        wanted = {LONG[how]("Ann Lee")} if "block" not in how else {"Ann Lee"}
        assert {new[s["start"] : s["end"]] for s in moved} == wanted
        assert len(lost) <= (1 if how != "a block gone" else len(spans) - new.count("Ann Lee"))


@given(text_with_spans(), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4), st.text("ab王 ", max_size=3))))
def test_borders_move_as_counting_one_by_one_says(row, wishes):
    "`_move` by halving beside the plain loop over all edits"
    text, spans = row
    edits, at = [], 0
    for start, n, new in sorted(wishes):
        if start >= at and start <= len(text) and (n or new):
            edits.append((start, min(len(text), start + n), new))
            at = max(at, edits[-1][1]) + (edits[-1][0] == edits[-1][1])

    def slow(position, is_end):
        shift = 0
        for start, end, new in edits:
            if position < start or (position == start and (start < end or is_end)):
                break
            if position < end:
                if len(new) == end - start:
                    return position + shift
                gone = text[start:position] if is_end else text[position:end]
                return None if new or any(c.isalnum() for c in gone) else start + shift
            shift += len(new) - (end - start)
        return position + shift

    columns = core._Sorted(edits, text)
    for p in range(len(text) + 1):
        assert [core._move(p, columns, e) for e in (False, True)] == [slow(p, e) for e in (False, True)]


def test_signs_that_end_lines_elsewhere_end_none_in_a_history():
    ds = Dataset.from_list([dict(uid="1", text="a\u2028b\u0085c\x0cd")])
    ds.info.description = "one\n\nof two paragraphs\u2028or three"
    out = _upper(ds)
    assert [r.op for r in history(out)] == ["_upper"] and story(out, "1")
    assert out.info.description.startswith(ds.info.description + "\n")


def test_a_step_on_a_stream_leaves_the_streams_own_history_alone():
    rows = Dataset.from_list([dict(uid=str(i), text=f"a  {i}") for i in range(3)]).to_iterable_dataset()
    one, two = _upper(rows), _upper(rows, times=2)
    assert [[r.params.get("times") for r in core.records(d)] for d in (rows, one, two)] == [[], [None], [2]]


def test_a_span_that_is_cut_in_two_is_lost_and_one_that_loses_blanks_is_not():
    @core.mapper
    def _front(text, *, most=16):
        return text[:most]

    text = "Ann lives in Paris now"
    where = [dict(start=0, end=3, label="PER"), dict(start=13, end=18, label="LOC")]
    out = _front(Dataset.from_list([dict(uid="1", text=text, spans=where)]))
    assert [s["label"] for s in out[0]["spans"]] == ["PER"] and "'Paris' LOC" in story(out, "1").__repr__()
    wide = dict(start=3, end=11, label="X")     # a blank before and one behind belong to the span
    edits = [(0, 4, ""), (10, 13, "")]
    assert move_spans([wide], edits, "ab   lives  z")[0] == [dict(start=0, end=6, label="X")]
    assert move_spans([wide], edits)[1] == move_spans([wide], edits, "ab 1 lives  z")[1] == [wide]


def test_fingerprint_is_the_same_in_another_process():
    code = "from tests.test_core import rows; from dataset_tutor.core import fingerprint; print(fingerprint(rows()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == core.fingerprint(rows())


def test_history_is_json():
    assert json.loads(history(_upper(rows())).to_pandas().to_json(orient="records"))[0]["op"] == "_upper"
