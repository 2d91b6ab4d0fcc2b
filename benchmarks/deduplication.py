"""Near-duplicate search beside datasketch, rensa and text-dedup: what each finds of planted copies, time and memory.

Usage: python benchmarks/deduplication.py [quality] [speed] [scale] [--rows 200000] [--lang en zh]

The peers are optional: `pip install datasketch`, `pip install --no-deps text-dedup click xxhash rich bitarray`.
quality: texts of ten lengths, each with a copy of which 1 to 30 % was edited, between real reviews.
speed:   real rows and new ones made of their halves, a tenth of these near copies; one run, ratios of both times.
scale:   ours alone, from 10,000 rows to 1,000,000 that a chain of words wrote, a tenth of these near copies. Halves
         would not do: the more of them, the more share a half, and the pairs grow with the square of the rows.
"""
import argparse
import resource
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np
from sklearn.metrics import f1_score

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import drop_duplicates
from dataset_tutor.core import add_uids, show_progress
from dataset_tutor.deduplication import plant_duplicates, similar_pairs, similarity

LENGTHS = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SAMPLES = {"en": ["crowd-en"], "zh": ["reviews-zh", "ner-zh"]}


def words(text: str) -> list[str]:
    "What datasketch's and rensa's own examples do."
    return text.split()


def characters(text: str, n: int = 5) -> list[str]:
    return [text[i:i + n] for i in range(max(1, len(text) - n + 1))]


def ours(texts, threshold=0.7):
    pairs = similar_pairs(texts, threshold)
    return list(zip(pairs.left.tolist(), pairs.right.tolist()))


def by_datasketch(texts, tokens, threshold=0.7, columns=128):
    from datasketch import MinHash, MinHashLSH

    lsh, pairs = MinHashLSH(threshold=threshold, num_perm=columns), []
    sketches = MinHash.bulk([[t.encode() for t in tokens(text)] for text in texts], num_perm=columns)
    for i, sketch in enumerate(sketches):
        pairs += [(j, i) for j in lsh.query(sketch)]
        lsh.insert(i, sketch)
    return pairs


def by_datasketch_plain(texts, tokens, threshold=0.7, columns=128):
    "As datasketch's own first example does it: an update for each token."
    from datasketch import MinHash, MinHashLSH

    lsh, pairs = MinHashLSH(threshold=threshold, num_perm=columns), []
    for i, text in enumerate(texts):
        sketch = MinHash(num_perm=columns)
        for token in tokens(text):
            sketch.update(token.encode())
        pairs += [(j, i) for j in lsh.query(sketch)]
        lsh.insert(i, sketch)
    return pairs


def by_rensa(texts, tokens, threshold=0.7, columns=128, bands=32):
    "Rows that share a bucket with another row. rensa says which rows, not with whom."
    import rensa

    matrix = rensa.RMinHash.digest_matrix_from_token_sets([tokens(t) for t in texts], columns, 42)
    flags = rensa.RMinHashLSH(threshold, columns, bands).query_duplicate_flags_matrix_one_shot(matrix)
    return np.array(flags, dtype=bool)


def by_text_dedup(texts, threshold=0.7, columns=250, ngram=5, least=5):
    "text-dedup's minhash script with its own functions and defaults, without its command line."
    from text_dedup.minhash import embed_func, optimal_param, xxh3_32hash

    b, r = optimal_param(threshold, columns, 0.5, 0.5)
    rng, prime, top = np.random.RandomState(42), np.uint64((1 << 61) - 1), np.uint64((1 << 32) - 1)
    a = rng.randint(1, int(prime), size=(columns,), dtype=np.uint64)
    c = rng.randint(0, int(prime), size=(columns,), dtype=np.uint64)
    buckets = [defaultdict(list) for _ in range(b)]
    for i, text in enumerate(texts):
        row = embed_func(text, i, num_perm=columns, ngram_size=ngram, min_length=least, permutations=(a, c),
                         hashranges=[(k * r, (k + 1) * r) for k in range(b)], hash_func=xxh3_32hash, dtype=np.uint64,
                         max_hash=top, modulo_prime=prime)
        for bucket, key in zip(buckets, row["__signatures__"]):
            bucket[key].append(i)
    return [(rows[0], j) for bucket in buckets for rows in bucket.values() for j in rows[1:]]


