"""Behaviour: checks against toy models whose behaviour is known, attributions against what they must add up to."""
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.augmentation import homophones, script_variants, swap_mentions
from dataset_tutor.behavior import (
    NAMES,
    PAIRS,
    Attribution,
    attention,
    behave,
    chinese_checks,
    direction,
    english_checks,
    faithfulness,
    fill,
    integrate,
    invariance,
    minimum,
    occlude,
    pair_probe,
    plot_attribution,
    plot_behavior,
    rename,
    swap_probe,
    swap_words,
)
from dataset_tutor.core import DataError

WEIGHTS = {"good": 2.0, "bad": -2.0, "very": 0.5, "john": 0.7, "好": 2.0, "差": -2.0}


def said(odds):
    p = 1 / (1 + np.exp(-odds))
    return dict(label="positive" if p > 0.5 else "negative", probability=float(max(p, 1 - p)),
                probabilities=dict(negative=float(1 - p), positive=float(p)))


class Bag:
    "A linear model of words whose weights are known"
    asked = 0

    def predict(self, texts):
        Bag.asked += 1
        return [said(sum(w * len(re.findall(k, t.lower())) for k, w in WEIGHTS.items())) for t in texts]


class Tagger:
    "Marks every capitalised word, but no word with a 7"

    def predict(self, texts):
        return [[dict(start=m.start(), end=m.end(), label="PER", probability=0.9)
                 for m in re.finditer(r"\b[A-Z]\w+", t) if "7" not in m[0]] for t in texts]


TEXTS = ["a good film", "a bad film", "good , very good", "nothing"]


def test_a_minimum_counts_wrong_answers():
    found = behave(Bag(), [minimum("praise", ["good", "very good", "bad"], "positive")])
    row = found.table.iloc[0]
    assert (row["cases"], row["failed"]) == (3, 1) and row["low"] < 1 / 3 < row["high"]
    assert found.failures("praise")["changed"].tolist() == ["bad"]


def test_invariance_counts_changed_answers_and_only_real_changes():
    found = behave(Bag(), [invariance("no good", lambda t: t.replace("good", "fine"))], TEXTS)
    assert found.table.iloc[0][["cases", "failed"]].tolist() == [2, 1]       # "very" is still praise
    assert found.cases["text"].tolist() == ["a good film", "good , very good"]


def test_direction_allows_what_it_tolerates():
    weaker = lambda t: t.replace("very ", "")  # noqa: E731
    p = [said(x)["probabilities"]["positive"] for x in (4.5, 4.0)]
    for tolerance, failed in ((0.0, 1), (p[0] - p[1] + 1e-6, 0)):
        found = behave(Bag(), [direction("d", weaker, "positive", tolerance=tolerance)], TEXTS)
        assert found.table["failed"].tolist() == [failed]


def test_everything_is_predicted_in_one_call():
    Bag.asked = 0
    behave(Bag(), english_checks(), TEXTS)
    assert Bag.asked == 1


def test_a_plain_function_is_a_model_too():
    assert behave(Bag().predict, [minimum("m", ["good"], "positive")]).table["failed"].tolist() == [0]


def test_checks_of_a_tagger_move_spans_with_the_text():
    longer = invariance("longer", lambda t: "so , " + t)
    known, new = (invariance(f"rename {k}", lambda t, names=names: rename(t, names), texts=["then Bob left"])
                  for k, names in enumerate([("Ann", "Bob"), ("Ann", "Bob", "Zo7")]))
    spoil = invariance("spoilt", lambda t: t.replace("Bob", "Bo7"))
    must = minimum("names", ["Ann saw Bob", "Ann saw B7b"], spans=[[dict(start=0, end=3, label="PER")],
                                                                  [dict(start=8, end=11, label="PER")]])
    found = behave(Tagger(), [longer, spoil, known, new, must], ["Ann saw Bob", "nobody"])
    assert found.table["failed"].tolist() == [0, 1, 0, 2, 1] and found.table["cases"].tolist() == [2, 1, 2, 2, 2]
    assert found.failures("rename 1")["changed"].tolist() == ["then Zo7 left", "Bob saw Zo7"]


