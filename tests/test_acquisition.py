"""Real and damaged files in every format, and the samples with their cards."""

import csv
import gzip
import io
import json
import random
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.acquisition import SAMPLES, checklist, from_rows, load, load_sample, pick_keys, samples
from dataset_tutor.assets import ASSETS, cache_dir, fetch
from dataset_tutor.core import DataError, dropped, history, read_rows, records, unpack_trail, write_rows
from dataset_tutor.reading import (
    Rejects,
    detect_encoding,
    guess_format,
    open_source,
    read_conll,
    read_csv,
    read_jsonl,
    read_lines,
    sniff,
)
from dataset_tutor.tasks import get_task

CARDS = Path(__file__).parent.parent / "data"
ZH = ["房间很干净，服务也好", "早餐一般", "太吵了，睡不着", "性价比高", "下次还来"]


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    "Rejects and unpacked archives go to a folder of the test; fetched assets stay where they are"
    assets = cache_dir("assets")
    place = tmp_path_factory.mktemp("home")
    if assets.exists():
        (place / "assets").symlink_to(assets.resolve())
    monkeypatch.setenv("DATASET_TUTOR_HOME", str(place))
    return place


def make(path, data, encoding="utf-8"):
    path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
    return path


# --- encodings


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_chinese_csv_in_every_encoding(tmp_path, encoding, newline):
    rows = newline.join(["评论,情感"] + [f'"{t}",{i % 2}' for i, t in enumerate(ZH)]) + newline
    ds = load(make(tmp_path / "a.csv", rows.encode(encoding)), "classification")
    assert ds["text"][:] == ZH and ds["label"][:] == [0, 1, 0, 1, 0] and set(ds["lang"]) == {"zh"}
    assert records(ds)[0].params["encoding"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8"])
def test_western_text(tmp_path, encoding):
    text = ["El niño comió piñas en la montaña", "Où est la bibliothèque ?", "Grüße aus München"]
    ds = load(make(tmp_path / "a.txt", "\n".join(text), encoding))
    assert ds["text"][:] == text


def test_one_bad_byte_does_not_change_the_encoding(tmp_path):
    path = make(
        tmp_path / "a.csv", b"text,label\n" + "很好,1\n".encode() * 50 + b"\xff\xfe,0\n" + "坏,0\n".encode()
    )
    ds = load(path)
    assert len(ds) == 51
    assert dropped(ds)[["line", "reason"]].values.tolist() == [[52, "not utf-8"]]


@pytest.mark.parametrize("code", ["utf-8", "gb18030"])
def test_a_stray_nul_costs_at_most_its_line(tmp_path, code):
    data = ("text,label\n" + "".join(f"第{i}行很好,1\n" for i in range(200))).encode(code)
    for at in [*range(11, 60), len(data) // 2, len(data) // 2 + 1, len(data)]:
        ds = load(make(tmp_path / "a.csv", data[:at] + b"\0" + data[at:]))
        assert records(ds)[0].params["encoding"].startswith(code) and len(ds) >= 199
    for plain in (b"text,label\n" + b"good movie,1\n" * 20, b'[{"text": "' + b"a" * 99 + b'"}]'):
        found = {detect_encoding(plain[:i] + b"\0" + plain[i:]).name for i in range(len(plain))}
        assert found == {"utf-8"}


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("n", [1, 3, 200])
def test_utf16_without_a_mark_is_seen_with_few_nuls(order, n):
    "U+4E00 has a NUL in the other half, U+4E0A the byte of a line end; no byte of Cyrillic is above 127"
    for line in ["房间很干净，服务也好" * 9, "一个" * 20, "早上去上海，上午" * 20, "Доброе утро", "第3行，很好"]:
        assert detect_encoding(f"{line}\n".encode(order) * n).name == order
    assert detect_encoding("房间很干净, 早餐不错".encode(order)).name == order


def test_a_late_chinese_line_is_seen(tmp_path):
    path = make(tmp_path / "a.txt", b"ascii line\n" * 100_000 + "中文评论\n".encode("gb18030") * 9)
    assert detect_encoding(sniff(path)).name == "gb18030"


@given(st.binary(max_size=200))
def test_any_bytes_get_an_encoding(data):
    data.decode(detect_encoding(data).name, "replace")


@given(
    st.lists(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=4, max_size=40), min_size=3)
)
def test_utf8_chinese_is_always_utf8(lines):
    assert detect_encoding("\n".join(lines).encode()).name == "utf-8"


def test_an_encoding_can_be_told_and_must_exist(tmp_path):
    path = make(tmp_path / "a.txt", "é" * 5, "cp1252")
    assert load(path, encoding="cp1252")["text"][:] == ["ééééé"]
    with pytest.raises(DataError, match="no encoding is called"):
        load(path, encoding="utf-9")


# --- CSV


def read(data, reader=read_csv, encoding="utf-8", **options):
    with Rejects() as bad:
        rows = list(reader(io.BytesIO(data.encode() if isinstance(data, str) else data), encoding, bad.add, **options))
    return rows, bad.rows


@given(
    st.lists(
        st.lists(
            st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\ufeff"), max_size=20),
            min_size=2,
            max_size=2,
        ),
        max_size=20,
    )
)
@settings(deadline=None)
def test_what_csv_writes_is_read_back(rows):
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b"], *rows])
    got, bad = read(out.getvalue())
    assert bad == [] and [list(r.values()) for _, r in got] == rows


@given(
    st.lists(
        st.sampled_from(
            ["x,1", '"a,b",2', '"open,3', "too,many,4", 'mid"quote,5', "", '"two\nlines",6', '"bad"x,7', "few"]
        ),
        max_size=25,
    )
)
@pytest.mark.parametrize("delimiter", [",", "\t"])
@settings(deadline=None)
def test_every_line_is_either_a_row_or_a_reject(delimiter, records_):
    text = "\n".join(["t,n", *records_]).replace(",", delimiter) + "\n"
    got, bad = read(text, delimiter=delimiter)
    physical = [x for x in text.split("\n")[1:] if x.strip()]
    used = sum(1 + r["t"].count("\n") + r["n"].count("\n") for _, r in got)
    assert used + sum(len([x for x in b["raw"].split("\n") if x.strip()]) for b in bad) == len(physical)


def test_ragged_rows_and_broken_quotes():
    got, bad = read('text,n\na,1\nb\nc,2,3\n"d,4\ne,5\n"f" g,6\n"h ""q""",7\n')
    assert [r["text"] for _, r in got] == ["a", "e", 'h "q"']
    assert [b["line"] for b in bad] == [3, 4, 5, 7]


def test_a_runaway_quote_costs_one_line():
    lines = [f"row {i},{i}" for i in range(5_000)]
    lines[10] = '"row 10,10'
    got, bad = read("text,n\n" + "\n".join(lines))
    assert len(got) == 4_999 and [b["line"] for b in bad] == [12]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path, delimiter):
    path = make(tmp_path / "a.csv", f"text{delimiter}label\nhello there{delimiter}1\nbye{delimiter}0\n")
    assert load(path)["text"][:] == ["hello there", "bye"]


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_quotes_that_are_none_swallow_no_rows(tmp_path, delimiter):
    rows = [("text", "label"), ('"Great movie', "pos"), ("plain one", "neg"), ("plain two", "neg"),
            ('Bad movie"', "neg"), ("end", "pos")]
    path = make(tmp_path / "a.csv", "".join(delimiter.join(r) + "\n" for r in rows))
    ds = load(path)
    assert ds["text"][:] == [t for t, _ in rows[1:]] and ds["label"][:] == [1, 0, 0, 0, 1]


