"""Build the course site offline: nbdev's own processors, then Sphinx with MyST-NB. The pages come to _docs/."""
import ast
import re
import shutil
import sys
from pathlib import Path

from fastcore.nbio import mk_cell, read_nb, write_nb
from nbdev.config import get_config
from pages import code_of, processed, text_of, titled
from sphinx.cmd.build import main as sphinx

NEW_TAB = re.compile(r'\{target="_blank"[^}]*\}')
PAGE = re.compile(r"\]\(/?(?:\d+\w*?_)?([a-z]\w*)\.(?:html|ipynb)(#[^)]*)?\)")
LEFT = re.compile(r'class=.dt-(w|weights|overview)\b')        # what a widget, marked words, an overview leave behind
SAID = re.compile(r"<(?:figure|live map|\w+)(?:: (.*))?>\Z", re.DOTALL)    # how a figure and a widget call themselves
ABOVE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")


def relinked(markdown: str) -> str:
    "Links as the site knows its pages: no chapter numbers; files outside nbs/ are no pages, so their names stand alone"
    return ABOVE.sub(r"\1", PAGE.sub(lambda m: f"]({m[1]}.ipynb{m[2] or ''})", markdown))


def generated(markdown: str) -> str:
    "What `show_doc` wrote, without Quarto's attributes and the rule above each entry"
    return NEW_TAB.sub("", re.sub(r"\A---\n+", "", relinked(markdown)))


def stage(source: Path, folder: Path) -> str:
    "Write one processed notebook where Sphinx looks for it, as Sphinx wants it; the page's name"
    nb = read_nb(source)
    front = titled(nb)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source)
        elif cell.cell_type == "code":
            if "echo: false" in cell.source:
                cell.metadata["tags"] = ["remove-input"]
            cell.source = code_of(cell)
            for data in (output.get("data", {}) for output in cell.get("outputs", [])):
                if "text/markdown" in data:
                    data["text/markdown"] = generated(text_of(data["text/markdown"]))
    page = Path(front.get("output-file", source.stem)).stem
    write_nb(nb, folder / f"{page}.ipynb")
    return page


def pictures(cell) -> list[str]:
    "What the figures and widgets of a cell say in words; a plot in no look of ours, as of a bad example, is left out"
    shown = [output.get("data", {}) for output in cell.get("outputs", [])] if cell.cell_type == "code" else []
    found = []
    for data in shown:
        words = text_of(data.get("text/plain", ""))
        if "image/png" in data and words.startswith("<figure") or LEFT.search(text_of(data.get("text/html", ""))):
            found.append((m[1] or "") if (m := SAID.match(words)) else words.splitlines()[0] if words else "")
    return found


def made_by(source: str, named: dict) -> str:
    "The statement that a cell ends with; for a name alone, what it was given last"
    try:
        body = ast.parse(source).body
    except SyntaxError:                         # magics
        return source
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named[node.targets[0].id] = ast.get_source_segment(source, node)
    last = ast.get_source_segment(source, body[-1]) if body else source
    return named.get(last, last)


def caption(said: list[str]) -> str:
    "The words under a picture: first letters large, nothing in them is markup"
    words = " ".join(w for w in said if w)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|$~&" else c for c in words[:400]) + "…" * (len(words) > 400)


def gallery(pages: list[str], folder: Path) -> str:
    "A page with every plot and widget, each with the line that made it and what it says; the page's name"
    nb = read_nb(folder / f"{pages[0]}.ipynb")
    nb.cells = [mk_cell("# Gallery\n\n> Every plot and widget of the course, under the line that made it.", "markdown")]
    for page in pages:
        cells = read_nb(folder / f"{page}.ipynb").cells
        if any(map(pictures, cells)):
            title = cells[0].source.splitlines()[0].lstrip("# ")
            nb.cells.append(mk_cell(f"## [{title}]({page}.ipynb)", "markdown"))
        named: dict = {}
        for cell in (c for c in cells if c.cell_type == "code"):
            line = made_by(cell.source, named)
            if found := pictures(cell):
                cell.source = line
                nb.cells.append(cell)
                if words := caption(found):
                    nb.cells.append(mk_cell(words, "markdown"))
    write_nb(nb, folder / "gallery.ipynb")
    return "gallery"


def main() -> None:
    config = get_config()
    work, site = config.config_path / "_sphinx", config.config_path / config.doc_path
    shutil.rmtree(work, ignore_errors=True)
    source = work / "source"
    source.mkdir(parents=True)
    pages = [stage(page, source) for page in sorted(processed().glob("*.ipynb"))]
    start = read_nb(source / "index.ipynb")
    pages = [page for page in pages if page != "index"]
    chapters = "\n".join([*pages, gallery(pages, source)])
    start.cells.append(mk_cell(f"```{{toctree}}\n:maxdepth: 1\n:hidden:\n\n{chapters}\n```", "markdown"))
    write_nb(start, source / "index.ipynb")
    failed = sphinx(["-q", "-W", "--keep-going", "-b", "html", "-c", str(config.config_path / "docs"), str(source),
                     str(work / "site")])
    if failed:
        sys.exit("the site was not built: mend what is named above")
    shutil.rmtree(site, ignore_errors=True)
    (work / "site").rename(site)
    print(f"open {site.name}/index.html")


if __name__ == "__main__":
    main()
