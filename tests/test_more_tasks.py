"""More tasks: real rows, one-layer models; saved, resumed, refused; markers, windows, masks, thresholds by property."""
import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.baselines import KINDS, Fitted, _Rows, baseline
from dataset_tutor.columns import from_rows
from dataset_tutor.core import DataError, LeakageError
from dataset_tutor.distribution import part, split
from dataset_tutor.finetuning import HEADS, Settings, _class_predictions, _windows, finetune, load_run
from dataset_tutor.models import load_pretrained
from dataset_tutor.more_tasks import (
    QUESTIONS,
    _best_span,
    _place,
    _windowed,
    ask,
    chat_text,
    continuations,
    encode_chat,
    mark_pair,
    no_answer_threshold,
    pair_groups,
    relate,
    small_lm,
)
from dataset_tutor.tagging import IGNORE

datasets.disable_progress_bars()
QUICK = dict(progress=False, device="cpu", epochs=2, lr=1e-3)
PARTS = ["train"] * 20 + ["validation"] * 6 + ["test"] * 6


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    "language -> a folder with one layer of a packaged model; lm -> a tiny causal one"
    out = {}
    for lang in ("zh", "en"):
        out[lang] = str(tmp_path_factory.mktemp(lang))
        load_pretrained("AutoModel", f"{lang}-small", num_hidden_layers=1).save_pretrained(out[lang])
        load_pretrained("AutoTokenizer", f"{lang}-small").save_pretrained(out[lang])
    texts = ["你好，再见。", "good and bad words", "one two three four", "1 2 3 4"] * 3
    out["lm"] = str(small_lm(tmp_path_factory.mktemp("lm"), texts, vocabulary=300, layers=1, width=48, length=96))
    return out


def pairs(lang="zh"):
    words = dict(zh=("第{}天我们去了那里。", "第{}天的房间很好。"), en=("On day {} we left.", "Day {} was fine."))[lang]
    return split(continuations([[w.format(i) for w in words] for i in range(64)], "days", lang), seed=0)


def relations(lang="zh"):
    rows = relate(load_sample(f"ner-{lang}", rows=500 if lang == "zh" else None, **({} if lang == "zh" else
                              {"merge": True})), lang=lang)
    return split(rows.filter(lambda r: 0 < len(r["relations"]) and len(r["spans"]) < 6), seed=0, strict=False)


def questions(lang="zh"):
    return split(ask(load_sample(f"ner-{lang}", rows=80 if lang == "zh" else 100), lang=lang), seed=0)


def texts(n=32, task="translation"):
    rows = [dict(text=f"one {i}", target=f"1 {i % 3}") for i in range(n)]
    return from_rows(rows, "n", task).add_column("split", PARTS[:n])


def talks(n=32):
    rows = [dict(messages=[dict(role="user", content=f"good {i}"), dict(role="assistant", content="bad"),
                           dict(role="user", content="one two"), dict(role="assistant", content=f"three {i % 2}")])
            for i in range(n)]
    return from_rows(rows, "t", "dialogue").add_column("split", PARTS[:n])


MADE = {"pairs-zh": (pairs, "zh"), "pairs-en": (pairs, "en"), "relations-zh": (relations, "zh"),
        "relations-en": (relations, "en"), "qa-zh": (questions, "zh"), "qa-en": (questions, "en"),
        "translation-lm": (lambda _: texts(), "lm"), "summarization-lm": (lambda _: texts(task="summarization"), "lm"),
        "dialogue-lm": (lambda _: talks(), "lm")}


