"""Markup and other noise goes, everything else stays, spans stay on their text, and no text takes forever."""

import time

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import Recipe, normalize_whitespace
from dataset_tutor.core import DataError, add_uids, dropped, story
from dataset_tutor.noise import (
    DIRT,
    clean_html,
    convert_chinese,
    corrupt,
    filter_length,
    filter_noise,
    replace_links,
    squeeze_repeats,
    web,
)
from dataset_tutor.recipes import CATALOGUE
from tests.test_core import texts

KEPT = ["x < 3 and y > 1", "<PHONE>", "<王小明>", "a <- b", "if (a<b && c>d)", "&nosuch;", "AT&T", "1 &lt 2", "<3"]
HTML = {
    "<p>a<br>b</p>": "\na\nb\n", "a&amp;b &#20320; &#x597d;": "a&b 你 好", "<b>胖</b>子": "胖子",
    "<!-- x > y -->t": "t", "<STYLE>p{}</STYLE >t": "t",
    "<script>if (a<b) {}</script>t": "t", "<td>1</td><td>2</td>": "1\t2\t",
    "<a href='x.html' title='1 < 2'": "<a href='x.html' title='1 < 2'", "<script>never closed": "never closed",
}  # fmt: skip


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_markup_stays(text):
    assert clean_html(text) == text


@pytest.mark.parametrize("text", HTML)
def test_markup_goes(text):
    assert clean_html(text) == HTML[text]


@pytest.mark.parametrize(
    "text, want",
    [
        ("see https://a.org/x?y=1.", "see <URL>."), ("看http://t.cn/Rx，好", "看<URL>，好"), ("(www.a.org)", "(<URL>)"),
        ("hi @ann!", "hi <USER>!"), ("a@b.org", "a@b.org"), ("@小王 好", "<USER> 好"),
    ],
)  # fmt: skip
def test_links(text, want):
    assert replace_links(text) == want


ABOUT_HTML = {
    "use &lt;b&gt; for bold": "use <b> for bold", "&amp;lt;b&amp;gt; is &lt;b&gt;": "&lt;b&gt; is <b>",
    "<p>a &lt;p&gt; b</p>": "a <p> b", "R&amp;amp;D": "R&amp;D", "&amp;#20320;": "&#20320;",
}  # fmt: skip


@pytest.mark.parametrize("text", ABOUT_HTML)
def test_entities_are_read_once(text):
    "Text about HTML is not taken for HTML, in any recipe that removes markup"
    shape = Recipe(*(c.step for c in CATALOGUE if c.step.name in ("normalize_unicode", "clean_html")))
    for recipe in (web(), Recipe(shape, normalize_whitespace())):
        assert recipe.edit([text]) == [ABOUT_HTML[text]], recipe


def test_emails():
    assert replace_links("mail wang.x+lab@mail.example.com.cn谢谢", emails="token") == "mail <EMAIL>谢谢"
    assert replace_links("a@b.org and @ann", emails="remove", mentions="keep") == " and @ann"
    assert replace_links("a@b.org") == "a@b.org" and replace_links("not @home", emails="token") == "not <USER>"


def test_topics_and_emoji():
    assert replace_links("#好片# C# 👍🏽👨‍👩‍👧", hashtags="token", emoji="token") == "<TOPIC> C# <EMOJI><EMOJI>"
    with pytest.raises(DataError, match="keep, remove, token"):
        replace_links("x", urls="drop")


def test_repeats():
    assert squeeze_repeats("10000 soooooo 好好好好好 ……—— !!!!!!") == "10000 sooo 好好好 ……—— !!!"
    assert squeeze_repeats("aaaa", most=1) == "a"


def test_scripts():
    assert convert_chinese("這裡的麵") == "这里的面" and convert_chinese("abc") == "abc"
    with pytest.raises(DataError, match="t2s"):
        convert_chinese("x", to="simple")


def test_filters_say_why():
    ds = add_uids(Dataset.from_dict({"text": ["a", "!!!!", "12345 6", "顶" * 200, "a good film"]}), "demo")
    left = filter_noise(filter_length(ds, least=2))
    assert left["text"][:] == ["a good film"] and len(set(dropped(left)["reason"])) == 4
    assert len(filter_length(ds, most=2, unit="tokens")) == 2


@given(texts, st.sampled_from(sorted(DIRT)), st.integers(0, 9), st.data())
def test_spans_survive_dirt_and_cleaning(text, kind, seed, data):
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    if not text[a:b].strip():
        return
    span = [dict(start=a, end=b, label="X")]
    rows = add_uids(Dataset.from_dict({"text": [text], "spans": [span]}), "demo")
    ds = web()(corrupt(rows, kinds=[kind], rate=1.0, seed=seed))
    for s in ds[0]["spans"]:
        assert 0 <= s["start"] < s["end"] <= len(ds[0]["text"])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_dirt_is_restored(lang):
    clean = web()(load_sample(f"reviews-{lang}", rows=500, seed=8))
    dirty = corrupt(clean, rate=0.8, seed=8)
    again = web()(dirty)
    assert sum(bool(d) for d in dirty["dirt"]) > 250
    assert sum(a == b for a, b in zip(again["text"], dirty["truth"])) >= 0.98 * len(dirty)
    row = next(r for r in dirty if r["dirt"] == "html")
    assert {"corrupt", "clean_html"} <= {e["op"] for e in story(again, row["uid"]).events}


BAIT = ["<", "<a ", "<!--", "<script>", "&", "&amp", "</", "<b" + "x" * 30, "http://", "@", "#a", "好"]


@pytest.mark.parametrize("bait", BAIT)
def test_hostile_texts_take_linear_time(bait):
    def seconds(n):
        text, began = bait * (n // len(bait)), time.process_time()
        replace_links(squeeze_repeats(str(clean_html(text))), hashtags="token", emails="token")
        return time.process_time() - began

    few, many = seconds(50_000), seconds(400_000)
    assert many < 8 * 4 * max(few, 0.05)  # a quadratic scanner would take 64 times as long