def test_real_quotes_hold_several_lines():
    out = io.StringIO(newline="")
    rows = [["a\nb", "1"], ["a, b\nc", "2"], ["a, b\nc, d\n\ne", "1"], ["Pro, 1\nContra, 1\nAll in all, 1", "1"],
            ["one, two\nthree, four\nfive, six\nseven", "3"], ['she said "no"\nand left', "1"]]
    csv.writer(out, lineterminator="\n").writerows([["t", "n"], *rows])
    assert [list(r.values()) for _, r in read(out.getvalue())[0]] == rows
    assert [r for _, r in read('t\n"a\nb\nc"\nd\n', delimiter="\t")[0]] == [{"t": "a\nb\nc"}, {"t": "d"}]
    tsv = 't\tn\n"a\nb"\t1\n1\t"c\n\nd"\n'
    everything = 't\tn\n"a\tb\nc"\t"1"\n'  # this writer quotes
    assert [list(r.values()) for _, r in read(everything, delimiter="\t")[0]] == [["a\tb\nc", "1"]]
    assert [list(r.values()) for _, r in read(tsv, delimiter="\t")[0]] == [["a\nb", "1"], ["1", "c\n\nd"]]


def test_quotes_can_be_switched_off(tmp_path):
    path = make(tmp_path / "a.csv", 'text,label\n"a,1\nb",1\n"c",0\n')
    ds = load(path, quotes=False)
    assert ds["text"][:] == ['"a', 'b"', '"c"'] and records(ds)[0].params["quotes"] is False
    assert load(path)["text"][:] == ["a,1\nb", "c"] and "quotes" not in records(load(path))[0].params
    assert [r["text"] for r in load(path, quotes=False, streaming=True)] == ['"a', 'b"', '"c"']


def test_a_quoted_field_may_be_long(tmp_path):
    text = "a, " * 70_000
    assert load(make(tmp_path / "a.csv", f'text,label\n"{text}",1\nb,0\n'))["text"][:] == [text, "b"]


