"""Studios without a browser: their states, their code, what they refuse, their pictures, and hostile rows."""
import re
import threading

import pytest
from datasets import ClassLabel, Dataset
from fastcore.docments import docments
from hypothesis import given, settings
from hypothesis import strategies as st
from test_widgets import HOSTILE, english, harmless

from dataset_tutor import studios as S
from dataset_tutor.augmentation import OPERATORS
from dataset_tutor.cleaning import Recipe, drop_duplicates, drop_missing, normalize_whitespace
from dataset_tutor.core import VERBS, DataError, LeakageError, add_uids, records
from dataset_tutor.distribution import require_split, split
from dataset_tutor.interface import said_in
from dataset_tutor.noise import clean_html, filter_length
from dataset_tutor.recipes import from_yaml
from dataset_tutor.widgets import WORDS

WORDS_EN = ["room", "clean", "quiet", "late", "cold", "kind", "far", "bright", "small", "new", "loud", "soft"]


def rows(n=60, **more):
    "Texts of which no two are alike, one in ten with markup and blanks, the last five copies of the first five"
    texts = [" ".join(WORDS_EN[(i * k + k * k) % 12] + str((i * k) % 97) for k in range(1, 9)) for i in range(n - 5)]
    texts = [f"<b>{t}</b>  " if i % 10 == 3 else t for i, t in enumerate(texts)] + [f"<i>{t}</i>" for t in texts[:5]]
    data = dict(text=texts, label=[(i if i < n - 5 else i - n + 5) % 2 for i in range(n)], **more)
    return add_uids(Dataset.from_dict(data), "demo").cast_column("label", ClassLabel(names=["no", "yes"]))


def clean(ds=None, *steps, **more):
    steps = steps or (drop_duplicates(), clean_html(), normalize_whitespace())
    return S.CleanPanel(rows() if ds is None else ds, Recipe(*steps, name="t"), lang=more.pop("lang", "en"), **more)


# --- cleaning ---

def test_the_order_of_steps_changes_the_counts():
    p = clean()
    assert [s.number for s in p.steps] == [0, 1, 2] and "60 of 60 rows are left" in p.body(False)
    assert p.act("down", 0) == "drop_duplicates is step 2 now: 55 rows are left"
    assert p.act("down", 0) == "drop_duplicates is step 3 now: 55 rows are left"
    assert p.act("down", 0) == "drop_duplicates stands at the end"
    assert [s.name for s in p.recipe.steps] == ["clean_html", "normalize_whitespace", "drop_duplicates"]
    assert p.act("switch", 1, on=False).endswith("60 rows are left") and len(p.recipe.steps) == 2
    for _ in range(3):
        p.act("undo")
    assert p.recipe.steps == [drop_duplicates(), clean_html(), normalize_whitespace()]
    assert p.act("undo") == "There is nothing to take back"


def test_what_is_shown_is_what_the_recipe_does():
    p = clean()
    p.act("up", 1)
    edits, drops = p.evidence()
    done = p.recipe(rows())
    before = dict(zip(rows()["uid"], rows()["text"]))
    assert edits == [(before[u], t) for u, t in zip(done["uid"], done["text"]) if before[u] != t]
    assert len(drops) == 5 and {d[0] for d in drops} == {"drop_duplicates"}
    p.act("open", 0)
    assert p.evidence() == ([], drops) and "duplicate of" in p.still()
    p.act("open", 2)
    assert len(p.evidence()[0]) == records(done)[-1].changed and "<del" in p.still()


def test_only_what_changed_is_run_again(monkeypatch):
    p, ran = clean(), []
    run = type(VERBS["clean_html"]).run
    monkeypatch.setattr(type(VERBS["clean_html"]), "run", lambda v, ds, **k: ran.append(v.__name__) or run(v, ds, **k))
    p.act("switch", 2, on=False)
    p.act("open", 0)
    p.body(True)
    assert ran == []
    p.act("switch", 2, on=True)
    assert ran == ["normalize_whitespace"]


