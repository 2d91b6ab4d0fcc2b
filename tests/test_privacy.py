"""Personal data is found beside any script, hidden without moving a span, and gone from the records too."""

import time

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import normalize_unicode, normalize_whitespace
from dataset_tutor.core import DataError, add_uids, dropped, read_rows, records, unpack_trail, write_rows
from dataset_tutor.noise import filter_length
from dataset_tutor.privacy import FINDERS, _fake, chinese_id, drop_pii, find_pii, luhn, mask_pii, plant_pii
from tests.test_core import texts

VALUES = {
    "13812345678": "PHONE", "+86 138 1234 5678": "PHONE", "010-62345678": "PHONE", "(415) 555-2671": "PHONE",
    "wang.xm+lab@mail.example.com.cn": "EMAIL", "11010519491231002X": "ID_CARD", "6222 0212 3456 7894": "BANK_CARD",
    "4111111111111111": "BANK_CARD", "078-05-1121": "SSN", "192.168.0.17": "IP", "2001:db8::8a2e:370:7334": "IP",
    "京A·12345": "PLATE", "粤BD12345": "PLATE", "E12345678": "PASSPORT", "AKIAIOSFODNN7EXAMPLE": "SECRET",
}  # fmt: skip
CLEAN = [
    "2024-11-22", "2008年12月31日", "订单20081231123456", "1607 1107", "1299.00元", "版本1.2.3", "10:30:45", "@home",
    "a@b", "12345678901234567890", "110105194912310021", "4111111111111112", "京都A12345号线", "ISBN 9787302423287",
]  # fmt: skip


def found(text, **options):
    return [(text[s["start"] : s["end"]], s["label"]) for s in find_pii(text, **options)]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("around", ["{}", "请看{}谢谢", "see {} please", "（{}）", "“{}”。"])
def test_found_beside_any_script(value, around):
    assert found(around.format(value)) == [(value, VALUES[value])]


def test_full_width_and_context():
    assert found("手机１３８１２３４５６７８") == [("１３８１２３４５６７８", "PHONE")]
    assert found("密码：Tr0ub4dor3，别忘了") == [("Tr0ub4dor3", "SECRET")]
    assert found("https://x.org/?token=abcd1234&x=1") == [("abcd1234", "SECRET")]
    assert found("护照号码：G1234567") == [("G1234567", "PASSPORT")] and found("G1234567") == []


@pytest.mark.parametrize("text", CLEAN)
def test_left_alone(text):
    assert found(text) == [] and mask_pii(text) == text


def test_check_digits():
    assert chinese_id("11010519491231002X") and not chinese_id("110105194912310020")
    assert luhn("79927398713") and not luhn("79927398710")


@given(texts, st.sampled_from(list(VALUES)), texts)
def test_a_value_never_survives(before, value, after):
    text = f"{before} {value} {after}"
    for how in ("token", "stars", "hash", "fake"):
        assert value not in mask_pii(text, how=how, key="k") or value in before + after


@given(texts)
def test_places_are_in_order_and_apart(text):
    spans = find_pii(text)
    assert all(a["end"] <= b["start"] for a, b in zip(spans, spans[1:]))
    assert all(0 <= s["start"] < s["end"] <= len(text) for s in spans)


def test_fakes_are_consistent_and_nobodys():
    for value, kind in VALUES.items():
        fakes = {str(mask_pii(f"x {value} y", how="fake", key="k")) for _ in range(2)}
        assert len(fakes) == 1 and value not in fakes.pop()
        assert str(mask_pii(value, how="fake", key="a")) != str(mask_pii(value, how="fake", key="b"))
        if kind in ("ID_CARD", "BANK_CARD"):
            assert found(str(mask_pii(value, how="fake"))) == []


def rows():
    person = [dict(start=17, end=20, label="PER")]
    return add_uids(Dataset.from_dict({"text": ["  请打13812345678找 王小明", "好"], "spans": [person, []]}), "demo")


@pytest.mark.parametrize("stream", [False, True])
def test_spans_follow_and_no_record_remembers(tmp_path, stream):
    before = rows()
    person = before[0]["spans"][0]
    assert before[0]["text"][person["start"] : person["end"]] == "王小明"
    ds = normalize_unicode(before.to_iterable_dataset() if stream else before)
    back = read_rows(write_rows(mask_pii(ds, how="hash", key="s3cret"), tmp_path / "rows.parquet"))
    span = back[0]["spans"][0]
    assert back[0]["text"][span["start"] : span["end"]] == "王小明" and "<PHONE:" in back[0]["text"]
    assert [r.op for r in records(back)] == ["normalize_unicode", "mask_pii"]
    everything = back.info.description + str([(r.params, unpack_trail(r)) for r in records(back)])
    assert "13812345678" not in everything and "s3cret" not in everything


def test_a_stream_forgets_what_earlier_steps_saw(tmp_path):
    """Rows that were dropped or changed before the mask, as they are counted while the stream is read."""
    ds = add_uids(Dataset.from_dict({"text": ["  13812345678 ", "a@b.org", "good  film"]}), "demo")
    drop_short = filter_length(ds.to_iterable_dataset(), least=8)
    masked = normalize_whitespace(mask_pii(normalize_unicode(drop_short), how="fake", key="k"))
    back = read_rows(write_rows(masked, tmp_path / "rows.parquet"))
    for rows in (masked, back):
        said = rows.info.description + str([(r, unpack_trail(r)) for r in records(rows)])
        assert "13812345678" not in said and "a@b.org" not in said
        assert [(r.op, r.rows_in, r.dropped) for r in records(rows)] == [
            ("filter_length", 3, 1), ("normalize_unicode", 2, 0), ("mask_pii", 2, 0), ("normalize_whitespace", 2, 0)]
        assert records(rows)[2].changed == 1
    assert list(dropped(back)["reason"]) == list(dropped(drop_short)["reason"])


