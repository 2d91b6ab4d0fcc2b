"""Fine-tuned on all rows of the real samples, beside the linear baseline and beside plain `Trainer`.

Usage: python benchmarks/finetuning.py [NAME[:ROWS] ...] [--seeds 0 1 2] [--epochs N] [--trainer 0 1 2] [--table]

A name without a number means all rows of that sample; eight tenths are for training, one for validation, one for the
test. The seed decides rows, split, head and order. `--trainer` says for which seeds `Trainer` is trained too, on the
same training rows and with its defaults: batches of 8, 5e-5, linear decay, three epochs, padded to the batch's
longest row, the last weights kept. Its number format is the one that `finetune` takes too (bfloat16 where the
processor has it), since float32 takes hours here; long texts are cut, or read in windows, as `finetune` does it. What
is finished stays in the cache and is read back, so that the table can be made in several sittings; `--table` only
prints what is there.
"""
import argparse
import json
import sys

import datasets
import pandas as pd
from throughput import SAMPLES, Rows, plain_trainer

from dataset_tutor.assets import cache_dir
from dataset_tutor.auditing import paired_points
from dataset_tutor.baselines import _report
from dataset_tutor.core import write_whole
from dataset_tutor.finetuning import baseline, finetune
from dataset_tutor.models import pick_dtype

SIZES = (0.8, 0.1, 0.1)


def trainer_says(rows: Rows, path) -> dict:
    "Plain `Trainer`'s predictions for the test rows, and the seconds of its steps."
    if not path.exists():
        said, seconds, _ = plain_trainer(rows, width=None, half=pick_dtype("cpu") == "bfloat16")
        write_whole(path, json.dumps({"said": said, "seconds": seconds}, ensure_ascii=False, default=float))
    return json.loads(path.read_text(encoding="utf-8"))


def compare(name: str, n: int | None, seed: int, args) -> dict | None:
    "One sample, one seed."
    out = cache_dir("runs", f"full-{name}-{n or 'all'}-{args.epochs or 'default'}-{seed}")
    plain = out / "trainer.json"
    if args.table and not (out / "run.json").exists():
        return None
    rows = Rows(name, n, seed, SIZES)
    run = finetune(rows.ds, seed=seed, epochs=args.epochs, out=out, progress=False)
    line, key = baseline(rows.ds, seed=seed), "accuracy" if rows.task == "classification" else "f1"
    found = {"sample": f"{name}:{n}" if n else name, "seed": seed, "score": key,
             **{"training" if p == "train" else p: len(rows.parts[p]) for p in ("train", "test")},
             "linear": line.metrics[key], "ours": run.metrics[key], "seconds": run.seconds}
    if plain.exists() if args.table else seed in args.trainer:
        theirs = trainer_says(rows, plain)
        report = _report(rows.task, rows.parts["test"], theirs["said"], rows.names)
        found |= {"Trainer": report[key], "its seconds": theirs["seconds"],
                  "ours - Trainer": repr(run.metrics.minus(report, key))}
    return found


def over_seeds(lines: pd.DataFrame) -> pd.Series:
    "Means, and points gained with intervals over seeds where there are two."
    out = lines[["linear", "ours", "Trainer"]].mean().round(3)
    for other in ("linear", "Trainer"):
        both = lines[["ours", other]].dropna()
        if len(both) > 1:
            out[f"ours - {other}"] = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*paired_points(both["ours"], both[other]))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", nargs="*", default=["reviews-en", "reviews-zh", "ner-en", "ner-zh:2500"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--trainer", nargs="*", type=int, default=[])
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    wanted = [name.partition(":") for name in args.samples]
    if unknown := [name for name, _, _ in wanted if name not in SAMPLES]:
        parser.error(f"unknown sample {unknown[0]!r}: {', '.join(SAMPLES)}")
    datasets.disable_progress_bars()
    lines = []
    for name, _, n in wanted:
        for seed in args.seeds:
            if found := compare(name, int(n) if n else None, seed, args):
                lines.append(found)
                print(json.dumps(found), file=sys.stderr, flush=True)
    columns = ["sample", "score", "training", "test", "seed", "linear", "ours", "Trainer", "ours - Trainer", "seconds",
               "its seconds"]
    table = pd.DataFrame(lines).reindex(columns=columns)
    print(table.round({"linear": 3, "ours": 3, "Trainer": 3, "seconds": 0, "its seconds": 0}).to_string(na_rep=""))
    means = pd.DataFrame({name: over_seeds(some) for name, some in table.groupby("sample", sort=False)}).T
    print(f"\nmeans over seeds, points\n{means.to_string(na_rep='')}")


if __name__ == "__main__":
    main()
