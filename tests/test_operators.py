"""What every operator and recipe of the library must keep, checked over all that are registered, whoever wrote them."""

import re
import time

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor import core
from dataset_tutor import recipes as _all_modules  # noqa: F401, registers every operator
from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import RECIPES, Recipe, normalize_whitespace
from dataset_tutor.core import (
    VERBS,
    add_uids,
    apply_edits,
    diff_edits,
    dropped,
    history,
    move_spans,
    unpack_trail,
)
from dataset_tutor.language import lower_case
from dataset_tutor.noise import DIRT, convert_chinese, corrupt, web
from tests.test_core import texts

# What an operator cannot do without; those that draw lots or need a model's download are no operators on one row.
NEEDED = {"replace_words": {"words": {"酒店": "宾馆", "good": "fine"}}, "filter_words": {"words": ["bad", "差"]},
          "mask_pii": {"how": "hash", "key": "k"}, "filter_length": {"least": 3}, "filter_language": {"langs": ["zh"]}}
OURS = {n: v for n, v in VERBS.items() if v.__module__.startswith("dataset_tutor.")}
MAPPERS = [v(**NEEDED.get(n, {})) for n, v in OURS.items() if v.kind == "mapper"]
FILTERS = [v(**NEEDED.get(n, {})) for n, v in OURS.items() if v.kind == "filter"]
ALL = {**{f.__name__: f() for f in RECIPES.values()}, "web": web(), "all mappers": Recipe(*MAPPERS)}


def both_languages(rows=400):
    "Real rows in both languages, a few of them broken"
    some = [load_sample(name, rows=rows)["text"][:] for name in ("reviews-en", "reviews-zh", "ner-en")]
    odd = ["", None, " ", "<p>x&amp;y</p>", "ä\u0308\u200b", "电话13812345678", "👍🏽👍🏽👍🏽👍🏽", "İstanbul", "ﬁne",
           "！！！！"]
    return add_uids(Dataset.from_dict({"text": [*odd, *sum(some, [])]}), "both")


@pytest.fixture(scope="module")
def real():
    return both_languages()


def told(ds):
    "Rows and records, without the seconds"
    rows = [(r.op, r.params, r.rows_in, r.changed, r.dropped, r.notes) for r in history(ds)]
    return ds.with_format(None)[:], rows, dropped(ds).to_dict("list")


@pytest.mark.parametrize("steps", [MAPPERS, FILTERS], ids=["mappers", "filters"])
def test_processes_change_nothing(real, steps):
    assert len(steps) >= 6
    one, two = (Recipe(*steps)(real.select(range(300)), num_proc=n) for n in (None, 2))
    assert told(one) == told(two)


@pytest.mark.parametrize("step", MAPPERS + FILTERS, ids=lambda s: s.name)
def test_a_stream_gives_the_same_rows(real, step):
    part = real.select(range(200))
    assert [r["text"] for r in step(part.to_iterable_dataset())] == step(part)["text"][:]


@pytest.mark.parametrize("step", MAPPERS, ids=lambda s: s.name)
def test_a_mapper_is_repeatable_and_remembers(real, step):
    after = step(real)
    assert told(after)[0] == told(step(real))[0]
    changed = sum(a != b for a, b in zip(real["text"], after["text"]))
    assert history(after)[-1].changed == changed


@st.composite
def marked_texts(draw):
    "A text with up to three spans on words of it"
    text = draw(texts)
    words = [m.span() for m in re.finditer(r"\w+", text)][:3]
    return text, [{"start": a, "end": b, "label": "X"} for a, b in words]


def off_their_text(step, before, after):
    """Spans that a mapper neither kept on their text nor reported: (old text, span, new text) of each.

    Two truths are known without trusting an alignment. The mapper alone says what becomes of the span's text when it
    stands alone; and the edits that an `Edited` text names say where each border went. A span must read as one of them.
    """
    own, wrong = step.verb.own(step.params), []
    reported = {c["uid"]: c.get("note", "") for c in unpack_trail(history(after)[-1])["changed"]}
    for old, new in zip(before, after):
        whole = step.verb(old["text"], **own)
        edits = getattr(whole, "edits", None)
        if edits is None or not edits:
            edits = diff_edits(old["text"], str(whole))
        left = list(new["spans"])
        for span in old["spans"]:
            a, b = span["start"], span["end"]
            alone = str(step.verb(old["text"][a:b], **own))
            inside = [(max(s, a) - a, min(e, b) - a, t) for s, e, t in edits if s < b and e > a or a < s == e < b]
            wanted = {alone, apply_edits(old["text"][a:b], inside)}
            if left and left[0]["label"] == span["label"] and new["text"][left[0]["start"]:left[0]["end"]] in wanted:
                left.pop(0)
            elif repr(old["text"][a:b]) not in (reported.get(old["uid"]) or ""):
                wrong.append((old["text"], span, new["text"], new["spans"]))
        wrong += [(old["text"], None, new["text"], left)] if left else []
    return wrong


