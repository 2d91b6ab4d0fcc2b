"""Spans survive every edit, records tell the truth: properties of the core."""

import json
import subprocess
import sys

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


def test_stream_counts_equal_data_set_counts(tmp_path):
    ds = rows(1000)
    a = _no_x(_upper(ds, times=2))
    s = _no_x(_upper(ds.to_iterable_dataset(), times=2))
    path = core.write_rows(s, tmp_path / "s.parquet", batch_size=100)
    keep = ("op", "rows_in", "rows_out", "changed", "dropped")
    assert [[getattr(r, k) for k in keep] for r in history(core.read_rows(path))] == [
        [getattr(r, k) for k in keep] for r in history(a)
    ]


def test_fingerprint_is_the_same_in_another_process():
    code = "from tests.test_core import rows; from dataset_tutor.core import fingerprint; print(fingerprint(rows()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == core.fingerprint(rows())


def test_history_is_json():
    assert json.loads(history(_upper(rows())).to_pandas().to_json(orient="records"))[0]["op"] == "_upper"