def test_records_of_earlier_steps_are_masked():
    ds = mask_pii(drop_pii(rows()), key="k")
    assert list(dropped(ds)["text"]) == ["  请打<PHONE>找 王小明"]
    assert dropped(ds)["reason"][0] == "holds personal data: PHONE"


def test_a_tagger_can_add_kinds():
    more = lambda t: [dict(start=t.index("王"), end=t.index("王") + 3, label="PER")]  # noqa: E731
    assert str(mask_pii("王小明13812345678", more=more)) == "<PER><PHONE>"


CJK_VALUES = ["王小明", "欧阳娜娜", "北京市海淀区中关村大街27号", "佐藤さくら", "김민수", "密码是春天",
              "Ｔｒ０ｕｂ４ｄｏｒ３", "пароль", "𠮷野家", "Anna Müller"]
LABELS = ["PER", "per", "PERSON", "NAME", "LOC", "GPE", "ADDRESS", "ORG", "MISC", "人名", *FINDERS]


@pytest.mark.parametrize("how", ["token", "stars", "hash", "fake"])
@pytest.mark.parametrize("label", LABELS)
def test_nothing_of_a_tagged_value_is_copied(how, label):
    """Of any script and any label; stars may keep two characters at each end of a long value, as they say."""
    for value in CJK_VALUES:
        more = lambda t: [dict(start=3, end=3 + len(value), label=label)]  # noqa: E731, B023
        hidden = str(mask_pii(f"联系人{value}。", how=how, key="k", kinds=[], more=more))
        assert hidden.startswith("联系人") and hidden.endswith("。") and value not in hidden
        left = hidden[3:-1] if how != "stars" or len(value) < 8 else hidden[5:-3]
        assert not {c for c in value if not c.isascii()} & set(left)
        assert not any(value[i : i + 4] in left for i in range(len(value) - 3))


def test_fakes_of_names_and_places_are_consistent_and_in_their_script():
    fakes, kinds = {}, {"王小明": "PER", "上海": "LOC", "Anna Smith": "PER", "Paris": "LOC", "联合国": "ORG"}
    for value, label in kinds.items():
        more = lambda t: [dict(start=0, end=len(value), label=label)]  # noqa: E731, B023
        one, two, other = (str(mask_pii(value, how="fake", key=k, more=more)) for k in ("k", "k", "other"))
        assert one == two and (one != other or label == "ORG")
        fakes[value] = one
    assert fakes["联合国"] == "<ORG>" and fakes["Anna Smith"].isascii() and fakes["Paris"].isascii()
    assert all("\u4e00" <= c <= "\u9fff" for c in fakes["王小明"] + fakes["上海"])
    assert len({_fake(f"{c}小明", "PER", "k") for c in "赵钱孙李周吴郑王冯陈"}) > 8


def test_refusals():
    with pytest.raises(DataError, match="token, stars, hash, fake"):
        mask_pii("x", how="blur")
    with pytest.raises(DataError, match="can be undone"):
        mask_pii("x", how="hash")
    with pytest.raises(DataError, match="EMAIL"):
        find_pii("x", kinds=["E-MAIL"])


@pytest.mark.parametrize("sample, lang", [("reviews-en", "en"), ("reviews-zh", "zh")])
def test_planted_truth(sample, lang):
    ds = plant_pii(load_sample(sample, rows=600, seed=9), rate=1.0, lang=lang, seed=9)
    assert ds.features["label"] == load_sample(sample, rows=1).features["label"]
    truth = {(r["uid"], s["start"], s["end"], s["label"]) for r in ds for s in r["planted"]}
    said = {(r["uid"], s["start"], s["end"], s["label"]) for r in ds for s in find_pii(r["text"])}
    assert len(truth) == 600 and 2 * len(truth & said) / (len(truth) + len(said)) > 0.95
    assert plant_pii(load_sample(sample, rows=600, seed=9), rate=1.0, lang=lang, seed=9)["text"][:] == ds["text"][:]


BAIT = ["a", "1", "@", "1 ", "1.", ":", "::1", "password=", "a@a.", "京A", "://a:", "+86", "\0"]


@pytest.mark.parametrize("bait", BAIT)
def test_hostile_texts_take_linear_time(bait):
    def seconds(n):
        began = time.process_time()
        find_pii(bait * (n // len(bait)))
        return time.process_time() - began

    few, many = seconds(50_000), seconds(400_000)
    assert many < 8 * 4 * max(few, 0.05)  # a quadratic finder would take 64 times as long


def test_every_kind_is_tried():
    assert set(VALUES.values()) == set(FINDERS)


def test_the_key_decides_the_hash_and_nothing_that_is_written_down():
    ds = add_uids(Dataset.from_dict({"text": ["mail ann@example.org", "nothing"]}), "t")
    one, two = (mask_pii(ds, how="hash", key=k * 20) for k in "ab")
    assert one["text"][0] != two["text"][0]
    assert records(one)[-1].id == records(two)[-1].id and records(one)[-1].params == {"how": "hash"}
    assert one._fingerprint != mask_pii(ds, how="hash", key="a" * 20)._fingerprint   # salted: no key can be tried on it