@settings(max_examples=60)
@given(st.lists(marked_texts(), min_size=1, max_size=4), st.sampled_from(sorted(ALL)))
def test_no_recipe_moves_a_span_off_its_text(rows, name):
    "A span reads as what its mapper makes of its text, or is reported as lost, by its text"
    now = add_uids(Dataset.from_dict({"text": [t for t, _ in rows], "spans": [s for _, s in rows]}), "spans")
    steps = MAPPERS if name == "all mappers" else [s for s in ALL[name].steps if s.verb.kind == "mapper"]
    for step in steps:
        before, now = now, step(now)
        assert not off_their_text(step, before, now), step


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_recipe_moves_a_span_of_real_rows(lang):
    "Real entities, each row made dirty in one way, through every recipe and all mappers"
    rows = corrupt(load_sample(f"ner-{lang}", rows=300, seed=4), kinds=[*DIRT], rate=1.0, seed=4)
    for recipe in (RECIPES["ner", lang](), web(), Recipe(MAPPERS)):
        now = rows.remove_columns(["dirt", "truth"])
        for step in (s for s in recipe.steps if s.verb.kind == "mapper"):
            before, now = now, step(now)
            assert not off_their_text(step, before, now), step


@pytest.mark.parametrize("by", [-1, 1])
def test_the_property_sees_a_shifted_span(monkeypatch, by):
    "The check itself: spans that are deliberately one off, in bounds, are caught"
    def shifted(spans, edits, text=None):
        moved, lost = move_spans(spans, edits)
        return [s | dict(start=s["start"] + by, end=s["end"] + by) for s in moved], lost

    text = "  see  王小明  and Ann  there  "
    spans = [dict(start=7, end=10, label="X"), dict(start=16, end=19, label="Y")]
    rows = add_uids(Dataset.from_dict({"text": [text], "spans": [spans]}), "t")
    step = normalize_whitespace()
    assert not off_their_text(step, rows, step(rows))
    monkeypatch.setattr(core, "move_spans", shifted)
    assert len(off_their_text(step, rows, step(rows))) >= 2


SIGNS = r"A-Za-z0-9,.!?'();:\-"
PLAIN = re.compile(
    f"[\u4e00-\u9fff{SIGNS}，。！？；：、“”（）《》]+(?: [{SIGNS}，。！？]+)*|[{SIGNS}]+(?: [{SIGNS}]+)*"
)


@pytest.mark.parametrize(("name", "recipe"), [
    ("reviews-en", "reviews_en"), ("reviews-zh", "reviews_zh"), ("ner-en", "ner_en"), ("ner-zh", "ner_zh"),
    ("reviews-en", "web"), ("reviews-zh", "web"),
])
def test_clean_rows_stay_as_they_are(name, recipe):
    "Of rows that hold nothing but plain words and signs, fewer than one in a thousand is altered"
    plain = [t for t in load_sample(name)["text"] if t and PLAIN.fullmatch(t) and not re.search(r"(.)\1{3}", t)]
    assert len(plain) > 400
    altered = [(a, b) for a, b in zip(plain, ALL[recipe].edit(plain)) if a != b]
    assert len(altered) <= len(plain) / 1000, altered[:5]


BAIT = {
    "5 MB of one sign": "a" * 5_000_000, "5 MB of Chinese": "好的，" * 1_700_000, "nested tags": "<div>" * 200_000,
    "open comments": "<!--" * 200_000, "entities": "&amp;" * 200_000, "blanks": " \u200b" * 500_000,
    "at signs": "a@" * 300_000, "digits": "1" * 1_000_000, "dots": "a." * 300_000,
    "surrogates and NULs": "\ud800\x00" * 100_000,
}


@pytest.mark.parametrize("bait", BAIT)
@pytest.mark.parametrize("step", MAPPERS + FILTERS, ids=lambda s: s.name)
def test_hostile_texts_end_in_time(step, bait):
    "A limit that only a quadratic cost would miss; nothing is raised, and nothing but text or a reason comes out"
    text, start = BAIT[bait], time.monotonic()
    if step.verb.kind == "mapper":
        out = step.verb(text, **step.verb.own(step.params))
        assert isinstance(out, str)
    else:
        reason = step.verb.fn(**{c: text for c in step.verb.columns if c == "text"}, **step.verb.own(step.params))
        assert reason is None or isinstance(reason, str)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("bait", BAIT)
def test_hostile_rows_with_spans_go_through(bait):
    "The same texts as rows with ten thousand spans, through the ready recipes' mappers: spans are moved or reported"
    text, start = BAIT[bait], time.monotonic()
    text = text.encode("utf-8", "replace").decode()   # a column holds no half characters
    step = max(1, len(text) // 10_000)
    spans = [dict(start=i, end=i + min(3, step), label="X") for i in range(0, len(text) - 3, step)]
    rows = add_uids(Dataset.from_dict({"text": [text], "spans": [spans]}), "hostile")
    for mapper in [s for s in web().steps if s.verb.kind == "mapper"] + [convert_chinese(), lower_case()]:
        rows = mapper(rows)
        record = history(rows)[-1]
        left, size = rows["spans"][0], len(rows["text"][0])
        assert len(left) == len(spans) or record.notes == {"rows_with_lost_spans": 1}, mapper
        assert all(0 <= s["start"] < s["end"] <= size for s in left)
        spans = left
    assert time.monotonic() - start < 120
