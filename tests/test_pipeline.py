"""The command as a user meets it: good input, bad input, and a kill in the middle."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from dataset_tutor import pipeline
from dataset_tutor.acquisition import load, load_sample
from dataset_tutor.core import DataError, history, read_rows, story, write_rows

GOOD, BAD = ["很好看", "非常满意", "excellent plot", "房间干净"], ["太差了", "很失望", "terrible food", "房间很脏"]


def reviews(path: Path, n=120):
    rng = random.Random(0)
    rows = [(f"{rng.choice([GOOD, BAD][y])}，第{i}次", ["pos", "neg"][y]) for i in range(n) for y in [i % 2]]
    pd.DataFrame(rows, columns=["评论", "情感"]).to_csv(path, index=False)
    return path


def command(*words, **more):
    return subprocess.run(
        [sys.executable, "-c", "from dataset_tutor.pipeline import main; raise SystemExit(main())", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        **more,
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    d = tmp_path_factory.mktemp("run")
    return pipeline.run(reviews(d / "reviews.csv"), out=d / "out", epochs=1, seed=3)


def test_everything_is_there(result):
    names = {p.relative_to(result.out).as_posix() for p in result.out.rglob("*") if p.is_file()}
    expected = {
        "README.md",
        "metrics.json",
        "history.json",
        "report.html",
        "model/model.safetensors",
        "model/config.json",
    }
    expected |= {f"data/{p}.{e}" for p in ("train", "validation", "test") for e in ("parquet", "jsonl")}
    assert expected <= names and not list(result.out.parent.glob("*.part"))


def test_numbers_agree(result):
    m = json.loads((result.out / "metrics.json").read_text(encoding="utf-8"))
    test = read_rows(result.out / "data" / "test.parquet")
    assert m["rows"]["test"] == len(test) == len(result.run.rows["test"])
    right = sum(r["gold"] == r["predicted"]["label"] for r in result.run.rows["test"])
    assert m["run"]["accuracy"] == pytest.approx(right / len(test))
    assert m["run"]["low"] <= m["run"]["accuracy"] <= m["run"]["high"]
    assert [r.op for r in history(test)][-1] == "split" and "came from" in repr(story(test, test["uid"][0]))


def test_the_model_loads_with_plain_transformers(result):
    from transformers import pipeline as hf

    said = hf("text-classification", model=str(result.out / "model"), device="cpu")(result.run.rows["test"][0]["text"])[
        0
    ]
    assert said["label"] == result.run.rows["test"][0]["predicted"]["label"]


def test_the_report_needs_nothing_else(result):
    page = (result.out / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page and 'src="data:image/png' in page and "<script" not in page


def test_an_earlier_result_is_not_overwritten(result):
    before = (result.out / "metrics.json").read_bytes()
    with pytest.raises(DataError, match="earlier result"):
        pipeline.run("reviews-zh", out=result.out)
    assert (result.out / "metrics.json").read_bytes() == before


def test_ner_writes_conll_that_reads_back(tmp_path):
    raw = write_rows(load_sample("ner-zh", rows=200), tmp_path / "raw.parquet")
    rows, _, _ = pipeline._prepare(raw, None, None, 60, 1, {}, lambda line: None)
    assert len(rows) == 60 and any(rows["spans"])
    pipeline.write_conll(rows, tmp_path / "a.conll")
    back = load(tmp_path / "a.conll", lang="zh")
    entities = lambda ds: [[(r["text"][s["start"] : s["end"]], s["label"]) for s in r["spans"]] for r in ds]  # noqa: E731
    assert entities(back) == entities(rows)


def test_a_set_that_came_in_two_parts_keeps_its_test_and_tells_what_could_not_be_read(tmp_path):
    rows = pd.read_csv(reviews(tmp_path / "all.csv"))
    (tmp_path / "set").mkdir()
    rows[:90].to_csv(tmp_path / "set" / "train.csv", index=False)
    rows[90:].to_csv(tmp_path / "set" / "test.csv", index=False)
    with (tmp_path / "set" / "train.csv").open("a") as f:
        f.write("一, 二, 三, 四\n")
    told = []
    out = pipeline.run(tmp_path / "set", out=tmp_path / "a out", epochs=1, say=told.append).out
    assert any("left out 1 lines that could not be read" in line for line in told)
    kept = {p: [json.loads(line) for line in (out / "data" / f"{p}.jsonl").read_text("utf-8").splitlines()]
            for p in ("train", "validation", "test")}
    assert {r["text"] for r in kept["test"]} == set(rows["评论"][90:]) and 7 <= len(kept["validation"]) <= 10
    assert {r["label"] for p in kept.values() for r in p} == {"pos", "neg"}
    strict = dict(parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert json.loads((out / "history.json").read_text("utf-8"), **strict)[0]["dropped"] is not None
    assert "dataset-tutor run set --seed 0 --epochs 1\n" in (out / "README.md").read_text("utf-8")
    with pytest.raises(DataError, match="epochs=0 trains nothing"):
        pipeline.run(tmp_path / "set", out=tmp_path / "none", epochs=0)
    assert not list(tmp_path.glob("none*"))


BAD_FILES = {
    "one_class.csv": ("text,label\n" + "".join(f"a {i},pos\n" for i in range(20)), "only one class"),
    "no_label.csv": ("text,stars_given_by\nfine,\n", "label"),
    "empty.csv": ("", "no rows"),
    "only_blank.csv": ("text,label\n" + " ,a\n ,b\n" * 5, "no row is left"),
    "tiny.csv": ("text,label\na,x\nb,y\nc,x\n", "Fix"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_get_one_line(name, tmp_path):
    content, words = BAD_FILES[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    r = command("run", name, "--out", "out", cwd=tmp_path)
    assert r.returncode == 2 and words in r.stderr and r.stderr.count("\n") == 1, r.stderr
    assert "Traceback" not in r.stderr + r.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "reviews-zz"),
        ("run", "nowhere.csv"),
        ("run", "reviews-zh", "--rows", "90", "--model", "no/such-model"),
        ("run", "reviews-zh", "--label", "sentiment"),
    ],
)
def test_names_that_exist_nowhere(words, tmp_path):
    r = command(*words, "--out", "out", cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert r.returncode == 2 and r.stderr.count("\n") == 1 and "Traceback" not in r.stderr, r.stderr
    assert not list(tmp_path.iterdir())


def test_version_and_samples():
    r = command("version")
    assert r.returncode == 0 and "dataset_tutor" in r.stdout and "torch" in r.stdout
    assert "reviews-zh" in command("samples").stdout


def test_doctor_ends_with_0_where_the_course_can_run_and_with_2_and_the_fix_where_not(monkeypatch, capsys):
    from dataset_tutor import models

    r = command("doctor")
    said = dict(line.split(maxsplit=1) for line in r.stdout.splitlines())
    assert r.returncode == 0 and "fix" not in said and said["verdict"] == "the course can run", r.stderr
    assert {"python", "memory", "device", "dtype", "attention", "compile", "optimiser", "extras", "cache", "assets",
            "browser", "fonts"} <= said.keys()
    absent = models._version
    monkeypatch.setattr(models, "_version", lambda name: "not installed" if name == "accelerate" else absent(name))
    assert pipeline.main(["doctor"]) == 2
    out = capsys.readouterr().out
    assert 'accelerate: pip install "dataset-tutor[train]"' in out and "the course can run" not in out


def test_a_killed_run_goes_on(tmp_path):
    """kill -9 in the middle of training; the same command ends with the weights of an undisturbed run."""
    csv = reviews(tmp_path / "r.csv", 200)
    words = ["run", csv, "--epochs", "3", "--seed", "1"]
    assert command(*words, "--out", tmp_path / "calm").returncode == 0
    code = "from dataset_tutor.pipeline import main; raise SystemExit(main())"
    p = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words), "--out", str(tmp_path / "hit")], stdout=subprocess.DEVNULL
    )
    until = time.time() + 300
    while not list((tmp_path / "hit.part").glob("training/checkpoints/checkpoint-*/trainer_state.json")):
        assert p.poll() is None and time.time() < until, "it ended before it could be killed"
        time.sleep(0.02)
    p.send_signal(signal.SIGKILL)
    p.wait()
    assert (tmp_path / "hit.part").exists() and not (tmp_path / "hit").exists()
    assert command(*words, "--out", tmp_path / "hit").returncode == 0
    a, b = [(tmp_path / d / "model" / "model.safetensors").read_bytes() for d in ("calm", "hit")]
    assert a == b and not (tmp_path / "hit.part").exists()


def test_suggest_writes_a_recipe_that_run_follows(tmp_path, capsys):
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps({"text": f"<b>{w}</b> day", "label": w[0]}) + "\n" for w in ("ab", "ba", "ab")),
                   encoding="utf-8")  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    assert pipeline.main(["suggest", str(raw), "--out", str(recipe)]) == 0
    told = capsys.readouterr().out
    assert "clean_html()" in told and "drop_duplicates()" in told
    assert pipeline.main(["suggest", str(raw), "--out", str(recipe)]) == 2
    assert "exists" in capsys.readouterr().err


def test_run_cleans_as_the_recipe_says(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: [drop_missing, lower_case]\n", encoding="utf-8")
    rows, *_ = pipeline._prepare("reviews-en", None, None, 200, 0, {}, lambda line: None, recipe)
    assert [r.op for r in history(rows)] == ["load", "drop_missing", "lower_case", "take_rows", "split"]
    assert all(t == t.lower() for t in rows["text"])
    with pytest.raises(DataError, match="cannot be read"):
        pipeline._prepare("reviews-en", None, None, 200, 0, {}, lambda line: None, tmp_path / "none.yaml")