@pytest.mark.parametrize("name", sorted(S.cleaning_steps("zh") | S.cleaning_steps("en")))
def test_every_step_can_be_opened(name):
    p = clean()
    p.stages = lambda steps, old=p.stages: old([s for s in steps if s.step.name != name])   # models are not asked here
    p.act("add", fields={"step": name})
    p.steps = [S.replace(s, on=s.on and s.step.name != name) for s in p.steps]
    harmless(p.body(True))
    for option in S.step_options(VERBS[name]).values():
        if option.default is not option.empty:
            again = S.read_option(name, option, S._typed(option.default))
            assert again == option.default or list(again) == list(option.default), option.name


def test_options_are_read_checked_and_kept():
    p = clean(None, drop_missing(), filter_length())
    p.act("set", 1, fields={"least": "20", "most": "null", "unit": "characters"})
    assert p.recipe.steps[1] == filter_length(least=20)
    for fields, said in [({"least": "many"}, "a whole number"), ({"least": "true"}, "a whole number"),
                         ({"least": "[1"}, "cannot be read"), ({"strange": "1"}, "has no option"),
                         ({"unit": "miles"}, "unit='miles'")]:
        with pytest.raises(DataError, match=re.escape(said)):
            p.act("set", 1, fields=fields)
        assert p.recipe.steps[1] == filter_length(least=20) and p.draft == fields
        assert "Apply" not in p.still() and p.act("open", 1) is not None
        p.act("close")
    p.act("set", 1, fields={"least": "1"})
    assert p.recipe.steps[1] == filter_length()


def test_a_step_that_needs_a_value_waits_for_it():
    p = clean()
    p.act("add", fields={"step": "filter_words"})
    assert "needs words" in p.still() and "filter_words" not in p.code
    with pytest.raises(DataError, match="needs words"):
        p.act("switch", 3, on=True)
    with pytest.raises(DataError, match="needs words"):
        p.act("set", 3, fields={"words": "", "most": "0"})
    p.act("set", 3, fields={"words": "room0, 房间", "most": "0"})
    assert p.recipe.steps[-1].params == {"words": ["room0", "房间"]}
    with pytest.raises(DataError, match="no step"):
        p.act("add", fields={"step": "os.system"})


def test_a_step_that_fails_changes_nothing():
    p = clean()
    before = (p.steps, p.past)
    with pytest.raises(DataError):
        p.act("add", fields={"step": "scale_numbers"})     # there are no numbers
    with pytest.raises(DataError, match="it was removed"):
        p.act("up", 99)
    assert (p.steps, p.past) == before


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["up", "down", "remove", "switch", "undo"]), st.integers(0, 3)), max_size=12))
def test_any_sequence_of_actions_leaves_a_recipe(actions):
    p = clean(rows(12), drop_missing(), clean_html(), drop_duplicates(), normalize_whitespace())
    for act, number in actions:
        if act == "undo" or any(s.number == number for s in p.steps):
            p.act(act, number)
    assert from_yaml(p.yaml).steps == p.recipe.steps
    scope = {"ds": p.ds}
    exec(p.code, scope)  # noqa: S102
    assert scope["clean"]["text"][:] == p.rows["text"][:]
    assert len(p.stages(p.steps)) == len(p.recipe.steps)


def test_all_rows_are_counted_on_request():
    p = clean(rows(200), rows=50)
    assert "50 of 200 rows" in p.still() and p.counted is None
    p.act("up", 1)
    assert p.act("run") == "Of all 200 rows 195 are left"
    assert [r.dropped for r in p.counted] == [0, 5, 0] and "Dropped, of all" in p.still()
    p.act("switch", 0, on=False)
    assert p.counted is None and "Dropped, of all" not in p.still()


