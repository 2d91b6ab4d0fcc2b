"""Near-duplicate search beside datasketch, rensa and text-dedup: what each finds, what traps do to it, what it costs.

Usage: python benchmarks/deduplication.py [quality] [traps] [speed] [scale] [--rows 200000] [--lang en zh]
                                          [--peer PYTHON] [--json]

--peer, or the variable DATASET_TUTOR_PEERS, is the Python of an environment with `datasketch rensa text-dedup`, whose
pins differ from ours; without one, the interpreter that runs this is tried, and what is not installed is skipped. Every
search runs in a fresh process that reads its rows from a file, so that its peak memory is its own; what it imports is
imported before the clock starts.

quality: texts of ten lengths: some with a copy of which 1 to 30 % was edited, some without, and real reviews.
traps:   a thousand rows of which each is a near copy of the one before, and short rows that are all different.
speed:   real rows and new ones made of their halves, a tenth of these near copies; three runs of what is fast, and a
         tenth of the rows for what is slow.
scale:   ours alone, from 10,000 rows to 1,000,000 that a chain of words wrote, a tenth of these near copies. Halves
         would not do: the more of them, the more share a half, and the pairs grow with the square of the rows.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

LENGTHS = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SAMPLES = {"en": ["crowd-en"], "zh": ["reviews-zh", "ner-zh"]}
ALIKE = 0.7   # least edit similarity of pairs to be found; the peers get it as the least Jaccard similarity

# --- the ways to look for pairs; only these run in the environment of the peers ---


def words(text: str) -> list[str]:
    "What datasketch's and rensa's own examples do."
    return text.split()


def runs(text: str, n: int = 5) -> list[str]:
    "As it is usually written: a text of fewer characters has none."
    return [text[i:i + n] for i in range(len(text) - n + 1)]


def characters(text: str, n: int = 5) -> list[str]:
    "The same with care: a short text is a run of its own."
    return runs(text, n) or [text]


def ours(texts, threshold=ALIKE):
    from dataset_tutor.deduplication import similar_pairs

    pairs = similar_pairs(texts, threshold)
    return list(zip(pairs.left.tolist(), pairs.right.tolist()))


def our_default(texts):
    return ours(texts, 0.8)


def by_datasketch(texts, tokens, threshold=ALIKE, columns=128):
    from datasketch import MinHash, MinHashLSH

    lsh, pairs = MinHashLSH(threshold=threshold, num_perm=columns), []
    sketches = MinHash.bulk([[t.encode() for t in tokens(text)] for text in texts], num_perm=columns)
    for i, sketch in enumerate(sketches):
        pairs += [(j, i) for j in lsh.query(sketch)]
        lsh.insert(i, sketch)
    return pairs


def by_datasketch_plain(texts, tokens, columns=128):
    "As datasketch's own first example does it: an update for each token."
    from datasketch import MinHash, MinHashLSH

    lsh, pairs = MinHashLSH(threshold=ALIKE, num_perm=columns), []
    for i, text in enumerate(texts):
        sketch = MinHash(num_perm=columns)
        for token in tokens(text):
            sketch.update(token.encode())
        pairs += [(j, i) for j in lsh.query(sketch)]
        lsh.insert(i, sketch)
    return pairs


def by_rensa(texts, tokens, threshold=ALIKE, columns=128):
    "As its documentation does it: rows come one after the other and stay unless a row that stayed looks alike."
    import rensa

    sketches = rensa.RMinHash.from_token_sets([tokens(t) for t in texts], num_perm=columns, seed=42)
    kept = rensa.RMinHashDeduplicator(threshold=threshold, num_perm=columns, use_lsh=True)
    stays = kept.add_pairs((str(i), sketch) for i, sketch in enumerate(sketches))
    pairs = []
    for i in np.flatnonzero(~np.array(stays, dtype=bool)).tolist():
        like = [int(j) for j in kept.get_duplicates(sketches[i])]
        pairs += [(j, i) for j in like if sketches[i].jaccard(sketches[j]) >= threshold]
    return pairs


def by_rensa_flags(texts, tokens, columns=128, bands=16):
    "Its fastest way: rows that share a bucket with another row, nothing compared; which one, it does not say."
    import rensa

    matrix = rensa.RMinHash.digest_matrix_from_token_sets([tokens(t) for t in texts], columns, 42)
    flags = rensa.RMinHashLSH(ALIKE, columns, bands).query_duplicate_flags_matrix_one_shot(matrix)
    return [(i, i) for i in np.flatnonzero(flags).tolist()]


def by_text_dedup(texts, columns=250, ngram=5, least=5):
    "text-dedup's minhash script with its own functions and defaults, without its command line; its filter comes first."
    from text_dedup.minhash import NON_ALPHA, embed_func, optimal_param, sha1_hash

    b, r = optimal_param(ALIKE, columns, 0.5, 0.5)
    rng, prime, top = np.random.RandomState(42), np.uint64((1 << 61) - 1), np.uint32((1 << 32) - 1)
    a = rng.randint(1, int(prime), size=(columns,), dtype=np.uint64)
    c = rng.randint(0, int(prime), size=(columns,), dtype=np.uint64)
    buckets = [defaultdict(list) for _ in range(b)]
    for i, text in enumerate(texts):
        if len(NON_ALPHA.split(text.lower())) < least:
            continue
        row = embed_func(text, i, num_perm=columns, ngram_size=ngram, min_length=least, permutations=(a, c),
                         hashranges=[(k * r, (k + 1) * r) for k in range(b)], dtype=np.uint64,
                         hash_func=lambda data: sha1_hash(data, d=32), max_hash=top, modulo_prime=prime)
        for bucket, key in zip(buckets, row["__signatures__"]):
            bucket[key].append(i)
    return [(rows[0], j) for bucket in buckets for rows in bucket.values() for j in rows[1:]]


def too_short(texts, least=5):
    "Rows that text-dedup's filter takes out of the data set, as pairs with themselves."
    from text_dedup.minhash import NON_ALPHA

    return [(i, i) for i, t in enumerate(texts) if len(NON_ALPHA.split(t.lower())) < least]


WAYS = {"ours": (ours,), "ours at 0.8": (our_default,),
        "datasketch, words": (by_datasketch, words), "datasketch, 5 characters": (by_datasketch, characters),
        "datasketch, 5 characters at 0.3": (by_datasketch, characters, 0.3),
        "datasketch, runs of 5": (by_datasketch, runs), "datasketch, its example": (by_datasketch_plain, characters),
        "rensa, words": (by_rensa, words), "rensa, 5 characters": (by_rensa, characters),
        "rensa, 5 characters at 0.3": (by_rensa, characters, 0.3), "rensa, runs of 5": (by_rensa, runs),
        "bare rensa, words": (by_rensa_flags, words), "bare rensa, 5 characters": (by_rensa_flags, characters),
        "text-dedup": (by_text_dedup,), "too short for text-dedup": (too_short,)}
MODULES = {"ours": "dataset_tutor.deduplication", "datasketch": "datasketch", "rensa": "rensa", "bare": "rensa",
           "text-dedup": "text_dedup.minhash", "too": "text_dedup.minhash"}


def peak() -> int:
    "The most memory that this process ever held, in megabytes. Unlike `ru_maxrss`, it does not count the parent's."
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(held.split()[1]) // 1024


def measure(way: str, rows: str, out: str):
    "Inside the child: read the rows, look for pairs, write down the pairs and what they cost."
    fn, *more = WAYS[way]
    if way.startswith("ours"):
        from dataset_tutor.core import show_progress

        show_progress(False)
    with open(rows, encoding="utf-8") as f:
        texts = [json.loads(line) for line in f]
    fn(texts[:10], *more)   # so that what is loaded on first use does not count
    before, start, used = peak(), time.perf_counter(), time.process_time()
    pairs = fn(texts, *more)
    cost = {"seconds": time.perf_counter() - start, "processor": time.process_time() - used,
            "MB before": before, "MB peak": peak()}
    Path(out).write_text(json.dumps([cost, pairs]))


def search(way: str, texts: list[str], peer: str) -> tuple[dict, list] | None:
    "What a way finds and costs in a fresh process; None where it is not installed."
    python = sys.executable if way.startswith("ours") else peer
    module = MODULES[way.split(",")[0].split(" ")[0]]
    if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
        print(f"{way}: skipped, {module} is not installed", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        rows, out = Path(folder, "rows.jsonl"), Path(folder, "out.json")
        with rows.open("w", encoding="utf-8") as f:
            f.writelines(json.dumps(t) + "\n" for t in texts)
        subprocess.run([python, __file__, "--measure", way, str(rows), str(out)], check=True)
        return tuple(json.loads(out.read_text()))


# --- what each finds ---


def planted(lang: str, per_length: int = 100, seed: int = 0) -> tuple[list[str], list, list]:
    "Texts, per text its length (None: a real review), and per text whether a copy of it was planted or it is one."
    from datasets import Dataset

    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.cleaning import drop_duplicates
    from dataset_tutor.core import add_uids
    from dataset_tutor.deduplication import plant_duplicates

    real = drop_duplicates(load_sample(f"reviews-{lang}", rows=6000, seed=0))["text"][:]
    run, rng = " ".join(real), np.random.default_rng(seed)
    cuts, alone = ([run[a:a + n] for n in LENGTHS for a in rng.integers(0, len(run) - n, per_length)] for _ in "ab")
    ds = plant_duplicates(add_uids(Dataset.from_dict({"text": cuts}), "cut"), rate=1.0, seed=seed)
    lengths = [n for n in LENGTHS for _ in range(per_length)]
    texts = ds["text"][:] + alone + real[:3000]
    return texts, lengths * 3 + [None] * 3000, [True] * len(ds) + [False] * (len(alone) + 3000)


def with_twin(texts: list[str], threshold: float = ALIKE) -> np.ndarray:
    "Which texts have another one that is alike, by comparing everything with everything."
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    from dataset_tutor.cleaning import text_key

    keys = [text_key(t) for t in texts]
    order = sorted(range(len(keys)), key=lambda i: len(keys[i]))
    out, high = np.zeros(len(keys), dtype=bool), 0
    for low in range(0, len(order), 500):
        these = order[low:low + 500]
        while high < len(order) and len(keys[order[high]]) <= len(keys[these[-1]]) / threshold:
            high += 1
        others = order[low:high]
        alike = cdist([keys[i] for i in these], [keys[i] for i in others], scorer=Levenshtein.normalized_similarity,
                      score_cutoff=threshold - 1e-6, workers=-1) > 0
        alike &= np.arange(len(others)) > np.arange(len(these))[:, None]
        alike[[keys[i] == "" for i in these]] = False
        out[[these[i] for i in np.flatnonzero(alike.any(1))] + [others[j] for j in np.flatnonzero(alike.any(0))]] = True
    return out


def quality(lang: str, peer: str) -> list[dict]:
    "Per way and length: precision and recall of the rows that have a twin, planted or found by comparing all."
    from sklearn.metrics import f1_score

    texts, lengths, copied = planted(lang)
    gold, out = with_twin(texts) | np.array(copied), []
    group = np.array(["reviews" if n is None else str(n) for n in lengths])
    for way in ("ours", "datasketch, words", "datasketch, 5 characters", "datasketch, 5 characters at 0.3",
                "rensa, words", "rensa, 5 characters", "rensa, 5 characters at 0.3", "text-dedup"):
        if (found := search(way, texts, peer)) is None:
            continue
        flags = np.zeros(len(texts), dtype=bool)
        flags[[i for pair in found[1] for i in pair]] = True
        for name in ("all", *map(str, LENGTHS), "reviews"):
            here = np.ones(len(texts), dtype=bool) if name == "all" else group == name
            right = int((flags & gold & here).sum())
            out.append({"lang": lang, "way": way, "length": name, "with a twin": int((gold & here).sum()),
                        "precision": right / int((flags & here).sum()) if (flags & here).any() else None,
                        "recall": right / int((gold & here).sum()) if (gold & here).any() else None,
                        "macro-F1": f1_score(gold, flags, average="macro") if name == "all" else None})
    return out


# --- what traps do to it ---


def chain(lang: str, n: int = 1000, seed: int = 0) -> list[str]:
    "Texts of which each differs from the one before in a fiftieth of its characters."
    from dataset_tutor.acquisition import load_sample

    run = " ".join(load_sample(f"reviews-{lang}", rows=3000, seed=1)["text"])
    size = {"en": 200, "zh": 100}[lang]
    block, text, out = size // 50, run[:size], []
    for i in range(n):
        at, new = i % 50 * block, size + i * block
        text = text[:at] + run[new:new + block] + text[at + block:]
        out.append(text)
    return out


def short(lang: str, n: int = 500, seed: int = 0) -> list[str]:
    "Runs of one to four words, 2 to 12 characters together, no two of them alike."
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import extractOne

    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.cleaning import text_key
    from dataset_tutor.language import segment

    rng, out = np.random.default_rng(seed), {}
    for text in load_sample(f"reviews-{lang}", rows=3000, seed=2)["text"]:
        cut = segment(text)
        at = int(rng.integers(max(1, len(cut) - 4)))
        part = text[cut[at][0]:cut[min(len(cut), at + int(rng.integers(1, 5))) - 1][1]]
        key = text_key(part)
        if 2 <= len(key) <= 12 and part.replace(" ", "").isalnum() and not extractOne(
                key, list(out), scorer=Levenshtein.normalized_similarity, score_cutoff=ALIKE):
            out[key] = part
        if len(out) == n:
            break
    return list(out.values())


def left_by(way: str, texts: list[str], pairs: list, lost: list) -> list[int]:
    "The rows that stay: by stars (ours), by coming first (rensa), or one per connected component (the others)."
    from dataset_tutor.deduplication import Pairs, chains, stars

    left, right = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    found = Pairs(np.minimum(left, right), np.maximum(left, right), np.ones(len(left)))
    if way.startswith("rensa"):
        return sorted(set(range(len(texts))) - set(right.tolist()))
    of = stars(len(texts), found, range(len(texts))) if way.startswith("ours") else chains(len(texts), found)
    return sorted(set(of.tolist()) - {i for i, _ in lost})


def traps(lang: str, peer: str) -> list[dict]:
    "Rows that stay, and rows that went although no row that stays is at least half alike."
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    out = []
    for trap, texts in (("chain", chain(lang)), ("short rows", short(lang))):
        for way in ("ours", "datasketch, words", "datasketch, 5 characters", "datasketch, runs of 5", "rensa, words",
                    "rensa, 5 characters", "rensa, runs of 5", "text-dedup"):
            if (found := search(way, texts, peer)) is None:
                continue
            filtered = search("too short for text-dedup", texts, peer)[1] if way == "text-dedup" else []
            stays = left_by(way, texts, found[1], filtered)
            gone = sorted(set(range(len(texts))) - set(stays))
            like = cdist([texts[i] for i in gone], [texts[i] for i in stays], scorer=Levenshtein.normalized_similarity)
            lost = int((like.max(1, initial=0) < 0.5).sum()) if gone else 0
            out.append({"lang": lang, "trap": trap, "way": way, "rows": len(texts), "stay": len(stays),
                        "lost": lost})
    return out


# --- what it costs ---


def many(lang: str, n: int, seed: int = 5) -> list[str]:
    "Real rows, then rows made of two halves, every tenth a near copy instead."
    from dataset_tutor.acquisition import load_sample

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
    from dataset_tutor.acquisition import load_sample
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


def speed(lang: str, peer: str, rows: int) -> list[dict]:
    "Time, memory and rows in pairs of each way on the same rows; of three runs the one in the middle."
    texts, found = many(lang, rows), defaultdict(list)
    fast = ("ours at 0.8", "bare rensa, words", "bare rensa, 5 characters")
    for way in fast * 3 + ("datasketch, 5 characters", "datasketch, its example"):
        part = texts[::10] if way == "datasketch, its example" else texts   # ten minutes for all of them
        if (done := search(way, part, peer)) is not None:
            cost, pairs = done
            found[way].append({"lang": lang, "way": way, "rows": len(part), **cost,
                               "rows in pairs": len({i for p in pairs for i in p})})
    middle = [sorted(runs_, key=lambda r: r["seconds"])[len(runs_) // 2] for runs_ in found.values()]
    base = middle[0]   # ours; times are compared by the row
    return [row | {f"{name} to ours": row[name] / row["rows"] / (base[name] / base["rows"])
                   for name in ("seconds", "processor")} for row in middle]


def scale(lang: str, sizes=(10_000, 100_000, 1_000_000)) -> list[dict]:
    "Ours alone."
    out = []
    for n in sizes:
        cost, pairs = search("ours at 0.8", written(lang, n), sys.executable)
        out.append({"lang": lang, "rows": n, **cost, "µs a row": 1e6 * cost["processor"] / n, "pairs": len(pairs)})
    return out


def main():
    if sys.argv[1:2] == ["--measure"]:
        return measure(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["quality", "traps", "speed"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--lang", nargs="*", default=["en", "zh"])
    parser.add_argument("--peer", default=os.environ.get("DATASET_TUTOR_PEERS", sys.executable))
    parser.add_argument("--json", action="store_true", help="records instead of tables")
    args = parser.parse_args()
    from dataset_tutor.core import show_progress

    show_progress(False)
    tables = {"quality": quality, "traps": traps, "speed": lambda lang, peer: speed(lang, peer, args.rows),
              "scale": lambda lang, peer: scale(lang)}
    for what in args.what:
        rows = [row for lang in args.lang for row in tables[what](lang, args.peer)]
        if args.json:
            print(json.dumps(rows))
            continue
        import pandas as pd

        print(f"\n{what}\n{pd.DataFrame(rows).round(3).to_string(index=False)}", flush=True)


if __name__ == "__main__":
    main()
