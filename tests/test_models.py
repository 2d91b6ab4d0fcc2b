"""Models: the reader on bytes made here, the folders it leads to, vectors that do not depend on their neighbours."""
import contextlib
import os
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dataset_tutor import models
from dataset_tutor.core import DataError
from dataset_tutor.models import (
    MODELS,
    embed,
    embed_tokens,
    load_pretrained,
    model_dir,
    pick_device,
    pick_dtype,
    read_tf_checkpoint,
)


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def field(number: int, value) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(pairs) -> bytes:
    "An uncompressed LevelDB block with shared prefixes"
    out, last = b"", b""
    for name, value in pairs:
        keep = next((i for i, (a, b) in enumerate(zip(name, last)) if a != b), min(len(name), len(last)))
        out += varint(keep) + varint(len(name) - keep) + varint(len(value)) + name[keep:] + value
        last = name
    return out + struct.pack("<II", 0, 1)


def write_checkpoint(folder, arrays: dict):
    data, entries = b"", [(b"", field(1, 1))]
    for name in sorted(arrays):
        a = arrays[name]
        shape = b"".join(field(2, field(1, n)) for n in a.shape)
        entries.append((name.encode(), field(1, 1) + field(2, shape) + field(4, len(data)) + field(5, a.nbytes)))
        data += a.tobytes()
    entries.append((b"~step", field(1, 9) + field(4, len(data)) + field(5, 8)))  # an int64, to be left out
    first = block(entries)
    second = block([(b"~", varint(0) + varint(len(first)))])
    footer = varint(0) + varint(0) + varint(len(first) + 5) + varint(len(second))
    table = first + b"\0" + b"crc!" + second + b"\0" + b"crc!" + footer.ljust(48, b"\0")
    (folder / "m.index").write_bytes(table)
    (folder / "m.data-00000-of-00001").write_bytes(data + b"\0" * 8)
    return folder / "m"


def test_reader_gives_back_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"bert/a/kernel": (3, 5), "bert/a/bias": (300,), "bert/ab": (1,), "scalar": ()}
    arrays = {n: rng.normal(size=s).astype("float32") for n, s in shapes.items()}
    read = read_tf_checkpoint(write_checkpoint(tmp_path, arrays))
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[n], arrays[n]) and read[n].shape == arrays[n].shape for n in arrays)


def test_reader_refuses_missing_and_cut_files(tmp_path):
    with pytest.raises(DataError, match="nothing.index is missing"):
        read_tf_checkpoint(tmp_path / "nothing")
    prefix = write_checkpoint(tmp_path, {"w": np.ones((100, 100), "float32")})
    shard = tmp_path / "m.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(DataError, match="ends before w"):
        read_tf_checkpoint(prefix)


@pytest.mark.parametrize("name", MODELS)
def test_folder_loads_for_every_use_and_misses_only_heads(name):
    import transformers
    tokenizer = load_pretrained("AutoTokenizer", name)
    assert tokenizer.is_fast
    for kind in ("AutoModel", "AutoModelForSequenceClassification", "AutoModelForTokenClassification"):
        with models._hushed():
            _, info = getattr(transformers, kind).from_pretrained(model_dir(name), output_loading_info=True)
        assert not [k for k in info["missing_keys"] if not k.startswith(("classifier", "score"))], kind
        assert not info["mismatched_keys"]


def test_rotary_table_is_the_one_transformers_computes_and_stays_fixed():
    mlm = load_pretrained("AutoModelForMaskedLM", "zh-small")
    positions = mlm.roformer.encoder.embed_positions
    assert np.allclose(positions.weight.numpy(), positions.create_weight().numpy(), atol=1e-5)
    assert not positions.weight.requires_grad


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "cache_dir", lambda *p: tmp_path.joinpath(*p))

    def dies(out):
        (out / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(models._MAKERS, "zh-small", dies)
    with pytest.raises(KeyboardInterrupt):
        model_dir("zh-small")
    assert not list((tmp_path / "models").iterdir())


def test_unknown_model_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="en-small, zh-small"):
        load_pretrained("AutoModel", tmp_path / "nowhere")


def test_vectors_do_not_depend_on_neighbours_or_order():
    texts = ["A dull film.", "好" * 40, "An endless and badly lit film that nobody needs, " * 4, "Fine."]
    together = embed(texts, cache=False)
    alone = np.concatenate([embed([t], cache=False) for t in texts])
    assert together.dtype == np.float32 and together.shape == (4, 384)
    assert (together * alone).sum(1).min() > 0.999
    assert (embed(texts[::-1], cache=False)[::-1] * together).sum(1).min() > 0.999


