"""The library is exactly what the notebooks export, and the README what index.ipynb says."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_notebooks import ROOT, copy_project

LIB = "dataset_tutor"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    "A copy of the project whose library was thrown away and exported anew"
    project = copy_project(tmp_path_factory.mktemp("export"))
    shutil.copytree(ROOT / "tools", project / "tools")
    for module in (project / LIB).glob("*.py"):
        if module.name != "__init__.py":
            module.unlink()
    subprocess.run([Path(sys.executable).with_name("nbdev-export")], cwd=project, check=True)
    return project


def sources(root):
    return {p.relative_to(root).as_posix(): p.read_text(encoding="utf-8") for p in sorted((root / LIB).rglob("*.py"))}


def test_export_is_current(exported):
    here, anew = sources(ROOT), sources(exported)
    assert list(here) == list(anew), "a module without a notebook, or the other way round"
    assert not [name for name in here if here[name] != anew[name]], "edit the notebook and run `make export`"


def test_readme_is_current(exported):
    subprocess.run([sys.executable, "tools/build_readme.py"], cwd=exported, check=True, capture_output=True)
    here, anew = ((root / "README.md").read_text(encoding="utf-8") for root in (ROOT, exported))
    assert here == anew, "run `make readme`"
