"""The whole test session is offline: loopback only, and nothing comes from or goes into the user's hub folders."""
import os
import tempfile

import pytest

SCRATCH = tempfile.TemporaryDirectory(prefix="dataset_tutor_tests_")
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=SCRATCH.name, MPLBACKEND="agg", TOKENIZERS_PARALLELISM="false")

import loopback_only  # noqa: E402  (tools/offline, see pyproject.toml)
from run_notebooks import notebooks, run_notebook  # noqa: E402

loopback_only.block()


def pytest_generate_tests(metafunc):
    "A test that takes `notebook` becomes one case per notebook"
    if "notebook" in metafunc.fixturenames:
        metafunc.parametrize("notebook", notebooks(), ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    "fresh(notebook): what came of running it; each notebook runs once a session, however many tests ask"
    outcomes = {}

    def outcome(notebook):
        if notebook not in outcomes:
            outcomes[notebook] = run_notebook(notebook, tmp_path_factory.mktemp(notebook.stem))
        return outcomes[notebook]
    return outcome
