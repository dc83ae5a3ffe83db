# `make demo` and `make test` need nothing but Python 3.10, 3.11 or 3.12: they make .venv and install into it once.
.PHONY: demo test test-fast coverage lint docs install install-dev clean
.ONESHELL:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check install --quiet

demo: export DEMO_STARTED := $(shell date +%s)
demo: $(VENV)/.installed
	@$(RUN) tools/demo.py

# Two processes with a thread each; tests of a file stay together, for they share what they have trained. Files are begun in
# the order of tests/conftest.py, slow ones first; xdist by itself begins with those of many tests, and ends with the longest.
# A process that crashes ends the tests, with the name of the one it was at: with another in its place xdist may wait for ever.
PYTEST := $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test test-fast coverage: export OMP_NUM_THREADS := $(or $(OMP_NUM_THREADS),1)
# Many tests start processes; each would compile the package anew.
test test-fast coverage: export PYTHONDONTWRITEBYTECODE :=
# PPDET_EXT_LARGE=1, as in CI: the largest models too.
test: $(VENV)/.installed-dev
	@$(PYTEST)

# Which lines the tests run, and whether they are enough; to measure it costs a fifth of the time.
coverage: $(VENV)/.installed-dev
	@$(PYTEST) --cov --cov-report=term:skip-covered

test-fast: $(VENV)/.installed-dev
	@$(PYTEST) -m "not slow"

lint: $(VENV)/.installed-dev
	@$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q tests/test_house.py

# The pages as a site, in build/site/index.html; first what is generated from the code.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.installed-docs
	@$(RUN) docs/site/make_reference.py
	$(RUN) -m mkdocs build --strict

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt requirements-host.txt constraints.txt
	@for candidate in $${PYTHON:-python3 python3.12 python3.11 python3.10}; do
	  if $$candidate -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
	    python=$$candidate; break
	  fi
	done
	if [ -z "$${python:-}" ]; then
	  echo "This project needs Python 3.10, 3.11 or 3.12 with venv and ensurepip (Debian: python3-venv);" \
	    "$${PYTHON:-python3} is $$($${PYTHON:-python3} --version 2>&1 | tail -n 1). Set PYTHON=/path/to/python." >&2
	  exit 1
	fi
	echo "Installing into $(VENV) (once, about a minute) …"
	$$python -m venv $(VENV)
	$(PIP) -r requirements.txt
	$(PIP) --no-deps -r requirements-host.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt requirements-docs.txt
	@$(PIP) -r requirements-dev.txt
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed requirements-docs.txt
	@$(PIP) -r requirements-docs.txt
	touch $@

clean:
	@rm -rf $(VENV) output dataset/steel_sample build/site
