"""Training on the same rows in three ways: the source texts' loop, plain `Trainer` with fixed padding, `finetune`.

Usage: python benchmarks/throughput.py [--samples ner-zh reviews-en] [--rows 400] [--seed 0] [--json]
       python benchmarks/throughput.py --padding [--json]     (only counts padding, on full samples; no training)

source:  batches of 16, every row padded to 128, AdamW at a fixed 2e-5, float32, three epochs; a tagger's word tags go
         to the positions 0, 1, 2 ... and are read back from there, as chapter 70 quotes it.
trainer: as `run_ner.py --pad_to_max_length` does it: labels on first pieces, padding to 128, and whatever
         `TrainingArguments` has as its default (batches of 8, 5e-5, linear decay, three epochs, float32).
ours:    `finetune` with its defaults.

Each runs in a process of its own, which says how many examples a second its training steps took (validation and saving
left out), which share of the positions was padding, its peak memory, and the score on the test rows.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import transformers

from dataset_tutor import finetuning
from dataset_tutor.acquisition import load_sample
from dataset_tutor.baselines import _prepare, _report
from dataset_tutor.cleaning import ner_en, ner_zh, reviews_en, reviews_zh
from dataset_tutor.distribution import part, split
from dataset_tutor.finetuning import Settings, _ByLength, _classes_encoded, _head, _predict, _spans_encoded, finetune
from dataset_tutor.models import load_pretrained
from dataset_tutor.tagging import IGNORE, spans_to_tags, tag_names, tags_to_spans, tokenize

SAMPLES = {"reviews-en": (reviews_en, "en-small", {}), "reviews-zh": (reviews_zh, "zh-small", {}),
           "ner-en": (ner_en, "en-small", {"merge": True}), "ner-zh": (ner_zh, "zh-small", {})}
WIDTH = 128
KIND = {"ner": "AutoModelForTokenClassification", "classification": "AutoModelForSequenceClassification"}


class Clock(transformers.TrainerCallback):
    "Seconds from the beginning to the end of epochs: training steps, without validation and saving."
    seconds = began = 0.0

    def on_epoch_begin(self, *args, **more):
        self.began = time.perf_counter()

    def on_epoch_end(self, *args, **more):
        self.seconds += time.perf_counter() - self.began


class Rows:
    "One sample's parts, its classes or types, tokeniser and a new model."

    def __init__(self, name: str, n: int | None, seed: int, sizes: tuple = (0.7, 0.15, 0.15)):
        clean, self.model, more = SAMPLES[name]
        self.ds = split(clean()(load_sample(name, rows=n, seed=seed, **more)), sizes=sizes, seed=seed)
        self.task, self.names, self.parts = _prepare(self.ds, None)
        self.labels = tag_names(self.names) if self.task == "ner" else self.names
        self.tokenizer, self.seed = load_pretrained("AutoTokenizer", self.model), seed
        stride = 32 if _head(self.task).stride else 0   # windows where `finetune` reads windows
        self.settings = Settings(self.task, self.model, seed, 3, 5e-5, 8, max_length=WIDTH, stride=stride)

    def new(self, **options):
        transformers.set_seed(self.seed)
        return load_pretrained(KIND[self.task], self.model, num_labels=len(self.labels), **options)

    def score(self, said: list) -> dict:
        report = _report(self.task, self.parts["test"], said, self.names)
        key = "accuracy" if "accuracy" in report else "f1"
        return {"score": report[key], "metric": key}


def padded(tokenizer, items: list[dict], width: int | None = WIDTH) -> dict:
    "A batch of that width, or of its longest row's; -100 on the padding of a tagger's labels."
    width = width or max(len(i["input_ids"]) for i in items)

    def wide(key, pad):
        return torch.tensor([[*i[key], *[pad] * (width - len(i[key]))] for i in items])

    ner = isinstance(items[0]["labels"], list)
    ids = wide("input_ids", tokenizer.pad_token_id)
    mask = torch.tensor([[1] * len(i["input_ids"]) + [0] * (width - len(i["input_ids"])) for i in items])
    labels = wide("labels", items[0].get("pad", IGNORE)) if ner else torch.tensor([i["labels"] for i in items])
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def printed_items(rows: Rows) -> list[dict]:
    "The source's items: word tags from position 0; `O` on the rest."
    train, out = rows.parts["train"], []
    ids = rows.tokenizer(train.texts, truncation=True, max_length=WIDTH, return_token_type_ids=False)["input_ids"]
    for text, gold, i in zip(train.texts, train.gold, ids):
        if rows.task == "ner":
            tags = [rows.labels.index(t) for t in spans_to_tags(tokenize(text), gold)][:WIDTH]
            gold = tags + [0] * (len(i) - len(tags))
        out.append(dict(input_ids=i, labels=gold, pad=0))
    return out


def by_source(rows: Rows) -> dict:
    net, items = rows.new().train(), printed_items(rows)
    optimizer, start = torch.optim.AdamW(net.parameters(), lr=2e-5), time.perf_counter()
    for _ in range(3):
        order = torch.randperm(len(items)).tolist()
        for at in range(0, len(order), 16):
            net(**padded(rows.tokenizer, [items[i] for i in order[at:at + 16]])).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - start
    if rows.task == "ner":
        said = [printed_spans(rows, net, t) for t in rows.parts["test"].texts]
    else:
        said = _predict(net, rows.tokenizer, rows.names, rows.parts["test"].texts, rows.settings)
    return cost(3 * len(items), seconds, items) | rows.score(said)


def printed_spans(rows: Rows, net, text: str) -> list[dict]:
    "Predictions read back in the way the source wrote its labels."
    ids, offsets = rows.tokenizer(text, truncation=True, max_length=WIDTH)["input_ids"], tokenize(text)
    with torch.inference_mode():
        best = net.eval()(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist()
    tags = [rows.labels[k] for k in best[:len(offsets)]] + ["O"] * (len(offsets) - len(best))
    return [s | dict(probability=1.0) for s in tags_to_spans(offsets, tags, illegal="repair")[0]]


def plain_trainer(rows: Rows, width: int | None = WIDTH, half: bool = False) -> tuple[list, float, list[dict]]:
    "What it predicts for the test rows, seconds of its steps, and its training items. `half`: in bfloat16."
    net = rows.new(**{"attn_implementation": "eager"} if half else {})   # fused attention is slow in bfloat16 on CPUs
    train, clock = rows.parts["train"], Clock()
    items = _spans_encoded(rows.tokenizer, train, rows.labels, rows.settings)[0] if rows.task == "ner" else \
        _classes_encoded(rows.tokenizer, train, rows.settings)[0]
    with tempfile.TemporaryDirectory() as tmp:
        args = transformers.TrainingArguments(tmp, use_cpu=True, report_to="none", save_strategy="no", seed=rows.seed,
                                              disable_tqdm=True, remove_unused_columns=False, bf16=half)
        loop = transformers.Trainer(net, args, train_dataset=items, callbacks=[clock],
                                    data_collator=lambda some: padded(rows.tokenizer, some, width))
        loop.remove_callback(transformers.PrinterCallback)
        loop.train()
    said = _predict(net.eval(), rows.tokenizer, rows.names, rows.parts["test"].texts, rows.settings)
    return said, clock.seconds, items


def by_trainer(rows: Rows) -> dict:
    said, seconds, items = plain_trainer(rows)
    return cost(3 * len(items), seconds, items) | rows.score(said)


def by_ours(rows: Rows) -> dict:
    seen, clock, collate = np.zeros(3), Clock(), finetuning._Collate.__call__

    def counted(self, items):
        batch = collate(self, items)
        if "labels" in batch:
            seen[:] += len(items), int(batch["attention_mask"].sum()), batch["attention_mask"].numel()
        return batch

    finetuning._Collate.__call__ = counted
    run = finetune(rows.ds, seed=rows.seed, progress=False, device="cpu", callbacks=[clock], early_stopping=0)
    key = "accuracy" if "accuracy" in run.metrics else "f1"
    return {"examples/s": seen[0] / clock.seconds, "padding": 1 - seen[1] / seen[2], "score": run.metrics[key],
            "metric": key}


def cost(examples: int, seconds: float, items: list[dict]) -> dict:
    kept = np.mean([len(i["input_ids"]) for i in items])
    return {"examples/s": examples / seconds, "padding": float(1 - kept / WIDTH)}


WAYS = {"source": by_source, "trainer": by_trainer, "ours": by_ours}


def peak() -> int:
    "The most memory that this process ever held, in megabytes."
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(held.split()[1]) // 1024


def measure(way: str, name: str, n: int, seed: int) -> dict:
    "One way in a process of its own."
    done = subprocess.run([sys.executable, __file__, "--measure", way, name, str(n), str(seed)], capture_output=True,
                          text=True)
    if done.returncode:
        raise SystemExit(f"{way} on {name} failed:\n{done.stderr[-2000:]}")
    return {"sample": name, "way": way, "seed": seed} | json.loads(done.stdout.splitlines()[-1])


def padding(name: str, n: int | None) -> dict:
    "Shares of padding on the training rows of a sample: fixed, shuffled, Trainer's `group_by_length`, and ours."
    from transformers.trainer_pt_utils import get_length_grouped_indices

    clean, model, more = SAMPLES[name]
    train = part(split(clean()(load_sample(name, rows=n, **more)), seed=0), "train")
    ids = load_pretrained("AutoTokenizer", model)(train["text"][:], verbose=False)["input_ids"]
    lengths = np.minimum([len(i) for i in ids], WIDTH)
    task = "ner" if "spans" in train.column_names else "classification"
    size, rng = finetuning.DEFAULTS[task, model]["batch_size"], np.random.default_rng(0)
    torch.manual_seed(0)
    ways = {"shuffled": rng.permutation(len(lengths)), "ours": list(_ByLength(lengths, size, 0)),
            "group_by_length": get_length_grouped_indices(lengths.tolist(), size)}
    wide = {k: sum(len(x) * x.max() for x in np.split(lengths[list(o)], range(size, len(o), size)))
            for k, o in ways.items()}
    return {"sample": name, "rows": len(lengths), "fixed": 1 - lengths.mean() / WIDTH,
            **{k: float(1 - lengths.sum() / wide[k]) for k in ("shuffled", "group_by_length", "ours")}}


def main():
    if sys.argv[1:2] == ["--measure"]:
        way, name, n, seed = sys.argv[2:]
        print(json.dumps(WAYS[way](Rows(name, int(n), int(seed))) | {"peak MB": peak()}))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", nargs="*", choices=list(SAMPLES))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--padding", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    datasets.disable_progress_bars()
    if args.padding:
        full = {"ner-en": None, "reviews-en": 2_900, "reviews-zh": 2_900, "ner-zh": 2_900}
        found = [padding(name, args.rows or full[name]) for name in args.samples or SAMPLES]
    else:
        found = [measure(way, name, args.rows or 400, args.seed)
                 for name in args.samples or ("ner-zh", "reviews-en") for way in WAYS]
    print(json.dumps(found) if args.json else pd.DataFrame(found).round(3).to_string())


if __name__ == "__main__":
    main()
