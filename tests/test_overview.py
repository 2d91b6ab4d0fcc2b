"""One page, whatever the rows hold: nothing in it runs, every number is a count, what is written can be read back."""
import io
import re
import stat
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_visualization import faint

from dataset_tutor import language
from dataset_tutor import overview as page
from dataset_tutor.core import DataError

HOSTILE = ['"><script>alert(1)</script>', "</style><img src=x onerror=alert(1)>", "$\\frac{1}{0}$",
           "负面\n\x00\u202egnp", "\x1b[31mred\x1b[0m", "字" * 1_000_000, "😀🔥 e\u0301", "=cmd|' /C c'!A0", "",
           None]


def hostile():
    span = [dict(start=0, end=1, label='<b onclick="x">')]
    return Dataset.from_dict({"text": HOSTILE, "label": HOSTILE[::-1], "split": ["<i>train</i>"] * 5 + ["test"] * 5,
                              "<u>column</u>": HOSTILE, "spans": [span if t else [] for t in HOSTILE]})


def reviews():
    ds = Dataset.from_dict(dict(uid=list("abcdef"), lang=["en"] * 4 + ["zh"] * 2, label=[0, 1, 0, 0, -1, 1],
                                text=["good film", "good film", "bad film <br>", "very bad film", None, "很好看的电影"],
                                split=["train"] * 4 + ["test"] * 2))
    return ds.cast_column("label", ClassLabel(names=["no", "yes"]))


class Tags(HTMLParser):
    "The tags and attributes of a page, and whether they are nested rightly"
    def __init__(self, text):
        super().__init__()
        self.tags, self.attrs, self.open = set(), set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attrs |= {k for k, _ in attrs}
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_nothing_in_the_page_of_hostile_rows_runs(tmp_path):
    o = page.overview(hostile(), name="<script>x</script>")
    text = o._repr_html_()
    found = Tags(text)
    assert found.tags <= {"div", "p", "b", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "span"}
    assert found.attrs == {"style", "class"} and len(text) < 100_000
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", text + repr(o).replace("\n", ""))
    whole = page.save_picture(o, tmp_path / "o.html").read_text(encoding="utf-8")
    assert Tags(whole).tags.isdisjoint({"script", "img", "iframe", "link"}) and "default-src 'none'" in whole


@pytest.mark.parametrize("ds", [hostile(), reviews(), Dataset.from_dict({"text": ["a"]}),
                                Dataset.from_dict({"text": [None]}),
                                reviews().remove_columns(["label", "split", "lang", "uid"])])
def test_the_figure_draws_in_full(ds):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = page.overview(ds).figure()
        png = fig._repr_png_()
    assert not faint(fig), "a text that does not stand out"
    ink = np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 200
    assert 0.001 < ink.mean() < 0.7 and not ink[:, -2:].any() and not ink[:2].any()


def test_every_number_is_a_count():
    o = page.overview(reviews())
    assert o.rows == 6 and dict(zip(o.columns["column"], o.columns["missing"]))["text"] == 1
    assert o.classes.loc["no"].to_dict() == {"train": 3, "test": 0} and o.classes.loc["(no label)", "test"] == 1
    assert o.scripts == {"en": 4, "zh": 2} and o.copies["rows"] == 2 and o.copies["contradicting"] == 1
    assert dict(zip(o.marks["mark"], o.marks["rows"])) == {"HTML tag": 1}
    assert o.words.iloc[0][["word", "rows"]].tolist() == ["film", 4]
    assert o.worst["why"][0] == "no text, no label" and "the same text as no and yes" in set(o.worst["why"])
    assert o.headline.startswith("6 rows, 2 classes; ") and o.headline in repr(o)


def test_bars_are_shares_of_all_rows_and_no_panel_is_empty():
    ds = Dataset.from_dict({"text": [f"a text of its own, number {i}" for i in range(200)],
                            "label": ["x"] * 150 + ["y"] * 48 + [None] * 2})
    panels = {ax.get_title(loc="left"): [p.get_width() for p in ax.patches] for ax in page.overview(ds).figure().axes}
    assert panels["missing values, of 2 columns"] == [0.01] and panels["rows of each class"] == [0.75, 0.24, 0.01]
    full = page.overview(ds.select(range(150))).figure()
    assert not any("missing" in ax.get_title(loc="left") for ax in full.axes)