def test_the_index_that_pandas_writes_is_left_out(tmp_path):
    import pandas as pd

    rows = pd.DataFrame({"text": ["a", "b, c", "d\ne", "f"], "label": ["x", "y", "x", "y"]})
    for part, name, sep in [(rows, "a.csv", ","), (rows[1:], "b.tsv", "\t")]:
        part.to_csv(tmp_path / name, sep=sep)
        ds = load(tmp_path / name)
        assert ds["text"][:] == part["text"].tolist() and ds.column_names[3:] == ["text", "label"]
        assert "index" in history(ds)[0].notes["left_out"]
        stream = load(tmp_path / name, streaming=True)
        assert [r["text"] for r in stream] == part["text"].tolist() and records(stream)[0].notes["left_out"]
    ds = load(make(tmp_path / "c.csv", ",text\n0,a\n1,b,c\n2,d\n"))
    assert ds["text"][:] == ["a", "d"] and len(dropped(ds)) == 1
    for i, wrong in enumerate([",text\n0,a\n2,b\n", ",text\nx,a\n", ",text\n1,a\n1,b\n", "text,\na,0\n"]):
        with pytest.raises(DataError, match="no name"):
            load(make(tmp_path / f"{i}.csv", wrong))


def test_headers_that_are_none(tmp_path):
    with pytest.raises(DataError, match="stands twice"):
        load(make(tmp_path / "a.csv", "a,a\n1,2\n"))
    with pytest.raises(DataError, match="columns="):
        load(make(tmp_path / "b.csv", "good,1\nbad,0\n"))
    ds = load(tmp_path / "b.csv", columns=["text", "label"])
    assert ds["text"][:] == ["good", "bad"]


# --- JSON


def test_bad_json_lines():
    lines = ['{"text": "a"}', "{", "[1]", "3", '"x"', '{"text": "\\ud800"}', "", '{"text": "\\u4f60"}', '{"text": NaN}']
    got, bad = read("\n".join(lines), read_jsonl)
    assert [no for no, _ in got] == [1, 8, 9]
    assert [b["line"] for b in bad] == [2, 3, 4, 5, 6] and "surrogate" in bad[-1]["reason"]


def test_json_keeps_long_numbers_and_line_separators():
    data = '{"text": "a\u2028b", "id": 123456789012345678901234567890}\n{"text": "😀"}\n'
    got, bad = read(data, read_jsonl)
    assert bad == [] and got[0][1] == {"text": "a\u2028b", "id": 123456789012345678901234567890}


@pytest.mark.parametrize(
    "value",
    [
        [{"text": "a", "label": 0}, {"text": "b", "label": 1}],
        {"data": [{"text": "a", "label": 0}, {"text": "b", "label": 1}]},
        {"text": ["a", "b"], "label": [0, 1]},
    ],
)
def test_json_arrangements(tmp_path, value):
    ds = load(make(tmp_path / "a.json", json.dumps(value)))
    assert ds["text"][:] == ["a", "b"]


def test_json_lines_named_json_and_broken_json(tmp_path):
    assert len(load(make(tmp_path / "a.json", '{"text": "a"}\n{"text": "b"}\n'))) == 2
    with pytest.raises(DataError, match="not valid JSON"):
        load(make(tmp_path / "b.json", '[{"text": "a"'))


# --- CoNLL


def test_conll_forms():
    got, bad = read(
        "-DOCSTART- -X- O\n\nEU NNP B-ORG\nsays VBZ O\n\n\n# text\n北\tX\tB-LOC\n京\tX\tI-LOC\n", read_conll
    )
    assert [r for _, r in got] == [
        {"tokens": ["EU", "says"], "tags": ["B-ORG", "O"]},
        {"tokens": ["北", "京"], "tags": ["B-LOC", "I-LOC"]},
    ]
    assert bad == []


def test_conll_comments_do_not_decide_the_width():
    got, bad = read("# id 1\n# text a b c d\nHello O\n\n# id 2\nx B-PER\ny O\n", read_conll)
    assert [r["tokens"] for _, r in got] == [["Hello"], ["x", "y"]] and not bad


def test_conll_rejects_a_sentence_with_a_broken_line():
    got, bad = read("a O\nb B-X\n\nc\n\nd O\n\ne O x\n", read_conll)
    assert [r["tokens"] for _, r in got] == [["a", "b"], ["d"]]
    assert [(b["line"], b["reason"]) for b in bad] == [(4, "1 columns, expected 2"), (8, "3 columns, expected 2")]


@pytest.mark.parametrize(
    ("tags", "scheme"), [("B-LOC I-LOC O", "BIO"), ("B-LOC E-LOC O", "BMES"), ("B-LOC E-LOC S-LOC", "BMES")]
)
def test_schemes(tmp_path, tags, scheme):
    lines = "\n".join(f"{c} {t}" for c, t in zip("北京市", tags.split()))
    ds = load(make(tmp_path / "a.bio", lines), "ner")
    assert ds[0]["text"] == "北京市" and ds[0]["spans"][0] == {"start": 0, "end": 2, "label": "LOC"}
    get_task("ner").validate(ds)


def test_repairs_are_in_the_record(tmp_path):
    ds = load(make(tmp_path / "a.bio", "北 O\n京 I-LOC\n"), "ner")
    (change,) = unpack_trail(records(ds)[0])["changed"]
    assert change["before"] == {"tags": "O I-LOC"} and "continues nothing" in change["note"]
    assert ds[0]["spans"] == [{"start": 1, "end": 2, "label": "LOC"}]


def test_a_tag_that_is_none_sets_the_sentence_aside(tmp_path):
    ds = load(make(tmp_path / "a.bio", "a O\nb B-X\n\nc Q-X\n\nd O\n"), "ner")
    assert len(ds) == 2 and "Q-X" in dropped(ds)["reason"][0]