@pytest.mark.parametrize("name", MADE)
def test_one_call_trains_scores_saves_and_loads(name, models, tmp_path):
    (make, lang), task = MADE[name], name.split("-")[0]
    ds = make(lang)
    run = finetune(ds, task, model=models[lang], out=tmp_path / "run", **QUICK)
    base, held = baseline(ds, task), part(ds, "test")
    assert run.task == base.task == task and np.isfinite(run.log[-1]["loss"])
    again = load_run(tmp_path / "run", device="cpu")
    assert again.metrics == run.metrics and again.rows == run.rows and again.names == run.names
    for model in (run, again, base):
        said = model.predict(held)
        rows = _Rows(held["uid"][:], KINDS[task].inputs(held), KINDS[task].gold(held.with_format(None), run.names))
        assert KINDS[task].report(rows, said, run.names).score == pytest.approx(model.metrics.score, abs=0.02)
        assert isinstance(model, Fitted) and set(model.errors().columns) >= {"uid", "text", "probability"}
        assert model.errors()["text"].map(type).eq(str).all() and model.title in repr(model) and model._repr_html_()
        assert model.predict([]) == []
    assert run.metrics.minus(base.metrics, n_boot=20).low <= 1
    assert finetune(ds, task, model=models[lang], out=tmp_path / "run", **QUICK).metrics == run.metrics   # done: loaded
    with pytest.raises(DataError, match="holds another run"):
        finetune(ds, task, model=models[lang], out=tmp_path / "run", **QUICK | dict(epochs=1))


@pytest.mark.parametrize("name", ["qa-zh", "dialogue-lm", "relations-zh"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(name, models, tmp_path):
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **more):
            if state.epoch >= 1:
                raise KeyboardInterrupt

    (make, lang), task = MADE[name], name.split("-")[0]
    ds = make(lang)
    whole = finetune(ds, task, model=models[lang], **QUICK)
    with pytest.raises(KeyboardInterrupt):
        finetune(ds, task, model=models[lang], out=tmp_path / "run", callbacks=[Stop()], **QUICK)
    assert (tmp_path / "run/run.json").exists() and list((tmp_path / "run/checkpoints").glob("checkpoint-*"))
    resumed = finetune(ds, task, model=models[lang], out=tmp_path / "run", **QUICK)
    assert resumed.metrics == whole.metrics
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters()))


def test_a_tiny_writer_learns_a_rule(models):
    other = dict(good="bad", bad="good", one="two", two="one")
    rows = [dict(text=f"{w} {i}", target=f"{other[w]} {w}") for i in range(75) for w in other]
    ds = from_rows(rows, "n", "translation").add_column("split", ["train"] * 240 + ["validation"] * 30 + ["test"] * 30)
    run = finetune(ds, model=models["lm"], progress=False, device="cpu", epochs=8, lr=5e-3, early_stopping=0)
    exact = np.mean([r["gold"] == r["predicted"]["text"] for r in run.rows["test"]])
    assert exact > 0.9 and run.log[0]["loss"] > run.log[-1]["loss"]
    alone, batch = run.predict(["one 8"])[0], run.predict(["one 8", "bad 74 " * 9])[0]
    assert alone["text"] == batch["text"] and alone["probability"] == pytest.approx(batch["probability"], abs=0.02)


def test_padding_on_the_left_changes_nothing(models):
    tokenizer = load_pretrained("AutoTokenizer", models["lm"])
    head, net = HEADS["translation"], load_pretrained("AutoModelForCausalLM", models["lm"])
    net.generation_config.max_new_tokens = 6
    s = Settings("translation", "", 0, 1, 1e-3, 4, 96)
    inputs = ["good", "good and bad words one two three", "1"]
    together = head.predict(net, tokenizer, [], inputs, s)
    apart = [head.predict(net, tokenizer, [], [t], s)[0] for t in inputs]
    assert [p["text"] for p in together] == [p["text"] for p in apart]
    assert [p["probability"] for p in together] == pytest.approx([p["probability"] for p in apart], abs=1e-4)


