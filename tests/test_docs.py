"""The gallery has every plot and widget of the chapters, each with the line that made it and what it says."""
import inspect
import re

import pytest
from fastcore.nbio import read_nb, write_nb
from run_notebooks import NBS

build = pytest.importorskip("build_docs", reason="needs the extra docs")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder, pages = tmp_path_factory.mktemp("site"), []
    for path in sorted(NBS.glob("*_*.ipynb")):
        pages.append(path.stem.partition("_")[2])
        nb = read_nb(path)
        for cell in nb.cells:
            cell.source = build.code_of(cell) if cell.cell_type == "code" else cell.source
        write_nb(nb, folder / f"{pages[-1]}.ipynb")
    return read_nb(folder / f"{build.gallery(pages, folder)}.ipynb").cells


def made(gallery):
    return "\n".join(c.source for c in gallery if c.cell_type == "code")


def test_every_plot_is_there(gallery):
    from dataset_tutor import figures, maps, visualization, words
    names = {n for m in (figures, maps, visualization, words) for n in m.__all__
             if n.startswith("plot_") and inspect.isfunction(getattr(m, n))}
    assert len(names) >= 20 and not {n for n in names if not re.search(rf"\b{n}\(", made(gallery))}


@pytest.mark.parametrize("name, panel", [
    ("inspect", "Inspector"), ("clean_studio", "CleanPanel"), ("split_studio", "SplitPanel"),
    ("augment_studio", "AugmentPanel"), ("annotate", "Annotator"), ("adjudicate", "Adjudicator"),
    ("review_labels", "Reviewer"), ("training_monitor", "TrainingMonitor"), ("errors", "ErrorPanel"),
    ("embedding_map", "MapPanel")])
def test_every_widget_is_there_and_is_itself(gallery, name, panel):
    cells = [c for c in gallery if c.cell_type == "code" and re.search(rf"\b{name}\(", c.source)]
    shown = ["".join(o["data"].get("text/plain", "")) for c in cells for o in c.outputs if "data" in o]
    assert cells and all(s.startswith(f"<{panel}") for s in shown), shown


def test_the_overview_and_marked_words_are_there(gallery):
    pages = ["".join(o["data"].get("text/html", "")) for c in gallery for o in c.get("outputs", []) if "data" in o]
    assert any("dt-overview" in p for p in pages) and sum("dt-weights" in p for p in pages) >= 3


def test_pictures_come_with_words_and_bad_examples_do_not_come(gallery):
    assert "plt." not in made(gallery)
    for cell, below in zip(gallery, gallery[1:]):
        if any("image/png" in o.get("data", {}) for o in cell.get("outputs", [])):
            assert below.cell_type == "markdown" and len(below.source) > 30, cell.source


def test_captions_are_text():
    assert build.caption(["<b>a</b> [x](y) $1$", "", "b_c"]) == r"\<b\>a\</b\> \[x\]\(y\) \$1\$ b\_c"
