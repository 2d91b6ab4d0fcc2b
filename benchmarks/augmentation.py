"""Operators beside those of nlpaug and nlpcda: children a second, on the same real sentences, one child of each.

Usage: python benchmarks/augmentation.py [--rows 1000] [--runs 3] [--contextual [FOLDER]]

The peers are optional: `pip install --no-deps --target PEERS nlpaug==1.1.11 nltk jieba gdown`, the folder `nlpcda` of
the source archive nlpcda 2.5.8 beside them, and PEERS on PYTHONPATH. NLTK gets the same WordNet and tagger weights
that the chapter uses, written into a temporary folder. Every operator is warmed up before it is timed, so that nobody
pays for opening tables; every run has sentences that were not seen before, so that nobody gains from remembering. Runs
of the two alternate, so that a busy machine is unkind to both.

What is compared with what: nlpcda's swap and homophones work on single characters and cut no words, so they stand
beside `unit="characters"`; `homophones` as it is by default cuts words first and stands below. nlpcda's deletion cuts
words and deletes single characters among them; it stands beside `unit="words"`. All operators here keep spans and
return edits, which no peer does.

--contextual times contextual substitution with the masked language model in FOLDER: by default the one that chapter 52
trains, or else `en-small` with an untrained head, since speed does not ask what a model has learnt. nlpaug 1.1.11
breaks on Transformers 5, which renamed the class of fast tokenisers: nlpaug looks for "TokenizerFast" in its name and
otherwise calls methods that are gone. The two methods are replaced here by calls that cost less than the old ones.
"""
import argparse
import contextlib
import difflib
import io
import json
import os
import random
import re
import statistics
import tempfile
import time
from pathlib import Path

import torch

from dataset_tutor import augmentation, generation, grammar
from dataset_tutor.acquisition import load_sample
from dataset_tutor.assets import cache_dir, fetch
from dataset_tutor.augmentation import OPERATORS, lots
from dataset_tutor.cleaning import drop_duplicates
from dataset_tutor.core import show_progress
from dataset_tutor.models import load_pretrained


def sentences(lang: str, n: int) -> list[str]:
    "Real reviews, each once, of a length that every peer takes."
    texts = [t for t in drop_duplicates(load_sample(f"reviews-{lang}"))["text"] if 20 < len(t) < 300]
    return random.Random(0).sample(texts, n)


def ours(name: str, **options):
    "Children by one of our operators: lots, edits, and the new text."
    op = (OPERATORS.get(name) or getattr(generation, name))(**options)
    return lambda texts: [augmentation.Edited(t, e) for t, e in zip(texts, op.edits(
        texts, [lots(0, t, name, 0) for t in texts], [()] * len(texts)))]


def nltk_data(folder: Path):
    "WordNet and the tagger's weights where NLTK looks for them."
    words, tagger = folder / "corpora/wordnet", folder / "taggers/averaged_perceptron_tagger_eng"
    words.mkdir(parents=True)
    tagger.mkdir(parents=True)
    source = fetch("wordnet")
    for path in source.iterdir():
        if path.name.startswith(("index.", "data.", "lexnames")) and path.name not in ("data.noun1", "data.noun2"):
            (words / path.name).write_bytes(path.read_bytes())
    halves = [(source / f"data.noun{i}").read_bytes() for i in (1, 2)]
    (words / "data.noun").write_bytes(b"\n".join(halves))
    for kind in ("noun", "verb", "adj", "adv"):
        (words / f"{kind}.exc").touch()
    with open(fetch("pos-tagger") / "trontagger-0.1.0.pickle", "rb") as f:
        weights, sure, names = grammar._Data(f, encoding="utf-8").load()
    for what, value in (("weights", weights), ("tagdict", sure), ("classes", sorted(names))):
        (tagger / f"averaged_perceptron_tagger_eng.{what}.json").write_text(json.dumps(value))


def by_nlpaug() -> dict:
    "nlpaug's augmenters on as large a share of the words as ours, one child each."
    import nlpaug.augmenter.char as nac
    import nlpaug.augmenter.word as naw

    made = {"synonyms": naw.SynonymAug(aug_src="wordnet", aug_p=0.1),
            "random_swap": naw.RandomWordAug(action="swap", aug_p=0.1),
            "random_deletion": naw.RandomWordAug(action="delete", aug_p=0.1),
            "keyboard_noise": nac.KeyboardAug(aug_word_p=0.1), "ocr_noise": nac.OcrAug(aug_word_p=0.1),
            "spelling_noise": naw.SpellingAug(aug_p=0.1)}
    return {name: (lambda texts, a=a: [a.augment(t) for t in texts]) for name, a in made.items()}


def by_nlpcda() -> dict:
    "nlpcda's augmenters, asked for the sentence and one child (create_num=2)."
    with contextlib.redirect_stdout(io.StringIO()):
        from nlpcda import CharPositionExchange, Homophone, RandomDeleteChar, Similarword

        kinds = {"synonyms": Similarword, "homophones": Homophone, "random_deletion": RandomDeleteChar,
                 "random_swap": CharPositionExchange}
        made = {name: kind(create_num=2, change_rate=0.1) for name, kind in kinds.items()}
    return {name: (lambda texts, a=a: [a.replace(t) for t in texts]) for name, a in made.items()}


