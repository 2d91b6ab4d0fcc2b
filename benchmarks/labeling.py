"""Label models beside Snorkel, questions beside small-text and modAL: the same answers, at what time.

Usage: python benchmarks/labeling.py [weak] [active] [--rows 20000]

The peers are optional and want to be alone: pip install --no-deps --target peers snorkel munkres small-text
modAL-python, then PYTHONPATH=peers (they use the scikit-learn, scipy, networkx and torch that are there).
weak:   votes of planted accuracy and real votes on film snippets; accuracy, log loss and seconds of each label model.
active: one pool of real sentences, one probability matrix; how many of 50 rows each library asks for that we ask for
        too, and seconds.
"""
import argparse
import contextlib
import io
import time
from types import SimpleNamespace

import numpy as np

from dataset_tutor.labeling import _CHOICES, _SCORES, Pool, Space, _top, fit_probe
from dataset_tutor.weak_labels import _em, _log_joint, _one_voice


def planted(n, accuracy, coverage, k, seed=0):
    "Truth, and votes of independent functions (-1: abstains)."
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    votes = np.full((n, len(accuracy)), -1, dtype=np.int16)
    for j, a in enumerate(accuracy):
        said = np.where(rng.random(n) < a, y, (y + rng.integers(1, k, n)) % k)
        votes[:, j] = np.where(rng.random(n) < coverage, said, -1)
    return y, votes


def real():
    "Truth and votes of the functions of chapter 37 (word lists, excuses, questions) on film snippets."
    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.weak_labels import apply_functions, keywords, pattern, rater, vote_matrix

    ds = load_sample("crowd-en").filter(lambda y: y is not None, input_columns="label")
    good = "great wonderful excellent brilliant charming funny delightful beautiful superb fun gem moving best".split()
    bad = "bad dull boring worst mess awful stupid tedious pointless fails lame silly predictable waste flat".split()
    functions = [keywords(good, "positive"), keywords(bad, "negative"), pattern(r"\?\s*$|\.\.\.", "negative", "?"),
                 keywords(["less", "lack", "nothing", "too", "should have"], "negative", "lack", negation=False),
                 rater(0), rater(1)]
    m = vote_matrix(apply_functions(ds, functions), uids=ds["uid"][:], labels=["negative", "positive"])
    return np.array(ds["label"][:]), m.values


def judged(y, p):
    surprise = -np.log(np.clip(p[np.arange(len(y)), y], 1e-9, 1)).mean()
    return f"accuracy {np.mean(p.argmax(1) == y):.4f}  log loss {surprise:.4f}"


def weak(rows):
    cases = {"2 classes": planted(rows, (0.9, 0.8, 0.7, 0.6, 0.55), 0.6, 2),
             "4 classes": planted(rows, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4), 0.6, 4),
             "one expert": planted(rows, (0.95, 0.55, 0.55, 0.55, 0.55), 0.9, 2),
             "sparse": planted(rows, (0.85, 0.8, 0.75, 0.7, 0.65, 0.6), 0.15, 2), "films": real()}
    for name, (y, votes) in cases.items():
        k = int(y.max()) + 1
        some = (votes >= 0).any(1)
        y, votes, pi = y[some], votes[some], np.full(k, 1 / k)
        start = time.perf_counter()
        hold = bool(_one_voice(votes).any())
        accuracy, _ = _em(votes, np.full(len(y), -1), pi, "accuracy", 200, hold)
        weights = np.log(accuracy * (k - 1) / (1 - accuracy))
        p = np.exp(_log_joint(votes, np.log(pi), weights, "accuracy")[0])
        print(f"{name:<10} ours      {judged(y, p)}  {time.perf_counter() - start:.2f} s")
        p0 = np.exp(_log_joint(votes, np.log(pi), np.ones(len(accuracy)), "majority")[0])
        print(f"{name:<10} majority  {judged(y, p0)}")
        try:
            from snorkel.labeling.model import LabelModel
        except ModuleNotFoundError:
            continue
        start = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            model = LabelModel(cardinality=k, verbose=False)
            model.fit(votes.astype(int), n_epochs=500, seed=0, class_balance=pi.tolist())
            q = model.predict_proba(votes.astype(int))
        same = np.mean(q.argmax(1) == p.argmax(1))
        took = time.perf_counter() - start
        print(f"{name:<10} Snorkel   {judged(y, q)}  {took:.2f} s  same label as ours {same:.4f}")