def test_columns_choose_token_and_tag(tmp_path):
    ds = load(make(tmp_path / "a.conll", "1 EU B-ORG x\n2 says O x\n"), columns=(1, 2))
    assert ds[0]["text"] == "EU says" and ds[0]["spans"][0]["label"] == "ORG"


# --- places


def test_compressed_files(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps({"text": t}) for t in ZH).encode()))
    assert load(path)["text"][:] == ZH
    assert [r["text"] for r in load(path, streaming=True)] == ZH


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives(tmp_path, kind):
    files = {
        "data/train.csv": "text,label\na,1\nb,0\n",
        "data/test.csv": "text,label\nc,1\n",
        "README.md": "# no",
        "data/.x": "",
    }
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as z:
            for name, text in files.items():
                z.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz") as t:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                t.addfile(info, io.BytesIO(text.encode()))
    ds = load(path)
    assert sorted(zip(ds["text"], ds["split"])) == [("a", "train"), ("b", "train"), ("c", "test")]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_archive_that_climbs_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("../a.csv", "text\nx\n")
    with pytest.raises(DataError, match="outside the target folder"):
        load(tmp_path / "a.zip")


def test_folder_per_class(tmp_path):
    for part, label, name, text in [
        ("train", "好", "1", ZH[0]),
        ("train", "坏", "2", ZH[2]),
        ("test", "好", "3", ZH[3]),
    ]:
        folder = tmp_path / "d" / part / label
        folder.mkdir(parents=True, exist_ok=True)
        make(folder / f"{name}.txt", text, "gb18030")
    ds = load(tmp_path / "d", "classification")
    assert ds.features["label"].names == ["坏", "好"] or ds.features["label"].names == ["好", "坏"]
    assert sorted(ds["text"]) == sorted([ZH[0], ZH[2], ZH[3]]) and sorted(ds["split"]) == ["test", "train", "train"]


def test_saved_data_sets_and_our_parquet(tmp_path):
    ds = load(make(tmp_path / "a.csv", "text,label\na,1\nb,0\n,1\n"))
    ds.save_to_disk(str(tmp_path / "saved"))
    write_rows(ds, tmp_path / "a.parquet")
    for path in (tmp_path / "saved", tmp_path / "a.parquet"):
        again = load(path)
        assert again["uid"][:] == ds["uid"][:] and [r.op for r in history(again)] == ["load", "load"]


def test_a_dataset_dict_and_foreign_parquet(tmp_path):
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"content": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    part = Dataset.from_dict({"content": ["a", "b"], "label": [1, 0]}, features=features)
    DatasetDict(train=part, test=part).save_to_disk(str(tmp_path / "dd"))
    ds = load(tmp_path / "dd")
    assert ds.features["label"].names == ["neg", "pos"] and ds["label"][:] == [1, 0, 1, 0]
    assert ds["split"][:] == ["train", "train", "test", "test"]
    part.to_parquet(str(tmp_path / "a.parquet"))
    assert load(tmp_path / "a.parquet")["text"][:] == ["a", "b"]
    assert [r["text"] for r in load(tmp_path / "a.parquet", streaming=True)] == ["a", "b"]


@pytest.mark.parametrize("column", ["label", "sentiment", "Feeling"])
def test_class_names_are_kept(tmp_path, column):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), column: ClassLabel(names=["neg", "a pos"])})
    part = Dataset.from_dict({"text": ["a", "b", "c"], column: [1, 0, -1]}, features=features)
    part.to_parquet(str(tmp_path / "h.parquet"))
    part.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "folder").mkdir()
    part.to_parquet(str(tmp_path / "folder" / "train.parquet"))
    how = dict(label="Feeling") if column == "Feeling" else {}
    for source in (tmp_path / "h.parquet", tmp_path / "saved", tmp_path / "folder", part):
        ds = from_rows(part, **how) if source is part else load(source, **how)
        assert ds.features["label"].names == ["neg", "a pos"] and ds["label"][:] == [1, 0, None]
    stream = load(tmp_path / "h.parquet", streaming=True, **how)
    assert stream.features["label"].names == ["neg", "a pos"] and [r["label"] for r in stream] == [1, 0, None]
    named = load(tmp_path / "h.parquet", label_names={0: "bad", 1: "good", -1: None}, **how)
    assert named.features["label"].names == ["bad", "good"]


def test_the_hub_is_asked_only_by_its_prefix(monkeypatch):
    import datasets

    asked = []

    def fake(name):
        asked.append(name)
        if name == "gone":
            raise FileNotFoundError("no such data set")
        return datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ["a"], "label": [0]}))

    monkeypatch.setattr(datasets, "load_dataset", fake)
    assert load("hub:owner/name")["source"][:] == ["hub:owner/name"]
    with pytest.raises(DataError, match="cannot be loaded"):
        load("hub:gone")
    with pytest.raises(DataError, match="no file, folder or sample"):
        load("owner/name")
    assert asked == ["owner/name", "gone"]


# --- columns


