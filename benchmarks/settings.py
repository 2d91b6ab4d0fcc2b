"""Settings of a fine-tuning against each other, on rows that no test of chapter 90 holds.

Usage: python benchmarks/settings.py [--sample NAME] [--train N] [--validation N] "epochs=3, lr=1e-4" "dropout=0.0" ...

Prints one line per setting: the validation score of every epoch, training rows a second, seconds.
"""
import argparse
import ast
import time

from dataset_tutor.acquisition import SAMPLES, load
from dataset_tutor.baselines import baseline
from dataset_tutor.cleaning import RECIPES
from dataset_tutor.core import pick_rows, show_progress
from dataset_tutor.distribution import part, split
from dataset_tutor.finetuning import finetune
from dataset_tutor.models import doctor
from dataset_tutor.pipeline import METRIC, SAMPLE_OPTIONS, take_and_split, take_rows

SPARE = 40      # rows for the part `test`, which must not be empty and is not looked at


def unseen(name: str):
    "The sample's clean rows without those that chapter 90 tests on."
    info = SAMPLES[name]
    rows = RECIPES[info.task, info.lang]()(load(name, **SAMPLE_OPTIONS.get(name, {})))
    used = set()
    for seed in range(3):
        used |= set(part(take_and_split(rows, info.task, seed=seed), "test")["uid"])
    return pick_rows(rows, [i for i, uid in enumerate(rows["uid"]) if uid not in used]), info


def options(text: str) -> dict:
    "'epochs=3, lr=1e-4' as a dict."
    return {k.arg: ast.literal_eval(k.value) for k in ast.parse(f"f({text})", mode="eval").body.keywords}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", default="reviews-en", choices=[n for n in SAMPLES if n != "crowd-en"])
    parser.add_argument("settings", nargs="*", default=[""])
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--validation", type=int, default=2000)
    args = parser.parse_args()
    show_progress(False)
    print(doctor())
    rows, info = unseen(args.sample)
    n = min(args.train + args.validation + SPARE, len(rows))
    sizes = args.train / n, 1 - (args.train + SPARE) / n, SPARE / n
    rows, metric = split(take_rows(rows, rows=n, seed=77), sizes=sizes, seed=77), METRIC[info.task]
    linear = baseline(rows).validation[metric]
    sizes = [len(part(rows, p)) for p in ("train", "validation")]
    print(f"{args.sample}: {sizes[0]:,} training and {sizes[1]:,} validation rows; linear {metric} {linear:.3f}")
    for text in args.settings:
        start = time.perf_counter()
        run = finetune(rows, progress=False, **options(text))
        scores = " ".join(f"{e['validation']:.3f}" for e in run.log)
        print(f"{text or 'defaults':<40} {scores}   {run.notes['rows_per_second']} rows/s, "
              f"{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
