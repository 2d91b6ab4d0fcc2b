"""Round trips over every exchange format: how many random documents come back, are refused, or are lost.

Usage: python benchmarks/exchange.py [--documents 1000] [--formats brat conll ...]

Half of the documents are English, half Chinese, all with emoji, line breaks, odd spaces and rare characters. Clean ones
have flat spans on whole tokens: every format must hold all of them. Wild ones have spans anywhere, nested, crossing and
repeated, with borders in white space and inside words: each must come back sign by sign or be refused with its uid.
"""
import argparse
import collections
import json
import sys
import tempfile
import time
from pathlib import Path

from dataset_tutor.core import DataError, show_progress
from dataset_tutor.exchange import FORMATS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from test_exchange import comes_back, documents  # noqa: E402


def wild(rows: list[dict], name: str, folder: Path) -> collections.Counter:
    "What became of documents that were sent one by one."
    found = collections.Counter()
    for i, row in enumerate(rows):
        try:
            found["back" if comes_back([row], name, folder / f"{i}") else "lost"] += 1
        except DataError as e:
            found["refused" if e.uid == row["uid"] else "refused without a uid"] += 1
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    args = parser.parse_args()
    show_progress(False)
    half = args.documents // 2
    bad = 0
    for name in args.formats:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            clean = [r for lang in ("en", "zh") for r in documents(half, lang, 100, clean=True)]
            result = {"clean back": len(clean) if comes_back(clean, name, Path(folder, "clean")) else 0}
            result |= wild([r for lang in ("en", "zh") for r in documents(half, lang, 200)], name, Path(folder))
        bad += result.get("lost", 0) + (result["clean back"] < len(clean)) + result.get("refused without a uid", 0)
        print(name.ljust(13), json.dumps(result), f"{time.perf_counter() - began:.0f} s", flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
