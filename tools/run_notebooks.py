"""Run notebooks as a reader would, offline, and save what they show.

Usage: python tools/run_notebooks.py [--slow] [NOTEBOOK ...]     (default: every notebook in nbs/)

Each one runs in a copy of the project, in a process of its own; only a run without an error replaces the notebook.
The tests call `run_notebook` too, so what they compare with was made in the same way. Cells marked `slow` keep the
outputs they have, unless --slow asks for them: minutes to hours, and models trained earlier are read back.
"""
import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
OFFLINE = ROOT / "tools" / "offline"
PARTS = ("nbs", "dataset_tutor", "data", "benchmarks", "pyproject.toml", "settings.ini", "README.md")
FETCHED = ("assets", "models")      # what of the user's cache a run may see: what was fetched, but no results
TIMEOUT, SLOW_TIMEOUT = 900, 4 * 3600      # seconds for one notebook
# Most notebooks need these: ten seconds of imports. Where processes can be forked safely, one process imports them and
# each notebook runs in a fork of it. The project's own modules are never among them.
HEAVY = ("nbdev.test", "IPython.core.interactiveshell", "torch", "datasets", "pandas", "matplotlib.pyplot",
         "scipy.stats", "sklearn.linear_model", "sklearn.feature_extraction.text", "transformers.trainer",
         "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
         "transformers.models.bert.modeling_bert", "transformers.models.roformer.modeling_roformer")
FORKS = sys.platform == "linux"


def execute(project: str, notebook: str, slow: bool) -> bool:
    "Inside the child: run with nbdev, which knows the flags of the cells, then clean as `nbdev-clean` does"
    from nbdev.clean import clean_nb, process_write
    from nbdev.config import get_config
    from nbdev.test import test_nb
    flags = get_config(project).tst_flags
    flags = set(flags.split() if isinstance(flags, str) else flags) - ({"slow"} if slow else set())
    ok, _ = test_nb(notebook, skip_flags=sorted(flags), basepath=project, save=True, profile=False,
                    cell_timeout=SLOW_TIMEOUT if slow else 600)
    if ok:
        process_write("cannot clean", clean_nb, notebook)
    return ok


def execute_in_fork(project: str, notebook: str, env: dict, log: str) -> None:
    "The same in a fork: it takes the folder, the environment and the output file that a child of its own would have"
    with open(log, "wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(Path(notebook).parent)
    sys.path[:] = ["", *(p for p in sys.path if p and Path(p) not in (ROOT, ROOT / "tools", ROOT / "tests"))]
    sys.argv = ["-c", project, notebook, ""]
    sys.exit(not execute(project, notebook, slow=False))


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


def cache_home(to: Path, slow: bool = False) -> Path:
    "A cache folder for the library under `to`: fetched files are there, results of earlier runs only if `slow`"
    real, home = Path(os.environ.get("DATASET_TUTOR_HOME") or "~/.cache/dataset_tutor").expanduser(), to / "cache"
    home.mkdir(parents=True)
    if slow:
        (real / "runs").mkdir(parents=True, exist_ok=True)     # so that what is trained now is kept
    for name in FETCHED + (("runs",) if slow else ()):
        if (real / name).is_dir():
            (home / name).symlink_to(real / name, target_is_directory=True)
    return home


def offline_env(work: Path, slow: bool = False) -> dict:
    "The environment of a run: no network, no earlier results, one hash seed, figures without a window"
    paths = [str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OFFLINE_LOG": str(work / "hosts.txt"),
            "DATASET_TUTOR_HOME": str(cache_home(work, slow)), "HF_HOME": str(work / "hub"), "HF_HUB_OFFLINE": "1",
            "PYTHONHASHSEED": "0", "MPLBACKEND": "agg", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "120"}


def in_new_process(project: str, notebook: str, env: dict, log: Path, limit: float, slow: bool) -> tuple:
    "Exit code (None: it took too long) and what the child wrote, from a child that starts from nothing"
    code = f"import sys; sys.path.append({str(ROOT / 'tools')!r}); import run_notebooks as r; " \
           f"sys.exit(not r.execute(*sys.argv[1:], slow={slow}))"
    with log.open("wb") as out:
        try:
            done = subprocess.run([sys.executable, "-c", code, project, notebook], cwd=Path(notebook).parent, env=env,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=limit)
            return done.returncode, log.read_text(encoding="utf-8", errors="replace")
        except subprocess.TimeoutExpired:
            return None, ""


def in_fork(project: str, notebook: str, env: dict, log: Path, limit: float) -> tuple:
    "The same without slow cells, in a fork of a process that has imported what is heavy"
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(HEAVY))
    child = forks.Process(target=execute_in_fork, args=(project, notebook, env, str(log)))
    with environment(env):                      # the first one starts the server, which keeps what it reads here
        child.start()
    child.join(limit)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None, ""
    return child.exitcode, log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def environment(env: dict):
    "`os.environ` is `env` for a while"
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_notebook(notebook: Path, work: Path, slow: bool = False) -> Outcome:
    "Run `notebook` in a copy of the project under the empty folder `work`"
    limit = SLOW_TIMEOUT if slow else TIMEOUT
    env = offline_env(work, slow)
    # A benchmark may want the whole project, which the copy is not; tests run one notebook per core.
    env |= {"DATASET_TUTOR_PROJECT": str(ROOT)} if slow else {"OMP_NUM_THREADS": "1"}
    project = copy_project(work / "project")
    copy, log, start = project / notebook.relative_to(ROOT), work / "hosts.txt", time.monotonic()
    child = in_fork if FORKS and not slow else partial(in_new_process, slow=slow)
    code, stderr = child(str(project), str(copy), env, work / "stderr.txt", limit)
    ok, stderr = code == 0, f"stopped after {limit} seconds" if code is None else stderr
    hosts = sorted(set(log.read_text(encoding="utf-8").split())) if log.exists() else []
    return Outcome(copy, ok, stderr, hosts, time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slow", action="store_true", help="run the cells marked `slow` too")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    args = parser.parse_args()
    chosen = [path.resolve() for path in args.notebooks] or notebooks()
    failed = []
    for notebook in chosen:
        with tempfile.TemporaryDirectory() as work:
            outcome = run_notebook(notebook, Path(work), args.slow)
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
