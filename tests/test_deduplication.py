"""Near copies are found, measured and grouped right, in both languages, at any length, whatever the text."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import Recipe, text_key
from dataset_tutor.core import DataError, add_uids, dropped, history, read_rows, write_rows
from dataset_tutor.deduplication import (
    chains,
    decontaminate,
    drop_near_contradictions,
    drop_near_duplicates,
    drop_paraphrases,
    drop_shared_lines,
    drop_shared_passages,
    group_duplicates,
    group_paraphrases,
    group_quotations,
    meaning_pairs,
    plant_duplicates,
    shared_passages,
    shingles,
    similar_pairs,
    similarity,
    stars,
)
from dataset_tutor.distribution import split
from dataset_tutor.recipes import to_yaml
from tests.test_core import texts

BREAKFAST = "这家酒店的早餐{}不错，房间也很干净，下次还会再来住的"


def rows(texts, **more):
    return add_uids(Dataset.from_dict({"text": texts, **more}), "test")


def as_set(pairs):
    return set(zip(pairs.left.tolist(), pairs.right.tolist()))


@given(st.lists(texts, min_size=1, max_size=6), st.integers(1, 13))
def test_shingles_are_those_of_a_plain_loop(some, size):
    hashes, offsets = shingles(some, size)
    seen = {}
    for text, have in zip(some, np.split(hashes, offsets[1:-1]), strict=True):
        want = []
        for at in range(len(text)):
            run = next((text[at:end] for end in range(at + 1, len(text) + 1)
                        if sum(1 + (ord(c) >= 0x2E80) for c in text[at:end]) >= size), None)  # fmt: skip
            want += [run] if run else []
        assert len(want) == len(have)
        for run, value in zip(want, have.tolist()):
            assert seen.setdefault(run, value) == value
    assert len(set(seen.values())) == len(seen)


@given(st.lists(texts, max_size=8))
def test_pairs_are_alike_and_equal_texts_are_never_missed(some):
    pairs = similar_pairs(some, 0.8)
    for a, b, s in zip(pairs.left, pairs.right, pairs.similarity):
        assert a < b and s == pytest.approx(similarity(some[a], some[b])) and s >= 0.8 - 1e-6
    component, first = chains(len(some), pairs), {}
    for i, key in enumerate(map(text_key, some)):
        if key:
            assert component[first.setdefault(key, i)] == component[i]


@pytest.mark.parametrize("name", ["reviews-en", "reviews-zh"])
@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_finds_what_comparing_everything_finds(name, threshold):
    planted = plant_duplicates(load_sample(name, rows=500, seed=1), rate=1.0, edits=(0.0, 0.25), seed=2)
    some = planted["text"][:]
    keys = list(map(text_key, some))
    alike = cdist(keys, keys, scorer=Levenshtein.normalized_similarity, dtype=np.float64) >= threshold - 1e-6
    want = {(i, j) for i, j in np.argwhere(np.triu(alike, 1)).tolist() if len(keys[i]) > 5 and keys[i] != keys[j]}
    first = {}
    at = [first.setdefault(k, i) for i, k in enumerate(keys)]
    want = {(min(at[i], at[j]), max(at[i], at[j])) for i, j in want}
    found = as_set(similar_pairs(some, threshold))
    assert len(want) > 150
    assert len(want - found) <= 0.01 * len(want), sorted(want - found)[:5]
    assert {p for p in found if len(keys[p[0]]) > 5 and keys[p[0]] != keys[p[1]]} <= want


def test_repeatable_and_independent_of_order():
    some = plant_duplicates(load_sample("reviews-zh", rows=300, seed=1), rate=1.0, seed=3)["text"][:]
    pairs = similar_pairs(some)
    assert as_set(pairs) == as_set(similar_pairs(some))
    order = random.Random(0).sample(range(len(some)), len(some))
    turned = {tuple(sorted((order[a], order[b]))) for a, b in as_set(similar_pairs([some[i] for i in order]))}
    different = {p for p in as_set(pairs) if text_key(some[p[0]]) != text_key(some[p[1]])}
    keys = [tuple(sorted((text_key(some[a]), text_key(some[b])))) for a, b in different]
    assert set(keys) == {tuple(sorted((text_key(some[a]), text_key(some[b])))) for a, b in turned
                         if text_key(some[a]) != text_key(some[b])}  # fmt: skip


def test_short_rows_do_not_collapse():
    short = ["好", "不好", "很好", "差", "很差", "ok", "no", "!", "。", "", None]
    assert len(similar_pairs(short)) == 0
    assert len(drop_near_duplicates(rows(short))) == len(short)


def test_two_thousand_copies_are_one_cluster_in_linear_time():
    some = rows([BREAKFAST.format("很")] * 1000 + [BREAKFAST.format("真")] * 1000)
    assert len(drop_near_duplicates(some)) == 1
    assert len(set(group_duplicates(some)["group"])) == 1


def test_a_crowd_of_variants_is_found():
    "Every pair of 400 texts is alike; their buckets are crowded, but no text may be left alone."
    variants = [f"page {i:03d} of the annual report on the state of the rivers in the north" for i in range(400)]
    assert len(set(chains(400, similar_pairs(variants)))) == 1


def test_stars_touch_their_centre_and_chains_hold_together():
    chain = ["abcdefghijklmnopqrstuvwxyz0123456789"]
    for i in range(12):
        chain.append(chain[-1][:3 * i] + "###" + chain[-1][3 * i + 3:])
    pairs = similar_pairs(chain)
    assert set(chains(len(chain), pairs)) == {0}
    for order in (None, range(len(chain)), range(len(chain) - 1, -1, -1)):
        centre = stars(len(chain), pairs, order)
        assert all(similarity(chain[i], chain[c]) >= 0.8 for i, c in enumerate(centre)) and len(set(centre)) > 1
    assert len(set(group_duplicates(rows(chain))["group"])) == 1
    broken = group_duplicates(rows(chain), most=5)
    assert len(set(broken["group"])) > 1 and history(broken)[-1].notes["pairs_torn"] > 0


def test_groups_keep_near_copies_on_one_side_and_join_old_groups():
    raw = plant_duplicates(load_sample("reviews-zh", rows=400, seed=5), rate=0.5, edits=(0.05, 0.15), seed=5)
    parts = split(group_duplicates(raw), seed=1)
    side, pairs = np.array(parts["split"][:]), similar_pairs(raw["text"])
    assert len(pairs) > 100 and (side[pairs.left] == side[pairs.right]).all()
    old = rows([BREAKFAST.format("很"), BREAKFAST.format("真"), "别的", "另外"], group=[None, "a", "a", None])
    assert group_duplicates(old)["group"][:] == ["a", "a", "a", None]


def test_rows_that_go_name_a_row_that_stays_and_resembles_them():
    raw = plant_duplicates(load_sample("reviews-en", rows=300, seed=5), rate=0.7, edits=(0.02, 0.15), seed=5)
    for keep in ("first", "last", "longest", "majority"):
        kept = drop_near_duplicates(raw, keep=keep)
        text, gone = dict(zip(raw["uid"], raw["text"])), dropped(kept)
        assert len(gone) > 100
        for uid, reason in zip(gone.uid, gone.reason):
            other = reason.removeprefix("near copy of ")
            assert other in kept["uid"][:] and similarity(text[uid], text[other]) >= 0.8 - 1e-6


def test_labels_and_entities_decide():
    three = [BREAKFAST.format(x) for x in "很真挺"]
    assert drop_near_duplicates(rows(three, label=[1, 1, 0]))["label"][:] == [1, 0]
    assert drop_near_contradictions(rows(three, label=[1, 1, 0]))["label"][:] == [1, 1]
    assert len(drop_near_contradictions(rows(three, label=[1, 1, 0]), how="drop")) == 0
    people = ["Tom Smith went to the market in the morning", "Tim Smith went to the market in the morning"]
    spans = [[{"start": 0, "end": 9, "label": "PER"}]] * 2
    assert len(drop_near_duplicates(rows(people, spans=spans))) == 2


def test_newest():
    some = [BREAKFAST.format(x) for x in "很真挺"]
    assert drop_near_duplicates(rows(some, time=[None, 3, 1]), keep="newest")["text"][:] == some[1:2]
    with pytest.raises(DataError, match="name it with time="):
        drop_near_duplicates(rows(some), keep="newest")


def test_the_newest_of_each_cluster_whatever_the_order():
    raw = plant_duplicates(load_sample("reviews-zh", rows=100, seed=4), rate=1.0, edits=(0.02, 0.1), seed=4)
    when = np.random.default_rng(0).permutation(len(raw)).tolist()
    kept = drop_near_duplicates(raw.add_column("time", when), keep="newest")
    of, gone = dict(zip(raw["uid"], when)), dropped(kept)
    assert len(gone) > 50
    assert all(of[u] < of[r.removeprefix("near copy of ")] for u, r in zip(gone.uid, gone.reason))


def test_the_majority_of_a_cluster_stays():
    some = [BREAKFAST.format(x) for x in "很真挺蛮"]
    for label, left in (([0, 1, 1, 1], [1]), ([1, 1, 0, 1], [0]), ([0, 0, 1, 1], [0, 2]), ([0, 1, 2, 1], [1])):
        kept = drop_near_duplicates(rows(some, label=label), keep="majority")
        assert kept["text"][:] == [some[i] for i in left], label
    equal = rows(["好书", "好书！", "好书。", "别的"], label=[0, 1, 1, 0])   # copies to the letter vote, too
    assert drop_near_duplicates(equal, keep="majority", threshold=1)["label"][:] == [1, 0]
    assert drop_near_duplicates(equal, threshold=1)["label"][:] == [0, 1, 0]
    assert drop_near_duplicates(rows(some), keep="majority")["text"][:] == some[:1]   # without labels all agree


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=12))
def test_a_row_that_loses_the_vote_goes_only_beside_one_that_wins_it(some):
    "In a chain of versions, each row is near to its neighbours only."
    versions = ["abcdefghijklmnopqrstuvwxyz"]
    for i in range(6):
        versions.append(versions[-1].replace(versions[0][4 * i:4 * i + 3], "+#*"))
    ds = rows([versions[v] for v, _ in some], label=[said for _, said in some])
    kept = drop_near_duplicates(ds, keep="majority")
    at = {u: i for i, u in enumerate(ds["uid"])}
    for uid, reason in zip(dropped(kept).uid if len(kept) < len(ds) else [], dropped(kept).reason):
        (v, said), (w, other) = some[at[uid]], some[at[reason.removeprefix("near copy of ")]]
        around = [label for u, label in some if similarity(versions[u], versions[w]) >= 0.8 - 1e-6]
        assert similarity(versions[v], versions[w]) >= 0.8 - 1e-6
        assert said == other or all(around.count(other) > around.count(x) for x in {*around} - {other})


def test_rows_that_quote_each_other_get_one_group():
    inner = ["这家酒店的早餐很不错，房间也很干净", "the plot is thin but the actors make up for it"]
    outer = [f"昨天刚回来。{inner[0]}，下次还会再来住的，值得推荐。", f"My friend said {inner[1]}, and she was right."]
    some = rows([*outer, *inner, "这家酒店", "nothing to do with them at all, not even a word"])
    group = group_quotations(some)["group"][:]
    assert group[0] == group[2] is not None and group[1] == group[3] is not None and group[0] != group[1]
    assert group[4:] == [None, None]   # too short to be told from chance, and quoted by nobody
    old = some.add_column("group", [None, "b", "a", "a", None, None])
    assert group_quotations(old)["group"][:4] == group_quotations(old)["group"][:1] * 4   # joined, never torn


@pytest.mark.parametrize(("key", "groups"), [("reader", [0, 1, 0, 3, 4, 5]), ("exact", [0, 1, 2, 3, 4, 5]),
                                             ("letters", [0, 0, 0, 3, 4, 5]), ("simplified", [0, 1, 0, 3, 1, 5]),
                                             (len, [0, 1, 1, 1, 1, 5])])  # fmt: skip
def test_exact_copies_on_a_chosen_form(key, groups):
    some = ["这部电影很好", "这部电影，很好", "这部电影很好。", "Very ok", "這部電影，很好", ""]
    form = (lambda t: str(len(t)) if t else "") if key is len else key
    kept = drop_near_duplicates(rows(some), threshold=1, key=form)
    assert kept["text"][:] == [some[i] for i in sorted(set(groups))]
    named = group_duplicates(rows(some), threshold=1, key=form)["group"][:]
    assert [named[i] == named[g] and (named[i] is not None) == (groups.count(g) > 1)
            for i, g in enumerate(groups)] == [True] * 6  # fmt: skip


def test_a_function_as_key_leaves_the_same_record_in_every_process():
    code = ("from dataset_tutor.core import add_uids, history; from datasets import Dataset\n"
            "from dataset_tutor.deduplication import drop_near_duplicates\n"
            "def form(t): return t[:3]\n"
            "ds = add_uids(Dataset.from_dict({'text': ['abcd', 'abce']}), 'x')\n"
            "r = history(drop_near_duplicates(ds, key=form))[-1]; print(r.params, r.id)")
    told = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            for _ in range(2)]  # fmt: skip
    assert told[0] == told[1] and told[0].startswith("{'key': 'form'} ")
    with pytest.raises(DataError, match="which no file can hold"):
        to_yaml(Recipe(drop_near_duplicates(key=str.lower)))


def test_planted_spans_stay_on_their_text():
    ner = load_sample("ner-zh", rows=200, seed=1)
    planted = plant_duplicates(ner, rate=1.0, edits=(0.05, 0.2), seed=1)
    before = {r["uid"]: {r["text"][s["start"]:s["end"]] for s in r["spans"]} for r in ner}
    kept = 0
    for r in planted.select(range(200, 400)):
        for s in r["spans"]:
            kept += r["text"][s["start"]:s["end"]] in before[r["copy_of"]]
    assert kept > 100


def test_decontaminate_says_which_and_writes_down_the_test():
    test = load_sample("reviews-zh", rows=50, seed=8)
    text = next(t for t in test["text"] if len(t) > 60)
    longer = "前面的话。" * 20 + text + "后面的话。" * 20
    train = rows([text[:10] + "嗯" + text[10:], longer, "毫无关系的一行文字，说的是天气"])
    clean = decontaminate(train, test=test)
    assert clean["text"][:] == train["text"][2:]
    uid = test["uid"][test["text"].index(text)]
    assert dropped(clean).reason.tolist() == [f"near copy of test row {uid}", f"contains test row {uid}"]
    assert history(clean)[-1].params["test"].startswith("50 rows ")
    with pytest.raises(DataError, match="the test rows lack this column"):
        decontaminate(train, test=Dataset.from_dict({"text": ["x"]}))


def test_shared_lines_and_spans():
    foot, cities = "Copyright by the press agency", ("Paris", "Rome", "Oslo")
    spans = [[{"start": 0, "end": len(c), "label": "LOC"}] for c in cities]
    pages = rows([f"{c} is a city\n{foot}" for c in cities] + [foot], spans=[*spans, []])
    bare = drop_shared_lines(pages)
    assert bare["text"][:] == ["Paris is a city\n", "Rome is a city\n", "Oslo is a city\n", foot]
    assert [r["text"][s["start"]:s["end"]] for r in bare for s in r["spans"]] == ["Paris", "Rome", "Oslo"]


def test_meaning_pairs_do_not_depend_on_the_block():
    some = [t[:30] for t in load_sample("reviews-zh", rows=300, seed=3)["text"]]
    pairs = meaning_pairs([*some, *some[:5]], 0.999)
    assert {(i, 300 + i) for i in range(5)} <= as_set(pairs)
    assert (pairs.left < pairs.right).all()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_paraphrases_are_grouped_and_dropped(lang):
    some = {"en": ["A funny film.", "A surprisingly funny movie.", "The plot is set in Oslo.", "a funny film", None],
            "zh": ["早餐很好。", "早餐不错。", "房间在二楼，窗户朝北。", "早餐很好", None]}[lang]   # breakfast is good
    ds = rows(some, label=[1, 1, 0, 1, 1])
    kept, uid = drop_paraphrases(ds), ds["uid"][0]
    assert kept["text"][:] == [some[0], some[2], None]
    assert dropped(kept).reason.tolist() == [f"says the same as {uid}"] * 2
    group = group_paraphrases(ds)["group"][:]
    assert group == [uid, uid, None, uid, None]
    assert drop_paraphrases(rows(some, label=[1, 0, 0, 1, 1]))["text"][:] == [some[0], some[1], some[2], None]
    assert drop_paraphrases(rows(some, label=[0, 1, 0, 1, 1]), keep="majority")["label"][:] == [1, 0, 1]


def test_a_topic_is_no_paraphrase():
    some = ["早餐很好。", "早餐不错。", "早餐非常好", "房间在二楼，窗户朝北。"]
    kept = drop_paraphrases(rows(some), most=2)
    assert len(kept) == 4 and history(kept)[-1].notes == {"largest": 3, "rows_left_alone": 3}
    torn = group_paraphrases(rows(some), most=2)
    assert history(torn)[-1].notes["largest"] <= 3 and len(group_paraphrases(rows(["", None]))) == 2
    with pytest.raises(DataError, match="is no cosine"):
        drop_paraphrases(rows(some), threshold=1.5)


@pytest.mark.parametrize(
    "bait",
    [
        ["a" * 5_000_000, "a" * 4_900_000], ["\ud800\x00" * 50, "\ud800\x00" * 49], ["", None, ""], ["\u200b"] * 3,
        ["好" * 300_000 + "a", "好" * 300_000 + "b"],
    ],
    ids=["five megabytes", "half characters", "nothing", "zero width", "long Chinese"],
)  # fmt: skip
def test_hostile_texts_end_in_time(bait):
    start = time.perf_counter()
    similar_pairs(bait)
    assert time.perf_counter() - start < 20


def test_long_texts_are_estimated_well():
    known = "the river lake report says that water level rose by two metres last year".split()
    words = random.Random(0).choices(known, k=8000)
    other = [w if i % 50 else "changed" for i, w in enumerate(words)]
    a, b = " ".join(words), " ".join(other)
    found = similar_pairs([a, b]).similarity[0]
    assert found == pytest.approx(similarity(a, b), abs=0.05)


def test_written_rows_keep_their_groups(tmp_path):
    some = group_duplicates(rows([BREAKFAST.format(x) for x in "很真"] + ["别的"]))
    assert read_rows(write_rows(some, tmp_path / "rows.parquet"))["group"][:] == some["group"][:]


def test_refusals():
    some = rows(["a b c", "d e f"])
    for bad in (0.2, 1.1):
        with pytest.raises(DataError, match="not between 0.6 and 1"):
            similar_pairs(some["text"], bad)
    with pytest.raises(DataError, match="'newest' or 'majority'"):
        drop_near_duplicates(some, keep="best")
    with pytest.raises(DataError, match="key='sounds' is unknown"):
        group_duplicates(some, key="sounds")
    with pytest.raises(DataError, match="use 2 or more"):
        drop_shared_lines(some, rows=1)
    with pytest.raises(DataError, match="drop_missing first"):
        plant_duplicates(rows([None, ""]))


def test_rows_with_one_signature_are_still_compared():
    laughs = ["哈" * n for n in range(40, 100)]
    assert len(set(chains(60, similar_pairs(laughs)))) == 1
    page = " ".join(load_sample("reviews-en", rows=60, seed=0)["text"])[:5000]
    pages = [f"{page} {i}" for i in range(500)]
    assert len(set(chains(500, similar_pairs(pages)))) == 1
    assert len(drop_near_duplicates(rows(pages))) == 1


def test_missing_texts_and_lost_spans():
    assert drop_shared_lines(rows(["a\nb", None]))["text"][:] == ["a\nb", None]
    assert len(plant_duplicates(rows(["some text here", None]), rate=1.0)) == 4
    foot = "Share it on Facebook\n"
    spans = [[{"start": 5 + 12, "end": 5 + 20, "label": "ORG"}]] * 3
    bare = drop_shared_lines(rows([f"page{c}\n{foot}" for c in "abc"], spans=spans))
    assert bare["spans"][:] == [[]] * 3 and history(bare)[-1].notes["rows_with_lost_spans"] == 3


def test_a_shared_footer_is_no_contamination():
    foot = "sent from my telephone while I was on a train to the north, please excuse all errors"
    test = rows([f"{w} {foot}" for w in ("first", "second", "third")] + [f"{i} {foot}" for i in range(60)])
    train = rows([f"an entirely different message about {w}, with many more words. {foot}" for w in "ab"])
    assert len(decontaminate(train, test=test)) == 2


def test_numbers_as_groups():
    old = rows([BREAKFAST.format("很"), BREAKFAST.format("真"), "别的"], group=[None, 7, None])
    assert group_duplicates(old)["group"][:] == ["7", "7", None]


def shared_by_hand(some, least, rows):
    "Per text the characters that a plain loop would cut, keeping the first row of each run."
    where = {}
    for i, text in enumerate(some):
        for a in range(len(text)):
            b = next((b for b in range(a + 1, len(text) + 1)
                      if sum(1 + (ord(c) >= 0x2E80) for c in text[a:b]) >= least), None)  # fmt: skip
            if b:
                where.setdefault(text[a:b], []).append((i, a, b))
    cut = [set() for _ in some]
    for places in where.values():
        if len({i for i, _, _ in places}) >= rows:
            for i, a, b in places:
                cut[i] |= set(range(a, b)) if i != places[0][0] else set()
    return cut


parts = st.lists(st.sampled_from(["这家酒店", "早餐！", "🙂🙂", "--", "。。。", "，房间", "\u0301…"]), max_size=8)
marked = st.lists(st.tuples(parts.map("".join), st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(marked, st.integers(8, 14), st.integers(2, 3))
def test_shared_passages_are_those_of_a_plain_loop_and_spans_stay_true(some, least, rows_):
    plain = [t for t, _, _ in some]
    spans = [[{"start": a, "end": min(a + n, len(t)), "label": "X"}] if a < len(t) else [] for t, a, n in some]
    before = rows(plain, spans=spans)
    after = drop_shared_passages(before, least=least, rows=rows_, most=1.0)
    cut = shared_by_hand(plain, least, rows_)
    assert after["text"][:] == ["".join(c for i, c in enumerate(t) if i not in gone) for t, gone in zip(plain, cut)]

    def torn(text, gone, a, b):
        "Whether letters of a span went together with what stands beside it."
        first = next((i for i in range(a, b) if i not in gone), b) if {a - 1, a} <= set(gone) else a
        last = next((i for i in range(b, a, -1) if i - 1 not in gone), a) if {b - 1, b} <= set(gone) else b
        return any(c.isalnum() for c in text[a:first] + text[last:b])

    for text, old, new, gone, row in zip(plain, spans, after["spans"], cut, after["text"]):
        whole = [s for s in old if not torn(text, gone, s["start"], s["end"])]
        kept = ["".join(text[i] for i in range(s["start"], s["end"]) if i not in gone) for s in whole]
        assert [row[s["start"]:s["end"]] for s in new] == [k for k in kept if k]
    table = shared_passages(before, least=least, rows=rows_, show=None)
    assert len(table) == 0 if not any(cut) else len(table) > 0
    for n, passage in zip(table["rows"], table.passage):
        assert sum(passage in t for t in plain) >= n >= rows_ or len(passage) > least // 2


def test_passages_keep_words_whole_and_copies_alone():
    notice = "this message may hold confidential information for its recipient only"
    report = f"The report on rivers in the north was late, pre{notice}post and so was the one on lakes "
    essay = "An essay of ninety or more letters about the spring in southern countries. un{}ly"
    pages = [report + "a.", report + "b.", essay.format(notice)]
    clean = drop_shared_passages(rows(pages, label=[0, 1, 0]))
    assert clean["text"][:] == [*pages[:2], essay.format("this only")] and clean["label"][:] == [0, 1, 0]
    notes = history(clean)[-1].notes
    assert (notes["rows_left_alone"], notes["rows_edited"]) == (1, 1)   # the second row is a copy of the first


def test_passages_of_every_row_or_all_but_the_first():
    foot = "。免费注册 网站导航 宾馆索引 服务说明 关于携程 诚聘英才 代理合作。"   # the menu of a web site
    some = rows([f"{w * 40}{foot}" for w in "好坏中"] + ["别的一行文字，没有菜单"])
    assert drop_shared_passages(some)["text"][:] == [some["text"][0], "坏" * 40, "中" * 40, some["text"][3]]
    assert drop_shared_passages(some, keep=None)["text"][:3] == ["好" * 40, "坏" * 40, "中" * 40]
    assert drop_shared_passages(some, rows=4)["text"][:] == some["text"][:]
    table = shared_passages(some, rows=3)
    assert table.passage.tolist() == [foot] and table["rows"].tolist() == [3] and table.uid[0] == some["uid"][0]


@pytest.mark.parametrize(
    "bait",
    [["a" * 5_000_000], ["a" * 2_000_000, "b" + "a" * 2_000_000], ["\x00\u200b" * 50] * 2, ["", None], ["好" * 60] * 3],
    ids=["five megabytes", "two alike", "zeros", "nothing", "copies"],
)  # fmt: skip
def test_passages_of_hostile_texts_end_in_time(bait):
    start = time.perf_counter()
    assert drop_shared_passages(rows(bait))["text"][:] == bait
    assert time.perf_counter() - start < 30


def test_passages_refuse_what_makes_no_sense():
    for options, fix in (({"rows": 1}, "use 2 or"), ({"least": 3}, "use 8 or"), ({"keep": "last"}, "use 'first'")):
        with pytest.raises(DataError, match=fix):
            drop_shared_passages(rows(["a", "b"]), **options)
