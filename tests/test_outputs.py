"""What a reader sees on the page is what the code gives today."""
import ast
import json
import re

import pytest

SKIPPED = {"slow", "gpu", "network"}              # not run here; the outputs stay as they were saved
VARIES = "varies"                                 # run, but the value depends on the machine or on training
WIDGET = "application/vnd.jupyter.widget-view+json"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


def flags(cell):
    "The names after `#|` at the head of a cell"
    return {line[2:].split(":")[0].split()[0] for line in "".join(cell["source"]).splitlines()
            if line.startswith("#|") and line[2:].strip()}


def shown(cell):
    "The outputs of a cell in comparable form: text and HTML as they are, pictures and widgets by kind"
    outputs = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            outputs.append((output["name"], ESCAPES.sub("", "".join(output["text"]))))
        else:
            data = output.get("data", {})
            outputs.append({kind: "".join(value) if kind.startswith("text/") else True
                            for kind, value in data.items() if kind != WIDGET})
    return outputs


def kinds(cell):
    "What sort of thing a cell shows, whatever its numbers: kinds of data, and the class where one names itself"
    found = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        named = re.match(r"<\w+", "".join(data.get("text/plain", "")))
        found.append((output["output_type"], sorted(set(data) - {WIDGET}), named and named[0]))
    return found


def code_cells(path):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {c["id"]: c for c in found if c["cell_type"] == "code"}


def displays(cell):
    "Would this cell show a value? Its last statement is an expression, and none of the checks that return nothing"
    source = re.sub(r"(?m)^[%!].*$", "", "".join(cell["source"]))
    body = ast.parse(source).body
    if not body or not isinstance(body[-1], ast.Expr) or source.rstrip().endswith(";"):
        return False
    called = body[-1].value.func if isinstance(body[-1].value, ast.Call) else None
    return not (isinstance(called, ast.Name) and called.id.startswith(("test_", "expect_", "print", "plt")))


def test_saved_outputs_are_fresh(notebook, fresh):
    outcome = fresh(notebook)
    if not outcome.ok:
        pytest.skip("the notebook does not run")
    saved, now = code_cells(notebook), code_cells(outcome.notebook)
    assert list(saved) == list(now)
    for key, cell in saved.items():
        if flags(cell) & SKIPPED:
            continue
        if VARIES in flags(cell):
            assert kinds(now[key]) == kinds(cell), "changed; run `make outputs`:\n" + "".join(cell["source"])
            continue
        assert shown(now[key]) == shown(cell), "stale; run `make outputs`:\n" + "".join(cell["source"])


def test_skipped_cells_show_what_they_gave(notebook):
    for cell in code_cells(notebook).values():
        if flags(cell) & SKIPPED and displays(cell):
            assert cell["outputs"], "run it once and save what it shows:\n" + "".join(cell["source"])
