"""What the README and the site share: notebooks as nbdev's own processors leave them."""
import inspect
import sys
from pathlib import Path

import fastcore.docments
import yaml
from fastcore.nbio import mk_cell
from nbdev.config import get_config
from nbdev.serve import proc_nbs


def signature(sym, *, eval_str: bool = False, **kwargs):
    "`inspect.signature`; a name imported under `if TYPE_CHECKING:` is not there to be looked up and stays as written"
    try:
        return inspect.signature(sym, eval_str=eval_str, **kwargs)
    except NameError:
        return inspect.signature(sym, **kwargs)


def processed(file_glob: str = "") -> Path:
    "The folder of processed notebooks: hidden cells are gone, every `show_doc` has run, backticked names are links"
    fastcore.docments.signature = signature
    sys.path.insert(0, str(get_config().config_path))
    return proc_nbs(force=True, file_glob=file_glob, n_workers=0)


def text_of(value) -> str:
    "Notebook text, whether it is saved as one string or as lines"
    return value if isinstance(value, str) else "".join(value)


def titled(nb) -> dict:
    "Turn the YAML cell that nbdev put first into an ordinary title cell again; what it said"
    if not nb.cells or nb.cells[0].cell_type != "raw":
        return {}
    front = yaml.safe_load(nb.cells[0].source.strip().strip("-"))
    promise = f"\n\n> {front['description']}" if front.get("description") else ""
    nb.cells[0] = mk_cell(f"# {front['title']}{promise}", "markdown")
    return front


def code_of(cell) -> str:
    "The code a reader should see: without the `#|` lines, which are for nbdev"
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith("#|")).strip()
