"""`predict` through four engines on the same real test rows: PyTorch (float32, and what it prefers), ONNX, ONNX int8.

Usage: python benchmarks/inference.py [--samples reviews-en ...] [--rows N] [--timed N] [--epochs N]
                                      [--at-once 1 16 256]
       python benchmarks/inference.py --runs FOLDER ...   (saved runs, such as `model` in a folder of chapter 90)
       python benchmarks/inference.py --price --runs ...  (only the scores of float32 and int8, on all test rows)

Each round times all engines one after the other, so that a busy machine slows all of them; the ratios are medians over
the rounds of one run. Tokenising and decoding are included. Scores are always those of all test rows, since eight bits
change one prediction in fifty: what that adds up to on a few hundred rows is chance. Trained runs stay in the cache and
are read back.
"""
import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import datasets
import numpy as np
import pandas as pd

from dataset_tutor.acquisition import load_sample
from dataset_tutor.assets import cache_dir
from dataset_tutor.baselines import _report, _Rows
from dataset_tutor.cleaning import ner_en, ner_zh, reviews_en, reviews_zh
from dataset_tutor.distribution import split
from dataset_tutor.efficient import as_float32, compare_predictions, export_onnx
from dataset_tutor.finetuning import finetune, load_run
from dataset_tutor.models import need

SAMPLES = {"reviews-en": (reviews_en, {}), "reviews-zh": (reviews_zh, {}), "ner-en": (ner_en, {"merge": True}),
           "ner-zh": (ner_zh, {})}


def seconds(model, texts: list, at_once: int) -> float:
    "One pass over the texts, so many a call."
    start = time.perf_counter()
    for i in range(0, len(texts), at_once):
        model.predict(texts[i:i + at_once])
    return time.perf_counter() - start


def held_rows(run) -> _Rows:
    "Test rows as `_report` wants them."
    rows = run.rows["test"]
    gold = [r["gold"] if run.task == "ner" else run.names.index(r["gold"]) for r in rows]
    return _Rows([r["uid"] for r in rows], [r["text"] for r in rows], gold)


def trained(name: str, args):
    "A run on a sample, from the cache if it is there."
    clean, options = SAMPLES[name]
    ds = split(clean()(load_sample(name, rows=args.rows, **options)), seed=0)
    out = cache_dir("runs", f"inference-{name}-{args.rows}-{args.epochs or 'default'}")
    return finetune(ds, epochs=args.epochs, out=out, progress=False, device="cpu")


def in_bytes(run, folder: str, args):
    "The run's export in eight bits."
    return export_onnx(run, Path(folder) / "int8", int8=True, tolerance=args.tolerance)


def lost(whole, small) -> tuple[str, float, float, float]:
    "What is compared, and the points that the second report has more than the first, with a paired interval."
    key = "accuracy" if "accuracy" in whole else "f1"
    return key, *(100 * v for v in small.minus(whole, key))


def price(run, args) -> dict:
    "What eight bits cost in points, on all test rows, with a paired interval."
    rows = held_rows(run)
    with tempfile.TemporaryDirectory() as tmp:
        said = [m.predict(rows.texts) for m in (as_float32(run), in_bytes(run, tmp, args))]
    whole, small = (_report(run.task, rows, p, run.names) for p in said)
    (key, points, low, high), found = lost(whole, small), compare_predictions(*said)
    return {"test rows": len(rows), "score": key, "float32": round(whole[key], 4), "int8": round(small[key], 4),
            "points": f"{points:+.1f} [{low:+.1f}, {high:+.1f}]", "differ": f"{found['differ']} of {found['compared']}"}


def measure(name: str, run, args):
    "Print how much faster int8 is, then a line for each engine."
    rows, threads = held_rows(run), need("torch")[0].get_num_threads()
    texts = rows.texts[::max(1, len(rows) // args.timed)][:args.timed]
    ids = run.tokenizer(texts, truncation=True, max_length=run.settings.max_length)["input_ids"]
    pieces, lines, gained = [len(i) for i in ids], [], []
    with tempfile.TemporaryDirectory() as tmp:
        engines = {"PyTorch float32": as_float32(run), f"PyTorch {run.settings.dtype}": run,
                   "ONNX float32": export_onnx(run, Path(tmp) / "float32"), "ONNX int8": in_bytes(run, tmp, args)}
        said = {k: m.predict(rows.texts) for k, m in engines.items()}
        score = {k: _report(run.task, rows, p, run.names) for k, p in said.items()}
        first = next(iter(engines))
        for at_once in args.at_once:
            some = texts[:args.single] if at_once == 1 else texts
            took = [{k: seconds(m, some, at_once) for k, m in engines.items()} for _ in range(args.rounds + 1)][1:]
            for k, model in engines.items():
                faster = sorted(t[first] / t[k] for t in took)
                found = compare_predictions(said[first], said[k])
                size = f"{model.about['megabytes']:.0f} MB" if hasattr(model, "about") else ""
                each = 1e3 * median(t[k] for t in took) / len(some)
                lines.append(f"  {at_once:>4} a call  {k:<18}{each:>8.2f} ms/text {median(faster):>6.2f}x "
                             f"({faster[0]:.2f} to {faster[-1]:.2f})  {score[k].main} {score[k].score:.4f}  "
                             f"{found['differ']:>3} of {found['compared']} differ  {size}")
            gained.append(f"{median(faster):.1f}x as fast at {at_once} a call")   # the last engine is int8
    key, points, low, high = lost(score[first], score["ONNX int8"])
    print(f"{name}, int8 against PyTorch float32: {', '.join(gained)}; "
          f"{points:+.1f} points of {key} [{low:+.1f}, {high:+.1f}]")
    print(f"  {len(rows)} test rows; timed on {len(texts)} of {np.mean(pieces):.0f} pieces (at most {max(pieces)}), "
          f"{threads} threads")
    print("\n".join(lines), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", nargs="*", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--runs", nargs="*", type=Path)
    parser.add_argument("--rows", type=int, default=2_900)
    parser.add_argument("--price", action="store_true", help="only the scores of float32 and int8")
    parser.add_argument("--timed", type=int, default=400, help="so many of the test rows are timed")
    parser.add_argument("--single", type=int, default=100, help="of these, so many one at a time")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tolerance", type=float, help="share of predictions that int8 may change")
    parser.add_argument("--at-once", nargs="*", type=int, default=[1, 16, 256])
    args = parser.parse_args()
    datasets.disable_progress_bars()
    runs = {p.parent.name if p.name == "model" else p.name: load_run(p, "cpu") for p in args.runs or []} or \
        {name: trained(name, args) for name in args.samples}
    if args.price:
        print(pd.DataFrame([{"run": name} | price(run, args) for name, run in runs.items()]).to_string(index=False))
        return
    for name, run in runs.items():
        measure(name, run, args)


if __name__ == "__main__":
    main()