def test_no_rows_at_all():
    o = page.overview(Dataset.from_dict({"text": [], "label": []}, features=Features(text=Value("string"),
                                                                                    label=Value("string"))))
    assert o.rows == 0 and Tags(o._repr_html_())


def test_without_texts_the_error_says_which_columns_there_are():
    with pytest.raises(DataError, match="the data has body"):
        page.overview(Dataset.from_dict({"body": ["a"]}))


def test_without_the_extra_the_page_says_that_words_are_missing(monkeypatch):
    def absent(*_):
        raise DataError("stopwordsiso is not installed", fix='pip install "dataset-tutor[clean]"')
    monkeypatch.setattr(page, "stop_words", absent)
    o = page.overview(reviews())
    assert len(o.words) == 0 and "dataset-tutor[clean]" in " ".join(o.notes)
    assert "dataset-tutor[clean]" in o._repr_html_()
    assert o.figure().alt and language.stop_words("en")


def test_a_sample_is_said_and_repeats():
    ds = Dataset.from_dict({"text": [f"row {i} of these" for i in range(50)]})
    a, b = (page.overview(ds, most=20, seed=3) for _ in range(2))
    assert "among 20 rows" in a.notes[0] and a._repr_html_() == b._repr_html_() and a.rows == 50


@pytest.mark.parametrize("text, mark", [
    ("a <br/> b", "HTML tag"), ("R&amp;D", "HTML entity"), ("see www.x.org", "web address"),
    ("a.b@c.org", "e-mail address"),
    ("ask @anna", "user name"), ("好😀", "emoji"), ("a\nb", "line break"), ("a\u200bb", "hidden character"),
    ("a\ufffd", "lost character (\ufffd)"), ("１２", "wide letters"), ("!!!!!", "sign five times"),
    ("caf\u00c3\u00a9", "wrong encoding")])
def test_marks(text, mark):
    assert mark in page.mark_table([text])["mark"].tolist()


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=8))
def test_tables_take_any_text(texts):
    ds = Dataset.from_dict({"text": texts}, features=Features(text=Value("string")))
    assert page.column_table(ds)["missing"][0] == sum(t is None or not t.strip() for t in texts)
    assert len(page.worst_rows(ds)) <= len(set(texts)) and (page.mark_table(texts)["rows"] <= len(texts)).all()


def test_marks_of_a_long_text_take_no_time():
    for sign in ("<" * 1_000_000, "a@" * 500_000, "&" + "a" * 1_000_000, "!" * 1_000_000, "a." * 500_000 + "@"):
        page.mark_table([sign])  # a pattern that goes back and forth would not end


def test_missing_values_of_every_kind():
    ds = Dataset.from_dict({"n": [1.0, float("nan"), None], "t": ["a", " \n", None], "l": [["x"], [], None]})
    assert page.column_table(ds)["missing"].tolist() == [2, 2, 2]
    assert page.column_table(ds)["type"].tolist() == ["number", "text", "list"]


