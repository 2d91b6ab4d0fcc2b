# One command each; `make` alone lists them. The environment is .venv, made from constraints.txt.
#   PYTHON=python3.12   another interpreter      ARGS="..."   passed on (make lab ARGS=--no-browser, make test ARGS="-k core")

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
SEEN   := $(VENV)/.done

export JUPYTER_PREFER_ENV_PATH = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup fetch lab test lint export outputs clean docs readme bench constraints distclean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A virtual environment: Python is checked first, so that what is missing is said in one line.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	  || { echo "Python 3.10 or newer is needed: '$(PYTHON)' is missing or older (try: make PYTHON=python3.12 ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "This Python cannot make virtual environments: install its venv package (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

# pip and setuptools come first: an old pip knows no --build-constraint, and a package made from source needs both.
$(SEEN): $(BIN)/python constraints.txt settings.ini setup.py pyproject.toml tools/lab_settings.json
	@echo "Installing the pinned packages into $(VENV): about 200, PyTorch among them; the first time takes minutes"
	$(BIN)/python -m pip install --quiet -c constraints.txt pip setuptools
	$(BIN)/python -m pip install -c constraints.txt --build-constraint constraints.txt -e ".[all]"
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@cp tools/lab_settings.json $(VENV)/share/jupyter/lab/settings/overrides.json
	@touch $@

setup: $(SEEN)  ## make .venv with the pinned packages

fetch: setup  ## fetch the default data and models (hashes are checked)
	@$(BIN)/dataset-tutor samples --fetch

lab: fetch  ## open the course in JupyterLab
	@root=; [ "$$(id -u)" != 0 ] || root=--allow-root; \
	exec $(BIN)/jupyter lab $$root --LabApp.default_url=/lab/tree/nbs/index.ipynb $(ARGS)

test: lint fetch  ## check everything: style, every notebook, the guards in tests/ (on up to four cores)
	$(BIN)/python -m pytest -n logical --maxprocesses 4 $(ARGS)

lint: setup
	$(BIN)/ruff check .

export: setup  ## write dataset_tutor/ from nbs/
	$(BIN)/nbdev-export

outputs: setup  ## run the notebooks and save their outputs (ARGS="nbs/00_core.ipynb": only these)
	$(BIN)/python tools/run_notebooks.py $(ARGS)

clean: setup  ## strip what does not belong into a committed notebook
	$(BIN)/nbdev-clean

readme: setup  ## write README.md from nbs/index.ipynb
	$(BIN)/python tools/build_readme.py

docs: setup  ## build the site, offline, into _docs/
	$(BIN)/python tools/build_docs.py

bench: setup  ## run what benchmarks/ holds
	@found=; for f in benchmarks/*.py; do [ -e "$$f" ] || continue; found=1; \
	  echo "== $$f"; $(BIN)/python "$$f" $(ARGS) || exit 1; done; \
	[ -n "$$found" ] || echo "benchmarks/ holds nothing yet"

constraints:  ## resolve constraints.txt anew (ARGS="--pin torch==2.13.0")
	$(BIN)/python tools/build_constraints.py $(ARGS)

distclean:  ## remove what make has made (.venv included)
	rm -rf $(VENV) _docs _proc _sphinx build dist *.egg-info