def test_other_names_of_columns_go_into_the_code():
    ds = rows().rename_columns({"text": "评论", "label": "情感"})
    p = S.CleanPanel(ds, text="评论", label="情感", lang="zh")
    assert p.recipe.steps[-1].params == {"text": "评论", "label": "情感"}
    p.act("add", fields={"step": "clean_html"})
    assert p.recipe.steps[-1].params == {"text": "评论"} and len(p.rows) <= 60
    with pytest.raises(DataError, match="text="):
        S.CleanPanel(ds)


def test_rows_that_cannot_be_cleaned_are_refused():
    with pytest.raises(DataError, match="add_uids"):
        S.CleanPanel(Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(DataError, match="take some"):
        S.clean_studio(rows().to_iterable_dataset())
    with pytest.raises(DataError, match="no rows"):
        S.CleanPanel(rows().select([]))


def test_secrets_stay_out_of_code_and_page():
    from dataset_tutor.privacy import mask_pii
    p = clean(None, mask_pii(how="hash", key="sesame"))
    for live in (True, False):
        assert "sesame" not in p.body(live) and "does not belong into a file" in p.body(live)
    with pytest.raises(DataError, match="key"):
        assert p.code


def test_the_chinese_studio_speaks_chinese():
    "Steps, their options, what they did to rows and why they dropped some"
    texts = ["  房间<b>很干净</b> ", "房间很干净", "无", "", "！！！！！！！", "电话13800138000，联系我"]
    texts += ["早餐不好", "早餐不好", "ok"]
    ds = Dataset.from_dict({"text": texts * 3, "label": [0, 0, 1, 0, 1, 1, 0, 1, -1] * 3})
    ds = add_uids(ds, "demo").cast_column("label", ClassLabel(names=["差", "好"]))
    told = [drop_missing(), filter_length(least=4)]
    told += [VERBS[n]() for n in ("filter_noise", "drop_pii", "filter_language")]
    p = S.CleanPanel(ds, Recipe(*told, VERBS["filter_words"](words=["早餐"]), drop_duplicates(), name="t"), lang="zh")
    foreign = [f"{n}: {v.__doc__}" for n, v in VERBS.items() if not v.fn.__module__.startswith("dataset_tutor")]
    names = [*VERBS, *texts, *foreign]   # steps of other tests in this process
    assert not english(p.body(True), names)
    for s in p.steps:
        p.act("open", s.number)
        assert not english(p.body(True), names) and not english(p.still(), names) and not english(p.said)
    for act, value, fields in [("set", 1, {"least": "many"}), ("set", 1, {"strange": "1"}), ("up", 99, None),
                               ("add", None, {"step": "os.system"}), ("set", 5, {"words": "", "most": "0"})]:
        with pytest.raises(DataError) as e:
            p.act(act, value, **({"fields": fields} if fields else {}))
        assert not english(p.tell(e.value)), p.tell(e.value)


STEPS = S.cleaning_steps("zh") | S.cleaning_steps("en")
OURS = [n for n in STEPS if VERBS[n].fn.__module__.startswith("dataset_tutor")]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_step_and_option_is_explained_in_chinese(name):
    verb = VERBS[name]
    told = [t for n, t in docments(verb.fn).items() if n in S.step_options(verb) and t and len(t.split()) > 1]
    for english_ in [S._first_line(verb), *told, *({S.cleaning_steps("zh").get(name)} - {None})]:
        assert re.search("[\u4e00-\u9fff]", said_in(" ".join(english_.split()), "zh")), english_


# --- splitting ---

def test_a_split_that_leaks_is_not_given_out():
    ds = rows(200, author=[f"a{i % 40}" for i in range(200)])
    w = S.split_studio(ds, group="author", lang="en")
    assert w.audit.verdict != "leaks" or "author" not in set(w.audit.rows["kind"])
    said = w.act("group", "author", on=False)
    assert "This split leaks" in said and "Keep together: author." in said
    for read in ("rows", "split_code"):
        with pytest.raises(LeakageError, match="Fix: Keep together: author"):
            getattr(w, read)
    assert "dt-bad" in w.panel.still() and w.error is None
    w.act("group", "author", on=True)
    w.act("out", on=True)
    assert w.audit.verdict != "leaks"
    require_split(w.rows, group="author")
    scope = {"ds": ds}
    exec(w.split_code, scope)  # noqa: S102
    assert scope["rows"]["split"][:] == w.rows["split"][:]
    of = {}
    for a, s in zip(w.rows["author"], w.rows["split"]):
        assert of.setdefault(a, s) == s


def test_all_rows_are_audited_not_only_the_sample():
    texts = [" ".join(WORDS_EN[(i * k + k * k) % 12] + str((i * k) % 97) for k in range(1, 9)) for i in range(195)]
    texts += [t + " indeed" for t in texts[:5]]
    ds = add_uids(Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(200)]}), "demo")
    found = [seed for seed in range(20) if _sample_only(ds, seed)]
    assert found, "no seed where the sample is clean and the whole is not"


