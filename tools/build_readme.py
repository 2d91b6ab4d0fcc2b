"""README.md from nbs/index.ipynb: nbdev's processors run the `show_doc`s and drop hidden cells, the rest is Markdown."""
import re

import yaml
from fastcore.nbio import read_nb
from nbdev.config import get_config
from nbdev.serve import proc_nbs

# A notebook's links are relative to nbs/, the README's to the folder above.
LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)\s]+)(\))")


def relinked(markdown: str) -> str:
    "Links to neighbours of the notebook, as seen from the project's folder"
    return LINK.sub(lambda m: f"{m[1]}{m[2][3:] if m[2].startswith('../') else 'nbs/' + m[2]}{m[3]}", markdown)


def text_of(value) -> str:
    return value if isinstance(value, str) else "".join(value)


def indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())


def rendered(output) -> str:
    "One saved output as Markdown: Markdown and HTML as they are, text as an indented block"
    data = output.get("data", {})
    for kind in ("text/markdown", "text/html"):
        if kind in data:
            return text_of(data[kind]).strip()
    return indented(text_of(data.get("text/plain", output.get("text", ""))))


def blocks(notebook):
    "The Markdown of a processed notebook, cell by cell"
    for cell in notebook.cells:
        if cell.cell_type == "raw":
            front = yaml.safe_load(cell.source.strip().strip("-"))
            yield f"# {front['title']}"
            if front.get("description"):
                yield f"> {front['description']}"
        elif cell.cell_type == "markdown":
            yield relinked(cell.source)
        elif source := "\n".join(ln for ln in cell.source.splitlines() if not ln.startswith("#|")).strip():
            yield f"```python\n{source}\n```"
            yield from filter(None, map(rendered, cell.get("outputs", [])))


def main() -> None:
    config = get_config()
    page = proc_nbs(force=True, file_glob=config.readme_nb, n_workers=0) / config.readme_nb
    (config.config_path / "README.md").write_text("\n\n".join(blocks(read_nb(page))).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
