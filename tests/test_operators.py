"""What every operator and recipe of the library must keep, checked over all that are registered, whoever wrote them."""

import re
import time

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor import recipes as _all_modules  # noqa: F401, registers every operator
from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import RECIPES, Recipe
from dataset_tutor.core import VERBS, add_uids, dropped, history
from dataset_tutor.noise import web
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


@settings(max_examples=60)
@given(st.lists(marked_texts(), min_size=1, max_size=4), st.sampled_from(sorted(ALL)))
def test_no_recipe_moves_a_span_off_its_text(rows, name):
    "A span ends on what its text became, or is reported as lost; none is dropped or shifted in silence"
    ds = add_uids(Dataset.from_dict({"text": [t for t, _ in rows], "spans": [s for _, s in rows]}), "spans")
    if name == "all mappers":
        steps, now = MAPPERS, ds
    else:
        steps, now = [s for s in ALL[name].steps if s.verb.kind == "mapper"], ds
    for step in steps:
        before, now = now, step(now)
        lost = history(now)[-1].notes.get("rows_with_lost_spans", 0)
        fewer = sum(len(a) != len(b) for a, b in zip(before["spans"], now["spans"]))
        assert fewer <= lost, step
        for old, spans in zip(before, now):
            for span in spans["spans"]:
                assert 0 <= span["start"] < span["end"] <= len(spans["text"]), step
            if old["text"] == spans["text"]:
                assert old["spans"] == spans["spans"], step


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
