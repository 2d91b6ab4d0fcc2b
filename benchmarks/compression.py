"""What a smaller model keeps: students of a teacher, and pruned weights, heads and layers, over several seeds.

Usage: python benchmarks/compression.py [students] [pruning] [--seeds 3]

English snippets, 300 to learn from and 200 for the test; seeds decide rows, head and order. The teacher is fine-tuned
and stays in the cache. Minutes for each seed.
"""
import argparse

import pandas as pd

from dataset_tutor.acquisition import load_sample
from dataset_tutor.assets import cache_dir
from dataset_tutor.cleaning import reviews_en
from dataset_tutor.core import show_progress
from dataset_tutor.distribution import split
from dataset_tutor.efficient import distill, prune, tune

CUTS = [{}, *({"weights": w} for w in (0.2, 0.4, 0.6)), *({"heads": h} for h in (0.1, 0.25, 0.5)),
        *({"layers": n} for n in (1, 2, 3))]


def rows_of(seed: int):
    return split(reviews_en()(load_sample("reviews-en", rows=600, seed=seed)), sizes=(0.5, 0.17, 0.33), seed=seed)


def teacher_of(seed: int):
    out = cache_dir("runs", f"efficient-full-1-{seed}")
    return tune(rows_of(seed), "full", seed=seed, progress=False, out=out)


def students(seed: int) -> dict[str, float]:
    "Accuracy of a teacher and of four models with half of its layers."
    rows, teacher, quiet = rows_of(seed), teacher_of(seed), dict(seed=seed, progress=False)
    others = reviews_en()(load_sample("reviews-en", rows=900, seed=9))
    more = sorted(set(others["text"]) - set(rows["text"]))
    runs = {"teacher, 6 layers": teacher, "cut to 3": prune(teacher, layers=3),
            "3, labels": distill(teacher, rows, weight=0.0, **quiet),
            "3, teacher": distill(teacher, rows, weight=0.5, **quiet),
            "3, teacher, more texts": distill(teacher, rows, texts=more, weight=0.5, **quiet)}
    return {name: run.metrics["accuracy"] for name, run in runs.items()}


def pruning(seed: int) -> dict[str, float]:
    "Accuracy of a teacher with the smallest weights, heads or the top layers gone."
    teacher = teacher_of(seed)
    return {str(cut) if cut else "nothing": prune(teacher, **cut).metrics["accuracy"] for cut in CUTS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["students", "pruning"])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    show_progress(False)
    for what in args.what:
        table = pd.DataFrame({f"seed {s}": {"students": students, "pruning": pruning}[what](s)
                              for s in range(args.seeds)})
        print(f"\n{what}\n{table.assign(mean=table.mean(axis=1)).round(3)}", flush=True)


if __name__ == "__main__":
    main()
