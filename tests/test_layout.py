"""One place for each fact, one notebook for each module, and imports that only run down the numbers."""
import ast
import configparser
import json
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from run_notebooks import NBS, ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it along there

LIB = ROOT / "dataset_tutor"
GENERATED = {"__init__", "_modidx"}
HEAVY = {"torch", "transformers", "datasets", "sklearn", "matplotlib", "pandas", "scipy", "IPython"}
LIGHT_UP_TO = 20                       # cleaning: what a user imports first must come up in a blink
NOT_MEASURED = {"auditing": "plants leaks", "distribution": "splits; what leaks are worth stands in auditing",
                "more_tasks": "shapes rows for tasks that effect does not measure", "numbers": "rows without texts",
                "pipeline": "takes part of the rows", "studios": "shows rows"}


def settings():
    ini = configparser.ConfigParser(delimiters=["="])
    ini.read(ROOT / "settings.ini", encoding="utf-8")
    return ini["DEFAULT"]


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def chapters():
    "Module name -> chapter number, from the notebooks' names (20a_text.ipynb counts as 20)"
    found = {}
    for notebook in NBS.rglob("[0-9]*.ipynb"):
        if exported := re.search(r"#\|\s*default_exp\s+([\w.]+)", notebook.read_text(encoding="utf-8")):
            found[exported[1]] = (int(re.match(r"\d+", notebook.stem)[0]), notebook)
    return found


def modules():
    return sorted(p for p in LIB.rglob("*.py") if p.stem not in GENERATED)


def imported_modules(path):
    "The modules of this package that a module imports anywhere, inside functions too"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == LIB.name):
            inner = (node.module or "").removeprefix(LIB.name).strip(".")
            names = [inner] if inner else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.removeprefix(f"{LIB.name}.") for a in node.names if a.name.startswith(f"{LIB.name}.")]
        yield from (name.split(".")[0] for name in names)


def test_settings_agree():
    cfg, toml = settings(), pyproject()
    nbdev = toml["tool"]["nbdev"]
    assert {k: cfg[k] for k in nbdev if k in cfg} == {k: v for k, v in nbdev.items() if k in cfg}
    assert {"lib_path", "nbs_path", "tst_flags"} <= nbdev.keys()
    assert toml["project"]["name"] == cfg["dist_name"]
    assert canonicalize_name(cfg["lib_name"]) == cfg["dist_name"] and cfg["lib_path"] == cfg["lib_name"] == LIB.name
    assert not {"version", "description", "dependencies", "license"} & toml["project"].keys()
    assert toml["tool"]["ruff"]["target-version"] == "py" + cfg["min_python"].replace(".", "")


def test_version_agrees():
    import dataset_tutor
    assert dataset_tutor.__version__ == settings()["version"]


def test_every_chapter_has_its_module_and_every_module_its_chapter():
    assert {p.stem for p in modules() if p.parent == LIB} == {name.split(".")[0] for name in chapters()}
    for name, (_, notebook) in chapters().items():
        assert notebook.stem.split("_", 1)[1] == name.replace(".", "_"), f"{notebook.name} exports {name}"


STEPS = [p.stem for p in modules() if re.search(r"^@(?:step|mapper|row_filter|operator)\b", p.read_text("utf-8"), re.M)]


@pytest.mark.parametrize("name", STEPS)
def test_a_chapter_with_steps_measures_what_they_buy(name):
    cells = json.loads(chapters()[name][1].read_text(encoding="utf-8"))["cells"]
    measures = any(re.search(r"\beffect\(", "".join(c["source"])) for c in cells if c["cell_type"] == "code")
    assert measures != (name in NOT_MEASURED), "measure the steps with effect, or say in NOT_MEASURED why not"


def test_chapter_numbers_are_given_once():
    numbers = [n for n, _ in chapters().values()]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("module", modules(), ids=lambda p: p.stem)
def test_imports_run_down_the_numbers(module):
    number = {name.split(".")[0]: n for name, (n, _) in chapters().items()}
    own = module.relative_to(LIB).parts[0].removesuffix(".py")
    upward = {name for name in imported_modules(module) if name in number and number[name] > number[own]}
    assert not upward, f"{own} ({number[own]}) imports from later chapters: {upward}"


@pytest.mark.parametrize("name", [name for name, (number, _) in sorted(chapters().items()) if number <= LIGHT_UP_TO])
def test_light_modules_stay_light(name):
    "No seconds are measured here: what makes an import slow is named"
    code = f"import sys, dataset_tutor.{name}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == [], f"import these inside the functions of {name} that need them"


def test_a_pin_is_only_for_pythons_that_can_have_it():
    "Down to the patch release: on Debian 12's 3.11.2 a pin that wants 3.11.5 would make the whole install impossible"
    from build_constraints import pin_lines
    rows = [("Old", "1.0", ">=3.8", []), ("patchy", "4.1", ">=3.11.5", ["needed>=1"]), ("needed", "2.0", ">=3.9", []),
            ("minor", "3.0+cpu", ">=3.12,!=3.12.1", ["old; extra == 'x'"])]
    assert pin_lines(rows) == ['minor==3.0; python_version >= "3.12"', 'needed==2.0; python_full_version >= "3.11.5"',
                               "old==1.0", 'patchy==4.1; python_full_version >= "3.11.5"']


def test_constraints_pin_every_requirement():
    "Each direct requirement has a pin that it accepts, and no pin names a machine or an index"
    lines = [ln.split("#")[0].strip() for ln in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pins = {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}
    assert all(len(r.specifier) == 1 and not r.url for r in pins.values())
    wanted = [Requirement(text) for key, value in settings().items() if key.endswith("requirements")
              for text in value.split()]
    for requirement in wanted:
        pin = next(iter(pins[canonicalize_name(requirement.name)].specifier))
        assert pin.operator == "==" and requirement.specifier.contains(pin.version), str(requirement)