def _sample_only(ds, seed):
    p = S.SplitPanel(ds, rows=30, seed=seed, lang="en")
    if p.refusal or p.audit.verdict == "leaks":
        return False
    try:
        return not len(p.rows)
    except LeakageError:
        return True


def test_sizes_strata_and_seed_redraw():
    p = S.SplitPanel(rows(200), lang="en")
    p.act("test", 0.2)
    p.act("validation", "0.1")
    assert p.sizes == (0.7, 0.1, 0.2) and abs(p.parts["split"].count("test") - 40) <= 3
    one = p.parts["split"][:]
    p.act("seed", "7")
    assert p.parts["split"][:] != one and "seed=7" in repr(p.recipe)
    p.act("by", "")
    assert "stratify=None" in repr(p.recipe) and "Share of each class" in p.still()
    with pytest.raises(DataError, match="no seed"):
        p.act("seed", "x")
    with pytest.raises(DataError, match="to keep together"):
        p.act("group", "<b>")
    p.act("test", "0.49")
    p.act("validation", "0.49")
    assert sum(p.sizes) == pytest.approx(1) and min(p.sizes) > 0


def test_a_wish_that_cannot_be_met_is_told_and_mended():
    ds = Dataset.from_dict({"text": rows(40)["text"][:], "label": ["a"] * 38 + ["b"] * 2})
    w = S.split_studio(add_uids(ds, "d"), lang="en")
    assert "cannot stand in each part" in w.panel.still() and "Take the nearest split" in w.panel.body(True)
    with pytest.raises(DataError, match="fewer than three families"):
        w.act("seed", 3)
    assert w.error is not None and w.surface.failed
    with pytest.raises(DataError, match="fewer than three families"):
        assert w.rows
    chinese = S.SplitPanel(w.panel.ds, lang="zh")
    assert "不足三组亲缘行" in chinese.body(True) and not english(chinese.body(True), [*WORDS_EN, "label"])
    chinese.act("nearest")
    assert not english(chinese.body(True), chinese.ds["text"]) and not english(chinese.said)
    w.act("nearest")
    w.act("out", on=True)
    assert w.panel.refusal is None and set(w.rows["split"]) == {"train", "validation", "test"}
    with pytest.raises(DataError, match="already split"):
        S.SplitPanel(w.rows)
    with pytest.raises(DataError, match="keep together"):
        S.SplitPanel(rows(), group="author")


def test_leaving_out_ends_every_leak():
    ds = split(rows(120), group=None, seed=1)
    parts = ["train", "test", "validation"] * 40
    torn = ds.remove_columns("split").add_column("split", parts)
    from dataset_tutor.auditing import audit_split
    before = audit_split(torn, meaning=False, score=False)
    out = S.leave_out_leaks(torn)
    after = audit_split(out, meaning=False, score=False)
    assert len(before.rows) and not len(after.rows) and records(out)[-1].dropped == before.rows["uid"].nunique()


# --- augmenting ---

