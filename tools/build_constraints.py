"""Resolve `dataset-tutor[all]` in a fresh environment and write the versions it got to constraints.txt.

Usage: python tools/build_constraints.py [--pin NAME==VERSION ...]   (a --pin is kept as given; the rest is resolved)
"""
import argparse
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = "3.10"
OWN = {"dataset-tutor"}
HEADER = """\
# Every version that `make lab` and `make test` install, resolved together in a fresh environment on Python {python}.
# Made by tools/build_constraints.py; see CONTRIBUTING.md. A pin with a marker has no release for older Pythons:
# there pip takes the newest that fits. Torch's own accelerator packages are left to torch.
"""
# Run inside the fresh environment: name, version and the Pythons each distribution says it supports.
LIST = """
from importlib.metadata import distributions
for d in distributions(): print(d.name, d.version, d.metadata.get("Requires-Python") or "", sep="\\t")
"""


def bin_of(env: Path) -> Path:
    return env / ("Scripts" if sys.platform == "win32" else "bin")


def resolve(env: Path, pins: list) -> list:
    "Install everything into the empty environment `env`; the rows (name, version, supported Pythons) it then holds"
    venv.create(env, with_pip=True)
    python, wanted = bin_of(env) / "python", env / "pins.txt"
    wanted.write_text("".join(f"{pin}\n" for pin in pins))
    pip = [python, "-m", "pip", "install", "--quiet", "-c", wanted]
    subprocess.run([*pip, "--upgrade", "pip", "setuptools"], check=True)
    subprocess.run([*pip, f"{ROOT}[all]"], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    rows = subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True).stdout
    return [row.split("\t") for row in rows.splitlines()]


def pin_line(name: str, version: str, pythons: str) -> str:
    "One constraint; with a marker where the release does not run on the oldest Python that the package supports"
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
    version = version.split("+")[0]                          # a local build (+cpu) satisfies the plain version
    minor = int(OLDEST.split(".")[1])
    while not SpecifierSet(pythons).contains(f"3.{minor}.99"):
        minor += 1
    marker = f'; python_version >= "3.{minor}"' if f"3.{minor}" != OLDEST else ""
    return f"{canonicalize_name(name)}=={version}{marker}"


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--pin", action="append", default=[], metavar="NAME==VERSION", help="keep this version")
    pins = args.parse_args().pin
    with tempfile.TemporaryDirectory() as tmp:
        rows = resolve(Path(tmp) / "env", pins)
    lines = sorted({pin_line(*row) for row in rows if row[0].lower().replace("_", "-") not in OWN
                    and not re.match(r"nvidia|cuda|triton", row[0].lower())})
    python = ".".join(map(str, sys.version_info[:2]))
    (ROOT / "constraints.txt").write_text(HEADER.format(python=python) + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