def test_operators_are_changes_and_depend_on_the_seed_alone():
    texts = ["房间很好，服务很差，价格便宜，位置方便"] * 2 + ["早餐好，前台服务态度很差"]
    check = [invariance("sound", homophones(rate=0.3))]
    one, two, other = (behave(Bag(), check, texts, seed=s).cases["changed"].tolist() for s in (1, 1, 2))
    assert one == two != other
    assert behave(Bag(), [invariance("script", script_variants(to="s2t"))], texts).table["cases"].tolist() == [3]
    assert swap_mentions.name                                   # an operator that needs a pool changes nothing without
    with pytest.raises(DataError, match="no check has a case"):
        behave(Bag(), [invariance("none", swap_mentions())], texts)


def test_both_packs_run_and_say_what_they_are():
    en, zh = behave(Bag(), english_checks(), TEXTS), behave(Bag(), chinese_checks(), ["房间很好。", "服务很差,WiFi 2"])
    assert set(en.table["kind"]) == set(zh.table["kind"]) == {"minimum", "invariance", "direction"}
    assert en.table["cases"].min() > 0 and len(en.table) >= 12 and len(zh.table) >= 13
    rates = en.table.set_index("check")["rate"]
    assert rates["negated praise"] > 0.1                        # this bag of words knows no "not"
    assert rates["praise added"] == 0


@pytest.mark.parametrize("pack, names", [(english_checks, NAMES["en"]), (chinese_checks, NAMES["zh"])])
def test_a_model_that_hears_names_fails_the_check_of_names_and_no_other_does(pack, names):
    def hears(texts):
        return [said(2.0 if names[0] in t else -2.0) for t in texts]

    check = [c for c in pack() if c.name == "another name"]
    found = behave(hears, check, ["nobody is named here"])
    assert found.table["cases"].tolist() == [32] and 0 < found.table["failed"][0] < 32
    assert behave(lambda texts: [said(1.0)] * len(texts), check).table["failed"].tolist() == [0]
    turned = found.cases
    assert all(sum(n in t for n in names) == 1 for t in [*turned["text"], *turned["changed"]])


def test_errors_of_checks():
    with pytest.raises(DataError, match="knows no class"):
        behave(Bag(), [minimum("m", ["good"], "great")])
    with pytest.raises(DataError, match="no check has a case"):
        behave(Bag(), [invariance("same", str.strip)], ["a"])
    with pytest.raises(DataError, match="needs texts"):
        minimum("m", [], "positive")
    with pytest.raises(DataError, match="there is no check"):
        behave(Bag(), [minimum("m", ["good"], "positive")]).failures("x")


def test_templates_are_filled_and_never_formatted():
    assert fill(["{a} {b} {a}"], dict(a=["x", "y"], b=["{a}"])) == ["x {a} x", "y {a} y"]
    assert fill(["{a.__class__}"], {}) == ["{a.__class__}"]     # no gap: left as it is
    assert len(fill(["{a}{b}"], dict(a=list("abcdef"), b=list("uvwxyz")), most=5)) == 5
    with pytest.raises(DataError, match="has the gap 'b'"):
        fill(["{a}{b}"], dict(a=["x"]))


# attribution

def test_occlusion_of_a_linear_model_gives_its_weights_back():
    a = occlude(Bag(), "A good film, very bad", label="positive")[0]
    got = dict(zip((a.text[i:j] for i, j in a.offsets), a.scores))
    assert got == pytest.approx({"A": 0, "good": 2, "film": 0, "very": 0.5, "bad": -2}, abs=1e-6)
    assert a.top(1)[0][0] in ("good", "bad")


@given(st.text(max_size=40))
def test_occlusion_survives_any_text(text):
    for a in occlude(Bag(), [text, "好 good"]):
        assert len(a.scores) == len(a.offsets) and "<script" not in a._repr_html_()


