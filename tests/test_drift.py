"""Drift is found where it was made, named by its words, and silence stays silent as often as stated."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

from dataset_tutor.core import DataError, add_uids
from dataset_tutor.drift import (
    _deals,
    _js_of_deals,
    _mmd_of_deals,
    _shares,
    _steps,
    _units,
    auc_interval,
    drift,
    false_alarms,
    js_terms,
)

WORDS = "the a film good bad plot actor scene story music very not one two light dark".split()


def made(n, seed, extra=(), length=12):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice([*WORDS, *extra], length)) for _ in range(n)]
    return add_uids(Dataset.from_dict({"text": texts, "label": rng.integers(0, 2, n).tolist()}), f"made {seed}")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20))
def test_js_is_scipys(counts):
    a, b = np.array(counts).T
    if not a.sum() or not b.sum():
        return
    assert js_terms(a, b).sum() ** 0.5 == pytest.approx(jensenshannon(a, b, base=2), abs=1e-7)
    assert (js_terms(a, b) >= 0).all() and js_terms(a, b).sum() <= 1 + 1e-9
    np.testing.assert_allclose(js_terms(a, b), js_terms(b, a), atol=1e-12)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.lists(st.integers(0, 9), min_size=2, max_size=30))
def test_auc_is_scikit_learns(a, b):
    auc, low, high = auc_interval(np.array(a), np.array(b))
    assert auc == pytest.approx(roc_auc_score([0] * len(a) + [1] * len(b), a + b))
    assert 0 <= low <= auc <= high <= 1


def test_distances_of_deals_are_the_sums_of_their_terms():
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    counts = rng.poisson(0.1, (50, 300)).astype(np.int32)
    deals, total = _deals(20, 30, 40, rng), counts.sum(0)
    want = [js_terms(f, total - f).sum() ** 0.5 for f in deals @ counts]
    np.testing.assert_allclose(_js_of_deals(csr_array(counts), deals), want, atol=1e-12)
    alike = np.tile(counts[:25], (2, 1))   # the same rows on both sides
    half = np.repeat([1, 0], 25)[None].astype(np.float32)
    assert _js_of_deals(csr_array(alike), half)[0] == pytest.approx(0, abs=1e-6)


def test_delongs_interval_holds_the_truth():
    from scipy.stats import norm

    rng, inside, truth = np.random.default_rng(0), 0, norm.cdf(1 / 2**0.5)
    for _ in range(300):
        _, low, high = auc_interval(rng.normal(0, 1, 60), rng.normal(1, 1, 90))
        inside += low <= truth <= high
    assert 0.91 < inside / 300 < 0.985


def test_distances_of_deals_are_those_of_the_textbook():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    deals, values, labels = _deals(30, 50, 5, rng), rng.integers(0, 9, 80), rng.choice(list("abc"), 80)
    vectors = rng.normal(size=(80, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    square = ((vectors[:, None] - vectors[None]) ** 2).sum(2)
    kernel = np.exp(-square / np.median(square))
    np.fill_diagonal(kernel, 0)
    for d, ks, tv, mmd in zip(deals == 1, _steps(values, deals), _shares(labels, deals), _mmd_of_deals(vectors, deals)):
        assert d.sum() == 30 and ks == pytest.approx(ks_2samp(values[d], values[~d]).statistic, abs=1e-6)
        want = sum(abs((labels[d] == c).mean() - (labels[~d] == c).mean()) for c in "abc") / 2
        assert tv == pytest.approx(want, abs=1e-6)
        inner = kernel[np.ix_(d, d)].sum() / (30 * 29) + kernel[np.ix_(~d, ~d)].sum() / (50 * 49)
        assert mmd == pytest.approx(inner - 2 * kernel[np.ix_(d, ~d)].mean(), abs=1e-5)


def test_new_words_are_found_and_named():
    found = drift(made(200, 1), made(150, 2, ["battery", "phone"]), meaning=False, draws=199)
    assert found.alarm and set(found.words["word"][:2]) == {"battery", "phone"}
    assert all("phone" in w or "battery" in w for w in found.rows["words"][:5])
    classifier = found.table.set_index("what").loc["classifier"]
    assert classifier["low"] > 0.6 and classifier["p"] < 0.001


def test_label_and_length_shift_are_told_apart():
    old, new = made(150, 1), made(150, 2)
    skewed = new.remove_columns("label").add_column("label", [0] * 140 + [1] * 10)
    p = drift(old, skewed, meaning=False, draws=199).table.set_index("what")["p"]
    assert p["label"] < 0.01 < p["words"] and p["length"] > 0.01
    p = drift(old, made(150, 3, length=25), meaning=False, draws=199).table.set_index("what")["p"]
    assert p["length"] < 0.01 < p["label"]


def test_chinese_counts_pairs_of_characters():
    rng = np.random.default_rng(0)
    hotel = Dataset.from_dict({"text": ["酒店" + "".join(rng.choice(list("天地玄黄宇宙洪荒"), 8)) for _ in range(60)]})
    book = Dataset.from_dict({"text": ["这书" + "".join(rng.choice(list("天地玄黄宇宙洪荒"), 8)) for _ in range(60)]})
    found = drift(hotel, book, meaning=False, draws=199)
    assert found.alarm and set(found.words["word"][:2]) == {"酒店", "这书"} and "label" not in set(found.table["what"])


def test_meaning_alone():
    farm = [f"the {a} sleeps in the {p}" for a in "cat dog cow hen pig".split() for p in "barn yard hay sun".split()]
    bank = [f"the {a} trades the {p}" for a in "bank fund firm broker trust".split() for p in "bond euro gold".split()]
    bank += [f"the {a} fell" for a in "bond euro gold stock index".split()]
    found = drift(Dataset.from_dict({"text": farm}), Dataset.from_dict({"text": bank}), draws=199)
    assert found.table.set_index("what").loc["meaning", "p"] < 0.01


def test_silence():
    found = false_alarms(made(200, 5), times=40, meaning=False, draws=199)
    assert found.loc["alarm", "false alarms"] <= 0.15 and (found["low"] <= 0.05).all()
    assert ((found["low"] <= found["false alarms"]) & (found["false alarms"] <= found["high"])).all()


def test_the_same_seed_gives_the_same_report():
    old, new = made(60, 1), made(60, 2)
    one, two = (drift(old, new, meaning=False, draws=199, seed=4) for _ in range(2))
    assert one.table.equals(two.table) and one.rows.equals(two.rows)


def test_hostile_empty_and_few():
    bad = ["<script>x</script> " + " ".join(np.random.default_rng(i).choice(WORDS, 5)) for i in range(30)]
    found = drift(made(40, 1), Dataset.from_dict({"text": [*bad, "", None]}), meaning=False, draws=199)
    assert "<script>" not in found._repr_html_() and found.sizes == (40, 30)
    with pytest.raises(DataError, match="5 different texts"):
        drift(made(40, 1), made(5, 2))
    with pytest.raises(DataError, match="cannot be told with 20 deals"):
        drift(made(40, 1), made(40, 2), draws=20)
    with pytest.raises(DataError, match="lack this column"):
        drift(made(40, 1), made(40, 2).rename_column("text", "body"))
    with pytest.raises(DataError, match="no words"):
        _units(["", " "], "en")