@pytest.mark.parametrize(
    "header", ["text,label", "Review,Sentiment", "评论,情感", "内容,标签", "review_text,category", " Text , Label "]
)
def test_usual_names(tmp_path, header):
    ds = load(make(tmp_path / "a.csv", f"{header}\na b,1\nc d,0\n"), "classification")
    assert ds["text"][:] == ["a b", "c d"] and ds.features["label"].names == ["0", "1"]


def test_errors_name_the_column_and_the_fix(tmp_path):
    path = make(tmp_path / "a.csv", "id,content,comment,stars\n1,a,b,5\n")
    for how, match in [
        ({}, "could both be the text"),
        (dict(text="txt"), "column 'txt'"),
        (dict(text="content", task="classification"), "no column is the label"),
        (dict(task="nothing"), "no task is called"),
    ]:
        with pytest.raises(DataError, match=match) as e:
            load(path, **how)
        assert e.value.fix
    assert load(path, text="content", label="stars")["comment"][:] == ["b"]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("", "no rows"),
        ("text,label\n", "no rows"),
        ("\n\n", "no rows"),
        ("text,score\n" + "".join(f"t{i},{i / 1000}\n" for i in range(200)), "no classes"),
    ],
)
def test_files_that_cannot_work(tmp_path, data, match):
    with pytest.raises(DataError, match=match):
        load(make(tmp_path / "a.csv", data), label="score" if "score" in data else None)


def test_missing_things_and_near_names(tmp_path):
    make(tmp_path / "reviews.csv", "text\na\n")
    with pytest.raises(DataError, match=r"did you mean 'reviews.csv'"):
        load(tmp_path / "reviws.csv")
    with pytest.raises(DataError, match="did you mean 'ner-zh'"):
        load("nerzh")
    with pytest.raises(DataError, match="Excel"):
        load(make(tmp_path / "a.xlsx", b"PK\3\4"))
    with pytest.raises(DataError, match="unknown kind"):
        load(make(tmp_path / "a.png", b"PNG"))


def test_mostly_unreadable_is_an_error(tmp_path):
    path = make(tmp_path / "a.csv", "text,label\n" + "a,b,c\n" * 9 + "d,1\n")
    with pytest.raises(DataError, match="9 of 10 rows"):
        load(path)
    assert len(load(path, max_rejects=1)) == 1


def test_missing_values_stay(tmp_path):
    ds = load(
        make(
            tmp_path / "a.jsonl",
            '{"text": null, "label": 1}\n{"text": "", "label": null}\n{"text": "a", "label": ""}\n',
        )
    )
    assert ds["text"][:] == [None, "", "a"] and ds["label"][:] == [0, None, None]


