"""Write README.md from nbs/index.ipynb."""
import re

from fastcore.nbio import read_nb
from nbdev.config import get_config
from pages import code_of, processed, text_of, titled

# A notebook's links are relative to nbs/, the README's to the folder above.
LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)\s]+)(\))")

STYLE = re.compile(r"<style.*?</style>\s*", re.DOTALL)     # README viewers show its text


def relinked(markdown: str) -> str:
    "Links to neighbours of the notebook, as seen from the project's folder"
    return LINK.sub(lambda m: f"{m[1]}{m[2][3:] if m[2].startswith('../') else 'nbs/' + m[2]}{m[3]}", markdown)


def indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())


def rendered(output) -> str:
    "One saved output as Markdown: Markdown and HTML as they are, text as an indented block"
    data = output.get("data", {})
    for kind in ("text/markdown", "text/html"):
        if kind in data:
            return STYLE.sub("", text_of(data[kind])).strip()
    return indented(text_of(data.get("text/plain", output.get("text", ""))))


def blocks(nb):
    "The Markdown of a processed notebook, cell by cell"
    titled(nb)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            yield relinked(cell.source)
        elif source := code_of(cell):
            yield f"```python\n{source}\n```"
            yield from filter(None, map(rendered, cell.get("outputs", [])))


def main() -> None:
    config = get_config()
    nb = read_nb(processed(config.readme_nb) / config.readme_nb)
    (config.config_path / "README.md").write_text("\n\n".join(blocks(nb)).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
