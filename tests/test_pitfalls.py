"""Sixteen mistakes on purpose: the registry, what an outcome says, and the cheap ones run."""
import dataclasses
import re

import numpy as np
import pytest
from run_notebooks import NBS

from dataset_tutor import pitfalls as module
from dataset_tutor.auditing import _noisy, naive_split, paired_points
from dataset_tutor.core import DataError
from dataset_tutor.pitfalls import PITFALLS, Breaker, Outcome, Outcomes, pitfall, pitfalls

HOSTILE = "<script>alert(1)</script> {points} \u202e"


def outcome(name="one-seed", wrong=(0.9, 0.8, 0.85), right=(0.7, 0.7, 0.65), worth=None, **more):
    return Outcome(dataclasses.replace(PITFALLS[name], **more), "en", wrong, right, worth, 0.1)


def test_all_sixteen_are_there_and_say_what_they_are():
    assert sorted(p.number for p in PITFALLS.values()) == list(range(1, 17))
    for name, p in PITFALLS.items():
        assert name == p.name and p.langs and set(p.langs) <= {"en", "zh", ""}
        assert all(getattr(p, f) for f in ("title", "people_write", "instead", "why", "reported", "honest"))
        assert "{points}" in p.harm and p.people_write != p.instead
        assert p.chapters and all((NBS / f"{c}.ipynb").exists() for c in p.chapters), p.chapters


@pytest.mark.parametrize("name", ["copies-across-split", "augment-before-split", "oversample-before-split",
                                  "fit-on-all-rows"])
def test_leaks_flatter(name):
    o = pitfall(name, lang="zh", draws=2)
    assert np.mean(o.wrong) > np.mean(o.right) and len(o.wrong) == len(o.right) == 2
    assert pitfall(name, lang="zh", draws=2) is o   # what was run is kept
    way = PITFALLS[name].wrong
    assert way("zh", 0) == o.wrong[0]   # the same seed, the same score


def test_padding_and_white_space_lose():
    assert pitfall("pad-to-128", lang="en", draws=2).gap.high < 0
    o = pitfall("whitespace-chinese", lang="en", draws=2)   # there is no English one
    assert o.lang == "zh" and np.mean(o.wrong) < np.mean(o.right) and "Chinese" in repr(o)


def test_empty_signatures_call_rows_copies():
    o = pitfall("empty-signatures", lang="zh", draws=2)
    assert np.mean(o.wrong) > 0.2 > np.mean(o.right)


def test_tags_that_are_laid_on_pieces_are_off_by_one_character():
    tokenizer = module.load_pretrained("AutoTokenizer", "zh-small")
    text = "他在北京大学读书"
    found = module._laid(text, [dict(start=2, end=6, label="ORG")], tokenizer)
    assert [(s["start"], s["end"]) for s in found] == [(1, 5)]
    assert module._laid("", [], tokenizer) == [] and module._laid("好", [], tokenizer) == []


def test_what_an_outcome_says_and_that_it_escapes():
    o = outcome(title=HOSTILE, why=HOSTILE, people_write=HOSTILE)
    page = o._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert o.gap.value == pytest.approx(100 * (0.85 - 0.6833333)) and "16.7 points too much" in o.verdict
    assert outcome(wrong=(0.7, 0.7), right=(0.71, 0.69)).verdict.startswith("nothing shown")
    three = outcome(worth=(0.1, 0.1, 0.1))
    assert re.search(r"worth +0\.100", repr(three)) and "0.100" in three._repr_html_()
    assert "−" in outcome(wrong=(0.1, 0.1, 0.11), right=(0.9, 0.9, 0.9)).verdict


def test_the_table_and_the_plot():
    found = Outcomes([outcome(), outcome("choose-on-test", title=HOSTILE, worth=(0.2, 0.2, 0.2))])
    assert list(found.table().columns) == ["", "pitfall", "in", "reported", "honest", "points", "low", "high"]
    assert "choose-on-test" in repr(found) and "<script>" not in found._repr_html_()
    fig = found.plot()
    assert "2 bugs" in fig.alt and len(fig.axes[0].get_yticks()) == 2
    with pytest.raises(DataError, match="no pitfalls to plot"):
        Outcomes([]).plot()
    assert pitfalls([]) == []


def test_errors_name_the_fix():
    with pytest.raises(DataError, match="there is no pitfall 'overfit'.*one-seed"):
        pitfall("overfit")
    with pytest.raises(DataError, match="two draws or more"):
        pitfall("one-seed", draws=1)
    with pytest.raises(DataError, match="is not shown in 'fr'"):
        pitfall("one-seed", lang="fr")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_switch(monkeypatch, lang):
    monkeypatch.setattr(module, "pitfall", lambda name, **o: outcome(name, title=HOSTILE))
    panel = Breaker("one-seed", lang=lang)
    assert not panel.broken and PITFALLS["one-seed"].people_write not in panel.body(True)
    assert panel.act("switch") and panel.broken and "torch.manual_seed(42)" in panel.body(True)
    panel.act("pick", "whitespace-chinese")
    assert (panel.name, panel.broken, panel.rows) == ("whitespace-chinese", False, "zh")
    panel.act("pick", "copies-across-split")
    panel.act("rows", "en")
    assert panel.rows == "en" and "<button" not in panel.still() and "<select" not in panel.still()
    with pytest.raises(DataError, match="there is no pitfall"):
        panel.act("pick", "<img src=x>")


def test_what_the_leaks_are_made_of():
    rng = np.random.default_rng(0)
    assert set(_noisy("房间很大，早餐不错", rng)) <= set("房间很大，早餐不错") and " " not in _noisy("房间很大", rng)
    assert _noisy("a", rng) == "a" and _noisy("好", rng) == "好"
    rows = module._reviews("en", 60, 0)
    a, b = (naive_split(rows, seed=3) for _ in range(2))
    assert a["split"][:] == b["split"][:] and a["split"][:].count("train") == 42
    mean, low, high = paired_points([0.9, 0.8], [0.8, 0.6])
    assert mean == pytest.approx(15) and low < 0 < high
    with pytest.raises(DataError, match="no interval"):
        paired_points([0.9], [0.8])
