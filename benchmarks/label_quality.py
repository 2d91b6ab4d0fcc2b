"""Planted label errors: what chapter 35 finds of them beside plain cleanlab; classes and entities, both languages.

Usage: python benchmarks/label_quality.py [--sample NAME] [--rows 3000] [--rates 0.05 0.1 0.2 0.3] [--kinds ...]
                                          [--seeds 3] [--margin 1.0] [--rounds 2] [--repeats 1] [--finetuned]

"cleanlab" is what its tutorial on text does: a logistic regression on frozen vectors, five free folds, self-confidence.
For entities its ranking of words is the self-confidence of a tagger, here of the same one, trained once on free folds.
--margin leaves out reviews-en rows whose mean rating is nearer to zero. The kind "copies" is planted among copies that
are added first. --finetuned adds encoders that were fine-tuned on the other folds, one round (minutes a line), and the
mean of their opinion and ours. One line per kind and rate: the means over seeds, least and greatest AUROC, seconds.
"""
import argparse
import time

import numpy as np

from dataset_tutor.acquisition import SAMPLES, load_sample
from dataset_tutor.cleaning import RECIPES
from dataset_tutor.core import show_progress
from dataset_tutor.deduplication import plant_duplicates
from dataset_tutor.distribution import split
from dataset_tutor.finetuning import finetune
from dataset_tutor.label_quality import (
    CLASS_ERRORS,
    SPAN_ERRORS,
    detection,
    label_quality,
    out_of_fold,
    plant_label_errors,
    planted,
)
from dataset_tutor.models import embed

NAMES = ("auroc", "auprc", "precision")


def by_cleanlab(rows, given):
    "Label quality scores of cleanlab's tutorial on text."
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    x = embed(rows["text"][:], f"{rows['lang'][0]}-small")
    p = cross_val_predict(LogisticRegression(max_iter=500), x, given, cv=5, method="predict_proba")
    return get_label_quality_scores(given, p)


def by_finetuning(noisy, ours, seed: int):
    "Label quality of encoders that were fine-tuned on the other folds; the geometric mean of it and ours."
    def model(rows, texts):
        parts = split(rows, sizes=(0.9, 0.05, 0.05), seed=seed)
        return finetune(parts, seed=seed, freeze_embeddings=True).predict(texts)

    found = out_of_fold(noisy, model, rounds=1, seed=seed)
    quality = found.own(label_quality(found))
    return quality, np.sqrt(np.clip(quality, 1e-6, 1) * ours)


def one(rows, kind, rate, seed, args):
    "Detection of ours and of cleanlab on one planting; for entities of whole rows by their worst word, too."
    noisy = plant_label_errors(rows, kind=kind, rate=rate, seed=seed)
    began = time.perf_counter()
    found = out_of_fold(noisy, rounds=args.rounds, repeats=args.repeats, seed=seed)
    quality, seconds = found.own(label_quality(found)), time.perf_counter() - began
    bad = planted(noisy, found)
    if found.task == "ner":
        plain = out_of_fold(noisy, rounds=1, grouped=False, seed=seed).own()
        starts = np.unique(found.row, return_index=True)[1]
        more = [detection(np.maximum.reduceat(bad, starts), np.minimum.reduceat(quality, starts))]
    else:
        plain = by_cleanlab(noisy, found.given)
        more = [detection(bad, q) for q in by_finetuning(noisy, quality, seed)] if args.finetuned else []
    return [detection(bad, quality), detection(bad, plain), *more], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", default="reviews-zh", choices=[n for n in SAMPLES if n != "crowd-en"])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--rates", type=float, nargs="*", default=[0.05, 0.1, 0.2, 0.3])
    parser.add_argument("--kinds", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--margin", type=float)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--finetuned", action="store_true")
    args = parser.parse_args()
    show_progress(False)
    info = SAMPLES[args.sample]
    options = {"merge": True} if args.sample == "ner-en" else {} if args.margin is None else {"margin": args.margin}
    rows = RECIPES[info.task, info.lang]()(load_sample(args.sample, rows=args.rows, seed=0, **options))
    clean = out_of_fold(rows, rounds=1)
    print(f"{args.sample}: {len(rows):,} rows {options or ''}; untouched: {clean}", flush=True)
    for kind in args.kinds or (SPAN_ERRORS if info.task == "ner" else CLASS_ERRORS):
        base = plant_duplicates(rows, rate=0.3, edits=(0.01, 0.1), seed=0) if kind == "copies" else rows
        for rate in args.rates:
            runs = [one(base, kind, rate, seed, args) for seed in range(args.seeds)]
            cells = [[np.mean([r[0][i][n] for r in runs]) for n in NAMES] for i in range(len(runs[0][0]))]
            low, high = (f([r[0][0]["auroc"] for r in runs]) for f in (min, max))
            who = ("ours", "cleanlab", *(["rows"] if info.task == "ner" else ["tuned", "both"]))
            said = " | ".join(name + " " + " ".join(f"{v:.3f}" for v in c) for name, c in zip(who, cells))
            print(f"{kind:<9} {rate:.2f}  n={runs[0][0][0]['wrong']:<5} {said} | AUROC {low:.3f} to {high:.3f}, "
                  f"{np.mean([r[1] for r in runs]):.1f} s", flush=True)


if __name__ == "__main__":
    main()
