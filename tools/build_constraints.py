"""Resolve `dataset-tutor[all]` in a fresh environment and write the versions it got to constraints.txt.

Usage: python tools/build_constraints.py [--pin NAME==VERSION ...]   (a --pin is kept as given; the rest is resolved)
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10, 0)
LEFT_OUT = re.compile(r"dataset.tutor$|nvidia|cuda|triton", re.IGNORECASE)
HEADER = """\
# Every version that `make lab` and `make test` install, resolved together in a fresh environment on Python {python}.
# Made by tools/build_constraints.py; see CONTRIBUTING.md. A pin with a marker is a release that older Pythons cannot
# have, or something that such a release needs: there pip chooses by itself. Torch's accelerator packages go with torch.
"""
# Run inside the fresh environment: what is there, the Pythons it says it supports, and what it requires.
LIST = """
import json
from importlib.metadata import distributions
print(json.dumps([[d.name, d.version, d.metadata.get("Requires-Python") or "", d.requires or []]
                  for d in distributions()]))
"""


def resolve(env: Path, pins: list) -> list:
    "Install everything into the empty environment `env`; the rows (name, version, Pythons, requirements) it then holds"
    venv.create(env, with_pip=True)
    python, wanted = env / ("Scripts" if sys.platform == "win32" else "bin") / "python", env / "pins.txt"
    wanted.write_text("".join(f"{pin}\n" for pin in pins))
    pip = [python, "-m", "pip", "install", "--quiet", "-c", wanted]
    subprocess.run([*pip, "--upgrade", "pip", "setuptools"], check=True)
    subprocess.run([*pip, f"{ROOT}[all]"], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    rows = subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True).stdout
    return [row for row in json.loads(rows) if not LEFT_OUT.match(row[0])]


def first_python(pythons: str) -> tuple:
    "The oldest version, from OLDEST on, that a `Requires-Python` accepts; Debian 12 has 3.11.2, so patches count too"
    from packaging.specifiers import SpecifierSet
    accepted, (major, minor, patch) = SpecifierSet(pythons), OLDEST
    while not accepted.contains(f"{major}.{minor}.99"):
        minor += 1
    while not accepted.contains(f"{major}.{minor}.{patch}"):
        patch += 1
    return major, minor, patch


def marker(oldest: tuple) -> str:
    "What follows a pin that only Pythons from `oldest` on can have"
    major, minor, patch = oldest
    if oldest == OLDEST:
        return ""
    return f'; python_full_version >= "{major}.{minor}.{patch}"' if patch else f'; python_version >= "{major}.{minor}"'


def oldest_pythons(rows: list) -> dict:
    """Package -> the oldest Python its pin is for.

    Where a pin cannot be had, pip takes an older release, and that may want older releases of what it requires.
    So whatever a pin's release requires is left open wherever the pin itself is.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    def required(texts: list) -> set:
        needed = [r for r in map(Requirement, texts) if "extra" not in str(r.marker or "")]
        return {canonicalize_name(r.name) for r in needed}

    found = {canonicalize_name(name): first_python(pythons) for name, _, pythons, _ in rows}
    needs = {canonicalize_name(name): required(texts) for name, _, _, texts in rows}
    waiting = [name for name in found if found[name] > OLDEST]
    while waiting:
        name = waiting.pop()
        for needed in needs[name] & found.keys():
            if found[needed] < found[name]:
                found[needed] = found[name]
                waiting.append(needed)
    return found


def pin_lines(rows: list) -> list:
    "The constraints, sorted"
    from packaging.utils import canonicalize_name
    oldest, lines = oldest_pythons(rows), []
    for name, version, _, _ in rows:
        name = canonicalize_name(name)
        plain = version.split("+")[0]       # which a local build (+cpu) satisfies
        lines.append(f"{name}=={plain}{marker(oldest[name])}")
    return sorted(set(lines))


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--pin", action="append", default=[], metavar="NAME==VERSION", help="keep this version")
    pins = args.parse_args().pin
    with tempfile.TemporaryDirectory() as tmp:
        rows = resolve(Path(tmp) / "env", pins)
    python = ".".join(map(str, sys.version_info[:2]))
    text = HEADER.format(python=python) + "\n".join(pin_lines(rows)) + "\n"
    (ROOT / "constraints.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