def planted(lang: str, per_length: int = 100, seed: int = 0):
    "Rows with a copy each, all of one language, and real rows without."
    real = drop_duplicates(load_sample(f"reviews-{lang}"))["text"][:]
    run, rng = " ".join(real), np.random.default_rng(seed)
    cuts = [run[a:a + n] for n in LENGTHS for a in rng.integers(0, len(run) - n, per_length)]
    from datasets import Dataset

    ds = plant_duplicates(add_uids(Dataset.from_dict({"text": cuts}), "cut"), rate=1.0, seed=seed)
    return ds["text"][:], real[:5000], [n for n in LENGTHS for _ in range(per_length)]


def judge(found, texts, real, lengths) -> str:
    "macro-F1 over rows, precision and recall of the rows with a twin, recall by length."
    flags, half = np.zeros(len(texts) + len(real), dtype=bool), len(texts) // 2
    if isinstance(found, np.ndarray):
        flags = found
    else:
        flags[[i for pair in found for i in pair]] = True
    gold = np.r_[np.ones(len(texts), dtype=bool), np.zeros(len(real), dtype=bool)]
    by_length = defaultdict(list)
    for i, n in enumerate(lengths):
        by_length[n] += [flags[i] and flags[i + half]]
    recall = " ".join(f"{np.mean(v):.2f}" for v in by_length.values())
    right, f1 = (flags & gold).sum(), f1_score(gold, flags, average="macro")
    return f"{f1:.3f}   {right / max(1, flags.sum()):.3f}  {right / gold.sum():.3f}  {recall}"


def attempt(name: str, fn, *args):
    "The result, the seconds by the clock and by the processors; None where a peer is not installed."
    start, used = time.perf_counter(), time.process_time()
    try:
        return fn(*args), time.perf_counter() - start, time.process_time() - used
    except ModuleNotFoundError as e:
        print(f"{name:<28} skipped: {e.name} is not installed")
        return None, None, None


PEERS = {"ours": (ours,), "datasketch, words": (by_datasketch, words),
         "datasketch, 5 characters": (by_datasketch, characters),
         "datasketch, its example": (by_datasketch_plain, characters), "rensa, words": (by_rensa, words),
         "rensa, 5 characters": (by_rensa, characters), "text-dedup": (by_text_dedup,)}


def quality(lang: str):
    texts, real, lengths = planted(lang)
    print(f"\nquality, {lang}: {len(texts):,} planted rows, {len(real):,} real ones")
    print(f"{'':<28} macroF1 prec  recall  recall at {LENGTHS}")
    for name, (fn, *more) in PEERS.items():
        found, *_ = attempt(name, fn, texts + real, *more)
        if found is not None:
            print(f"{name:<28} {judge(found, texts, real, lengths)}", flush=True)
    half, alike = len(texts) // 2, 0
    for i in range(half):
        alike += similarity(texts[i], texts[i + half]) >= 0.7
    print(f"{alike} of {half} planted pairs are at least 0.7 alike")


