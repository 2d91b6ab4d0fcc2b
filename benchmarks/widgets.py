"""`inspect` on a million rows: seconds until it is ready, for a page turn and a search, memory; beside other tables.

Usage: python benchmarks/widgets.py [--rows 1000000] [--turns 40] [ours itables ipydatagrid ...]

The peers are optional: `pip install itables ipydatagrid`. Each runs in a process of its own on rows that lie on disk,
half of them Chinese and half English, and is measured on the side of Python, up to the bytes for the page: `inspect`
sends a page of 20 rows, the two others send what they show into the browser and search there. `itables` leaves rows out
beyond 64 KB unless told otherwise; "itables-all" tells it so.
"""
import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dataset_tutor.acquisition import load_sample
from dataset_tutor.core import make_uid, show_progress

QUERIES = ("movie", "早餐", "never again", "x9q")


def write_rows(folder: Path, n: int):
    "Real texts, each with a number of its own, in Arrow files on disk."
    from datasets import ClassLabel, Dataset, concatenate_datasets

    texts = [t for name in ("reviews-zh", "crowd-en") for t in load_sample(name, rows=4_000, seed=0)["text"]]
    rng, written = np.random.default_rng(0), []
    for start in range(0, n, 100_000):
        at = np.arange(start, min(start + 100_000, n))
        part = {"uid": [make_uid("bench", i) for i in at], "text": [f"{texts[i % len(texts)]} {i}" for i in at],
                "label": rng.integers(0, 2, len(at)), "stars": rng.integers(1, 6, len(at))}
        written.append(Dataset.from_dict(part))
    ds = concatenate_datasets(written).cast_column("label", ClassLabel(names=["negative", "positive"]))
    ds.save_to_disk(folder)


def memory() -> float:
    "MB that this process holds for itself, without the pages of mapped files (Linux)"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


def timed(fn) -> tuple:
    begin = time.perf_counter()
    value = fn()
    return value, time.perf_counter() - begin


def ours(ds, turns: int) -> dict:
    from dataset_tutor.widgets import inspect

    inspect(ds.select(range(1)))                    # what has to be imported is imported
    before = memory()
    w, ready = timed(lambda: inspect(ds))
    rng = np.random.default_rng(1)
    pages = [timed(lambda p=p: w.act("page", p))[1] for p in rng.integers(1, w.panel.last, turns).tolist()]
    sent = len(w.surface.html.encode())
    still = timed(w.panel.still)[1]                 # what a displayed widget also sends, for the saved notebook
    found = {}
    for q in QUERIES:
        found[q] = (timed(lambda q=q: w.act("search", q))[1], w.panel.count)
    w.act("search", "")
    order = timed(lambda: w.act("sort", "-stars"))[1]
    sized = timed(lambda: w.act("sort", "-#text"))[1]
    opened = timed(lambda: w.act("open", len(ds) - 5))[1]
    return dict(ready=ready, page_median=float(np.median(pages)), page_worst=max(pages), page_bytes=sent, still=still,
                search=found, sort_number=order, sort_length=sized, open_row=opened, memory=memory() - before,
                rows_shown=len(ds))


def itables(ds, turns: int, **options) -> dict:
    import pandas as pd
    from itables import to_html_datatable

    to_html_datatable(pd.DataFrame({"a": [1]}), connected=True)
    before = memory()
    df, loaded = timed(ds.to_pandas)
    page, made = timed(lambda: to_html_datatable(df, connected=True, **options))
    return dict(ready=loaded + made, to_pandas=loaded, page_bytes=len(page.encode()), memory=memory() - before)


def ipydatagrid(ds, turns: int) -> dict:
    import pandas as pd
    from ipydatagrid import DataGrid

    DataGrid(pd.DataFrame({"a": [1]}))
    before = memory()
    df, loaded = timed(ds.to_pandas)
    grid, made = timed(lambda: DataGrid(df))
    state, packed = timed(grid.get_state)
    from ipywidgets.widgets.widget import _remove_buffers
    rest, _, buffers = _remove_buffers(state)
    sent = sum(memoryview(b).nbytes for b in buffers) + len(json.dumps(rest, default=str))
    return dict(ready=loaded + made + packed, to_pandas=loaded, page_bytes=sent, memory=memory() - before)


TOOLS = {"ours": ours, "itables": itables, "itables-all": lambda ds, turns: itables(ds, turns, maxBytes=0),
         "ipydatagrid": ipydatagrid}


def measure(tool: str, folder: str, turns: int):
    "In a process of its own."
    from datasets import load_from_disk

    show_progress(False)
    result = TOOLS[tool](load_from_disk(folder), turns)
    print(json.dumps(result | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tools", nargs="*", default=["ours", "itables", "ipydatagrid"], metavar="TOOL")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--folder", help="where such rows lie already, or are to be kept")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure(args.measure, args.folder, args.turns)
    show_progress(False)
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(args.folder or tmp)
        if not any(folder.glob("*.arrow")):
            write_rows(folder, args.rows)
        for tool in args.tools:
            command = [sys.executable, __file__, "--measure", tool, "--folder", str(folder), "--turns", str(args.turns)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{tool}: {done.stderr.strip().splitlines()[-1]}")
                continue
            print(f"{tool}")
            for key, value in json.loads(done.stdout.splitlines()[-1]).items():
                print(f"  {key:<12} {value if not isinstance(value, float) else round(value, 4)}")


if __name__ == "__main__":
    main()
