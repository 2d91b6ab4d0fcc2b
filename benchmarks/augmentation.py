"""Operators beside those of nlpaug and nlpcda: children a second, on the same real sentences, one child of each.

Usage: python benchmarks/augmentation.py [--rows 1000] [--runs 3] [--contextual FOLDER]

The peers are optional: `pip install --no-deps --target PEERS nlpaug==1.1.11 nltk jieba`, the folder `nlpcda` of the
source archive nlpcda 2.5.8 beside them, and PEERS on PYTHONPATH. NLTK gets the same WordNet and tagger weights that
the chapter uses, written into a temporary folder. Every operator is warmed up before it is timed, so that nobody pays
for opening tables; every run has sentences that were not seen before, so that nobody gains from remembering.

--contextual times contextual substitution with the masked language model in FOLDER (made of en-small if it is empty;
speed does not ask what a model has learnt). nlpaug 1.1.11 breaks on Transformers 5, so run it twice: as it is, and with
Transformers 4 in front of PYTHONPATH (`pip install --no-deps --target OLD transformers==4.46.3 tokenizers==0.20.3
huggingface_hub==0.26.5`). Each run times whichever of the two works there. The second half has not been run to its end
yet: `datasets` wants a newer huggingface_hub than Transformers 4 does, so it needs an environment of its own.
"""
import argparse
import contextlib
import io
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from dataset_tutor import augmentation, grammar
from dataset_tutor.acquisition import load_sample
from dataset_tutor.assets import fetch
from dataset_tutor.augmentation import OPERATORS, lots
from dataset_tutor.cleaning import drop_duplicates
from dataset_tutor.core import show_progress


def sentences(lang: str, n: int) -> list[str]:
    "Real reviews, each once, of a length that every peer takes."
    texts = [t for t in drop_duplicates(load_sample(f"reviews-{lang}"))["text"] if 20 < len(t) < 300]
    return random.Random(0).sample(texts, n)


def ours(name: str, **options):
    op = OPERATORS[name](**options)
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
    "nlpaug's augmenters with its defaults, one child each."
    import nlpaug.augmenter.char as nac
    import nlpaug.augmenter.word as naw

    made = {"synonyms": naw.SynonymAug(aug_src="wordnet"), "random_swap": naw.RandomWordAug(action="swap"),
            "random_deletion": naw.RandomWordAug(action="delete"), "keyboard_noise": nac.KeyboardAug(),
            "ocr_noise": nac.OcrAug(), "spelling_noise": naw.SpellingAug()}
    return {name: (lambda texts, a=a: [a.augment(t) for t in texts]) for name, a in made.items()}


def by_nlpcda() -> dict:
    "nlpcda's augmenters, asked for the sentence and one child (create_num=2)."
    with contextlib.redirect_stdout(io.StringIO()):
        from nlpcda import CharPositionExchange, Homophone, RandomDeleteChar, Similarword

        kinds = {"synonyms": Similarword, "homophones": Homophone, "random_deletion": RandomDeleteChar,
                 "random_swap": CharPositionExchange}
        made = {name: kind(create_num=2, change_rate=0.1) for name, kind in kinds.items()}
    return {name: (lambda texts, a=a: [a.replace(t) for t in texts]) for name, a in made.items()}


def rate(work, texts: list[str], runs: int) -> tuple[float, float, float]:
    "Children a second: median, least and most of the runs, each on its own sentences."
    work(texts[:50])
    size, speeds = (len(texts) - 50) // runs, []
    for i in range(runs):
        some = texts[50 + i * size : 50 + (i + 1) * size]
        began = time.perf_counter()
        work(some)
        speeds.append(len(some) / (time.perf_counter() - began))
    return statistics.median(speeds), min(speeds), max(speeds)


def compare(lang: str, peer: str, peers: dict, rows: int, runs: int):
    texts = sentences(lang, rows * runs + 50)
    print(f"\n{lang}: {rows:,} sentences a run, {runs} runs, {sum(map(len, texts)) / len(texts):.0f} characters each")
    print(f"{'':<18}{'here, children/s':>32}{peer + ', children/s':>32}{'times':>8}")
    for name, theirs in peers.items():
        options = {"unit": "characters"} if lang == "zh" and name.startswith("random_") else {}
        a, b = rate(ours(name, **options), texts, runs), rate(theirs, texts, runs)
        show = [f"{m:,.0f} ({low:,.0f} to {high:,.0f})" for m, low, high in (a, b)]
        print(f"{name:<18}{show[0]:>32}{show[1]:>32}{a[0] / b[0]:>8.1f}", flush=True)


def contextual(folder: Path, rows: int, runs: int):
    "One of the two, by the version of Transformers that is installed."
    import transformers

    texts, name = sentences("en", rows * runs + 50), f"Transformers {transformers.__version__}"
    if int(transformers.__version__.split(".")[0]) >= 5:
        from dataset_tutor import generation
        from dataset_tutor.models import load_pretrained

        if not (folder / "config.json").exists():
            for thing in (load_pretrained("BertForMaskedLM", "en-small"), load_pretrained("AutoTokenizer", "en-small")):
                thing.save_pretrained(folder)
        found, who = rate(ours("contextual_words", model=str(folder), least=0.0), texts, runs), generation.__name__
    else:
        import nlpaug.augmenter.word as naw

        # a folder whose name holds "bert", so that nlpaug knows what it is; its defaults, and batches as here
        theirs = naw.ContextualWordEmbsAug(model_path=str(folder), model_type="bert", aug_p=0.1, batch_size=32)
        found, who = rate(theirs.augment, texts, runs), "nlpaug"
    print(f"contextual substitution, {rows:,} sentences a run, {runs} runs, {name}")
    print(f"{who}: {found[0]:,.1f} children a second ({found[1]:,.1f} to {found[2]:,.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--contextual", type=Path)
    args = parser.parse_args()
    show_progress(False)
    if args.contextual:
        contextual(args.contextual, args.rows, args.runs)
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