def many(lang: str, n: int, seed: int = 5) -> list[str]:
    "Real rows, then rows made of two halves, every tenth a near copy instead."
    real = list(dict.fromkeys(t for name in SAMPLES[lang] for t in load_sample(name)["text"] if t))
    rng, out = np.random.default_rng(seed), real[:n]
    while len(out) < n:
        a, b = real[rng.integers(len(real))], real[rng.integers(len(real))]
        if rng.random() < 0.1:
            places = rng.integers(0, len(a), int(rng.uniform(0.01, 0.2) * len(a)))
            out.append("".join("x" if i in set(places.tolist()) else c for i, c in enumerate(a)))
        else:
            out.append(a[:len(a) // 2] + b[len(b) // 2:])
    return out


def written(lang: str, n: int, seed: int = 5) -> list[str]:
    "New rows by a chain of pairs of words learned from real ones, as long as these; every tenth is a near copy."
    from dataset_tutor.language import segment

    rng, blank = np.random.default_rng(seed), {"en": " ", "zh": ""}[lang]
    real = list(dict.fromkeys(t for name in SAMPLES[lang] for t in load_sample(name)["text"] if t))
    rows = [t.split() if blank else [t[a:b] for a, b in segment(t)] for t in real]
    words = ["", *sorted({w for row in rows for w in row})]
    at = {w: i for i, w in enumerate(words)}
    chain = np.array([at[w] for row in rows if row for w in [*row, ""]])   # 0 is the end of a row and the begin of one
    order = np.argsort(np.r_[0, chain[:-1]], kind="stable")                # the places that follow each word
    begin = np.searchsorted(np.r_[0, chain[:-1]][order], np.arange(len(words) + 1))
    now, out = np.zeros(n, dtype=np.int64), []
    for _ in range(60):
        low, high = begin[now], begin[now + 1]
        now = np.where(now > 0 if out else True, chain[order[low + (rng.random(n) * (high - low)).astype(int)]], 0)
        out.append(now)
    texts = [blank.join(words[i] for i in row if i) for row in np.stack(out, axis=1)]
    for i in range(9, n, 10):
        text = texts[i - 1]
        places = set(rng.integers(0, max(1, len(text)), int(rng.uniform(0.01, 0.2) * len(text))).tolist())
        texts[i] = "".join("x" if k in places else c for k, c in enumerate(text))
    return texts


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def speed(lang: str, n: int):
    texts = many(lang, n)
    print(f"\nspeed, {lang}: {n:,} rows, {np.mean(list(map(len, texts))):.0f} characters each")
    base = None
    for name in ("ours", "rensa, words", "rensa, 5 characters", "datasketch, 5 characters",
                 "datasketch, its example"):
        fn, *more = PEERS[name]
        found, seconds, used = attempt(name, fn, texts, *more, *([0.8] if name == "ours" else []))
        base = base or (seconds, used)
        if found is not None:
            rows = int(found.sum()) if isinstance(found, np.ndarray) else len({i for p in found for i in p})
            print(f"{name:<28} {seconds:7.1f} s, {used:7.1f} s of processor  {seconds / base[0]:6.2f} and "
                  f"{used / base[1]:6.2f} of ours   {rows:,} rows in pairs", flush=True)


def scale(lang: str, sizes=(10_000, 100_000, 1_000_000)):
    print(f"\nscale, {lang}: ours, threshold 0.8")
    for n in sizes:
        code = f"from benchmarks.deduplication import scale_one; scale_one({lang!r}, {n})"
        subprocess.run([sys.executable, "-c", code], check=True)


def scale_one(lang: str, n: int):
    show_progress(False)
    texts, before = written(lang, n), peak()
    pairs, seconds, used = attempt("ours", similar_pairs, texts, 0.8)
    print(f"{n:>9,} rows  {seconds:7.1f} s, {used:7.1f} s of processor  {1e6 * used / n:6.0f} µs a row  "
          f"{len(pairs):,} pairs  peak {peak():,} MB ({before:,} before)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["quality", "speed"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--lang", nargs="*", default=["en", "zh"])
    args = parser.parse_args()
    show_progress(False)
    for what in args.what:
        for lang in args.lang:
            {"quality": quality, "speed": lambda x: speed(x, args.rows), "scale": scale}[what](lang)


if __name__ == "__main__":
    main()
