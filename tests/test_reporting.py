"""Cards and pages tell the truth and cannot be broken by what the rows hold."""

import re

import pytest
import yaml
from datasets import ClassLabel, Dataset
from hypothesis import given, settings

from dataset_tutor.cleaning import Recipe, drop_duplicates, drop_missing, normalize_unicode, normalize_whitespace
from dataset_tutor.core import add_uids, mapper
from dataset_tutor.distribution import split
from dataset_tutor.reporting import changes, data_card, esc, html_table, label_counts, page, rows_section
from dataset_tutor.widgets import mark_spans
from tests.test_core import text_with_spans

EVIL = [
    "<script>alert(1)</script>",
    "</style><style>*{display:none}",
    "<img src=x onerror=alert(1)>",
    "\u202egnp.exe",
    "\x1b[31mred",
    "{{7*7}}",
]
TAGS = re.compile(r"<(script|img(?! src=\"data:)|iframe|svg|object|link|base|form)\b", re.I)


def evil_rows(n=40):
    text = [f" {EVIL[i % len(EVIL)]}  row {i}" for i in range(n)] + [EVIL[0]] * 2
    ds = Dataset.from_dict({"text": text, "label": [i % 2 for i in range(n + 2)]})
    ds = add_uids(ds.cast_column("label", ClassLabel(names=[EVIL[0], EVIL[2]])), EVIL[0])
    return split(Recipe(normalize_whitespace(), drop_missing(), drop_duplicates())(ds), seed=1)


def test_nothing_gets_out():
    ds = evil_rows()
    html = page(
        EVIL[0], EVIL[1], [(EVIL[2], rows_section(ds)), ("t", html_table(EVIL, [EVIL])), ("s", mark_spans(EVIL[0], []))]
    )
    assert not TAGS.search(html.split("</style>", 1)[1])
    assert "\u202e" not in html and "\x1b" not in html
    assert html.count("</style>") == 1
    card = data_card(ds, "name", "classification", "en", about="x")
    assert "<script" not in card and yaml.safe_load(card.split("---")[1])["size_categories"] == ["n<1K"]


@pytest.mark.parametrize("missing", [None, -1])
def test_rows_without_a_label_are_of_no_class(missing):
    columns = dict(uid=["1", "2", "3"], text=["a", "b", "c"], label=[0, 1, missing], split=["train", "train", "test"])
    ds = Dataset.from_dict(columns).cast_column("label", ClassLabel(names=["bad", "good"]))
    assert label_counts(ds) == {"train": {"bad": 1, "good": 1}, "test": {"(none)": 1}}
    assert "(none)" in data_card(ds, "name", "classification", "en")
    spans = Dataset.from_list([dict(text="a", split="train", spans=None),
                               dict(text="b", split="train", spans=[dict(start=0, end=1, label="X")])])
    assert label_counts(spans) == {"train": {"X": 1}}


def test_a_huge_text_is_cut():
    assert len(esc("x" * 10**6)) < 1000


@settings(deadline=None)
@given(text_with_spans())
def test_marked_text_reads_as_before(row):
    text, spans = row
    shown = re.sub(r"<small.*?</small>", "", mark_spans(text, spans))
    plain = re.sub(r"<.*?>", "", shown)
    for a, b in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x27;", "'"), ("&amp;", "&")):
        plain = plain.replace(a, b)
    assert plain == "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def test_changes_are_those_of_the_step_that_made_them():
    ds = evil_rows()
    for c in changes(ds, limit=100):
        assert " ".join(c["before"].split()) == c["after"]
    assert {c["step"] for c in changes(ds)} == {"normalize_whitespace"}


def test_the_most_telling_change_is_the_one_that_touched_most():
    "An edit of equal length counts; a short cut in a long text does not"
    texts = ["good old room number nine", "x" * 50 + " one  two", "ＡＢＣＤＥＦ ok"]
    ds = Recipe(normalize_whitespace(), normalize_unicode())(add_uids(Dataset.from_dict({"text": texts}), "t"))
    first = changes(ds, limit=1)
    assert [c["before"] for c in first] == [texts[1], texts[2]]

    @mapper
    def _either(text: str) -> str:
        return text.upper() if text.startswith("good") else text[:-3]

    both = changes(_either(add_uids(Dataset.from_dict({"text": texts[:2]}), "t")))
    assert [c["before"] for c in both] == texts[:2]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_card_counts_rows(part):
    ds = evil_rows()
    row = next(
        line for line in data_card(ds, "n", "classification", "en").splitlines() if line.startswith(f"| {part} ")
    )
    assert int(row.split("|")[2]) == ds["split"][:].count(part)