def test_pictures_are_written_in_each_format_and_only_in_those(tmp_path):
    fig = page.overview(reviews()).figure()
    assert page.save_picture(fig, tmp_path / "a" / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert b"<svg" in page.save_picture(fig, tmp_path / "x.svg").read_bytes()
    assert "data:image/svg+xml" in page.save_picture(fig, tmp_path / "x.HTML").read_text(encoding="utf-8")
    assert stat.S_IMODE((tmp_path / "x.svg").stat().st_mode) == 0o644
    with pytest.raises(DataError, match="use .png, .svg or .html"):
        page.save_picture(fig, tmp_path / "x.pdf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "x.HTML", "x.svg"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_come_back_as_they_were(tmp_path, kind):
    ds = Dataset.from_dict(dict(uid=["a", "b"], text=["北京, \"big\"\nAnn", "x"], tags=[["p", "q"], []], n=[1.5, None],
                                spans=[[dict(start=0, end=2, label="LOC")], []], more=[dict(k=1), dict(k=2)]))
    done = page.export_tables(ds, tmp_path, kind=kind, about={"n": "a number"})
    read = pd.read_csv if kind == "csv" else pd.read_parquet
    rows, spans, tags = (read(tmp_path / f"{n}.{kind}") for n in ("rows", "spans", "tags"))
    assert rows["text"].tolist() == ds["text"][:] and rows["more.k"].tolist() == [1, 2] and np.isnan(rows["n"][1])
    assert spans[["uid", "mention", "label"]].to_numpy().tolist() == [["a", "北京", "LOC"]]
    assert tags.to_numpy().tolist() == [["a", "p"], ["a", "q"]]
    about = read(tmp_path / f"dictionary.{kind}").set_index(["table", "column"])
    assert about.loc[("rows", "n"), "meaning"] == "a number" and about.loc[("rows", "n"), "missing"] == 1
    assert set(done.files["file"]) == {p.name for p in tmp_path.iterdir()} and (done.files["rows"] > 0).all()


def test_csv_opens_in_excel_with_chinese_and_classes_by_name(tmp_path):
    page.export_tables(reviews(), tmp_path)
    raw = (tmp_path / "rows.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf") and b"\r\n" in raw and "很好看的电影".encode() in raw
    assert pd.read_csv(tmp_path / "rows.csv")["label"].tolist()[:2] == ["no", "yes"]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6), st.sampled_from("=+-@\t\r"))
def test_defused_cells_are_no_formulas_and_all_else_stays(tmp_path_factory, texts, sign):
    texts, folder = [sign + texts[0], *texts], tmp_path_factory.mktemp("csv")
    plain = page.export_tables(Dataset.from_dict({"text": texts}), folder / "plain", kind="both")
    done = page.export_tables(Dataset.from_dict({"text": texts}), folder / "safe", defuse=True)
    assert done.formulas == plain.formulas >= 1 and f"{done.formulas:,} cells" in done.notes[0]
    how = dict(keep_default_na=False, na_filter=False, lineterminator=None)
    for name in ("rows", "dictionary"):
        cells = pd.read_csv(folder / "safe" / f"{name}.csv", dtype=str, **how).to_numpy().ravel()
        assert not any(page._formula(c) for c in cells)
    assert pd.read_parquet(folder / "plain" / "rows.parquet")["text"].tolist() == texts


def test_numbers_are_not_defused_and_names_of_columns_are(tmp_path):
    page.export_tables(Dataset.from_dict({"=a": ["=1"], "n": [-1.5]}), tmp_path, defuse=True)
    table = pd.read_csv(tmp_path / "rows.csv")
    assert list(table.columns) == ["uid", "'=a", "n"] and table["n"][0] == -1.5 and table["'=a"][0] == "'=1"


def test_names_of_columns_make_no_path(tmp_path):
    page.export_tables(Dataset.from_dict({"text": ["a"], "../../up": [["x"]]}), tmp_path / "in")
    assert [p.name for p in tmp_path.iterdir()] == ["in"] and (tmp_path / "in" / ".._.._up.csv").exists()


@pytest.mark.parametrize("how, said", [(dict(kind="xlsx"), 'kind="csv", "parquet" or "both"'),
                                       (dict(about={"nothing": "x"}), "column that is not there")])
def test_errors_of_the_export(tmp_path, how, said):
    with pytest.raises(DataError, match=re.escape(said)):
        page.export_tables(reviews(), tmp_path, **how)
    assert not list(tmp_path.iterdir())


def test_limits_of_spreadsheets_are_said(tmp_path):
    done = page.export_tables(Dataset.from_dict({"text": ["a" * 40_000]}), tmp_path)
    assert "32,767" in done.notes[0] and "rows.csv" in repr(done) and "32,767" in done._repr_html_()


def test_multi_label_lists_of_classes_are_named(tmp_path):
    ds = Dataset.from_dict({"labels": [[0, 1]]}, features=Features({"labels": List(ClassLabel(names=["价格", "b"]))}))
    page.export_tables(ds, tmp_path)
    assert pd.read_csv(tmp_path / "labels.csv")["value"].tolist() == ["价格", "b"]
