"""A training under kill -9: whether what comes out after a resume is what an undisturbed run gives.

Usage: python benchmarks/kills.py [--kills 10] [--seed 0] [--save-every 3] [--json]

A tagger of two layers is trained once without a disturbance. Then the same call is begun in a folder of its own, killed
at a moment that differs from round to round, begun again in another process, and its weights and predictions compared.
Three of ten moments are chosen: before the first checkpoint, while a checkpoint is written, and while the finished run
is written. The others are drawn: a step, and up to half a second after it. Dropout is on, so that the state of the
random numbers counts, and checkpoints are written in the middle of epochs too. The processes are forks of one that has
only imported.
"""
import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file
from transformers import TrainerCallback

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import ner_zh
from dataset_tutor.distribution import split
from dataset_tutor.finetuning import finetune
from dataset_tutor.models import load_pretrained

CHOSEN = ("before the first checkpoint", "while a checkpoint is written", "while the run is written")


class Tells(TrainerCallback):
    "Writes the number of each finished step into a pipe."

    def __init__(self, pipe: int):
        self.pipe = pipe

    def on_step_end(self, args, state, control, **more):
        os.write(self.pipe, b"%d\n" % state.global_step)


def prepare(home: Path):
    "Rows, and a model of two layers."
    split(ner_zh()(load_sample("ner-zh", rows=140)), seed=0).save_to_disk(str(home / "rows"))
    load_pretrained("AutoModel", "zh-small", num_hidden_layers=2).save_pretrained(home / "model")
    load_pretrained("AutoTokenizer", "zh-small").save_pretrained(home / "model")


def train(home: Path, out: Path, save_every: int, pipe: int):
    finetune(datasets.load_from_disk(str(home / "rows")), model=home / "model", epochs=3, lr=1e-3, dropout=0.1, seed=0,
             freeze_embeddings=True, out=out, save_every=save_every, callbacks=[Tells(pipe)], progress=False,
             device="cpu")


def fork(act, *args) -> tuple[int, int]:
    "A child that does `act(*args, pipe)`: its number, and the end of the pipe to read from."
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.close(read)
        code = 1
        try:
            torch.set_num_threads(1)
            act(*args, write)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    return child, read


def heard(read: int, wait: bool = True) -> list[int]:
    "The steps that a child has told: until it ends, or so far."
    said = b""
    while (wait or select.select([read], [], [], 0)[0]) and (part := os.read(read, 1 << 16)):
        said += part
    return [int(line) for line in said.split()]


def finish(home: Path, out: Path, save_every: int) -> list[int]:
    "Train to the end in a child; the steps that it made."
    child, read = fork(train, home, out, save_every)
    steps = heard(read)
    os.close(read)
    if os.waitpid(child, 0)[1]:
        raise SystemExit(f"the training in {out.name} failed")
    return steps


def half_written(out: Path) -> bool:
    return any(not (c / "trainer_state.json").exists() for c in (out / "checkpoints").glob("checkpoint-*"))


def come(moment: str | int, out: Path, done: list[int]) -> bool:
    "Whether the moment to kill has come: one of the chosen, or a step."
    if moment == CHOSEN[1]:
        return half_written(out)
    if moment == CHOSEN[2]:
        return (out / "model.safetensors").exists()
    return bool(done) and done[-1] >= (1 if moment == CHOSEN[0] else moment)


def kill_once(home: Path, out: Path, save_every: int, moment: str | int, wait: float) -> dict:
    "Begin, kill, and say what was there."
    child, read = fork(train, home, out, save_every)
    done: list[int] = []
    while not come(moment, out, done) and not os.waitpid(child, os.WNOHANG)[0]:
        done += heard(read, wait=False)
        time.sleep(0.0005)
    time.sleep(wait)
    alive = True
    try:
        os.kill(child, signal.SIGKILL)
        alive = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except (ProcessLookupError, ChildProcessError):
        alive = False
    done += heard(read)
    os.close(read)
    about = out / "run.json"
    state = json.loads(about.read_text())["state"] if about.exists() else "none"
    return {"killed": moment if isinstance(moment, str) else f"{1000 * wait:.0f} ms after step {moment}",
            "alive": alive, "run": state, "steps done": max(done, default=0),
            "checkpoints": len(list((out / "checkpoints").glob("checkpoint-*"))), "half-written": half_written(out)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    datasets.disable_progress_bars()
    lots, found = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        child, read = fork(lambda pipe: prepare(home))
        heard(read), os.waitpid(child, 0)
        steps = finish(home, home / "whole", args.save_every)
        whole = load_file(home / "whole" / "model.safetensors")
        said = (home / "whole" / "predictions.jsonl").read_text()
        for i in range(args.kills):
            out = home / f"run{i}"
            moment, wait = (CHOSEN[i], 0) if i < len(CHOSEN) else (lots.choice(steps), lots.uniform(0, 0.5))
            line = kill_once(home, out, args.save_every, moment, wait)
            again = finish(home, out, args.save_every)
            mine = load_file(out / "model.safetensors")
            line |= {"steps again": max(0, line["steps done"] + len(again) - max(steps)),
                     "largest difference": float(max(np.abs(mine[n] - whole[n]).max() for n in whole)),
                     "same predictions": (out / "predictions.jsonl").read_text() == said}
            found.append(line)
            shutil.rmtree(out)
    print(json.dumps(found) if args.json else pd.DataFrame(found).to_string())
    sys.exit(any(not f["same predictions"] or f["largest difference"] > 1e-6 for f in found))


if __name__ == "__main__":
    main()