@pytest.fixture(scope="module")
def augmented():
    from dataset_tutor.acquisition import load_sample
    return split(drop_missing(load_sample("reviews-en", rows=150, seed=0)), seed=0)


def test_without_a_split_there_is_no_studio(augmented):
    with pytest.raises(LeakageError, match="not split"):
        S.augment_studio(rows())
    torn = augmented.remove_columns("split").add_column("split", (["train", "test"] * 75)[: len(augmented)])
    torn = Dataset.from_dict({**torn.to_dict(), "text": ["the very same text"] * len(torn)})
    with pytest.raises(LeakageError):
        S.augment_studio(torn)


def test_children_are_those_of_training_rows(augmented):
    w = S.augment_studio(augmented, ["random_swap", "random_deletion"], rows=60, lang="en")
    train = {u for u, p in zip(augmented["uid"], augmented["split"]) if p == "train"}
    assert w.made and {c["parent"] for c in w.made} <= train
    assert {c["op"] for c in w.made} <= {"random_swap", "random_deletion"} <= set(OPERATORS)
    w.act("gated", on=False)
    first = [c["text"] for c in w.made]
    w.act("rate", "0.5")
    assert [c["text"] for c in w.made] != first and "rate=0.5" in w.code
    w.act("per_row", "3")
    assert max(sum(c["parent"] == d["parent"] for c in w.made) for d in w.made) > 1
    w.act("rate", "")
    assert "rate=" not in w.code
    before = {c["parent"] for c in w.made}
    w.act("next")
    assert {c["parent"] for c in w.made} != before
    w.act("op", "random_swap", on=False)
    with pytest.raises(DataError, match="tick another"):
        w.act("op", "random_deletion", on=False)
    with pytest.raises(DataError, match="no operator"):
        w.act("op", "rm -rf", on=True)
    assert w.panel.ops == ["random_deletion"] and {c["op"] for c in w.made} == {"random_deletion"}
    scope = {"rows": augmented}
    exec(w.code, scope)  # noqa: S102
    assert scope["more"]["text"][:] == w.rows["text"][:]


def test_the_gate_says_why(augmented):
    p = S.AugmentPanel(augmented, ["random_swap"], rows=60, lang="en")
    p.act("least", "1")
    bad = [c for c in p.made if c["why"]]
    assert bad and all("similarity" in c["why"] for c in bad) and "does not pass: similarity" in p.still()
    assert repr(p.recipe.steps[1]) == "gate(similarity=(1.0, 1.0))"
    p.act("gated", on=False)
    assert not any(c["why"] for c in p.made) and "passes" not in p.still()


def test_children_come_at_once_and_verdicts_are_the_same_later(augmented, monkeypatch):
    at_once = S.AugmentPanel(augmented, ["random_swap"], rows=60, lang="en")
    first = S.AugmentPanel(augmented, ["random_swap"], rows=60, lang="en", later=True)
    assert not first.made and "children come in a moment" in first.body(True) and "No child" not in first.body(True)
    assert "children come in a moment" in first.still()
    assert "judges" in first.act("judge") and not any(c["why"] for c in first.made)
    assert [c["uid"] for c in first.made] == [c["uid"] for c in at_once.made]
    assert "loads its model" in first.body(True) and "passes" not in first.body(True)
    assert first.act("judge") == at_once.told() and first.made == at_once.made
    assert first.act("judge") == at_once.told() and first.body(True) == at_once.body(True)
    early = S.AugmentPanel(augmented, ["random_swap"], rows=60, lang="en", later=True)
    early.act("least", "1")                         # whoever moves a slider gets verdicts with it
    assert not early.later and any(c["why"] for c in early.made)
    with pytest.raises(DataError, match="no operator"):
        S.AugmentPanel(augmented, ["no"], rows=60, lang="en", later=True)
    monkeypatch.setattr(S, "_has_page", lambda: True)
    w = S.augment_studio(augmented, ["random_swap"], rows=60, lang="en")
    for thread in [t for t in threading.enumerate() if t.name == "gate"]:
        thread.join(60)
    assert not w.panel.later and w.made == at_once.made and w.error is None and "passes" in w.surface.html