def active(rows):
    "Sentences of all genres (the class is the genre) as vectors; the last thousand of a random order are labelled."
    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.models import embed

    ds = load_sample("crowd-en", genre="all")
    order = np.random.default_rng(0).permutation(len(ds))[: rows + 1000]
    genres = sorted(set(ds["genre"][:]))
    y = np.eye(len(genres))[[genres.index(g) for g in ds.select(order[-1000:])["genre"][:]]]
    x = embed(ds.select(order)["text"][:], "en-small")
    rows = len(x) - 1000
    space = Space([str(i) for i in range(len(x))], genres, x, x, np.arange(len(x) + 1))
    probe, lessons = fit_probe(x[-1000:], y), (x[-1000:], y, np.ones(1000))
    free, known = np.arange(rows), np.arange(rows, rows + 1000)
    print(f"{rows} sentences to ask about, 1000 with one of {len(genres)} classes")

    def ours(how):
        pool = Pool(space, free, known, probe, np.random.default_rng(0), "mean", lessons)
        start = time.perf_counter()
        at = _top(pool, _SCORES[how](pool), 50) if how in _SCORES else _CHOICES[how](pool, 50)
        return set(at.tolist()), time.perf_counter() - start

    proba = probe.proba(x)
    data = type("Rows", (), {"__len__": lambda s: len(x), "__getitem__": lambda s, i: i})()
    def vectors(data, return_proba=False, **more):
        return (x, proba) if return_proba else x

    clf = SimpleNamespace(predict_proba=lambda rows: proba if rows is data else proba[rows], embed=vectors)
    try:
        from small_text.query_strategies import coresets, strategies
    except ModuleNotFoundError:
        strategies = None
    peers = {}
    if strategies:
        def ask(kind):
            return lambda: kind().query(clf, data, free, known, y.argmax(1), n=50)
        peers |= {("confidence", "small-text"): ask(strategies.LeastConfidence),
                  ("margin", "small-text"): ask(strategies.BreakingTies),
                  ("entropy", "small-text"): ask(strategies.PredictionEntropy),
                  ("coreset", "small-text"): lambda: coresets.greedy_coreset(x, free, known, 50, normalized=True),
                  ("contrastive", "small-text"): lambda: strategies.ContrastiveActiveLearning(pbar=None).query(
                      clf, data, free, known, y.argmax(1), n=50)}
    try:
        from modAL import uncertainty

        def modal(fn):
            return lambda: fn(clf, free, n_instances=50)
        peers |= {("confidence", "modAL"): modal(uncertainty.uncertainty_sampling),
                  ("margin", "modAL"): modal(uncertainty.margin_sampling),
                  ("entropy", "modAL"): modal(uncertainty.entropy_sampling)}
    except ModuleNotFoundError:
        pass
    for how in ("confidence", "margin", "entropy", "coreset", "contrastive", "kmeans", "bald", "committee", "clusters"):
        mine, seconds = ours(how)
        print(f"{how:<12} ours        {seconds:6.2f} s")
        for (kind, name), fn in peers.items():
            if kind == how:
                start = time.perf_counter()
                found = fn()
                found = found[0] if isinstance(found, tuple) else found
                took = time.perf_counter() - start
                same = len(mine & set(np.asarray(found).tolist()))
                print(f"{how:<12} {name:<11} {took:6.2f} s  same rows {same} of 50")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["weak", "active"])
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    for what in given.what:
        {"weak": weak, "active": active}[what](given.rows)
