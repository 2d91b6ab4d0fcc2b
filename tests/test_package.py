"""`pip install .` gives users what settings.ini promises."""
import configparser
import email
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from run_notebooks import ROOT, copy_project

NEEDED = ("setup.py", "MANIFEST.in", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "The wheel as pip builds it, from a copy, so that no build folder is left beside the sources"
    project, out = copy_project(tmp_path_factory.mktemp("package")), tmp_path_factory.mktemp("wheel")
    for name in NEEDED:
        (project / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                    "--wheel-dir", str(out), str(project)], check=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def member(wheel, end):
    return wheel.read(next(n for n in wheel.namelist() if n.endswith(end))).decode()


def test_metadata(wheel):
    cfg = configparser.ConfigParser(delimiters=["="])
    cfg.read(ROOT / "settings.ini", encoding="utf-8")
    cfg, meta = cfg["DEFAULT"], email.message_from_string(member(wheel, "METADATA"))
    assert (meta["Name"], meta["Version"]) == (cfg["dist_name"], cfg["version"])
    assert meta["License"] == "Apache-2.0" or meta["License-Expression"] == "Apache-2.0"
    assert meta["Requires-Python"] == f">={cfg['min_python']}"
    assert meta["Summary"] == cfg["description"]
    requirements = [Requirement(text) for text in meta.get_all("Requires-Dist")]
    base = {r.name for r in requirements if not r.marker}
    assert base == {Requirement(text).name for text in cfg["requirements"].split()}
    assert not base & {"torch", "transformers", "matplotlib", "jupyterlab"}, "heavy parts are extras"


def test_extras(wheel):
    extras = set(email.message_from_string(member(wheel, "METADATA")).get_all("Provides-Extra"))
    assert extras == {"train", "clean", "augment", "plot", "balance", "evaluation", "efficient", "serve", "web", "lab",
                      "docs", "dev", "umap", "search", "track", "wandb", "mlflow", "all"}


def test_what_is_apart_is_not_in_all(wheel):
    wanted = [Requirement(r) for r in email.message_from_string(member(wheel, "METADATA")).get_all("Requires-Dist")]
    of = {r.name: {e for e in ("all", "track", "wandb", "mlflow") if r.marker and r.marker.evaluate({"extra": e})}
          for r in wanted if r.name in ("tensorboard", "wandb", "mlflow")}
    assert of == {"tensorboard": {"track", "all"} & of["tensorboard"], "wandb": {"wandb"}, "mlflow": {"mlflow"}}


def test_command(wheel):
    assert "dataset-tutor = dataset_tutor.pipeline:main" in member(wheel, "entry_points.txt")


def test_contents(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dataset_tutor"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    assert member(wheel, "dataset_tutor/__init__.py")
