"""A JSONL file larger than memory should be: load(streaming=True) -> clean -> write, in constant memory.

    python benchmarks/streaming.py            # 100 MB and 1,000 MB: the peak must not grow with the file
    python benchmarks/streaming.py 50 200

Rows are real reviews, repeated. Beside it, in the same run and up to 200 MB: the `datasets` library's own JSON stream
with the same two clean-up functions and its own writer, which keeps no spans, no rejects and no history. Every size
runs in a process of its own, so that peaks can be compared.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER_UP_TO = 200  # MB; beyond, the library's own stream takes very long


def make(path: Path, megabytes: int):
    """Real reviews as JSONL, over and over, until the file has its size; one line in 10,000 is broken."""
    from dataset_tutor.acquisition import load_sample

    lines = [
        json.dumps({"text": r["text"], "label": r["label"]}, ensure_ascii=False) for r in load_sample("reviews-zh")
    ]
    block = "\n".join("{broken" if i % 10_000 == 9_999 else line for i, line in enumerate(lines)).encode() + b"\n"
    with path.open("wb") as f:
        while f.tell() < megabytes * 1_000_000:
            f.write(block)


def ours(source: Path, target: Path) -> dict:
    from dataset_tutor.acquisition import load
    from dataset_tutor.cleaning import Recipe, drop_missing, normalize_unicode, normalize_whitespace
    from dataset_tutor.core import dropped, history, read_rows, write_rows

    clean = Recipe(normalize_unicode(), normalize_whitespace(), drop_missing())
    write_rows(clean(load(source, streaming=True, rejects=target.with_suffix(".rejects.jsonl"))), target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    back = read_rows(target) if source.stat().st_size < 2e8 else None
    steps = None if back is None else [(r.op, r.rows_in, r.changed, r.dropped, r.rows_out) for r in history(back)]
    return dict(peak=peak, steps=steps, told=None if back is None else len(dropped(back)))


def theirs(source: Path, target: Path) -> dict:
    from datasets import load_dataset

    from dataset_tutor.cleaning import normalize_unicode, normalize_whitespace

    sound = source.with_suffix(".sound.jsonl")  # their reader stops at the first broken line
    with source.open(encoding="utf-8") as f, sound.open("w", encoding="utf-8") as g:
        g.writelines(line for line in f if not line.startswith("{broken"))
    began = time.perf_counter()
    ds = load_dataset("json", data_files=str(sound), split="train", streaming=True)
    edit = lambda b: {"text": [str(normalize_whitespace(normalize_unicode(t))) for t in b["text"]]}  # noqa: E731
    ds.map(edit, batched=True).to_parquet(str(target))
    return dict(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, seconds=time.perf_counter() - began)


def measure(who: str, source: Path, target: Path) -> dict:
    """Run one side in a process of its own; its peak resident memory and its seconds."""
    began = time.perf_counter()
    out = subprocess.run(
        [sys.executable, __file__, who, str(source), str(target)], capture_output=True, text=True, check=True
    )
    found = json.loads(out.stdout.splitlines()[-1])
    return {"seconds": time.perf_counter() - began} | found


def main(sizes: list[int]):
    peaks = {}
    with tempfile.TemporaryDirectory() as d:
        for mb in sizes:
            source = Path(d) / f"{mb}.jsonl"
            make(source, mb)
            rows = sum(1 for _ in source.open("rb"))
            mine = measure("ours", source, Path(d) / "ours.parquet")
            peaks[mb] = mine["peak"] / 1024
            said = f"{mb} MB, {rows:,} rows: peak {peaks[mb]:.0f} MB, {rows / mine['seconds']:,.0f} rows/s"
            if mb <= PEER_UP_TO:
                peer = measure("theirs", source, Path(d) / "theirs.parquet")
                said += (
                    f"; datasets alone: peak {peer['peak'] / 1024:.0f} MB, {rows / peer['seconds']:,.0f} rows/s; "
                    f"time ratio {mine['seconds'] / peer['seconds']:.2f}"
                )
            print(said, flush=True)
            if mine["steps"]:
                print("   ", mine["steps"], flush=True)
            source.unlink()
    first, last = min(sizes), max(sizes)
    print(f"peak at {last} MB is {peaks[last] / peaks[first]:.2f} times the peak at {first} MB")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("ours", "theirs"):
        print(json.dumps({"ours": ours, "theirs": theirs}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main([int(a) for a in sys.argv[1:]] or [100, 1000])
