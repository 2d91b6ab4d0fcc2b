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

NASTY = ['"><script>alert(1)</script>', "$\\frac{1}{0}$", "负面\n\x00\u202e", "", "字" * 300, "😀",
         "</style><img src=x onerror=alert(1)>", "\x1b[31mred\x1b[0m", "字" * 1_000_000]


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


def faint(fig, least=4.5):
    "Texts of a figure whose contrast to what lies below them is less than WCAG's 4.5"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    texts = [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible()]
    boxes = [t.get_window_extent() for t in texts]
    for t in texts:
        t.set_alpha(0)  # out of sight; they keep their place
    canvas.draw()
    paper, out = np.asarray(canvas.buffer_rgba())[::-1, :, :3] / 255, []
    for t, box in zip(texts, boxes):
        t.set_alpha(None)
        (x0, y0), (x1, y1) = np.clip(np.round(box.get_points()).astype(int), 0, None)
        if (below := paper[y0:y1, x0:x1].reshape(-1, 3)).size:
            ratio = viz.contrast(t.get_color(), np.median(below, 0))
            out += [(round(ratio, 2), t.get_text()[:40])] if ratio < least else []
    return out


PICTURES = {
    "labels": lambda: viz.plot_labels(reviews()),
    "labels of no split": lambda: viz.plot_labels(reviews().remove_columns("split")),
    "entities": lambda: viz.plot_labels(tweets()),
    "lengths": lambda: viz.plot_lengths(reviews()),
    "lengths in tokens": lambda: viz.plot_lengths(reviews(), by="split", unit="tokens"),
    "lengths crossed": lambda: viz.plot_lengths(reviews(), by=("label", "split")),
    "classes before and after": lambda: viz.plot_before_after(reviews(), reviews().select(range(40)), step="扔掉"),
    "lengths before and after": lambda: viz.plot_before_after(reviews(), reviews().select(range(9)), by="length"),
    "entities before and after": lambda: viz.plot_before_after(tweets(), tweets().select([2, 3]), by="spans"),
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
def test_every_picture_draws_in_full_and_repeats(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph and a layout that does not fit are warnings
        fig = PICTURES[name]()
        png = fig._repr_png_()
    picture = Image.open(io.BytesIO(png))
    ink = np.asarray(picture.convert("L")) < 200
    assert not faint(fig), "a text that does not stand out"
    assert picture.width >= 800 and 0.001 < ink.mean() < 0.7
    assert not ink[:, -2:].any() and not ink[:2].any(), "something is cut off at the border"
    assert PICTURES[name]()._repr_png_() == png, "not the same byte for byte"
    assert fig.alt.endswith(tuple("abcdefghijklmnopqrstuvwxyz0123456789)面")) and len(fig.alt) > 30


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


@pytest.mark.parametrize("k", [2, 5, 12])
def test_numbers_in_cells_of_any_shade_can_be_read(k):
    counts = np.linspace(0, 100, k * k).round().astype(int).reshape(k, k)
    gold, pred = zip(*((i, j) for i, j in np.ndindex(k, k) for _ in range(counts[i, j])))
    fig = viz.plot_confusion(gold, pred)
    assert not faint(fig)
    fig.axes[0].texts[-1].set_color(fig.axes[0].images[0].get_cmap()(0.9))
    assert faint(fig), "the check would not see a faint text"


def test_every_shade_of_the_palette_has_an_ink():
    from matplotlib.colors import hsv_to_rgb
    rng = np.random.default_rng(0)
    for paper in [*viz.COLOURS.values(), *hsv_to_rgb(rng.random((500, 3)))]:
        assert viz.contrast(viz._ink_on(paper), paper) >= 4.5
    for colour in (*viz.COLOURS.values(), "#CC79A7", "#E69F00", "#56B4E9"):
        assert viz.contrast(viz._text_colour(colour), "white") >= 4.5
    assert viz.contrast("white", "black") == pytest.approx(21) and viz._text_colour("#0072b2") == "#0072b2"


def test_titles_have_no_lost_last_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = viz.draw(lambda f: None, "word " * 16 + "end", alt="x" * 40)
    first, last = fig.texts[0].get_text().split("\n")
    assert len(last) > 0.6 * len(first)


@pytest.mark.parametrize("ends", [[1.0, 1.0], [0.0] * 4, [0.95, 0.96, 0.1], [0.5, 0.52, 0.54]])
def test_names_of_lines_stay_in_their_panel_and_apart(ends):
    at = np.sort(viz._name_places(np.array(ends), 0.08))
    assert at.min() >= 0.0199 and at.max() <= max(1, max(ends)) and (np.diff(at) >= 0.0799).all()


def test_the_table_of_a_picture_is_what_it_draws():
    fig = viz.plot_labels(reviews())
    widths = [p.get_width() for ax in fig.axes for p in ax.patches]
    assert widths == pytest.approx([r["value"] for r in fig.shown.rows]) and fig.shown.mark == "bars"
    assert sum(r["count"] for r in fig.shown.rows) == 60
    fig = viz.plot_lengths(reviews(), by=("label", "split"))
    assert sum(r["value"] for r in fig.shown.rows) == 60 and len({r["panel"] for r in fig.shown.rows}) == 6
    assert len(fig.axes) == 6
    fig = viz.plot_confusion([0, 1, 1], [0, 0, 1])
    assert [r["count"] for r in fig.shown.rows] == [1, 0, 1, 1]
    fig = viz.plot_training(LOG)
    xs = [x for ax in fig.axes for ln in ax.lines if ln.get_label()[0] != "_"
          for x in ln.get_ydata()]
    assert sorted(xs) == sorted(r["y"] for r in fig.shown.rows)


def test_before_and_after_say_what_changed():
    ds = reviews()
    kept = ds.filter(lambda y: y == 1, input_columns="label")
    n, k = len(ds), len(kept)
    assert title(viz.plot_before_after(ds, kept, step="drop")).startswith(f"drop: {n} become {k}; ")
    assert title(viz.plot_before_after(ds, ds)) == "60 become 60, and no share changes"
    assert [r["count"] for r in viz.plot_before_after(ds, kept).shown.rows if r["panel"] == "after"] in ([k, 0], [0, k])
    cut = ds.map(lambda r: {"text": r["text"][:5]})
    assert "; the median goes from " in title(viz.plot_before_after(ds, cut, by="length"))
    assert title(viz.plot_before_after(ds, ds, by="length")).startswith("60 texts become 60; the median stays at ")
    assert "PER 2 to 2" in viz.plot_before_after(tweets(), tweets(), by="spans").alt


def test_the_title_of_a_confusion_names_the_least_found_class_and_the_commonest_error():
    gold, pred = [0] * 100 + [1] * 10, [0] * 60 + [1] * 40 + [0] * 7 + [1] * 3
    assert title(viz.plot_confusion(gold, pred, ["a", "b"])) == \
        "b is found least: 3 of 10 (30 %); a is most often taken for b: 40 of 100"


def test_confusion_from_a_report_is_the_same():
    gold, pred, names = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0], ["a", "b", "c"]
    report = classification_metrics(gold, pred, names)
    assert viz.plot_confusion(report).alt == viz.plot_confusion(gold, pred, names).alt
    assert viz.confusion_counts(["x", "y"], ["y", "y"])[0].tolist() == [[0, 1], [0, 1]]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_untrusted_names_stay_names(kind):
    ds = Dataset.from_dict(dict(label=NASTY, text=NASTY))
    for fig in (viz.plot_labels(ds), viz.plot_lengths(ds),
                viz.plot_before_after(ds, ds.select([0, 6]), by="text", step=NASTY[6]),
                viz.plot_before_after(ds, ds.select([0, 6]), by="length", step=NASTY[-1]),
                viz.plot_training({n: runs() for n in NASTY}), viz.plot_confusion(NASTY, NASTY),
                viz.plot_scores(dict.fromkeys(NASTY, 0.5)), viz.plot_effects(effects(*((n, 0, -1, 1) for n in NASTY)))):
        page = viz.figure_to_html(fig, kind=kind)
        assert page.count("<") == 1 and "<script" not in page
        assert len(page) < 3_000_000 and not any(c in fig.alt for c in "\x00\x1b\u202e\n")
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
    (lambda: viz.plot_lengths(reviews(), by=("label", "part")), "column 'part'"),
    (lambda: viz.plot_before_after(reviews(), tweets()), "column 'label'"),
    (lambda: viz.plot_before_after(reviews(), reviews().select([]), by="length"), "no rows after"),
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
