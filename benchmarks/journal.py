"""A session's journal under kill -9: how many confirmed decisions are lost, and how long a decision takes.

Usage: python benchmarks/journal.py [--kills 1000] [--seed 0] [--json]

Each round forks a child that opens a session on the same journal and decides as fast as it can. It tells every decision
over a pipe as soon as `decide` has returned, and is killed at a random moment, in the middle of whatever it is doing:
in every fifth round while it may still be opening the journal, in the others after its first decision.
Then the journal is read: every decision that was told must stand in it, with the label that was told. When all items
are done, the next round begins a new journal.
"""
import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

from datasets import Dataset

from dataset_tutor.annotation import Session, journal_votes, read_events
from dataset_tutor.core import DataError, show_progress
from dataset_tutor.guidelines import Guideline, Label

ITEMS = 1_000
ROWS = Dataset.from_dict({"uid": [f"u{i}" for i in range(ITEMS)], "text": [f"text {i} 好😀" for i in range(ITEMS)]})
GUIDE = Guideline("kill", "classification", (Label("good"), Label("bad")))


def work(path: Path, pipe: int, seed: int):
    "The child: decide until killed, and tell every decision that returned."
    lots = random.Random(seed)
    session = Session(ROWS, GUIDE, path, "ann", seed=0)
    while session.current:
        uid, label = session.current["uid"], lots.choice(["good", "bad"])
        session.decide(label, comment="评论 😀" * lots.randrange(20))
        os.write(pipe, f"{uid} {label}\n".encode())
    os._exit(0)


def kill_once(path: Path, seed: int, wait: float) -> dict[str, str]:
    "Fork a child, kill it `wait` seconds after it began or told something, and return what it told."
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.close(read)
        try:
            work(path, write, seed)
        finally:
            os._exit(1)
    os.close(write)
    if seed % 5:
        select.select([read], [], [], 60)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = b""
    while part := os.read(read, 1 << 16):
        told += part
    os.close(read)
    return dict(line.split() for line in told.decode().split("\n") if line.count(" ") == 1)


def latency(path: Path, n: int) -> list[float]:
    "Milliseconds from a decision to the next item."
    times = []
    with Session(ROWS.select(range(n)), GUIDE, path) as session:
        while session.current:
            began = time.perf_counter()
            session.decide("good")
            session.current  # noqa: B018
            times.append(1_000 * (time.perf_counter() - began))
    return sorted(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--decisions", type=int, default=1_000, help="how many are timed")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    args = parser.parse_args()
    show_progress(False)
    lots, found = random.Random(args.seed), dict(kills=0, confirmed=0, lost=0, unreadable=0, torn=0)
    with tempfile.TemporaryDirectory() as folder:
        path, told, journals = Path(folder, "j0.jsonl"), {}, 0
        while found["kills"] < args.kills:
            new = kill_once(path, found["kills"], lots.uniform(0.001, 0.05))
            found["kills"] += 1
            found["confirmed"] += len(new)
            told |= new
            try:
                events, torn = read_events(path.read_bytes()) if path.exists() else ([], 0)
            except DataError:
                found["unreadable"] += 1
                continue
            votes = journal_votes(events, "label")
            kept = dict(zip(votes["uid"], votes["label"]))
            found["lost"] += sum(kept.get(u) != label for u, label in new.items())
            if len(kept) == ITEMS:
                found["torn"], journals, told = found["torn"] + torn, journals + 1, {}
                path = Path(folder, f"j{journals}.jsonl")
        found["torn"] += torn
        times = latency(Path(folder, "latency.jsonl"), args.decisions)
    found |= dict(journals=journals + 1, median_ms=round(times[len(times) // 2], 2),
                  p99_ms=round(times[-len(times) // 100], 2), most_ms=round(times[-1], 2))
    print(json.dumps(found) if args.json else "\n".join(f"{k:12} {v}" for k, v in found.items()))
    sys.exit(1 if found["lost"] or found["unreadable"] else 0)


if __name__ == "__main__":
    main()