# what stands beside what: the line's name, our operator, its options, and the peer's operator by our name for it
CHARACTERS = {"unit": "characters"}
LINES = {"en": [(n, n, {}, n) for n in ("synonyms", "random_swap", "random_deletion", "keyboard_noise", "ocr_noise",
                                        "spelling_noise")],
         "zh": [("synonyms", "synonyms", {}, "synonyms"),
                ("swap, characters", "random_swap", CHARACTERS, "random_swap"),
                ("deletion, words", "random_deletion", {}, "random_deletion"),
                ("deletion, characters", "random_deletion", CHARACTERS, "random_deletion"),
                ("homophones, characters", "homophones", CHARACTERS, "homophones"),
                ("homophones, words", "homophones", {}, "homophones")]}


def speeds(works: list, texts: list[str], runs: int) -> list[list[float]]:
    "Children a second of each, run by run in turn; each run on its own sentences."
    for work in works:
        work(texts[:50])
    size, out = (len(texts) - 50) // runs, [[] for _ in works]
    for i in range(runs):
        some = texts[50 + i * size : 50 + (i + 1) * size]
        for work, found in zip(works, out):
            augmentation._all_units.cache_clear()
            augmentation._tagged.cache_clear()
            began = time.perf_counter()
            work(some)
            found.append(len(some) / (time.perf_counter() - began))
    return out


def show(name: str, found: list[list[float]]):
    "Medians, least and most, and the median of the runs' ratios."
    cells = [f"{statistics.median(f):,.0f} ({min(f):,.0f} to {max(f):,.0f})" for f in found]
    times = [a / b for a, b in zip(*found)]
    print(f"{name:<24}{cells[0]:>32}{cells[1]:>32}{statistics.median(times):>8.1f}", flush=True)


def compare(lang: str, peer: str, peers: dict, rows: int, runs: int):
    texts = sentences(lang, rows * runs + 50)
    print(f"\n{lang}: {rows:,} sentences a run, {runs} runs, {sum(map(len, texts)) / len(texts):.0f} characters each")
    print(f"{'':<24}{'here, children/s':>32}{peer + ', children/s':>32}{'times':>8}")
    for line, name, options, theirs in LINES[lang]:
        show(line, speeds([ours(name, **options), peers[theirs]], texts, runs))


def masked_model(folder: Path | None) -> Path:
    "The masked language model to ask."
    trained = cache_dir("runs", "en-mlm")
    folder = folder or (trained if (trained / "config.json").exists() else cache_dir("runs", "en-mlm-untrained"))
    if not (folder / "config.json").exists():
        for thing in (load_pretrained("BertForMaskedLM", "en-small"), load_pretrained("AutoTokenizer", "en-small")):
            thing.save_pretrained(folder)
    return folder


def contextual_by_nlpaug(folder: Path):
    "nlpaug's substitution with the share of words, the number of candidates and the batches that we use."
    import nlpaug.augmenter.word as naw
    from nlpaug.model.lang_models import bert

    bert.Bert.token2id = lambda self, token: self.tokenizer.backend_tokenizer.token_to_id(token)
    bert.Bert.id2token = lambda self, number: self.tokenizer.backend_tokenizer.id_to_token(int(number))
    return naw.ContextualWordEmbsAug(model_path=str(folder), model_type="bert", aug_p=0.1, top_k=10, batch_size=32)


def changed(texts: list[str], children: list[str]) -> float:
    "The share of words that are others now."
    words = [re.findall(r"[a-z0-9]+", t.lower()) for t in texts]
    same = sum(m.size for a, c in zip(words, children) for m in difflib.SequenceMatcher(
        None, a, re.findall(r"[a-z0-9]+", c.lower()), autojunk=False).get_matching_blocks())
    return 1 - same / sum(map(len, words))


def contextual(folder: Path | None, rows: int, runs: int):
    "Both with the same model on the same sentences."
    folder, texts = masked_model(folder), sentences("en", rows * runs + 50)
    op, theirs = ours("contextual_words", model=str(folder), top=10, least=0.0), contextual_by_nlpaug(folder)
    print(f"contextual substitution: {rows:,} sentences a run, {runs} runs, model {folder.name}, "
          f"torch with {torch.get_num_threads()} threads")
    print(f"{'':<24}{'here, children/s':>32}{'nlpaug, children/s':>32}{'times':>8}")
    show("contextual_words", speeds([op, theirs.augment], texts, runs))
    a, b = (changed(texts[:50], work(texts[:50])) for work in (op, theirs.augment))
    print(f"words changed: {a:.1%} here, {b:.1%} by nlpaug")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--contextual", type=Path, nargs="?", const=False)
    args = parser.parse_args()
    show_progress(False)
    if args.contextual is not None:
        contextual(args.contextual or None, args.rows, args.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        nltk_data(Path(folder))
        os.environ["NLTK_DATA"] = folder
        for lang, peer, load in (("en", "nlpaug", by_nlpaug), ("zh", "nlpcda", by_nlpcda)):
            try:
                peers = load()
            except ModuleNotFoundError as e:
                print(f"{peer}: skipped, {e.name} is not installed")
                continue
            compare(lang, peer, peers, args.rows, args.runs)


if __name__ == "__main__":
    main()