# --- pictures, languages, hostile rows ---

def test_strings_are_in_both_languages_and_take_the_same_values():
    own = {k: v for k, v in WORDS.items() if k.startswith("studio ")}
    assert len(own) > 80
    for key, (en, zh) in own.items():
        names = [set(re.findall(r"{(\w+)", t)) for t in (*en.split("|"), zh)]
        assert all(n <= names[0] | {"n"} for n in names) and names[-1] == names[0], key
        assert re.search("[\u4e00-\u9fff]", zh) or not re.search("[a-z]", re.sub("{.*?}", "", en)), key


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_hostile_rows_stay_text(lang):
    texts = [t or f"empty {i}" for i, t in enumerate(HOSTILE)] * 4
    texts = [t if i < len(HOSTILE) else f"{t[:2_000]} {i}" for i, t in enumerate(texts)]
    labels = ["<b onclick='x'>", "</style>"] * (len(texts) // 2)
    ds = add_uids(Dataset.from_dict({"text": texts, "label": labels}), "<i>s")
    p = S.CleanPanel(ds, lang=lang)
    shorter = Dataset.from_dict({**ds.to_dict(), "text": [t[:20_000] for t in texts]})   # for the audit
    q = S.SplitPanel(shorter, lang=lang)
    for panel in (p, q):
        for live in (True, False):
            page = panel.body(live)
            harmless(page)
            assert len(page) < 150_000
        assert panel.still().count("</style>") == 1
    for s in list(p.steps):
        p.act("open", s.number)
        harmless(p.body(True))
    q.act("by", "")
    q.act("near", on=True)
    harmless(q.body(True))


def test_verdicts_are_said_in_chinese():
    texts = [f"第{i}间房很干净，早餐{'好' if i % 2 else '差'}" for i in range(40)]
    ds = split(add_uids(Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(40)]}), "d"), strict=False)
    p = S.AugmentPanel(ds, ["random_swap"], lang="zh", later=True)
    assert "即将生成" in p.body(True) and not english(p.body(True), OPERATORS)
    p.act("judge")
    assert "把关" in p.body(True) and not english(p.body(True), OPERATORS)
    p.later, why = False, "similarity 0.61; its label has probability 0.10; perplexity 2.3 times its parent's"
    p.made = [c | {"why": why if i % 2 else "another row has this text"} for i, c in enumerate(p.made)]
    assert "困惑度为父文本的 2.3 倍" in p.body(True) and not english(p.body(True), OPERATORS)
    with pytest.raises(DataError) as e:
        p.act("op", "no")
    assert not english(p.tell(e.value))


def test_hostile_parents_and_children_stay_text():
    texts = [f"{t[:300]} good room number {i} with a view" for i, t in enumerate([h for h in HOSTILE if h] * 4)]
    labels = ["<b onclick='x'>", "</p>"] * (len(texts) // 2)
    ds = split(add_uids(Dataset.from_dict({"text": texts, "label": labels}), "s"),
               strict=False, stratify=None)
    ds = ds.remove_columns("split").add_column("split", ["train"] * len(ds))
    p = S.AugmentPanel(ds, ["random_swap"], lang="en")
    for live in (True, False):
        harmless(p.body(live))
    assert p.still().count("</style>") == 1


def test_pictures_have_no_controls():
    for panel in (clean(), S.SplitPanel(rows(), lang="en")):
        assert "data-act" not in panel.still() and "data-act" in panel.body(True)


def test_long_texts_are_shown_where_they_change():
    a, b = S._cut_pair("x" * 1_000_000 + "  end", "x" * 1_000_000 + " end")
    assert max(len(a), len(b)) < 500
    assert S._cut_pair("short", None) == ("short", "")
