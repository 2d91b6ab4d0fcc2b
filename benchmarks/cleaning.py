"""A cleaning recipe beside the same operators of Data-Juicer, on the same rows in the same run.

Usage: python benchmarks/cleaning.py [--rows 100000] [--num-proc 2] [--peer PYTHON] [--scale 10000 100000 1000000]

Both repair Unicode, set white space right, take out markup and links, drop rows by length and drop exact duplicates.
Ours also keeps spans, records and the reason for every row; both write nothing. Rows are real reviews in two languages,
a third of them made dirty. Beside the seconds on the clock stand those of the processor, of all processes together,
which other work on the machine hardly changes. --peer, or the variable DATASET_TUTOR_PEERS, is the Python of an
environment that holds `py-data-juicer selectolax ftfy aiohttp` (its pins differ from ours); without one, the
interpreter that runs this is tried. --scale instead asks what a row costs, and how much memory the recipe takes, as the
rows become more: each number of rows lies on disk and is cleaned in a process of its own, on one core.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
import sys, time, json, os
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
from loguru import logger
logger.remove()
from datasets import Dataset, disable_caching, disable_progress_bars
disable_caching(); disable_progress_bars()
from data_juicer.core.data import NestedDataset
from data_juicer.ops.mapper import (CleanHtmlMapper, CleanLinksMapper, FixUnicodeMapper, WhitespaceNormalizationMapper)
from data_juicer.ops.filter import TextLengthFilter
from data_juicer.ops.deduplicator import DocumentDeduplicator
n = int(sys.argv[2])
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
rows = NestedDataset(Dataset.from_list(lines))
ops = [FixUnicodeMapper(num_proc=n), CleanHtmlMapper(num_proc=n), CleanLinksMapper(num_proc=n),
       WhitespaceNormalizationMapper(num_proc=n), TextLengthFilter(min_len=2, max_len=10000, num_proc=n),
       DocumentDeduplicator(num_proc=n)]
seconds, cpu = {}, sum(os.times()[:4])
for op in ops:
    start = time.perf_counter()
    rows = rows.process([op])
    seconds[type(op).__name__] = round(time.perf_counter() - start, 2)
print(json.dumps([seconds, len(rows), sum(os.times()[:4]) - cpu]))
"""


def make(n: int) -> list[dict]:
    "Real reviews of both languages, over and over with a number, a third of them dirty."
    from datasets import concatenate_datasets

    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.noise import corrupt

    both = concatenate_datasets([load_sample(f"reviews-{lang}", rows=5000, seed=1) for lang in ("en", "zh")])
    texts = corrupt(both, rate=0.33, seed=1)["text"][:]
    return [{"text": f"{texts[i % len(texts)]} {i // len(texts)}"} for i in range(n)]


def ours(rows, num_proc: int) -> tuple[dict, int, float]:
    from dataset_tutor.cleaning import Recipe, drop_duplicates, normalize_unicode, normalize_whitespace
    from dataset_tutor.core import add_uids, show_progress
    from dataset_tutor.noise import clean_html, filter_length, replace_links

    show_progress(False)
    more = {"num_proc": num_proc}
    links = replace_links(mentions="keep", urls="remove", **more)
    recipe = Recipe(normalize_unicode(entities=False, **more), clean_html(**more), links, normalize_whitespace(**more),
                    filter_length(least=2, most=10_000), drop_duplicates())
    rows = add_uids(rows, "bench")
    seconds, cpu = {}, sum(os.times()[:4])
    for step in recipe.steps:
        start = time.perf_counter()
        rows = step(rows)
        seconds[step.name] = round(time.perf_counter() - start, 2)
    return seconds, len(rows), sum(os.times()[:4]) - cpu


def tell(name: str, seconds: dict, rows: int, left: int, cpu: float):
    total = sum(seconds.values())
    print(f"{name:<14} {total:7.1f} s  {rows / total:9,.0f} rows/s  {cpu:7.1f} s of processor  {left:,} rows left")
    print("   " + ", ".join(f"{step} {s}" for step, s in seconds.items()), flush=True)


def alone(path: str):
    "In a process of its own: rows, what each costs, the most memory that was held."
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        rows = Dataset.from_parquet(path, cache_dir=folder)
        n, (seconds, left, cpu) = len(rows), ours(rows, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{n:>9,} rows  {sum(seconds.values()) / n * 1e6:5.0f} µs a row, {cpu / n * 1e6:5.0f} µs of processor  "
          f"peak {peak:5,.0f} MB  {left:,} rows left", flush=True)


def scale(sizes: list[int]):
    import pyarrow as pa
    from pyarrow import parquet

    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            path = str(Path(folder) / f"{n}.parquet")
            parquet.write_table(pa.Table.from_pylist(make(n)), path)
            subprocess.run([sys.executable, __file__, "--alone", path], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--num-proc", type=int, default=2)
    parser.add_argument("--peer", default=os.environ.get("DATASET_TUTOR_PEERS", sys.executable))
    parser.add_argument("--scale", type=int, nargs="+")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone or args.scale:
        return alone(args.alone) if args.alone else scale(args.scale)
    from datasets import Dataset

    lines = make(args.rows)
    seconds, left, cpu = ours(Dataset.from_list(lines), args.num_proc)
    tell("dataset_tutor", seconds, args.rows, left, cpu)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        done = subprocess.run([args.peer, "-c", PEER, str(path), str(args.num_proc)], capture_output=True, text=True)
    if done.returncode:
        print("Data-Juicer    did not run:", done.stderr.strip().splitlines()[-1])
        return
    theirs, left, their_cpu = json.loads(done.stdout.strip().splitlines()[-1])
    tell("Data-Juicer", theirs, args.rows, left, their_cpu)
    rest = [sum(list(s.values())[:-1]) for s in (theirs, seconds)]
    print(f"{sum(theirs.values()) / sum(seconds.values()):.1f} times the rows a second; "
          f"{rest[0] / rest[1]:.1f} times without the deduplicators; "
          f"{their_cpu / cpu:.1f} times by the processor's time")


if __name__ == "__main__":
    main()
