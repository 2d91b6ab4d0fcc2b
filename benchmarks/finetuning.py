"""Fine-tuned against linear on the real samples: score, paired difference, seconds.

Usage: python benchmarks/finetuning.py [--samples reviews-en ner-zh ...] [--seeds 0 1 2] [--rows N] [--epochs N]
                                       [--against trainer]

With `--against trainer` also plain `Trainer` with its defaults and fixed padding, on the same rows (see throughput.py).
Finished runs stay in the cache and are read back, so the table can be made in several sittings.
"""
import argparse

import datasets
from throughput import Rows, by_trainer

from dataset_tutor.acquisition import load_sample
from dataset_tutor.assets import cache_dir
from dataset_tutor.cleaning import ner_en, ner_zh, reviews_en, reviews_zh
from dataset_tutor.distribution import part, split
from dataset_tutor.finetuning import baseline, finetune
from dataset_tutor.models import doctor

SAMPLES = {"reviews-en": (reviews_en, 8_600, {}), "reviews-zh": (reviews_zh, 8_600, {}),
           "ner-en": (ner_en, None, {"merge": True}), "ner-zh": (ner_zh, 2_900, {})}


def compare(name: str, seed: int, rows: int | None, epochs: int | None, against: str | None = None) -> str:
    "One line of the table: one sample, one seed; the seed decides rows, split, head and order."
    clean, usual, options = SAMPLES[name]
    n = rows or usual
    ds = split(clean()(load_sample(name, rows=n, seed=seed, **options)), seed=seed)
    line = baseline(ds, seed=seed)
    out = cache_dir("runs", f"{name}-{n or 'all'}-{epochs or 'default'}-{seed}")
    run = finetune(ds, seed=seed, epochs=epochs, out=out, progress=False)
    key = "accuracy" if "accuracy" in run.metrics else "f1"
    plain = f"{by_trainer(Rows(name, n, seed))['score']:>9.3f}" if against else ""
    return (f"{name:<12}{seed:>5}{len(part(ds, 'train')):>7}  {key:<9}{line.metrics[key]:>7.3f}"
            f"{run.metrics[key]:>12.3f}  {run.metrics.minus(line.metrics, key)!r:<37}"
            f"{line.seconds:>7.0f}{run.seconds:>7.0f}{plain}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", nargs="*", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--against", choices=["trainer"])
    args = parser.parse_args()
    datasets.disable_progress_bars()
    print(f"{doctor()}\n")
    print(f"{'sample':<12}{'seed':>5}{'rows':>7}  {'score':<9}{'linear':>7}{'fine-tuned':>12}  {'difference':<37}"
          f"{'s':>7}{'s':>7}{'  Trainer' if args.against else ''}")
    for name in args.samples:
        for seed in args.seeds:
            print(compare(name, seed, args.rows, args.epochs, args.against), flush=True)


if __name__ == "__main__":
    main()
