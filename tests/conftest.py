"""The whole test session is offline (loopback only) and sees what was fetched, but no results of earlier runs."""
import os
import tempfile
from functools import cache
from pathlib import Path

import loopback_only
import pytest
from hypothesis import settings
from run_notebooks import notebooks, offline_env, run_notebook

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"             # one worker a core
SCRATCH = tempfile.TemporaryDirectory(prefix="dataset_tutor_tests_")
os.environ.update(offline_env(Path(SCRATCH.name)))
loopback_only.block()
settings.register_profile("course", deadline=None, derandomize=True)  # a slow machine is no error; a run is repeatable
settings.load_profile("course")


def pytest_generate_tests(metafunc):
    "A test that takes `notebook` becomes one case per notebook"
    if "notebook" in metafunc.fixturenames:
        metafunc.parametrize("notebook", notebooks(), ids=lambda path: path.stem)


def pytest_collection_modifyitems(items):
    "The notebooks first: they take longest, and workers should end together"
    items.sort(key=lambda item: "notebook" not in getattr(item, "fixturenames", ()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "Workers (`-n 2`) take whole notebooks and whole files, since runs and fixtures are shared there"
    from xdist.scheduler import LoadScopeScheduling
    names = {path.stem for path in notebooks()}

    class Whole(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            test, _, case = nodeid.removesuffix("]").partition("[")
            return case if case in names else test.split("::")[0]

    config.option.loadscopereorder = False
    return Whole(config, log)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    "fresh(notebook): what came of running it; each one that is asked for runs once"
    return cache(lambda notebook: run_notebook(notebook, tmp_path_factory.mktemp(notebook.stem)))


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


@pytest.fixture(scope="session")
def shallow(tmp_path_factory):
    "name -> a folder with the first two layers of a packaged model, made when it is asked for"
    from dataset_tutor.models import load_pretrained

    class Cut(dict):
        def __missing__(self, name):
            folder = tmp_path_factory.mktemp(name)
            load_pretrained("AutoModel", name, num_hidden_layers=2).save_pretrained(folder)
            load_pretrained("AutoTokenizer", name).save_pretrained(folder)
            self[name] = str(folder)
            return self[name]
    return Cut()


@pytest.fixture(scope="session")
def films():
    "Few English reviews, split"
    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.cleaning import reviews_en
    from dataset_tutor.distribution import split

    return split(reviews_en()(load_sample("reviews-en", rows=70)), seed=0)


@pytest.fixture(scope="session")
def news():
    "Few Chinese sentences with entities, split"
    from dataset_tutor.acquisition import load_sample
    from dataset_tutor.cleaning import ner_zh
    from dataset_tutor.distribution import split

    return split(ner_zh()(load_sample("ner-zh", rows=60)), seed=0)
