"""Every picture says what it shows, in Chinese too, and no text from the data gets out of it."""
import base64
import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from PIL import Image

from dataset_tutor import visualization as viz
from dataset_tutor.core import DataError
from dataset_tutor.evaluation import classification_metrics

NASTY = ['"><script>alert(1)</script>', "$\\frac{1}{0}$", "负面\n\x00\u202e", "", "字" * 300, "😀"]


def reviews(n=60, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    text = ["字" * int(k) for k in rng.integers(0, 90, n)]
    ds = Dataset.from_dict(dict(uid=[str(i) for i in range(n)], text=text, label=label,
                                split=rng.choice(["train", "validation", "test"], n).tolist()))
    return ds.cast_column("label", ClassLabel(names=["负面", "正面"]))


def tweets():
    ann, b, place = [dict(start=s, end=e, label=k) for s, e, k in ((0, 3, "PER"), (4, 5, "PER"), (0, 3, "LOC"))]
    spans = [[], None, [ann], [place, b]]
    return Dataset.from_dict(dict(text=["Ann b"] * 4, spans=spans, split=["train", "train", "test", "test"]))


def effects(*rows):
    same = dict(metric="macro_f1", seeds=5, test_rows=400)
    return [dict(name=n, difference=d, low=lo, high=hi, **same) for n, d, lo, hi in rows]


LOG = [dict(epoch=1.0, loss=0.6), dict(epoch=1.0, eval_loss=0.5, eval_f1=0.8), dict(epoch=2.0, loss=0.3),
       dict(epoch=2.0, eval_loss=0.7, eval_f1=0.7), dict(epoch=2.0, train_runtime=3.0)]


def runs(n=4, top=2):
    return [dict(epoch=float(e), loss=1 / e, validation=0.8 - 0.05 * abs(e - top)) for e in range(1, n + 1)]


def named_lines(fig):
    ax = fig.subplots()
    for i in range(5):
        ax.plot([0, 1], [i, 3 + i / 100], label=f"甲 {i}")
    viz.name_lines(ax)


PICTURES = {
    "labels": lambda: viz.plot_labels(reviews()),
    "labels of no split": lambda: viz.plot_labels(reviews().remove_columns("split")),
    "entities": lambda: viz.plot_labels(tweets()),
    "lengths": lambda: viz.plot_lengths(reviews()),
    "lengths in tokens": lambda: viz.plot_lengths(reviews(), by="split", unit="tokens"),
    "confusion": lambda: viz.plot_confusion([0, 1, 1], [0, 0, 1], ["负面", "正面"]),
    "large confusion": lambda: viz.plot_confusion(list(range(30)), list(range(30))),
    "scores": lambda: viz.plot_scores({"a": 0.5, "模型": (0.9, 0.8, 1.0)}, "macro_f1"),
    "training": lambda: viz.plot_training(LOG),
    "training without validation": lambda: viz.plot_training(LOG[:1]),
    "runs": lambda: viz.plot_training({"seed 0": runs(), "种子 1 <b>$x$": runs(top=3)}),
    "a drawing of one's own": lambda: viz.draw(named_lines, "甲比乙高 $1", note="注", texts=["甲"],
                                               alt="five lines, ending in one place"),
    "effects": lambda: viz.plot_effects(effects(("去重", 0.01, -0.01, 0.03), ("b", -0.2, -0.3, -0.1))),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_draws_in_full(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph and a layout that does not fit are warnings
        fig = PICTURES[name]()
        png = fig._repr_png_()
    picture = Image.open(io.BytesIO(png))
    ink = np.asarray(picture.convert("L")) < 200
    assert picture.width >= 800 and 0.001 < ink.mean() < 0.7
    assert not ink[:, -2:].any() and not ink[:2].any(), "something is cut off at the border"
    assert fig.alt.endswith(tuple("abcdefghijklmnopqrstuvwxyz0123456789)面")) and len(fig.alt) > 30


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_repeat_byte_for_byte(name):
    assert viz.figure_to_html(PICTURES[name]()) == viz.figure_to_html(PICTURES[name]())


def title(fig):
    return fig.texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize("labels, said", [
    ([0, 1], "The classes are balanced: 50 % a, 50 % b"), ([0] * 3 + [1], "a has 3.0 times as many rows as b"),
    ([0], "There is only one class: a"), ([], "There are no rows"),
    ([0, -1], "The classes are balanced: 50 % a, 50 % (no label)")])
def test_the_title_is_computed(labels, said):
    ds = Dataset.from_dict(dict(label=labels)).cast_column("label", ClassLabel(names=["a", "b"]))
    assert title(viz.plot_labels(ds)) == said


def test_entities_are_counted_and_empty_rows_told():
    fig = viz.plot_labels(tweets())
    assert title(fig) == "PER is the most frequent of 2 entity types: 67 % of 3 entities"
    assert "2 of 4 rows have no entity" in fig.texts[1].get_text()


def test_rare_classes_are_added_up_not_left_out():
    fig = viz.plot_labels(Dataset.from_dict(dict(label=[f"c{i}" for i in range(40)])), top=5)
    assert "(36 others) 36 (90 %)" in fig.alt


def test_findings_of_scores_training_and_effects():
    close = title(viz.plot_scores({"a": (0.8, 0.7, 0.9), "b": (0.75, 0.7, 0.8)}, "f1"))
    assert close == "The intervals of a and b overlap: F1 0.800 and 0.750"
    assert title(viz.plot_scores({"a": 0.5, "b": 0.5})) == "a and b have the same score: 0.500"
    assert title(viz.plot_training(LOG)) == "Best validation F1: 0.800, after epoch 1 of 2"
    assert title(viz.plot_training(runs())) == "Best validation score: 0.800, after epoch 2 of 4"
    two = title(viz.plot_training({"a": runs(), "b": runs(top=9)}))
    assert two == "2 runs: best validation score 0.550 to 0.800, 25.0 points apart"
    lost = [dict(epoch=1.0, eval_loss=0.5), dict(epoch=2.0, eval_loss=0.4)]
    assert title(viz.plot_training({"a": lost, "b": lost})) == "2 runs: best validation loss 0.400 to 0.400"
    plain = effects(("x", 0.0, 0.0, 0.0))
    assert title(viz.plot_effects(plain)) == "x shows no effect"
    many = effects(("x", 0.1, 0.05, 0.2), ("y", 0.1, 0.05, 0.2), ("z", -0.1, -0.2, -0.05), ("w", 0, -1, 1))
    assert title(viz.plot_effects(many)) == "2 of 4 steps help, 1 hurts, 1 shows no effect"
    assert title(viz.plot_effects(many[2:])) == "1 of 2 steps hurts, 1 shows no effect"


def test_confusion_from_a_report_is_the_same():
    gold, pred, names = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0], ["a", "b", "c"]
    report = classification_metrics(gold, pred, names)
    assert viz.plot_confusion(report).alt == viz.plot_confusion(gold, pred, names).alt
    assert viz.confusion_counts(["x", "y"], ["y", "y"])[0].tolist() == [[0, 1], [0, 1]]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_untrusted_names_stay_names(kind):
    ds = Dataset.from_dict(dict(label=NASTY, text=NASTY))
    for fig in (viz.plot_labels(ds), viz.plot_lengths(ds), viz.plot_confusion(NASTY, NASTY),
                viz.plot_scores(dict.fromkeys(NASTY, 0.5)), viz.plot_effects(effects(*((n, 0, -1, 1) for n in NASTY)))):
        page = viz.figure_to_html(fig, kind=kind)
        assert page.count("<") == 1 and "<script" not in page
        inside = base64.b64decode(page.split("base64,")[1].split('"')[0])
        assert b"<script" not in inside and (kind == "svg" or inside.startswith(b"\x89PNG"))


def test_own_words_for_a_picture_are_escaped():
    assert 'alt="&quot;&gt;x"' in viz.figure_to_html(viz.plot_scores({"a": 0.5}), alt='">x')


@pytest.mark.parametrize("call, said", [
    (lambda: viz.plot_labels(Dataset.from_dict(dict(text=["a"]))), "column 'label'"),
    (lambda: viz.plot_lengths(Dataset.from_dict(dict(text=["a"])), text="txt"), "column 'txt'"),
    (lambda: viz.plot_lengths(Dataset.from_dict(dict(text=[]))), "no rows"),
    (lambda: viz.plot_lengths(reviews(), unit="bytes"), "unit="),
    (lambda: viz.plot_confusion([0], [0, 1]), "one prediction per row"),
    (lambda: viz.plot_scores({}), "no scores"), (lambda: viz.plot_training([{}]), "log_history"),
    (lambda: viz.plot_effects([]), "no effects"),
    (lambda: viz.figure_to_html(viz.plot_scores({"a": 1}), kind="gif"), 'kind="png"')])
def test_errors_say_what_to_do(call, said):
    with pytest.raises(DataError, match="Fix: ") as e:
        call()
    assert said in str(e.value)


def test_missing_texts_count_as_empty():
    fig = viz.plot_lengths(Dataset.from_dict(dict(text=["ab", None, ""])))
    assert "2 empty" in fig.texts[1].get_text()


def test_a_machine_without_a_chinese_font_fetches_one(monkeypatch, tmp_path):
    import matplotlib
    from matplotlib import font_manager as fm

    here = matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf"
    (tmp_path / "NotoSansSC-Regular.otf").write_bytes(open(here, "rb").read())
    monkeypatch.setattr(fm.fontManager, "ttflist", [f for f in fm.fontManager.ttflist if f.name == "DejaVu Sans"])
    monkeypatch.setattr(fm, "findSystemFonts", lambda *a, **k: [])
    monkeypatch.setattr(viz, "fetch", lambda asset: tmp_path)
    viz.chinese_font.cache_clear()
    try:
        assert viz.chinese_font() == "DejaVu Sans"

        def offline(asset):
            raise DataError("no network", fix="go online")
        monkeypatch.setattr(viz, "fetch", offline)
        viz.chinese_font.cache_clear()
        with pytest.warns(UserWarning, match="Noto Sans CJK SC"):
            assert viz.chinese_font() is None
    finally:
        viz.chinese_font.cache_clear()


def test_import_is_light_and_matplotlib_has_a_clear_error():
    code = ("import sys; sys.modules['matplotlib'] = None\n"
            "import dataset_tutor.visualization as v\n"
            "assert not {'transformers', 'torch', 'pandas', 'datasets', 'sklearn'} & set(sys.modules)\n"
            "try: v.plot_scores({'a': 1})\n"
            "except v.DataError as e: assert 'dataset-tutor[plot]' in str(e)\n"
            "else: raise SystemExit('no error')\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
