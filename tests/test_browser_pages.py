"""Pages of hostile rows, opened in a real Chromium: nothing in them runs, nothing is loaded, and all is to be seen."""
import random

import numpy as np
import pandas as pd
import pytest
from browser import LAPTOP, SHOTS, WIDE
from datasets import Dataset

from dataset_tutor import figures, maps, pipeline
from dataset_tutor import overview as page
from dataset_tutor import visualization as viz
from dataset_tutor.baselines import Fitted, _judged, _Rows
from dataset_tutor.monitor import ErrorPanel
from dataset_tutor.studios import CleanPanel
from dataset_tutor.widgets import Html, Inspector, _style, tag
from dataset_tutor.words import plot_words

HOSTILE = ["<script>window.ran=1</script>", '"><img src=x onerror="window.ran=2">',
           "</script><script>window.ran=3</script>",
           "</style><style>*{display:none}</style>", "<svg onload=window.ran=4>",
           "<a href='javascript:window.ran=5'>read</a>",
           "\x1b[31mred\x1b[0m\x00 \u202egnp.exe", "{{7*7}} ${window.ran=6}", "字" * 1_000_000,
           "' onmouseover='window.ran=7"]


def rows():
    return Dataset.from_dict({"text": HOSTILE * 2, "label": HOSTILE * 2, "split": (["train"] * 7 + ["test"] * 3) * 2,
                              "<b onclick=window.ran=8>": HOSTILE * 2})


def watched(chromium):
    "A tab, and the list of what its page loads, complains of or pops up"
    tab, wrong = chromium.new_page(viewport=LAPTOP), []
    tab.on("dialog", lambda d: (wrong.append(f"dialog {d.message}"), d.dismiss()))
    tab.on("pageerror", lambda e: wrong.append(f"error {e}"))
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("request", lambda r: wrong.append(r.url[:99]) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    return tab, wrong


def ran(tab):
    "What the rows did in this page: the number of a script that ran, or handlers that wait for a hand"
    return tab.evaluate("window.ran ?? document.querySelectorAll('[onerror],[onload],[onclick],[onmouseover]').length")


@pytest.fixture
def opened(chromium, tmp_path):
    "opened(html, name): the page in a tab; what the rows do there, and what it loads or complains of, is an error"
    tab, wrong = watched(chromium)

    def open_page(html, name):
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
        tab.goto((tmp_path / f"{name}.html").as_uri())
        return tab

    yield open_page
    SHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SHOTS / f"page_{tab.url.split('/')[-1][:-5]}.png")
    found, seen = ran(tab), tab.evaluate("document.body.checkVisibility() && document.body.offsetHeight")
    tab.close()
    assert found == 0 and seen > 100 and not wrong


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[1], HOSTILE[4], f"<p {HOSTILE[9][2:]}'>"])
def test_what_is_not_escaped_is_seen(chromium, tmp_path, text):
    tab, _ = watched(chromium)
    (tmp_path / "p.html").write_text(f"<body>{text}</body>", encoding="utf-8")
    tab.goto((tmp_path / "p.html").as_uri())
    found = ran(tab)
    tab.close()
    assert found > 0


def drifted():
    table = pd.DataFrame(dict(what=HOSTILE[:3], distance=[0.4, 0.1, 0.2], p=[0.001, 0.6, 0.2]))
    return figures.plot_drift(table)


def curves():
    return figures.plot_curves(pd.DataFrame([dict(rows=n, score=0.5 + n / 100 + s / 50, model=m)
                                             for m in HOSTILE[:3] for n in (1, 2, 4) for s in range(3)]), by="model")


LIVE = {
    "labels": lambda: viz.plot_labels(rows(), by="split"),
    "lengths": lambda: viz.plot_lengths(rows()),
    "confusion": lambda: viz.plot_confusion(HOSTILE, HOSTILE[::-1]),
    "training": lambda: viz.plot_training({h: [dict(epoch=e, loss=1 / e) for e in (1, 2)] for h in HOSTILE[:4]}),
    "curves": curves,
    "effects": lambda: viz.plot_effects([dict(name=h, difference=0.01, low=0, high=0.1) for h in HOSTILE]),
    "drift": drifted,
    "words": lambda: plot_words(rows(), "label"),
    "clusters": lambda: maps.plot_clusters(rows()),
    "overlap": lambda: maps.plot_overlap(rows()),
    "entities": lambda: maps.plot_entities(rows().add_column("spans", [[dict(start=0, end=9, label=h)]
                                                                       for h in HOSTILE * 2])),
    "agreement": lambda: figures.plot_agreement(pd.DataFrame([dict(one=a, other=b, items=3, value=len(a) / 99)
                                                              for a in HOSTILE[:5] for b in HOSTILE[:5] if a < b])),
    "issues": lambda: figures.plot_label_issues(pd.DataFrame(dict(text=HOSTILE, given=HOSTILE, suggested=HOSTILE[::-1],
                                                                  quality=np.linspace(0, 0.4, 10)))),
    "cartography": lambda: figures.plot_cartography(pd.DataFrame(dict(
        text=HOSTILE, label=HOSTILE, confidence=np.linspace(0, 1, 10), variability=np.linspace(0, 0.3, 10),
        correctness=np.linspace(0, 1, 10)))),
}


@pytest.mark.parametrize("name", LIVE)
def test_live_pages_run_nothing(opened, name):
    pytest.importorskip("plotly")
    tab = opened(figures.live(LIVE[name]()).to_html(), f"live_{name}")
    tab.wait_for_selector(".main-svg")
    box = tab.locator(".plotly-graph-div").bounding_box()
    for share in np.linspace(0.1, 0.9, 9):  # the words under the pointer come from the data, too
        tab.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] * (0.3 + 0.4 * share))
    assert tab.locator("figure[aria-label]").count() == 1 and len(tab.title()) > 5
    assert tab.locator(".plotly-graph-div a[*|href^='javascript']").count() == 0


