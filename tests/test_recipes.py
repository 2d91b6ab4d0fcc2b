"""A recipe file means what it says and can do nothing else; `suggest` proposes what the rows need, with evidence."""

import subprocess
import sys

import pytest
import yaml
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.acquisition import load_sample
from dataset_tutor.cleaning import RECIPES, Recipe, drop_duplicates, drop_missing
from dataset_tutor.core import VERBS, DataError, add_uids
from dataset_tutor.deduplication import drop_near_duplicates
from dataset_tutor.noise import corrupt, filter_length, web
from dataset_tutor.privacy import mask_pii
from dataset_tutor.recipes import CATALOGUE, from_yaml, read_recipe, suggest, to_yaml, write_recipe


def rows(texts, **more):
    return add_uids(Dataset.from_dict({"text": texts, **more}), "test")


@pytest.mark.parametrize("recipe", [*(make() for make in RECIPES.values()), web()], ids=lambda r: r.name)
def test_ready_recipes_survive_the_file(recipe, tmp_path):
    back = read_recipe(write_recipe(recipe, tmp_path / "r.yaml"))
    assert back.name == recipe.name and to_yaml(back) == to_yaml(recipe)
    raw = load_sample("reviews-zh", rows=200, seed=1)
    assert back(raw)["text"][:] == recipe(raw)["text"][:]


@given(st.integers(0, 50), st.integers(51, 900), st.sampled_from(["characters", "tokens"]))
def test_options_survive_the_file(least, most, unit):
    step = filter_length(least=least, most=most, unit=unit)
    assert from_yaml(to_yaml(Recipe(step))).steps == [step]


@pytest.mark.parametrize("text, says", [
    ("", "a list 'steps'"), ("steps: 3", "a list 'steps'"), ("- drop_missing", "a list 'steps'"),
    ("steps: [[1]]", "is not a step"), ("steps: [3]", "is not a step"), ("steps: [{drop_missing: 3}]", "is not a step"),
    ("steps: [os.system]", "there is no step"), ("steps: [drop_missin]", "did you mean 'drop_missing'"),
    ("steps: [{drop_missing: {place: []}}]", "has no option 'place'"), ("steps: [", "this is not YAML"),
    ("!!python/object/apply:os.system ['true']", "this is not YAML"), ("[" * 5000, "this is not YAML"),
    ("steps: [{drop_missing: {ds: 3}}]", "has no option 'ds'"), ("name: 2020-13-45\nsteps: []", "this is not YAML"),
])  # fmt: skip
def test_anything_else_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        from_yaml(text)


def test_functions_and_secrets_are_not_written():
    for step in (mask_pii(how="hash", key="k" * 20), mask_pii(more=lambda t: [])):
        with pytest.raises(DataError, match="does not belong into a file"):
            to_yaml(Recipe(step))
    with pytest.raises(DataError, match="which no file can hold"):
        to_yaml(Recipe(drop_missing(placeholders=[object()])))


def test_every_candidate_can_be_written():
    assert len(from_yaml(to_yaml(Recipe(*(c.step for c in CATALOGUE)))).steps) == len(CATALOGUE)
    assert all(c.step.name in VERBS for c in CATALOGUE)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_planted_dirt_is_proposed_and_clean_rows_are_left_alone(lang):
    clean = RECIPES["classification", lang]()(load_sample(f"reviews-{lang}", rows=600, seed=2))
    plain = suggest(drop_near_duplicates(mask_pii(clean)))
    assert not [p for p in plain if not p.candidate.optional], plain
    found = {p.candidate.step.name for p in suggest(corrupt(clean, kinds=("html", "link"), rate=0.5, seed=1))}
    assert {"clean_html", "replace_links"} <= found


def test_evidence_is_counted_and_shown():
    some = rows(["<b>one</b> text", "a a", "b", "b", " ", "call +1 650 253 0000 now"], label=[0, 0, 1, 0, 1, 1])
    found = {p.candidate.step.name: p for p in suggest(some)}
    assert found["clean_html"].rows == 1 and found["clean_html"].before != found["clean_html"].after
    assert found["drop_missing"].rows == 1 and found["drop_contradictions"].rows == 2
    assert "650 253" not in suggest(some)._repr_html_()
    table = suggest(some).to_pandas()
    assert table["share"].between(0, 1).all() and len(table) == len(found)


def test_language_length_passages_and_mail_are_proposed_with_evidence():
    plain = load_sample("reviews-en", rows=120, seed=3)["text"][:]
    passage = " Please read our terms and conditions before you write to the editors of this page."
    odd = ["Ce film est une merveille, je le recommande à tous mes amis", "!", "write to ann.lee@example.org please"]
    some = rows([*(t + passage if i % 3 == 0 else t for i, t in enumerate(plain)), *odd])
    found = {p.candidate.why: p for p in suggest(some)}
    assert "fr (" in found["rows in another language"].before and found["rows in another language"].rows >= 1
    assert found["rows of one character, or of thousands"].before.startswith("1 characters, fewer than 2")
    assert found["passages that many rows share"].rows >= 20
    mail = found["e-mail addresses"]
    assert mail.rows == 1 and "<EMAIL>" in mail.after and mail.candidate.optional
    assert found["personal data"].rows == 1, "an optional step hides nothing from those behind it"


def test_optional_steps_only_on_request():
    some = rows(["soooooo good!!!!!!!!", "fine"])
    found = suggest(some)
    assert "squeeze_repeats" in {p.candidate.step.name for p in found}
    assert not found.recipe().steps
    assert [s.name for s in found.recipe(optional=["squeeze_repeats"]).steps] == ["squeeze_repeats"]
    assert found.recipe(optional=True)(some)["text"][0] != some["text"][0]


def test_hostile_text_is_escaped():
    page = suggest(rows(["<script>alert(1)</script>x", "y", "y"]))._repr_html_()
    assert "<script>" not in page


def test_nothing_to_do_and_nothing_to_see():
    assert repr(suggest(rows(["one text", "and quite another"]))) == "nothing to clean was found"
    with pytest.raises(DataError, match="no rows"):
        suggest(rows(["x"]).select([]))


def test_a_changed_file_changes_the_recipe(tmp_path):
    path = write_recipe(Recipe(drop_duplicates()), tmp_path / "r.yaml")
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    told["steps"] = [{"drop_duplicates": {"keep": "longest"}}]
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    assert read_recipe(path).steps == [drop_duplicates(keep="longest")]


def test_steps_of_all_chapters_can_be_read_in_a_fresh_process():
    code = ("from dataset_tutor.recipes import from_yaml\n"
            "print(from_yaml('steps: [filter_language, {replace_words: {words: {a: b}}}, split, scale_numbers]'))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "replace_words(words={'a': 'b'})" in done.stdout


def test_later_steps_see_what_the_recipe_did():
    some = rows(["<p>same text</p>", "same text", " ", " "], label=[0, 0, 0, 1])
    found = {p.candidate.step.name for p in suggest(some)}
    assert "drop_duplicates" in found and "drop_contradictions" not in found
    page = suggest(rows(["call +1 650 253 0000 now"] * 2))._repr_html_()
    assert "650 253" not in page and "drop_duplicates" in page


def test_another_text_column():
    some = rows(["<b>x</b>", "y"]).rename_column("text", "review")
    recipe = suggest(some, text="review").recipe()
    assert recipe(some)["review"][:] == ["x", "y"] and "text: review" in to_yaml(recipe)


def test_missing_texts_are_no_obstacle():
    assert "drop_missing" in {p.candidate.step.name for p in suggest(rows(["x", None, "y z"]))}