@given(st.lists(st.tuples(st.text(max_size=12), st.text(min_size=1, max_size=12)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_only_the_assistant_is_learnt(turns):
    said = [m for ask_, answer in turns for m in (ask_ + "<|end|><|assistant|>x", answer)]
    talk = [dict(role=("user", "assistant")[i % 2], content=t) for i, t in enumerate(said)]
    ids, labels = encode_chat(_writer(), talk)
    assert len(ids) == len(labels) and all(y in (IGNORE, i) for i, y in zip(ids, labels))
    end = _writer().eos_token_id
    assert [y for y in labels if y == end] == [end] * len(turns)
    assert ids.count(_writer().convert_tokens_to_ids("<|assistant|>")) == len(turns)
    learnt = _writer().decode([y for y in labels if y != IGNORE])
    if all(c.isascii() and c.isprintable() for _, a in turns for c in a):
        assert learnt == "".join(a + "<|end|>" for _, a in turns)


_KEPT = {}


def _writer():
    if "w" not in _KEPT:
        import tempfile
        _KEPT["d"] = tempfile.TemporaryDirectory()
        _KEPT["w"] = load_pretrained("AutoTokenizer", small_lm(_KEPT["d"].name, ["a b c"] * 3, vocabulary=280, layers=1,
                                                              width=48))
    return _KEPT["w"]


def test_a_template_that_rewrites_earlier_turns_is_refused():
    w = _writer()
    kept = w.chat_template
    w.chat_template = "{% for m in messages %}{{ loop.length }}{{ m['content'] }}{% endfor %}"
    try:
        talk = [dict(role="user", content="a"), dict(role="assistant", content="b")] * 2
        with pytest.raises(DataError, match="rewrites earlier turns"):
            encode_chat(w, talk)
    finally:
        w.chat_template = kept
    assert chat_text(w, [dict(role="user", content="a")], ask=True).endswith("<|assistant|>")


@given(st.text(min_size=6, max_size=40), st.integers(0, 10**6), st.one_of(st.none(), st.integers(0, 5)))
@settings(max_examples=80, deadline=None)
def test_markers_stand_at_the_entities_and_nowhere_else(text, seed, width):
    cuts = np.random.default_rng(seed).choice(len(text) + 1, 4, replace=False)
    a, b, c, d = sorted(int(x) for x in cuts)
    one, two = dict(start=a, end=b, label="PER"), dict(start=c, end=d, label="ORG")
    for head, tail in ((one, two), (two, one)):
        said = mark_pair(text, head, tail, width)
        for span, sign, mark in ((head, "@", "*"), (tail, "#", "^")):
            assert f"{sign} {mark} {span['label']} {mark} {text[span['start']:span['end']]} {sign}" in said
        kept = text if width is None else text[max(0, a - width):d + width]
        assert len(said) == len(kept) + 2 * len("@ * PER *  @")


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_best_span_and_threshold_are_those_of_a_search(seed):
    rng = np.random.default_rng(seed)
    n, most = int(rng.integers(2, 12)), int(rng.integers(1, 5))
    y = rng.normal(size=(n, 2))
    places = [None] + [(i, i + 1) if rng.random() < 0.8 else None for i in range(n - 1)]
    at = [i for i, p in enumerate(places) if p]
    margin, i, j = _best_span(y, places, most)
    every = [(y[a, 0] + y[b, 1], a, b) for x, a in enumerate(at) for z, b in enumerate(at) if 0 <= z - x < most]
    want = (max(every)[0] - y[0].sum(), *max(every)[1:]) if every else (-np.inf, 0, 0)
    assert (margin, i, j) == pytest.approx(want)
    m, f, e = rng.normal(size=9).round(1), rng.random(9), rng.random(9) < 0.4
    score = lambda t: np.where(m > t, f, e).mean()  # noqa: E731
    if e.any() and len(set(m)) == 9:
        assert score(no_answer_threshold(m, f, e)) == pytest.approx(max(score(t) for t in [*m, m.min() - 1]))


@given(st.integers(0, 60), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_windows_cover_the_text_and_an_answer_is_whole_in_one(before, size):
    tokenizer = load_pretrained("AutoTokenizer", "zh-small")
    text = "天" * before + "李" * size + "天" * 40
    s = Settings("qa", "", 0, 1, 1e-3, 8, 32, stride=8)
    enc = _windowed(tokenizer, [dict(text=text, question="谁？")], s)
    assert {i for w in enc["places"] for p in w if p for i in range(*p)} == set(range(len(text)))
    found = [(w, _place(w, before, before + size)) for w in enc["places"]]
    assert any(at and w[at[0]][0] == before and w[at[1]][1] == before + size for w, at in found)


def test_pairs_that_share_a_text_stay_together_and_a_torn_split_is_refused():
    rows = [dict(text=f"q{i // 4}", text_pair=f"c{i}", label="ab"[i % 2]) for i in range(80)]
    rows += [dict(text="q0 other", text_pair="C4.", label="a")]   # joins the families of q0 other and q1
    ds = pair_groups(from_rows(rows, "s", "pairs"))
    groups = ds["group"][:]
    assert groups[80] == groups[4] and len(set(groups)) == 20
    good = split(ds, seed=0)
    assert all(len({p for p, g in zip(good["split"], groups) if g == one}) == 1 for one in set(groups))
    baseline(good)
    where = ["train"] * 4 + ["validation"] * 36 + ["test"] * 40 + ["train"]
    torn = from_rows(rows, "s", "pairs").add_column("split", where)
    with pytest.raises(LeakageError, match="pair_groups"):
        finetune(torn, model="no model is loaded")


@pytest.mark.parametrize("rows, task, error, message", [
    (lambda: pairs().remove_columns("split"), "pairs", LeakageError, "split"),
    (lambda: pairs().remove_columns("text_pair"), "pairs", DataError, "text_pair"),
    (lambda: pairs().map(lambda r: {"text_pair": ""}), "pairs", DataError, "empty"),
    (lambda: pairs().filter(lambda r: r["label"] == 1), "pairs", DataError, "all training rows have the class 'next'"),
    (lambda: relations().map(lambda r: {"relations": []}), "relations", DataError, "no training row has a relation"),
    (lambda: relations().map(lambda r: {"relations": [dict(head=0, tail=99, label="x")]}), "relations", DataError,
     "points to entity 99"),
    (lambda: questions().map(lambda r: {"answers": []}), "qa", DataError, "no training question has an answer"),
    (lambda: questions().map(lambda r: {"answers": [dict(start=0, text="zzz")]}), "qa", DataError, "does not stand at"),
    (lambda: texts().map(lambda r: {"target": r["text"]}), "translation", DataError, "same text"),
    (lambda: texts(20), "translation", DataError, "no row is in"),
    (lambda: talks().map(lambda r: {"messages": r["messages"][:3]}), "dialogue", DataError, "take turns"),
    (lambda: talks().map(lambda r: {"messages": talks(1)[0]["messages"]}), "dialogue", LeakageError, "several sides"),
    (lambda: questions().select([]), "qa", DataError, "no rows"),
])
def test_refused_before_anything_is_loaded(rows, task, error, message):
    for train in (baseline, lambda ds, t: finetune(ds, t, model="no model is loaded")):
        with pytest.raises(error, match=message):
            train(rows(), task)


@pytest.mark.parametrize("options, message", [
    (dict(class_weights=0.5), "no classes to weigh"), (dict(focal=2.0), "no classes to weigh"),
    (dict(balanced_batches=True), "no class to balance"), (dict(stride=60, max_length=64), "cannot share 60"),
])
def test_remedies_that_make_no_sense(options, message, models):
    with pytest.raises(DataError, match=message):
        finetune(questions(), model=models["zh"], **QUICK | options)


def test_no_writer_by_default_and_what_predict_refuses(models):
    with pytest.raises(DataError, match="small_lm"):
        finetune(texts())
    kind = KINDS["dialogue"]
    with pytest.raises(DataError, match="let the user speak last"):
        kind.accept(dict(messages=[dict(role="assistant", content="x")]))
    with pytest.raises(DataError, match="text, question"):
        KINDS["qa"].accept([dict(text="x")])
    with pytest.raises(DataError, match="give dicts"):
        KINDS["pairs"].accept("one text")
    assert KINDS["translation"].accept([dict(text="a", target="b")]) == KINDS["translation"].accept("a") == ["a"]


def test_hostile_inputs_get_an_answer(models, tmp_path):
    odd = ["", " ", "\x00\ud7ff", "<script>alert(1)</script>" * 40, "👨‍👩‍👧" * 50, "[SEP][CLS]", "<|end|><|assistant|>"]
    run = finetune(questions(), model=models["zh"], max_length=48, **QUICK)
    said = run.predict([dict(text=a, question=b) for a in odd for b in odd])
    assert all(p["text"] == a[p["start"]:p["start"] + len(p["text"])] for p, a in zip(said, np.repeat(odd, len(odd))))
    run = finetune(pairs(), model=models["zh"], **QUICK)
    assert len(run.predict([dict(text=a, text_pair=b) for a in odd for b in odd])) == len(odd) ** 2
    run = finetune(texts(), model=models["lm"], **QUICK | dict(epochs=1))
    assert all(isinstance(p["text"], str) and 0 <= p["probability"] <= 1 for p in run.predict(odd))


def test_a_question_template_asks_for_exactly_one_or_none():
    ds = ask(load_sample("ner-zh", rows=200), empty=0.5, seed=1)
    kinds = {q: t for t, q in QUESTIONS["zh"].items()}
    for row in ds:
        there = [s for s in row["spans"] if s["label"] == kinds[row["question"]]]
        assert len(there) == len(row["answers"]) <= 1
        assert all(row["text"][a["start"]:].startswith(a["text"]) for a in row["answers"])
    assert 0.2 < np.mean([not a for a in ds["answers"]]) < 0.9


def test_continuations_use_every_text_once_and_negatives_come_from_other_documents():
    docs = [[f"doc {d} sentence {i}" for i in range(6)] for d in range(20)]
    ds = continuations(docs, "d", block=5, seed=3)
    of = lambda t: t.split(" sentence")[0]  # noqa: E731
    for r in ds:
        same, name = of(r["text"]) == of(r["text_pair"]), ds.features["label"].int2str(r["label"])
        assert same == (name == "next")
    assert len(set(ds["text"][:]) | set(ds["text_pair"][:])) == 2 * len(ds) == 120
    assert 0.3 < np.mean(ds["label"][:]) < 0.8
    assert ds["text_pair"][:] == continuations(docs, "d", block=5, seed=3)["text_pair"][:]
    assert len(continuations([["a", "b"]], "d")) == 1


def test_long_texts_are_read_whole_and_short_ones_as_before(models):
    tokenizer, net = load_pretrained("AutoTokenizer", "zh-small"), load_pretrained(
        "AutoModelForSequenceClassification", models["zh"])
    cut, whole = (Settings("classification", "", 0, 1, 1e-3, 4, 32, stride=w) for w in (0, 8))
    long, short = "好" * 50 + "坏" * 50, "很好"
    ids, owner = _windows(tokenizer, [long, short], whole)
    assert len(ids) == len(owner) > 3 and max(map(len, ids)) <= 32 and owner[-1] == 1
    names = ["a", "b"]
    a, b = (_class_predictions(net, tokenizer, [long, short], names, s) for s in (cut, whole))
    assert a[1]["probability"] == pytest.approx(b[1]["probability"], abs=1e-5)
    each = [_class_predictions(net, tokenizer, [tokenizer.decode(i[1:-1]).replace(" ", "")], names, cut)[0]
            for i, w in zip(ids, owner) if w == 0]
    mean = np.mean([np.log(list(p["probabilities"].values())) for p in each], 0)
    want = np.exp(mean) / np.exp(mean).sum()
    assert list(b[0]["probabilities"].values()) == pytest.approx(want.tolist(), abs=1e-4)


def test_tune_and_distill_still_take_only_what_they_know():
    from dataset_tutor.efficient import tune
    with pytest.raises(DataError, match="cannot be trained here"):
        tune(pairs())
