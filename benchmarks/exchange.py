"""Round trips over every exchange format: how many random documents come back, are refused, or are lost.

Usage: python benchmarks/exchange.py [--documents 1000] [--formats brat conll ...]

Half of the documents are English, half Chinese, all with emoji, line breaks, odd spaces and rare characters. Clean ones
have flat spans on whole tokens: every format must hold all of them. Wild ones have spans anywhere, nested, crossing and
repeated, with borders in white space and inside words: each must come back sign by sign or be refused with its uid.
"""
import argparse
import collections
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from datasets import Dataset, Features, Value

from dataset_tutor.core import DataError, show_progress
from dataset_tutor.exchange import FORMATS, export_labels, import_labels
from dataset_tutor.tagging import tokenize

SIGNS = "aZ9 北京大学，。《》“”ＡB😀👨‍👩‍👧é\u0301𠮷\n\r\t\"'<&>[](){}#|,;\\\u3000\u200b\u2028-_O"
NAMES = ["PER", "LOC", "geo-loc", "O"]
SCHEMES = ["BIO", "BIOES", "BMES"]  # of CoNLL files


def key(spans):
    return sorted((s["start"], s["end"], s["label"]) for s in spans)


def documents(n, lang, seed, clean=False):
    "Random documents; `clean` ones have flat spans on whole tokens, which every format holds."
    lots = random.Random(f"{seed} {lang}")
    words = {"en": ["Ann", "lives", "in", "New", "York", "U.S.", "😀", "don't", "B2B", "<b>", "&", "#tag", "café"],
             "zh": ["李明", "在", "北京", "大学", "，", "《诗经》", "😀", "𠮷野家", "ＡＢ", "2024年", "“好”",
                    "。"]}[lang]
    gaps = [" ", " ", "  ", "\n", "\t", "\u3000"] if lang == "en" else ["", "", "", " ", "\n", "\u3000"]
    for i in range(n):
        text = "".join(lots.choice(words) + lots.choice(gaps) for _ in range(lots.randint(1, 14)))
        if not clean and lots.random() < 0.3:
            text += "".join(lots.choice(SIGNS) for _ in range(8))
        if clean:
            text = text.replace("\n", " ")
            tokens, spans, at = tokenize(text), [], 0
            while at < len(tokens):
                size = lots.randint(1, 3)
                if lots.random() < 0.4 and at + size <= len(tokens):
                    spans.append(dict(start=tokens[at][0], end=tokens[at + size - 1][1], label=lots.choice(NAMES)))
                at += size
        else:
            ends = [sorted(lots.sample(range(len(text) + 1), 2)) for _ in range(lots.randint(0, 5))]
            spans = [dict(start=a, end=b, label=lots.choice(NAMES)) for a, b in sorted(map(tuple, ends))]
        yield dict(uid=f"{lang}-{seed}-{i}", text=text, spans=spans)


def comes_back(rows, name, path, **options):
    "Whether rows come back; `DataError` goes through."
    ds = Dataset.from_list(rows, Features(uid=Value("string"), text=Value("string"), spans=[
        dict(start=Value("int64"), end=Value("int64"), label=Value("string"))]))
    back = import_labels(export_labels(ds, path, name, **options), name,
                         **{k: v for k, v in options.items() if k in ("lang", "scheme")}).rows
    found = {r["uid"]: (r["text"], key(r["spans"])) for r in back}
    return found == {r["uid"]: (r["text"], key(r["spans"])) for r in rows}


def wild(rows: list[dict], name: str, folder: Path, **options) -> collections.Counter:
    "What became of documents that were sent one by one."
    found = collections.Counter()
    for i, row in enumerate(rows):
        try:
            found["back" if comes_back([row], name, folder / f"{i}", **options) else "lost"] += 1
        except DataError as e:
            found["refused" if e.uid == row["uid"] else "refused without a uid"] += 1
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000, help="half of them English, half Chinese")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    args = parser.parse_args()
    show_progress(False)
    half = args.documents // 2
    bad = 0
    for name, scheme in [(n, s) for n in args.formats for s in (SCHEMES if n == "conll" else [None])]:
        began, options = time.perf_counter(), {"scheme": scheme} if scheme else {}
        with tempfile.TemporaryDirectory() as folder:
            clean = [r for lang in ("en", "zh") for r in documents(half, lang, 100, clean=True)]
            back = comes_back(clean, name, Path(folder, "clean"), **options)
            result = {"clean back": len(clean) if back else 0}
            rows = [r for lang in ("en", "zh") for r in documents(half, lang, 200)]
            result |= wild(rows, name, Path(folder), **options)
        bad += result.get("lost", 0) + (result["clean back"] < len(clean)) + result.get("refused without a uid", 0)
        shown = f"{name} {scheme}" if scheme else name
        print(shown.ljust(13), json.dumps(result), f"{time.perf_counter() - began:.0f} s", flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
