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