def test_rejects_are_on_disk_and_nothing_is_beside_the_input(tmp_path, home):
    path = make(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": 5}\nbroken\n{"text": "b"}\n')
    ds = load(path)
    (file,) = (home / "rejects").iterdir()
    assert [json.loads(x)["line"] for x in file.read_text().splitlines()] == [3, 2]
    assert sorted(dropped(ds)["line"]) == [2, 3] and [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    load(path, rejects=tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl").exists()


def test_span_formats(tmp_path):
    forms = [
        {"spans": [{"start": 0, "end": 2, "label": "PER"}]},
        {"label": [[0, 2, "PER"]]},
        {"entities": [{"start_offset": 0, "end_offset": 2, "type": "PER"}]},
    ]
    for i, form in enumerate(forms):
        ds = load(make(tmp_path / f"{i}.jsonl", json.dumps({"text": "张三来了"} | form)), "ner")
        assert ds[0]["spans"] == [{"start": 0, "end": 2, "label": "PER"}]
    ds = load(
        make(
            tmp_path / "bad.jsonl",
            "\n".join(
                json.dumps({"text": "张三", "spans": s})
                for s in (
                    [],
                    [{"start": 0, "end": 9, "label": "X"}],
                    [{"start": "a", "end": 1, "label": "X"}],
                    [[0, 1, "X"]],
                )
            ),
        )
    )
    assert len(ds) == 2 and len(dropped(ds)) == 2


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("pairs", {"sentence1": "a", "sentence2": "b", "label": 1}),
        ("translation", {"source_text": "a", "译文": "甲"}),
        ("summarization", {"article": "long text", "summary": "short"}),
        ("qa", {"context": "in Paris", "question": "where?", "answers": {"text": ["Paris"], "answer_start": [3]}}),
        ("dialogue", {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}),
        (
            "relations",
            {
                "text": "A met B",
                "spans": [[0, 1, "P"], [6, 7, "P"]],
                "relations": [{"head": 0, "tail": 1, "label": "met"}],
            },
        ),
    ],
)
def test_every_task_can_be_loaded(tmp_path, task, row):
    ds = load(make(tmp_path / "a.jsonl", json.dumps(row)), task)
    get_task(task).validate(ds)


def test_uids_are_stable_and_their_own(tmp_path):
    a = load(make(tmp_path / "a.csv", "text\nx\nx\n"))
    b = load(make(tmp_path / "a.csv", "text\nx\nx\ny\n"))
    assert a["uid"][:] == b["uid"][:2] and len(set(b["uid"])) == 3
    with pytest.raises(DataError, match="same uid"):
        load(make(tmp_path / "b.csv", "uid,text\n1,a\n1,b\n"))


def test_label_false_leaves_the_column_aside(tmp_path):
    path = make(tmp_path / "l.csv", "text,label\n" + "".join(f"t{i},{i / 7}\n" for i in range(40)))
    with pytest.raises(DataError, match="label=False"):
        load(path)
    for ds in (load(path, label=False), load(path, label=False, streaming=True).take(1)):
        assert list(ds.features) == ["uid", "lang", "source", "text", "label_original"]
    ds = from_rows([{"text": "a", "spans": [[0, 1, "X"]], "label": "x"}], task="ner")
    assert ds["label"][:] == ["x"] and ds[0]["spans"][0]["label"] == "X"


def test_unknown_options_and_formats_are_refused_by_name(tmp_path):
    path = make(tmp_path / "l.csv", "text,label\na,b\n")
    for how, match in [(dict(lable="label"), "did you mean 'label'"), (dict(delimeter=";"), "did you mean 'delimiter'"),
                       (dict(format="excel"), "no format is called 'excel'")]:
        with pytest.raises(DataError, match=match) as e:
            load(path, **how)
        assert "label" in e.value.fix or "csv" in e.value.fix
    with pytest.raises(DataError, match="did you mean 'label'"):
        from_rows([{"text": "a"}], lable="label")
    write_rows(load(path), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="no option 'lable'"):
        load(tmp_path / "own.parquet", lable="label")


def test_announced_classes_are_not_doubted():
    names = [f"intent {i}" for i in range(30)]
    rows = [{"text": n, "label": n} for n in names]
    assert from_rows(rows, label_names=names).features["label"].names == names
    with pytest.raises(DataError, match="no classes"):
        from_rows(rows)


def test_ids_and_sources_become_text():
    rows = [dict(uid=7, text="a"), dict(uid=0, text="b", source=5, lang="en"), dict(uid=8.0, text="c"), dict(text="d")]
    for ds in (from_rows(rows, 3), from_rows([*rows, dict(text="e", spans=[])], 3)):
        assert ds["uid"][:3] == ["7", "0", "8"] and ds["source"][:4] == ["3", "5", "3", "3"]
    stream = from_rows(lambda: iter(rows), 3, streaming=True)
    assert [r["uid"] for r in stream][:3] == ["7", "0", "8"]


# --- tables and missing cells


def test_tables_are_taken_as_tables():
    import pandas as pd
    from datasets import DatasetDict

    columns = {"text": ["a", "b"], "label": ["x", "y"], "n": [1, 2]}
    frame = pd.DataFrame(columns, index=[7, 9])
    for rows in (columns, {k: tuple(v) for k, v in columns.items()}, frame, dict(frame)):
        ds = from_rows(rows)
        assert ds["text"][:] == ["a", "b"] and ds["n"][:] == [1, 2] and ds["label"][:] == [0, 1]
    assert [r["text"] for r in from_rows(lambda: frame, streaming=True)] == ["a", "b"]
    assert from_rows(frame["text"])["text"][:] == ["a", "b"]
    marked = from_rows([dict(text="Ann met Bob", spans=[[0, 3, "PER"], [8, 11, "PER"]])])
    again = from_rows(marked.to_pandas())
    assert again.to_list() == marked.to_list() and "spans" in again.features
    for wrong in (dict(text="a", label="b"), {}, "text", {"text": ["a"], "label": []}, [("a", 1)], [5],
                  pd.DataFrame([["a", "b"]], columns=["text", "text"]), DatasetDict(train=ds)):
        with pytest.raises(DataError):
            from_rows(wrong)


def test_what_pandas_marks_as_missing_is_missing():
    import pandas as pd

    frame = pd.DataFrame({"text": ["a", None, "c", float("nan")], "label": ["x", float("nan"), "y", pd.NA],
                          "day": pd.to_datetime(["2024-05-01", None, None, "2024-05-02"]),
                          "stars": [1.0, float("nan"), 3.5, None], "n": pd.array([1, None, 3, 4], dtype="Int64"),
                          "note": ["p", float("nan"), pd.NaT, 4]})
    for rows in (frame, frame.to_dict("records")):
        ds = from_rows(rows)
        assert ds["text"][:] == ["a", None, "c", None] and ds["label"][:] == [0, None, 1, None]
        assert [x is None for x in ds["day"]] == [False, True, True, False]
        assert ds["stars"][:] == [1.0, None, 3.5, None] and ds["n"][:] == [1, None, 3, 4]
        assert ds["note"][:] == ['"p"', None, None, "4"] and len(dropped(ds)) == 0
    assert from_rows([dict(uid=float("nan"), text="a", spans=float("nan"))])[0]["spans"] in (None, [])


# --- roles that nobody asked for


@pytest.mark.parametrize("name, values", [
    ("entity", ["Apple", ""]), ("answer", ["yes", "no"]), ("conversation", ["A: hi", "B: ho"]),
    ("relations", ["parent", "child"]), ("spans", ["a", "b"]), ("target", [1, 0]), ("entities", [["Apple"], []]),
])
def test_a_guessed_role_that_does_not_fit_drops_nothing(tmp_path, name, values):
    rows = [dict(text="Apple rises", label="pos"), dict(text="BP falls", label="neg")]
    rows = [r | {name: v} for r, v in zip(rows, values)]
    path = make(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    for ds in (load(path), from_rows(rows)):
        kept = name if name in ds.column_names else f"{name}_original"
        assert ds["text"][:] == ["Apple rises", "BP falls"] and ds[kept][:] == values and len(dropped(ds)) == 0
        assert list(history(ds)[0].notes["no_role"]) == [name]
    assert [r[kept] for r in load(path, streaming=True)] == values
    if name == "entity":
        ds = load(make(tmp_path / "a.csv", "text,label,entity\nApple rises,pos,Apple\nBP falls,neg,\n"))
        assert ds["label"][:] == [1, 0] and ds["entity"][:] == ["Apple", ""]
        with pytest.raises(DataError, match="cannot be read"):
            load(path, spans="entity", max_rejects=0)  # what is asked for must fit


def test_spans_of_label_studio_and_empty_lists_of_doccano(tmp_path):
    mini = [dict(id=1, text="Ann met Bob", label=[dict(start=0, end=3, text="Ann", labels=["PER"]),
                                                  dict(start=8, end=11, text="Bob", labels=["PER", "MAN"])]),
            dict(id=2, text="nobody", label=[])]
    ds = load(make(tmp_path / "mini.json", json.dumps(mini)))
    assert [(s["start"], s["label"]) for s in ds[0]["spans"]] == [(0, "PER"), (8, "PER"), (8, "MAN")]
    assert ds[1]["spans"] == []
    lines = "\n".join(json.dumps(dict(text=t, label=x)) for t, x in [("a", ["pos"]), ("b", []), ("c", ["neg"])])
    ds = load(make(tmp_path / "doccano.jsonl", lines))
    assert ds["label"][:] == [1, None, 0] and len(dropped(ds)) == 0


# --- streams


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt", "a.bio", "a.parquet"])
def test_a_stream_has_the_rows_of_the_table(tmp_path, name):
    path, rng = tmp_path / name, random.Random(0)
    texts = ["".join(rng.choices("好坏房间早餐,服务", k=9)) for _ in range(12_000)]
    if name == "a.csv":
        make(path, "text,label\n" + "".join(f'"{t}",{i % 3}\n' for i, t in enumerate(texts)) + "ragged\n")
    elif name == "a.jsonl":
        make(path, "".join(json.dumps({"text": t, "label": i % 3}) + "\n" for i, t in enumerate(texts)) + "{bad\n")
    elif name == "a.txt":
        make(path, "\n".join(texts))
    elif name == "a.bio":
        make(path, "\n\n".join("\n".join(f"{c} O" for c in t) for t in texts))
    else:
        write_rows(from_rows([{"text": t, "label": i % 3} for i, t in enumerate(texts)]), path)
    classes = None if name in ("a.txt", "a.bio") else [0, 1, 2]
    stream, table = load(path, streaming=True, label_names=classes), load(path, label_names=classes)
    rows = [row for batch in stream.iter(1_000) for row in zip(*batch.values())]
    assert len(rows) == len(table) == 12_000
    names = list(stream.features)
    assert names == table.column_names
    assert [r[names.index("uid")] for r in rows] == table["uid"][:]
    assert [r[names.index("text")] for r in rows] == table["text"][:]
    assert list(stream.take(3)) == list(stream.take(3))


def test_stream_rejects_come_as_it_is_read(tmp_path):
    path = make(
        tmp_path / "a.jsonl",
        "".join(json.dumps({"text": f"t{i}", "label": "x" if i != 9_000 else "y"}) + "\n" for i in range(10_000))
        + "{bad\n",
    )
    stream = load(path, streaming=True, label_names=["x"], rejects=tmp_path / "r.jsonl")
    assert sum(1 for _ in stream) == 9_999
    assert [json.loads(x)["line"] for x in (tmp_path / "r.jsonl").read_text().splitlines()] == [9_001, 10_001]


def test_a_stream_bends_types_that_change_late(tmp_path):
    rows = [{"text": "a", "n": 1, "s": "x"}] * 6_000 + [{"text": "b", "n": "two", "s": 3}]
    path = make(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    last = list(load(path, streaming=True, rejects=tmp_path / "r.jsonl"))[-1]
    assert (last["n"], last["s"]) == (None, "3") and "int64" in (tmp_path / "r.jsonl").read_text()


def test_a_stream_goes_through_steps_and_to_disk(tmp_path):
    path = make(
        tmp_path / "a.jsonl", "".join(json.dumps({"text": f"t{i}", "label": i % 2}) + "\n" for i in range(7_000))
    )
    write_rows(load(path, streaming=True, label_names=[0, 1]), tmp_path / "out.parquet")
    out = read_rows(tmp_path / "out.parquet")
    assert len(out) == 7_000 and out.features["label"].names == ["0", "1"] and records(out)[0].op == "load"


def test_memory_is_bounded(tmp_path):
    import tracemalloc

    line = json.dumps({"text": "x" * 2_000}) + "\n"
    path = tmp_path / "big.jsonl"
    with path.open("w") as f:
        f.writelines(line for _ in range(60_000))
    stream = load(path, streaming=True)
    tracemalloc.start()
    n = sum(len(b["uid"]) for b in stream.with_format("arrow").iter(5_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 60_000 and peak < 60e6 < path.stat().st_size


def test_from_rows_takes_one_row_at_a_time():
    seen = []

    def rows():
        for i in range(20_000):
            seen.append(i)
            yield {"text": f"t{i}"}

    assert next(iter(from_rows(rows, "s", streaming=True)))["text"] == "t0"
    assert len(seen) <= 10_000
    assert from_rows(["a", "b"])["text"][:] == ["a", "b"]


# --- helpers


def test_formats_by_name():
    names = {
        "a.CSV": "csv",
        "a.tsv": "tsv",
        "a.jsonl.gz": "jsonl",
        "a.pq": "parquet",
        "a.bmes": "conll",
        "a": "text",
        "a.exe": None,
    }
    assert {n: guess_format(n) for n in names} == names


@given(st.binary(max_size=300), st.sampled_from(["utf-8", "gb18030", "cp1252", "utf-16-le"]))
def test_lines_are_numbered_without_gaps(data, encoding):
    numbers = [no for no, _, _ in read_lines(io.BytesIO(data), encoding)]
    assert numbers == list(range(1, len(numbers) + 1))


@given(st.sets(st.text(max_size=8), min_size=1), st.integers(1, 20), st.integers(0, 3))
def test_smaller_samples_are_parts_of_larger_ones(keys, n, seed):
    keys = sorted(keys)
    small, large = pick_keys(keys, n, seed) or set(keys), pick_keys(keys, n + 3, seed) or set(keys)
    assert small <= large and len(small) == min(n, len(keys))


def test_checklist():
    ds = from_rows([{"text": "mail me@x.org or 13812345678", "label": "a"}, {"text": "x", "label": "b"}], "s")
    todo = checklist(ds, licence="CC0", purpose="p")
    assert todo.counted["rows that look like personal data"] == {"e-mail address": 1, "phone number": 1}
    assert "consent" in todo.open and "licence" not in todo.open and "[ ] consent" in repr(todo)
    front = yaml.safe_load(todo.card("x").split("---")[1])
    assert front == {"language": ["en"], "license": "CC0", "size_categories": ["n<1K"]}
    with pytest.raises(DataError, match="no question"):
        checklist(ds, licens="x")


# --- samples (fetched before the tests run)


def test_samples_and_cards_agree():
    assert sorted(p.stem for p in CARDS.glob("*.md") if p.stem != "README") == sorted(SAMPLES)
    for s in SAMPLES.values():
        text = (CARDS / f"{s.name}.md").read_text(encoding="utf-8")
        front, asset = yaml.safe_load(text.split("---")[1]), ASSETS[s.asset]
        assert (
            front["archive"] == asset.requirement and front["sha256"] == asset.sha256 and front["bytes"] == asset.size
        )
        assert front["licence_stated"] == asset.licence and front["rows"] == s.rows and front["language"] == [s.lang]
        assert re.search("(?m)^## Known defects", text) and re.search("(?m)^## Licence", text)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_load(name):
    fetch(SAMPLES[name].asset)
    ds = load(name, rows=300, seed=1)
    assert len(ds) == 300 and ds["uid"][:] == load_sample(name, 300, seed=1)["uid"][:]
    assert set(load_sample(name, 100, seed=1)["uid"]) < set(ds["uid"]) != set(load_sample(name, 300, seed=2)["uid"])
    assert records(ds)[0].params["sha256"] == ASSETS[SAMPLES[name].asset].sha256
    assert get_task(SAMPLES[name].task).problems(ds.filter(lambda r: r.get("label", 0) is not None)) == []
    assert samples().set_index("name").loc[name, "fetched"]


def test_sample_options():
    tweets = load_sample("reviews-en", 50, genre="tweet")
    assert set(tweets["genre"]) == {"tweet"}
    assert {s["label"] for row in load_sample("ner-en", merge=True)["spans"] for s in row} == {"PER", "LOC", "OTHER"}
    assert set(load_sample("ner-zh", 50, part="test")["part"]) == {"test"}
    sure = load_sample("reviews-en", margin=2.0)
    assert all((label is None) == (abs(score) <= 2) for label, score in zip(sure["label"], sure["score"]))
    for bad in (dict(genre="x"), dict(nothing=1), dict(rows=0)):
        with pytest.raises(DataError):
            load_sample("reviews-en", **bad)


def test_crowd_means_come_from_the_ratings():
    rows = load_sample("crowd-en", genre="product")
    assert all(abs(sum(r) / len(r) - s) < 1e-4 for r, s in zip(rows["ratings"], rows["score"]))


def test_open_source_records_its_reasons(tmp_path):
    source = open_source(make(tmp_path / "a.csv", "评论;情感\n好;1\n", "gb18030"))
    assert (source.format, source.delimiter, source.encoding.name) == ("csv", ";", "gb18030") and source.encoding.why
