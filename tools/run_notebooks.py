"""Run notebooks as a reader would, offline, and save what they show.

Usage: python tools/run_notebooks.py [NOTEBOOK ...]     (default: every notebook in nbs/)

Each one runs in a copy of the project, in a process of its own; only a run without an error replaces the notebook.
The tests call `run_notebook` too, so what they compare with was made in the same way.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
OFFLINE = ROOT / "tools" / "offline"
PARTS = ("nbs", "dataset_tutor", "data", "pyproject.toml", "settings.ini", "README.md")
FETCHED = ("assets", "models")      # what of the user's cache a run may see: what was fetched, but no results
TIMEOUT = 900
# Runs inside the child: execute with nbdev (which knows the flags of the cells), then clean as `nbdev-clean` does.
CHILD = """
import sys
from nbdev.clean import clean_nb, process_write
from nbdev.config import get_config
from nbdev.test import test_nb
root, nb = sys.argv[1:]
flags = get_config(root).tst_flags
ok, _ = test_nb(nb, skip_flags=flags.split() if isinstance(flags, str) else flags, basepath=root, save=True,
                profile=False)
if ok: process_write("cannot clean", clean_nb, nb)
sys.exit(not ok)
"""


@dataclass
class Outcome:
    "What came of one run: the executed copy, whether it ran to its end, what it complained of, whom it tried to reach"
    notebook: Path
    ok: bool
    stderr: str
    hosts: list
    seconds: float


def notebooks() -> list:
    "Every notebook of the course, in reading order"
    found = (p for p in NBS.rglob("*.ipynb") if not any(part[0] in "_." for part in p.relative_to(NBS).parts))
    return sorted(found, key=lambda p: (p.stem != "index", p))


def copy_project(to: Path) -> Path:
    "The parts of the project that a notebook may read, under `to`"
    for part in PARTS:
        source, target = ROOT / part, to / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "runs"))
        elif source.exists():
            shutil.copy(source, target)
    return to


def cache_home(to: Path) -> Path:
    "A cache folder for the library under `to`: fetched files are there, results of earlier runs are not"
    real, home = Path(os.environ.get("DATASET_TUTOR_HOME") or "~/.cache/dataset_tutor").expanduser(), to / "cache"
    home.mkdir(parents=True)
    for name in FETCHED:
        if (real / name).is_dir():
            (home / name).symlink_to(real / name, target_is_directory=True)
    return home


def offline_env(work: Path) -> dict:
    "The environment of a run: no network, no earlier results, one hash seed, figures without a window"
    paths = [str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OFFLINE_LOG": str(work / "hosts.txt"),
            "DATASET_TUTOR_HOME": str(cache_home(work)), "HF_HOME": str(work / "hub"), "HF_HUB_OFFLINE": "1",
            "PYTHONHASHSEED": "0", "MPLBACKEND": "agg", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "120"}


def run_notebook(notebook: Path, work: Path) -> Outcome:
    "Run `notebook` in a copy of the project under the empty folder `work`"
    project = copy_project(work / "project")
    copy, log, start = project / notebook.relative_to(ROOT), work / "hosts.txt", time.monotonic()
    try:
        done = subprocess.run([sys.executable, "-c", CHILD, str(project), str(copy)], cwd=copy.parent, text=True,
                              env=offline_env(work), capture_output=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
        ok, stderr = done.returncode == 0, done.stderr
    except subprocess.TimeoutExpired:
        ok, stderr = False, f"stopped after {TIMEOUT} seconds"
    hosts = sorted(set(log.read_text(encoding="utf-8").split())) if log.exists() else []
    return Outcome(copy, ok, stderr, hosts, time.monotonic() - start)


def main() -> None:
    chosen = [Path(arg).resolve() for arg in sys.argv[1:]] or notebooks()
    failed = []
    for notebook in chosen:
        with tempfile.TemporaryDirectory() as work:
            outcome = run_notebook(notebook, Path(work))
            if outcome.ok:
                shutil.copy(outcome.notebook, notebook)
            else:
                failed.append(notebook.name)
                print(outcome.stderr, file=sys.stderr)
            if outcome.hosts:
                print(f"{notebook.name} tried to reach {', '.join(outcome.hosts)}", file=sys.stderr)
            print(f"{notebook.name}: {'saved' if outcome.ok else 'FAILED'}, {outcome.seconds:.0f} s", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