def test_coloured_text_is_escaped():
    a = occlude(Bag(), "<script>alert(1)</script> good & bad")[0]
    shown = a._repr_html_()
    assert "<script" not in shown and "&lt;" in shown and "&amp;" in shown
    assert len(plot_attribution([a])._repr_png_()) > 1000


def test_pictures_of_odd_texts():
    made = [occlude(Bag(), t)[0] for t in ("good", "好 $x^2$ _a_", "👩‍👧 e\u0301 ＡＢ", "word " * 60)]
    assert plot_attribution(made).alt.startswith("Texts with coloured words")
    with pytest.raises(DataError, match="nothing to plot"):
        plot_attribution([])


def test_faithfulness_tells_a_true_picture_from_a_turned_one():
    texts = [f"a good film about {w} and some more words here" for w in ("cats", "dogs", "trains", "rain", "snow")]
    true = occlude(Bag(), texts, label="positive")
    found = faithfulness(Bag(), true)
    assert found.more.low > 0 and found.less.low > 0 and found.texts == 5
    turned = [Attribution(a.text, a.offsets, -a.scores, a.label, a.probability, a.whole, "turned") for a in true]
    assert faithfulness(Bag(), turned).more.value < 0
    with pytest.raises(DataError, match="fewer than two"):
        faithfulness(Bag(), true[:1])


@pytest.fixture(scope="module")
def tiny():
    "A frozen encoder with a linear layer that was fitted to nothing: enough for gradients"
    pytest.importorskip("captum")
    from sklearn.linear_model import LogisticRegression

    from dataset_tutor.diagnosis import FrozenClassifier
    rng = np.random.default_rng(0)
    fit = LogisticRegression().fit(rng.normal(size=(40, 384)), np.arange(40) % 2)
    fit.coef_ *= 20
    made = FrozenClassifier.__new__(FrozenClassifier)
    made.names, made.encoder, made.model, made.task = ["negative", "positive"], "en-small", fit, "classification"
    return made


def test_integrated_gradients_are_complete(tiny):
    for a in integrate(tiny, ["a good film, truly", "bad!"], label="positive", steps=32):
        assert a.gap < 0.02 * max(1, abs(a.whole)) and a.method == "integrated gradients"
        assert a.scores.sum() + a.rest == pytest.approx(a.whole, abs=0.02 * abs(a.whole) + 1e-6)


def test_attention_is_what_the_words_get_and_leaves_the_model_as_it_was(tiny):
    from dataset_tutor.behavior import _encoder
    before = (net := _encoder(tiny.encoder)[0]).config._attn_implementation
    found = attention(tiny, ["a good film, truly", "bad!", "<b>"], label="positive")
    for a in found:
        assert (a.scores >= 0).all() and a.scores.sum() + a.rest == pytest.approx(1, abs=1e-4)
        assert a.method == "attention" and a.label == "positive" and np.isnan(a.gap)
    assert attention(tiny, "a good film, truly", label="negative")[0].scores == pytest.approx(found[0].scores)
    assert net.config._attn_implementation == before and "&lt;" in found[2]._repr_html_()


def test_integrated_gradients_agree_with_a_plain_sum(tiny):
    "Captum's integral against the mean gradient at many steps"
    import torch

    from dataset_tutor.behavior import _Inside
    inside = _Inside(tiny)
    enc = inside.tokenizer("a good film", return_tensors="pt")
    ids, at = enc["input_ids"], torch.tensor([1])
    empty = ids.clone()
    empty[0, 1:-1] = inside.tokenizer.pad_token_id
    layer = inside.net.get_input_embeddings()
    x, base = layer(ids).detach(), layer(empty).detach()
    t = (torch.arange(100) + 0.5)[:, None, None] / 100
    here = (base + t * (x - base)).requires_grad_()
    odds = inside.odds(here, torch.ones_like(ids).repeat(100, 1), at.repeat(100))
    slopes = torch.autograd.grad(odds.sum(), here)[0].mean(0, keepdim=True)
    want = ((x - base) * slopes).sum(-1)[0, 1:-1].numpy()
    got = integrate(tiny, ["a good film"], label="positive", steps=32)[0]
    assert got.scores == pytest.approx(want, rel=0.05, abs=1e-3)