def test_the_live_map_runs_nothing_and_tells_the_row(opened):
    pytest.importorskip("plotly")
    live = maps.live_map(rows(), vectors=np.random.default_rng(0).normal(size=(20, 4)), k=3)
    tab = opened(live.to_html(), "live_map")
    tab.wait_for_selector(".main-svg")
    x, y = tab.evaluate("""() => {
        const div = document.querySelector('.plotly-graph-div'), box = div.getBoundingClientRect();
        const { xaxis, yaxis, _size } = div._fullLayout, first = div.calcdata[0][0];
        return [box.x + _size.l + xaxis.l2p(first.x), box.y + _size.t + yaxis.l2p(first.y)];
    }""")
    tab.mouse.move(x, y)
    tab.wait_for_selector(".hovertext")
    assert "row " in tab.locator(".hovertext").first.text_content()


def test_the_overview_runs_nothing(opened, tmp_path):
    path = page.save_picture(page.overview(rows(), name=HOSTILE[1]), tmp_path / "o.html")
    tab = opened(path.read_text(encoding="utf-8"), "overview")
    assert tab.locator("table").count() >= 5 and tab.locator("script, img, svg").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_picture_as_a_page_runs_nothing(opened, tmp_path):
    path = page.save_picture(viz.plot_labels(rows(), by="split"), tmp_path / "p.html")
    tab = opened(path.read_text(encoding="utf-8"), "picture")
    assert tab.evaluate("document.images.length == 1 && document.images[0].naturalWidth > 500")


def test_the_report_of_a_run_runs_nothing(opened, tmp_path):
    rng = random.Random(0)
    kinds = {"<img src=x onerror=window.ran=9>": ["good", "fine"], "</style><b>": ["bad", "awful"]}
    lines = [(f"{rng.choice(words)} {HOSTILE[i % 8]} {i}", kind) for i in range(60) for kind, words in kinds.items()]
    table = pd.DataFrame(lines, columns=["text", "label"])
    table.to_csv(tmp_path / "rows.csv", index=False)
    done = pipeline.run(tmp_path / "rows.csv", out=tmp_path / "out", epochs=1, seed=0)
    tab = opened((done.out / "report.html").read_text(encoding="utf-8"), "report")
    assert tab.locator("script").count() == 0 and tab.locator("table").count() >= 2
    assert tab.locator("img").count() == tab.locator("img[src^='data:image/']").count() >= 1


# --- tables of widgets, in a column as narrow as that of the site, and narrower and wider ---

BROKEN = """() => [...document.querySelectorAll(".dt-w :is(td, th)")].flatMap(cell => {
  const head = cell.closest("thead");
  if (head && getComputedStyle(head).position === "absolute") return [];     // only for those who listen
  const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) for (const m of walk.currentNode.data.matchAll(/[a-z]+/gi)) {
    const word = document.createRange();
    word.setStart(walk.currentNode, m.index); word.setEnd(walk.currentNode, m.index + m[0].length);
    const lines = new Set([...word.getClientRects()].map(r => Math.round(r.top)));
    if (lines.size > 1) found.push(m[0]);
  }
  return found;
})"""
KINDS = ["company", "facility", "geo-loc", "movie", "musicartist", "other", "person", "sportsteam", "tvshow"]


def judged(names):
    gold = [i % len(names) for i in range(60)]
    said = [names[g if i % 4 else (g + 1) % len(names)] for i, g in enumerate(gold)]
    sure = [dict(label=n, probability=0.5 + i / 150, probabilities={n: 0.5 + i / 150}) for i, n in enumerate(said)]
    part = _Rows([f"u{i}" for i in range(60)], ["a fine film that nobody has seen, 好看的电影"] * 60, gold)
    return Fitted(**_judged("classification", names, dict(validation=part, test=part),
                            dict(validation=sure, test=sure)), log=[], seconds=0)


def plain(n=40):
    return Dataset.from_dict(dict(uid=[f"u{i}" for i in range(n)],
                                  text=["a fine film\u3000that nobody has seen "] * n,
                                  label=["negative", "positive"] * (n // 2),
                                  split=["train", "validation"] * (n // 2), score=[0.1234] * n, genre=["movie"] * n))


TABLES = {"errors": lambda: ErrorPanel(judged(["negative", "positive"])), "many": lambda: ErrorPanel(judged(KINDS)),
          "inspect": lambda: Inspector(plain(), lang="en"), "clean": lambda: CleanPanel(plain(), lang="en"),
          "chinese": lambda: CleanPanel(plain(), lang="zh")}


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_the_words_of_a_table_stay_whole(opened, name, live):
    panel = TABLES[name]()
    style = Html(f"<style>{_style()}</style>")
    body = tag("div", style, panel.body(True), class_="dt-w") if live else panel.still()
    tab = opened(f"<!doctype html><meta charset='utf-8'><div id='column'>{body}</div>", f"table_{name}_{live}")
    for width in (390, 690, 720, 830, 1000):
        tab.evaluate(f"document.getElementById('column').style.width = '{width}px'")
        assert tab.evaluate(BROKEN) == [] and tab.evaluate(WIDE) == [], width
        cards = tab.evaluate("getComputedStyle(document.querySelector('.dt-w table:not(.dt-matrix)')).display")
        assert cards == ("block" if width < 820 else "table")
    assert "negative → positive" not in str(body) if name != "many" else "company → facility" in str(body)
