"""The two commands on a fresh machine: `make lab` until it listens, once more, and `make test`, from a clean clone.

    python benchmarks/commands.py                     # the commit that is checked out; about 40 minutes on two cores
    python benchmarks/commands.py --args "-k layout"  # passed on to pytest
    python benchmarks/commands.py --keep logs/        # where the three logs go; a failure is printed in any case

The clone stands in an empty folder, the home folder is empty, too, and of the environment only what leads to the
registries is kept (pip's settings, proxies, certificates). So Python is the system's own and nothing that was fetched
or built before can stand in for a missing step. Browser tests may not be skipped.
"""

import argparse
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(os.environ.get("DATASET_TUTOR_PROJECT") or Path(__file__).resolve().parent.parent)
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
REGISTRIES = re.compile(r"^(PIP_.*|SSL_.*|REQUESTS_CA_BUNDLE|(HTTPS?|NO|ALL)_PROXY)$", re.IGNORECASE)
LAB_LIMIT, TEST_LIMIT = 1_800, 2 * 3_600  # seconds


def bare_env(home: Path) -> dict:
    """What a shell has just after the first login, and the way to the registries."""
    kept = {name: value for name, value in os.environ.items() if REGISTRIES.match(name)}
    return kept | {"PATH": SYSTEM, "HOME": str(home), "LANG": "C.UTF-8", "DATASET_TUTOR_BROWSER": "required"}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until_it_listens(clone: Path, env: dict, log: Path) -> float:
    """Seconds from `make lab` to the line that says where JupyterLab listens; it is stopped then."""
    port, began = free_port(), time.monotonic()
    with log.open("w") as out:
        lab = subprocess.Popen(
            ["make", "lab", f"ARGS=--no-browser --port {port}"],
            cwd=clone, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            while f":{port}/" not in log.read_text(errors="replace"):
                if lab.poll() is not None or time.monotonic() - began > LAB_LIMIT:
                    sys.exit(f"make lab does not listen:\n{log.read_text(errors='replace')[-3_000:]}")
                time.sleep(0.1)
            return time.monotonic() - began
        finally:
            os.killpg(lab.pid, signal.SIGTERM)
            lab.wait(60)


def tested(clone: Path, env: dict, args: str, log: Path) -> tuple[float, str, list]:
    """Seconds of `make test`, pytest's closing line and the tests that failed."""
    began = time.monotonic()
    with log.open("w") as out:
        subprocess.run(
            ["make", "test", f"ARGS={args}"], cwd=clone, env=env, stdout=out, stderr=subprocess.STDOUT,
            timeout=TEST_LIMIT, check=False,
        )  # fmt: skip
    seconds, lines = time.monotonic() - began, log.read_text(errors="replace").splitlines()
    return seconds, lines[-1].strip("= "), [x for x in lines if x.startswith(("FAILED", "ERROR"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--args", default="", help="for pytest")
    parser.add_argument("--keep", type=Path, help="a folder for the logs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as d:
        clone, home, logs = Path(d) / "clone", Path(d) / "home", options.keep or Path(d) / "logs"
        home.mkdir()
        logs.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(PROJECT), str(clone)], check=True)
        env = bare_env(home)
        version = subprocess.run(["python3", "--version"], env=env, capture_output=True, text=True, check=True).stdout
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h, %cs"], cwd=clone, capture_output=True, text=True, check=True
        ).stdout
        print(f"commit {commit.strip()}; {version.strip()}; {os.cpu_count()} cores, {platform.machine()}", flush=True)
        for n, which in enumerate(("fresh machine", "second time")):
            print(f"make lab, {which}: {until_it_listens(clone, env, logs / f'lab{n}.log'):.0f} s", flush=True)
        seconds, closing, failed = tested(clone, env, options.args, logs / "test.log")
        print(f"make test: {seconds:.0f} s; {closing}", *failed, sep="\n")


if __name__ == "__main__":
    main()