def test_the_frozen_classifier_has_the_same_odds_inside_and_outside(tiny):
    import torch

    from dataset_tutor.behavior import _Inside
    inside = _Inside(tiny)
    enc = inside.tokenizer("a good film", return_tensors="pt")
    with torch.no_grad():
        z = inside.logits(inside.net.get_input_embeddings()(enc["input_ids"]), enc["attention_mask"])
    p = tiny.predict("a good film")[0]["probabilities"]["positive"]
    assert float(z.softmax(-1)[0, 1]) == pytest.approx(p, abs=0.05)        # predict may compute in bfloat16


def test_what_has_no_gradients_is_refused():
    pytest.importorskip("captum")
    with pytest.raises(DataError, match="has no gradients"):
        integrate(Bag(), "good")


def test_an_absent_captum_is_named(monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "captum"] + ["captum", "captum.attr"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r"dataset-tutor\[evaluation\]"):
        integrate(Bag(), "good")


# probes

GROUPS = {"a": ["John", "John"], "b": ["Mary", "Anna"]}


def test_a_planted_bias_is_found_and_an_absent_one_is_not():
    templates = [f"{{x}} is here , {w}" for w in ("good", "bad", "today", "again", "there", "now")]
    found = swap_probe(Bag(), templates, GROUPS, "positive")[0]
    assert found.groups == "b minus a" and found.difference.high < 0 and found.templates == 6
    none = swap_probe(Bag(), templates, {"b": GROUPS["b"], "c": ["Eve", "Sue"]}, "positive")[0]
    assert tuple(none.difference) == (0, 0, 0) and none.flips == 0
    assert len(swap_probe(Bag(), templates, GROUPS | {"c": ["Eve"]}, "positive")) == 3


@pytest.mark.parametrize("templates, groups", [(["no gap"], GROUPS), (["{x}"], {"a": ["x"]}),
                                               (["{x}"], {"a": [], "b": ["x"]}), ([], GROUPS)])
def test_a_probe_needs_gaps_and_groups(templates, groups):
    with pytest.raises(DataError, match="probe needs"):
        swap_probe(Bag(), templates, groups, "positive")


@pytest.mark.parametrize("text, want", [
    ("He said she left.", ("He said he left.", "She said she left.")),
    ("HIS theme", ("HIS theme", "HER theme")),
    ("them, there", None),                                  # no word of the list, though parts of words are
    ("他和她的爸爸", ("他和他的爸爸", "她和她的妈妈")),
    ("", None),
])
def test_words_are_swapped_whole_and_with_their_case(text, want):
    assert swap_words(text, PAIRS["zh" if "他" in text else "en"]) == want


@given(st.text(alphabet="heis r.她他男女先生士", max_size=30))
def test_the_two_versions_are_stable(text):
    for lang in ("en", "zh"):
        if both := swap_words(text, PAIRS[lang]):
            assert swap_words(both[1], PAIRS[lang])[1] == both[1]


def test_pair_probe_reads_real_texts_twice():
    found = pair_probe(Bag(), ["John met him", "he is good", "nobody"], {"he": "good she", "him": "her"}, "positive")
    assert found.templates == 2 and found.difference.value > 0
    with pytest.raises(DataError, match="0 texts have"):
        pair_probe(Bag(), ["nothing"], PAIRS["en"], "positive")


def test_the_picture_of_behaviour():
    found = behave(Bag(), english_checks(), TEXTS)
    fig = plot_behavior({"one": found, "<two>": found})
    assert "fails" in fig.alt and len(fig._repr_png_()) > 1000
    assert "<table" in found._repr_html_()
    with pytest.raises(DataError, match="nothing to plot"):
        plot_behavior({})
