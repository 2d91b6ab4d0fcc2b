"""The whole test session is offline (loopback only) and sees what was fetched, but no results of earlier runs."""
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loopback_only
import pytest
from hypothesis import settings
from run_notebooks import notebooks, offline_env, run_notebook

SCRATCH = tempfile.TemporaryDirectory(prefix="dataset_tutor_tests_")
os.environ.update(offline_env(Path(SCRATCH.name)))
loopback_only.block()
settings.register_profile("course", deadline=None, derandomize=True)  # a slow machine is no error; a run is repeatable
settings.load_profile("course")


def pytest_generate_tests(metafunc):
    "A test that takes `notebook` becomes one case per notebook"
    if "notebook" in metafunc.fixturenames:
        metafunc.parametrize("notebook", notebooks(), ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory, request):
    "fresh(notebook): what came of running it; each one that is asked for runs once, one per core and four at most"
    asked = [item.callspec.params["notebook"] for item in request.session.items
             if {"notebook", "fresh"} <= set(item.fixturenames)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        runs = {nb: pool.submit(run_notebook, nb, tmp_path_factory.mktemp(nb.stem)) for nb in dict.fromkeys(asked)}
        yield lambda notebook: runs[notebook].result()
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def chromium():
    "One browser for the whole session; without one, tests that need it are skipped with a line that says how to get it"
    from browser import FLAGS
    from browser import chromium as find
    path = find()
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def jupyterlab(chromium, tmp_path_factory):
    from browser import Lab, start_lab
    folder = tmp_path_factory.mktemp("lab") / "work"
    folder.mkdir()
    with start_lab(folder) as url:
        yield Lab(url, chromium, folder)


@pytest.fixture(scope="session")
def voila_server(chromium, tmp_path_factory):
    from browser import Voila, start_voila
    folder = tmp_path_factory.mktemp("voila") / "work"
    folder.mkdir()
    with start_voila(folder) as url:
        yield Voila(url, chromium, folder)


@pytest.fixture
def lab(jupyterlab):
    "A real JupyterLab in a real browser: see tests/browser.py"
    yield jupyterlab
    jupyterlab.close()


@pytest.fixture
def voila(voila_server):
    "A real Voila in a real browser: see tests/browser.py"
    yield voila_server
    voila_server.close()
