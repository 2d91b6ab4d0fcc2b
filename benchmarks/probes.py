"""Does the fast probe rank data steps as full fine-tuning does? Spearman's rho over ten steps, with an interval.

Usage: python benchmarks/probes.py [--lang en] [--rows 700] [--draw 0] [--seeds 2] [--epochs 4] [--strength 3]
                                   [--json]

Ten steps that should cost between nothing and fifteen points are measured twice on the same drawn rows and the same
frozen test: by a linear model on frozen vectors, and by fine-tuning. The interval draws test rows anew, the same for
all steps and both probes, and ranks again. Beside it stands how well fine-tuning agrees with itself, seed with seed:
no probe can be asked for more. Predictions of finished trainings stay in the cache.
"""
import argparse
import hashlib
import json
import re
from itertools import combinations

import numpy as np
import pandas as pd
from datasets import disable_progress_bars
from scipy.stats import rankdata

from dataset_tutor.acquisition import load_sample
from dataset_tutor.assets import cache_dir
from dataset_tutor.cleaning import drop_duplicates
from dataset_tutor.core import mapper, show_progress, step, write_whole
from dataset_tutor.distribution import split
from dataset_tutor.effects import _PROBES, _arms, _edit, _reports, _test_truth, _usable, freeze
from dataset_tutor.language import drop_stop_words

TASK = "classification"


@step
def wrong(ds, *, share):
    "The opposite label for some of the training rows."
    hit = np.random.default_rng(0).random(len(ds)) < share
    label = [1 - y if h and p == "train" else y for y, h, p in zip(ds["label"], hit, ds["split"])]
    return ds.remove_columns("label").add_column("label", label, feature=ds.features["label"])


@step
def keep(ds, *, every):
    return ds.select(range(0, len(ds), every))


@step
def skew(ds, *, every=2):
    "Of one class every second training row only."
    ones = np.cumsum(np.array(ds["label"]) == 1)
    return ds.select([i for i, (y, p) in enumerate(zip(ds["label"], ds["split"]))
                      if y == 0 or p != "train" or ones[i] % every == 0])


@mapper
def first_words(text, *, n=5):
    "The first words of a text; of a Chinese one, three times as many characters."
    words = text.split()
    return " ".join(words[:n]) if len(words) > n else text[:3 * n] if len(words) == 1 else text


@mapper
def only_letters(text):
    "No case, no punctuation."
    return " ".join(re.findall(r"\w+", text.lower()))


STEPS = {"wrong labels, 10 %": wrong(share=0.1), "wrong labels, 25 %": wrong(share=0.25),
         "wrong labels, 40 %": wrong(share=0.4), "every fifth row": keep(every=5), "every second row": keep(every=2),
         "first five words": first_words(), "no duplicates": drop_duplicates(), "no stop words": drop_stop_words(),
         "no case, no punctuation": only_letters(), "one class by half": skew()}


class Kept(dict):
    "Predictions by arm, in a file of the cache."

    def __init__(self, name: str):
        self.path = cache_dir("runs", f"probes-{name}.json")
        super().__init__(json.loads(self.path.read_text()) if self.path.exists() else {})

    def of(self, arms, names, probe: str, model: str, options: dict) -> list:
        "What models trained on these arms say about the test; what is not known is trained and kept."
        keys = [hashlib.blake2b(json.dumps([a.key, names, probe, model, options]).encode()).hexdigest() for a in arms]
        for key, arm in zip(keys, arms):
            if key not in self:
                self[key] = _PROBES[probe, TASK]([arm], names, model, options)[0]
                write_whole(self.path, json.dumps(self))
        return [self[k] for k in keys]


def reports(ds, probe: str, seeds: int, model: str, options: dict) -> dict[str, list]:
    "Per step, and for no step at all, a report for each seed on the same test rows."
    frozen, known, out = freeze(ds, TASK), Kept(f"{model}-{probe}"), {}
    names, plain = ds.features["label"].names, frozen.test["text"][:]
    for name, one in {"nothing": None, **STEPS}.items():
        read = _edit(one, plain) if one else plain
        arms = _arms((one,), frozen, TASK, seeds, 0.8, [read])[0]
        said = known.of(arms, names, probe, model, options) if probe == "full" else \
            _PROBES[probe, TASK](arms, names, model, options)   # seconds, so never an older version's
        out[name] = _reports(said, _test_truth(frozen.test, read, TASK), TASK, names)
    return out


def differences(found: dict[str, list], metric: str, draws: int = 2000) -> np.ndarray:
    "Per step the mean difference from no step, in points: as measured, then on drawn test rows. (1 + draws, steps)"
    every = [r for runs in found.values() for r in runs]
    joined = np.hstack([r.rows for r in every])
    kinds, at = np.unique(joined, axis=0, return_inverse=True)
    rng, n = np.random.default_rng(0), len(joined)
    which = np.vstack([np.arange(n), rng.integers(n, size=(draws, n))])
    counts = np.array([np.bincount(at.reshape(-1)[w], minlength=len(kinds)) for w in which])
    ends = np.cumsum([0, *(r.rows.shape[1] for r in every)])
    scores = np.array([r._score(kinds[:, a:b], counts, metric) for r, a, b in zip(every, ends, ends[1:])])
    means = scores.reshape(len(found), -1, len(which)).mean(1)
    return 100 * (means[1:] - means[0]).T


def rho(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    "Spearman's rank correlation of each pair of lines."
    a, b = (rankdata(x.round(6), axis=1) for x in (a, b))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lang", choices=("en", "zh"), default="en")
    parser.add_argument("--rows", type=int, default=700)
    parser.add_argument("--draw", type=int, default=0, help="which rows of the sample")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--strength", type=float, default=3.0, help="C of the fast probe")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    disable_progress_bars()
    show_progress(False)
    raw = _usable(load_sample(f"reviews-{args.lang}", rows=args.rows, seed=args.draw), TASK)
    ds = split(raw, sizes=(0.4, 0.1, 0.5), seed=0)
    options = {"fast": dict(strength=args.strength),
               "full": dict(epochs=args.epochs, lr=2e-4, batch_size=16, early_stopping=0, progress=False, device="cpu")}
    found = {p: reports(ds, p, args.seeds, f"{args.lang}-small", more) for p, more in options.items()}
    moved = {probe: differences(runs, "macro_f1") for probe, runs in found.items()}
    values = rho(moved["fast"], moved["full"])
    low, high = np.quantile(values[1:], [0.025, 0.975])
    single = [differences({k: v[i:i + 1] for k, v in found["full"].items()}, "macro_f1", 1)[:1]
              for i in range(args.seeds)]
    itself = float(np.mean([rho(a, b)[0] for a, b in combinations(single, 2)])) if args.seeds > 1 else float("nan")
    table = pd.DataFrame({p: m[0] for p, m in moved.items()}, index=list(STEPS)).sort_values("full")
    base = {p: float(np.mean([r["macro_f1"] for r in runs["nothing"]])) for p, runs in found.items()}
    said = dict(rho=float(values[0]), low=float(low), high=float(high), itself=itself, without=base,
                points=table.to_dict("index"))
    if args.json:
        print(json.dumps(said))
        return
    print(f"Spearman's rho {values[0]:.2f} [{low:.2f}, {high:.2f}] over {len(STEPS)} steps; "
          f"of two seeds of fine-tuning {itself:.2f}")
    print(f"macro F1 without a step: fast {base['fast']:.3f}, full {base['full']:.3f}; differences in points:")
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
