"""Every notebook runs from a clean start, offline, and is committed as a reader should find it."""
import ast
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from run_notebooks import OFFLINE, ROOT, notebooks

# A bar drawn by tqdm or pip, in a terminal or as a widget.
BAR = re.compile(r"\d+%\|.*\|\s*\d|\b\d+/\d+ \[\d\d:\d\d|━━━|tqdm")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")
IMPORTING = re.compile(r"\s*(import|from)\s")


def cells(notebook, kind="code"):
    return [c for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def saved_text(notebook):
    "All text that is saved as output, pictures left out"
    texts = []
    for output in (o for c in cells(notebook) for o in c["outputs"]):
        texts.append("".join(output.get("text", "")))
        texts += ["".join(v) if isinstance(v, list) else str(v)
                  for kind, v in output.get("data", {}).items() if not kind.startswith("image/")]
    return "\n".join(texts)


@cache
def private_strings():
    "What tells on the machine that ran a notebook: its folders and the package hosts it was set up with"
    from pip._internal.models.index import PyPI
    names = {str(ROOT), str(Path.home()), sys.prefix, "/tmp/", PyPI.netloc, PyPI.file_storage_domain}
    config = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    return names | set(re.findall(r"(?:https?|file)://[^\s'\"]+", config))


def test_runs(notebook, fresh):
    outcome = fresh(notebook)
    assert outcome.ok, outcome.stderr


def test_reaches_nobody(notebook, fresh):
    assert not fresh(notebook).hosts, "the notebook must work offline"


def test_has_title_and_promise(notebook):
    "And nothing else in that cell: nbdev would drop it from the site"
    first = "".join(cells(notebook, "markdown")[0]["source"])
    assert re.fullmatch(r"# \S.*\n+> \S.*\n*", first), "the first cell is '# Title' and '> its promise in one line'"


def test_is_clean(notebook, tmp_path):
    from nbdev.clean import clean_nb, process_write
    cleaned = tmp_path / notebook.name
    process_write("cannot clean", clean_nb, notebook, cleaned)
    assert cleaned.read_text(encoding="utf-8") == notebook.read_text(encoding="utf-8"), "run `make clean`"


def test_saved_outputs_show_no_trouble(notebook):
    for cell in cells(notebook):
        source = "".join(cell["source"])
        kinds = {o["output_type"] for o in cell["outputs"]} | {o.get("name") for o in cell["outputs"]}
        assert "error" not in kinds, f"a traceback is saved: show it with test_fail or as a value\n{source}"
        assert "stderr" not in kinds, f"a warning or a progress bar is saved\n{source}"
    assert not (bar := BAR.search(saved_text(notebook))), f"a progress bar is saved: {bar[0]!r}"


def test_saved_outputs_tell_nothing_of_the_machine(notebook):
    text = saved_text(notebook)
    assert not [name for name in private_strings() if name in text]


def belongs_to_imports(node):
    "An import, `if TYPE_CHECKING:`, or a setting that stands beside imports"
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.If, ast.Try, ast.Assign)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def test_imports_stand_in_cells_of_their_own(notebook):
    "The docs build executes every cell with a top-level import, hidden or not, in a fresh namespace"
    for cell in cells(notebook):
        source = "".join(cell["source"])
        if "nbdev_export()" in source or not IMPORTING.search(source):
            continue
        body = ast.parse(re.sub(r"(?m)^[%!].*$", "", source)).body
        imports = any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body)
        assert not imports or all(map(belongs_to_imports, body)), f"move the import into a cell of its own\n{source}"


def links(notebook):
    "The relative links in the prose"
    return {link for c in cells(notebook, "markdown") for link in LINK.findall("".join(c["source"]))}


def test_links_lead_somewhere(notebook):
    assert not [link for link in links(notebook) if not (notebook.parent / link).exists()]


def test_the_start_page_leads_to_every_chapter():
    index, *chapters = notebooks()
    assert index.stem == "index"
    assert not {n.relative_to(index.parent).as_posix() for n in chapters} - links(index), "add it to the tour"


@pytest.mark.parametrize("host, reached", [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False),
                                           ("hub.example.org", False), ("nowhere.invalid", False)])
def test_the_network_guard_holds(host, reached, tmp_path):
    "In a child process, as for the notebooks: loopback is refused by nobody listening, all else by the guard"
    code = f"import socket; socket.create_connection(({host!r}, 9), timeout=5)"
    env = {**os.environ, "PYTHONPATH": str(OFFLINE), "OFFLINE_LOG": str(tmp_path / "hosts")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert ("ConnectionRefusedError" in done.stderr) == reached
    assert (tmp_path / "hosts").exists() == (not reached and not host.endswith(".invalid"))
