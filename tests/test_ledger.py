"""Accounts of a pipeline: they balance, they name deputies, and each entry is a paired comparison of its own."""
import numpy as np
import pytest
from datasets import disable_progress_bars
from test_effects import bag, bag_tokens, reviews

from dataset_tutor import effects
from dataset_tutor.cleaning import Recipe, drop_duplicates, normalize_whitespace
from dataset_tutor.core import DataError, mapper, row_filter, step
from dataset_tutor.effects import effect
from dataset_tutor.ledger import ablate, ledger

disable_progress_bars()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DATASET_TUTOR_HOME", str(tmp_path))
    monkeypatch.setattr(effects, "embed", bag)
    monkeypatch.setattr(effects, "embed_tokens", bag_tokens)
    effects._LATEST.clear()


@row_filter
def no_even(text):
    "Rows whose number is even."
    return "even" if int(text.split()[-1]) % 2 == 0 else None


@row_filter
def no_twos(text):
    "The same rows by another sign."
    return "ends so" if text[-1] in "02468" else None


@mapper
def shout(text):
    return text.upper()


@step
def lie(ds, *, share=0.5, seed=0):
    "Wrong labels."
    y, hit = np.array(ds["label"]), np.random.default_rng(seed).random(len(ds)) < share
    features = ds.features["label"]
    return ds.remove_columns("label").add_column("label", np.where(hit, 1 - y, y)).cast_column("label", features)


def spoiled():
    "Training rows with an even number have the wrong label."
    from dataset_tutor.distribution import split

    ds = split(reviews(300), seed=0)
    y = [1 - y if p == "train" and int(t.split()[-1]) % 2 == 0 else y
         for y, p, t in zip(ds["label"], ds["split"], ds["text"])]
    return ds.remove_columns("label").add_column("label", y).cast_column("label", ds.features["label"])


def test_a_ledger_balances_and_keeps_the_order():
    ds = spoiled()
    found = ledger([normalize_whitespace, no_even(), shout(), drop_duplicates()], ds, seeds=3)
    assert [e.name for e in found.effects] == ["normalize_whitespace", "no_even", "shout", "drop_duplicates"]
    assert sum(e.difference for e in found.effects) == pytest.approx(found.whole.difference, abs=1e-12)
    for a, b in zip(found.effects, found.effects[1:]):
        assert a.scores_with == b.scores_without and a.changes["rows_out"] == b.changes["rows_in"]
    assert found.effects[1].verdict == "helps" and len(found.table()) == 5


def test_deputies_hide_each_other_until_both_go():
    pipeline = Recipe(no_even(), no_twos(), name="twice")
    alone, both = ablate(pipeline, spoiled(), seeds=3), ablate(pipeline, spoiled(), seeds=3, leave_out=[(1, 0)])
    assert all(e.unchanged for e in alone.effects)
    assert both.effects[0].verdict == "helps" and both.effects[0].name == "no_even + no_twos"
    assert both.effects[0].difference == both.whole.difference


def test_against_reads_the_test_as_each_arm_does():
    "Upper case on both sides differs by nothing; on one side the model meets words that it never saw."
    ds = reviews(300)
    assert effect(shout(), ds, seeds=2, against=shout()).unchanged
    e = effect(lie(share=0.9), ds, seeds=2, against=lie(share=0.0))
    assert e.verdict == "hurts" and e.changes["truths_changed"] > 50


def test_entries_are_kept_and_told_apart():
    ds = spoiled()
    first = effect(no_even(), ds, seeds=2)
    assert not effect(no_even(), ds, seeds=2, against=shout()).cached
    assert effect(no_even(), ds, seeds=2).cached and first.fingerprint


@pytest.mark.parametrize("call, said", [
    (lambda ds: ledger([], ds), "no steps"), (lambda ds: ledger(shout, ds), "no steps"),
    (lambda ds: ablate([shout()], ds, leave_out=[[1]]), "names no steps of 1"),
    (lambda ds: ablate([shout()], ds, leave_out=[[]]), "names no steps"),
    (lambda ds: ablate([shout()], ds, leave_out=[[-1]]), "names no steps"),
])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match=said):
        call(reviews(60))


def test_an_account_shows_itself_and_escapes():
    def odd(ds):
        return ds
    odd.__name__ = "<script>alert(1)</script>"
    found = ablate([odd, shout()], reviews(120), seeds=2)
    assert "<script>" not in found._repr_html_() and "all steps" in repr(found)
    assert found.plot().alt.startswith("Bars") and ledger([odd], reviews(120), seeds=2).plot().alt
