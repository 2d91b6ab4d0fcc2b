"""A session's journal under kill -9: how many confirmed decisions are lost, and how long a decision takes.

Usage: python benchmarks/journal.py [--kills 1000] [--pairs 200] [--full 200] [--seed 0] [--json]

Each round forks a child that opens a session on the same journal and decides as fast as it can. It tells every decision
over a pipe as soon as `decide` has returned, and is killed at a random moment, in the middle of whatever it is doing:
in every fifth round while it may still be opening the journal, in the others after its first decision.
Then the journal is read: every decision that was told must stand in it, with the label that was told. When all items
are done, the next round begins a new journal.

--pairs: two writers want the same journal; one is refused and tries again until the other was killed, then it is killed
too. No decision of either may be lost, and none may be told by both.
--full: a session decides until the disk is full, room is made, and it goes on to its end. The disk is a tmpfs of 64 kB
that only this process sees (`unshare`); where the system forbids that, a limit on the size of files stands for it.
"""
import argparse
import json
import os
import random
import resource
import select
import signal
import subprocess
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
    lots, session, refused = random.Random(seed), None, False
    while not session:
        try:
            session = Session(ROWS, GUIDE, path, "ann", seed=0)
        except DataError as e:
            if "another session" not in str(e):
                raise
            if not refused:
                os.write(pipe, b"refused once\n")
            refused = True
            time.sleep(0.001)
    while session.current:
        uid, label = session.current["uid"], lots.choice(["good", "bad"])
        session.decide(label, comment="评论 😀" * lots.randrange(20))
        os.write(pipe, f"{uid} {label}\n".encode())
    os._exit(0)


def kill_once(path: Path, seed: int, wait: float, writers: int = 1) -> list[list[str]]:
    "Fork children, kill one after the other `wait` seconds after they began or told something; return what they told."
    read, write = os.pipe()
    children = []
    for i in range(writers):
        if (child := os.fork()) == 0:
            os.close(read)
            try:
                work(path, write, seed + 1_000_000 * i)
            finally:
                os._exit(1)
        children.append(child)
    os.close(write)
    if seed % 5:
        select.select([read], [], [], 60)
    for child in random.Random(seed).sample(children, writers):
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    told = b""
    while part := os.read(read, 1 << 16):
        told += part
    os.close(read)
    return [line.split() for line in told.decode().split("\n") if line.count(" ") == 1]


def killed(folder: Path, kills: int, writers: int, lots: random.Random) -> dict:
    "Rounds of killing on one journal after another, and what became of the decisions that were told."
    found = dict(kills=0, confirmed=0, lost=0, unreadable=0, torn=0, journals=1) | \
        (dict(refused=0, twice=0) if writers > 1 else {})
    path, told, torn = folder / f"j{writers}-0.jsonl", {}, 0
    while found["kills"] < kills:
        lines = kill_once(path, found["kills"], lots.uniform(0.001, 0.05), writers)
        new = {u: label for u, label in lines if u != "refused"}
        found["kills"] += writers
        found["confirmed"] += len(new)
        if writers > 1:
            found["refused"] += sum(u == "refused" for u, _ in lines)
            found["twice"] += sum(u != "refused" for u, _ in lines) - len(new) + len(told.keys() & new.keys())
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
            found |= dict(torn=found["torn"] + torn, journals=found["journals"] + 1)
            path, told, torn = folder / f"j{writers}-{found['journals']}.jsonl", {}, 0
    return found | dict(torn=found["torn"] + torn)


def fill(folder: Path, disk: str, rounds: int, seed: int) -> dict:
    "Sessions that run into a full disk and go on when there is room."
    lots, found = random.Random(seed), dict(disk=disk, hit=0, confirmed=0, lost=0, unreadable=0, torn=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(rounds):
        path, ballast, told = folder / "j.jsonl", folder / "ballast", {}
        ballast.write_bytes(b"x" * 4096 * lots.randrange(2, 13))
        with Session(ROWS.select(range(100)), GUIDE, path) as session:
            if disk == "limit":
                resource.setrlimit(resource.RLIMIT_FSIZE, (lots.randrange(1_000, 20_000), hard))
            while session.current:
                uid, label = session.current["uid"], lots.choice(["good", "bad"])
                try:
                    session.decide(label, comment="评论 😀" * lots.randrange(20))
                    told[uid] = label
                except DataError:
                    found["hit"] += 1
                    found["lost"] += session.current["uid"] != uid
                    ballast.unlink(missing_ok=True)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        try:
            events, torn = read_events(path.read_bytes())
            votes = journal_votes(events, "label")
            kept = dict(zip(votes["uid"], votes["label"]))
            found["torn"] += torn
            found["lost"] += sum(kept.get(u) != label for u, label in told.items())
        except DataError:
            found["unreadable"] += 1
        found["confirmed"] += len(told)
        for file in folder.iterdir():
            file.unlink()
    return found


def filled(folder: Path, rounds: int, seed: int) -> dict:
    "`fill` on a small file system of its own where the system allows one, under a limit of size where not."
    mount = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" "$3" --inside "$1" --full "$4" --seed "$5"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(folder), sys.executable, __file__,
               str(rounds), str(seed)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        done = None
    if done and done.returncode == 0:
        return json.loads(done.stdout)
    return fill(folder, "limit", rounds, seed)


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
    parser.add_argument("--pairs", type=int, default=200, help="rounds of two writers")
    parser.add_argument("--full", type=int, default=200, help="rounds with a full disk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--decisions", type=int, default=1_000, help="how many are timed")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    show_progress(False)
    if args.inside:
        print(json.dumps(fill(args.inside, "tmpfs of 64 kB", args.full, args.seed)))
        return
    lots = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder, "disk")
        disk.mkdir()
        found = killed(Path(folder), args.kills, 1, lots)
        pairs, full = killed(Path(folder), 2 * args.pairs, 2, lots), filled(disk, args.full, args.seed)
        times = latency(Path(folder, "latency.jsonl"), args.decisions)
    found |= {f"pairs {k}": v for k, v in pairs.items()} | {f"full {k}": v for k, v in full.items()}
    found |= dict(median_ms=round(times[len(times) // 2], 2), p99_ms=round(times[-len(times) // 100], 2),
                  most_ms=round(times[-1], 2))
    print(json.dumps(found) if args.json else "\n".join(f"{k:17} {v}" for k, v in found.items()))
    sys.exit(any(v for k, v in found.items() if k.split()[-1] in ("lost", "unreadable", "twice")))


if __name__ == "__main__":
    main()