def test_cache_returns_the_same_bytes_and_computes_only_what_is_new(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "cache_dir", lambda *p: tmp_path.joinpath(*p) if p[0] == "embeddings" else _real(*p))
    seen = []

    def counted(encoder, texts, size):
        seen.append(list(texts))
        return _pooled(encoder, texts, size)

    monkeypatch.setattr(models, "_mean_pooled", counted)
    first = embed(["好", "差", "好"], "zh-small")
    assert np.array_equal(embed(["差", "好"], "zh-small"), first[[1, 0]])
    embed(["好", "新"], "zh-small")
    assert seen == [["好", "差"], ["新"]]


_real, _pooled = models.cache_dir, models._mean_pooled


@pytest.mark.parametrize("texts", [[], ["a", None], ["a", 3]])
def test_embed_refuses_what_is_no_text(texts):
    with pytest.raises(DataError):
        embed(texts)


@pytest.mark.parametrize("name, text, words", [
    ("zh-small", "他 在北京,2024年!", [*"他在北京", ",", "2024", "年", "!"]),
    ("en-small", "Don't panic 😀 ok", ["Don", "'", "t", "panic", "😀", "ok"])])
def test_word_vectors_stand_at_their_words(name, text, words):
    (offsets, vectors), = embed_tokens([text], name)
    assert [text[a:b] for a, b in offsets] == words and vectors.shape == (len(words), 384)


def test_word_vectors_stop_at_the_cut():
    (offsets, vectors), (none, empty) = embed_tokens(["word " * 100, ""], max_length=12)
    assert len(offsets) == len(vectors) == 10 and not none and empty.shape == (0, 384)


def test_number_format_follows_the_processor(monkeypatch):
    for flags, dtype in (({"avx512f"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")):
        monkeypatch.setattr(models, "_cpu_flags", lambda f=flags: f)
        assert pick_dtype("cpu") == dtype


@pytest.mark.parametrize("cuda, mps, first", [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_device_is_the_best_that_is_there(monkeypatch, cuda, mps, first):
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: cuda),
                            backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)))
    monkeypatch.setattr(models, "need", lambda *names: [torch])
    assert pick_device() == first and pick_device("cpu") == "cpu"
    if first == "mps":
        assert pick_dtype() == pick_dtype("mps") == "float32"   # mixed precision there is not what it is elsewhere
    for name, there in (("cuda:1", cuda), ("mps", mps)):
        with contextlib.nullcontext() if there else pytest.raises(DataError, match=f"no device '{name}' here"):
            assert pick_device(name) == name


def test_import_is_light_and_a_missing_library_names_the_extra():
    code = ("import sys, dataset_tutor.models as m\n"
            "heavy = {'torch', 'transformers', 'sklearn', 'pandas', 'datasets'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
            "sys.modules['torch'] = None\n"
            "try: m.pick_device()\n"
            "except m.DataError as e: assert 'dataset-tutor[train]' in str(e)\n"
            "else: raise SystemExit('no error')")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_requirements_that_are_absent_or_too_old():
    assert models._lacking(["numpy>=1.26", "no-such-package>=1", "numpy>=999"]) == [
        "no-such-package", f"numpy {models._version('numpy')}"]
    assert models._numbers("2.13.0+cpu") == (2, 13, 0) < models._numbers("10.0rc1")
    wanted = models._requirements()
    assert any(r.startswith("torch") for r in wanted["train"]) and any(r.startswith("numpy") for r in wanted[""])


def test_doctor_says_what_stops_the_course_and_how_to_mend_it(monkeypatch):
    well = models.doctor(fonts="<b>a font</b>")
    assert well.ok and "<b>" not in well._repr_html_() and "the course can run" in repr(well)
    found = models._version
    monkeypatch.setattr(models, "_version", lambda name: "not installed" if name == "torch" else found(name))
    ill = models.doctor()
    assert not ill.ok and "torch" in str(ill.fixes) and 'pip install "dataset-tutor[train]"' in ill["device"]
    assert "fix" in repr(ill) and "the course can run" not in ill._repr_html_() and "dtype" not in ill


@pytest.mark.parametrize("wrong", ["locked", "full"])
def test_doctor_looks_at_the_cache_folder(monkeypatch, tmp_path, wrong):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setenv("DATASET_TUTOR_HOME", str(tmp_path / "not" / "yet"))
    assert models._cache_place()[0].startswith("$DATASET_TUTOR_HOME, ")
    if wrong == "locked":
        monkeypatch.setattr(os, "access", lambda *a: False)
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda p: SimpleNamespace(free=2**28))
    ill = models.doctor()
    assert not ill.ok and ("DATASET_TUTOR_HOME" if wrong == "locked" else "make room") in ill.fixes["cache"]
    assert not (tmp_path / "not").exists() and "to be fetched: vaderSentiment" in ill["assets"]
