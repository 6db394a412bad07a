# The commands of a developer. They need make and Python 3.11 or newer: each target makes the environment that it needs,
# and renews it only when pyproject.toml has changed.
#
#   make run      serve the tour of examples/ on http://127.0.0.1:8000  (PORT=8080 make run)
#   make check    the inner loop, in a few minutes: lint, types, layers, and the tests of the core
#   make test     what to run before you send a change: lint, layers, types, all tests that start no process, and one test of
#                 each server
#   make test-compat   the tests of compat/, which has the modules for migrated programs, that start no process
#   make test-servers  the tests that start servers, browsers, Redis and other processes
#   make coverage these three, measured: they have to reach every line and branch, so this is what has to pass before a merge
#   make test-all the same before a release, with every case of a test in every world, and more examples (tests/support/plugin.py)
#                 and the core on the other Pythons, Pyodide among them
#   make docs     build the site of the documentation into build/site, with a playground if npm is there
#   make release  build and check what is published, in dist/ (scripts/RELEASE.md)
#   make format   format and fix what can be fixed, and draw the picture of ARCHITECTURE.md
#   make clean    remove what these targets made
#
# What is needed less often is a script with --help: scripts/benchmarks, check-links, clients, deploy-pages, faults, first-path,
# fuzz, manuals, mutants, other-pythons, pyodide, repeat, schemathesis, screenshots, swagger-ui, works-with.
#
# REDIS_SERVER names another server than redis-server (REDIS_SERVER=/path/to/valkey-server make test-servers).
#
# Another interpreter is named by PYTHON (make test PYTHON=python3.13), and gets environments of its own, .venv-python3.13.
# A free-threaded one, whose name ends with "t", is tested without the libraries that it has no build of:
# tests/support/free-threaded.toml names them.
#
# Tests run in WORKERS processes (WORKERS=4 make test): three on two processors, because a test and its application wait for
# each other, and four for tests that wait for servers and other processes. Each gets a run of neighbouring tests, which
# share servers, and then takes some from those that are not done (worksteal). Where tests start no process, each collects
# and runs a share of the files instead (tests/support/shares.py).
#
# make check runs the tests of the folders in CORE, below, and those that have worlds (tests/support/plugin.py) only in one of
# them. These folders need no server and wait for little; they are what every request passes through.

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= $(if $(filter test-servers,$@),4,3)
CORE := tests/flow tests/http tests/routing tests/project/test_layers.py tests/project/test_public_names.py
NAMED := $(filter-out python3,$(notdir $(PYTHON)))
VENV := .venv$(NAMED:%=-%)
BENCH := .venv-bench$(NAMED:%=-%)
RELEASE := .venv-release$(NAMED:%=-%)
BIN := $(VENV)/bin
FREE_THREADED := $(filter python%t,$(NAMED))
PROJECTS := pyproject.toml swagger-ui/pyproject.toml compat/pyproject.toml
# micropie first: pip looks for what a local package requires among those before it
EVERYTHING := ./swagger-ui --editable $(if $(FREE_THREADED),. --prefer-binary --requirement build/free-threaded.txt,'.[all]' --group dev) \
	--editable ./compat
LINT = $(BIN)/ruff check && $(BIN)/ruff format --check$(if $(FREE_THREADED),, && $(BIN)/lint-imports)
# What has pytest measure: `make coverage` sets it.
COVERAGE :=
DIST = worksteal
test test-compat: DIST = each
PYTEST = $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=$(DIST) $(COVERAGE) $(OPTIONS)
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: run check types test test-compat test-servers coverage test-all docs format release clean
.DEFAULT_GOAL := test
# Each of the hundreds of processes that tests start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
# One after the other also under -j: the first failure has to be the last thing that is printed.
.NOTPARALLEL:

run: $(VENV)/.installed-run
	@echo "== the tour: http://127.0.0.1:$(PORT)/ (Ctrl-C ends it)"
	$(BIN)/python -m uvicorn examples.tour.app:app --host 127.0.0.1 --port $(PORT)

# mypy has one processor busy, so it runs beside the tests, and what it finds is printed after them.
BESIDE_TYPES = mkdir -p build; $(MAKE) --no-print-directory types > build/types.txt 2>&1 & types=$$!; \
	$(1); tests=$$?; wait $$types; types=$$?; [ $$types = 0 ] || cat build/types.txt; exit $$((tests || types))

check: $(VENV)/.installed-test
	@echo "== ruff, import-linter"
	$(LINT)
	@echo "== pytest, the core"
	@$(call BESIDE_TYPES,$(PYTEST) --quiet --processes=none --world=asyncio $(CORE))

test: $(VENV)/.installed-test
	@echo "== ruff, import-linter"
	$(LINT)
	@echo "== pytest, without processes but for a test of each server"
	@$(call BESIDE_TYPES,$(PYTEST) --processes=none)

test-compat: $(VENV)/.installed-test
	@echo "== pytest, compat/ without processes"
	$(PYTEST) --processes=none compat/tests

test-servers: $(VENV)/.installed-test
	@echo "== system packages"
	scripts/install-system-packages
	scripts/get-pyodide
	@echo "== pytest, with processes"
	$(PYTEST) --processes=only tests compat/tests

# Each run adds to what those before it have measured, and the last compares the sum with what pyproject.toml asks. Tests that
# are skipped without the Global Interpreter Lock leave lines behind that nothing runs, so there it only runs them.
coverage: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory test OPTIONS="$(OPTIONS)" \
		$(if $(FREE_THREADED),,COVERAGE="--cov --cov-report= --cov-fail-under=0")
	@$(MAKE) --no-print-directory test-compat OPTIONS="$(OPTIONS)" \
		$(if $(FREE_THREADED),,COVERAGE="--cov --cov-report= --cov-fail-under=0 --cov-append")
	@$(MAKE) --no-print-directory test-servers OPTIONS="$(OPTIONS)" \
		$(if $(FREE_THREADED),,COVERAGE="--cov --cov-report= --cov-append") || \
		{ $(if $(FREE_THREADED),,$(BIN)/coverage report;) false; }

test-all: OPTIONS = --all-worlds
test-all: coverage
	scripts/other-pythons

types: $(VENV)/.installed-test
	@echo "== mypy$(FREE_THREADED:%= has no build for %)"
	$(if $(FREE_THREADED),,$(BIN)/mypy)

docs: $(VENV)/.installed-docs
	scripts/get-pyodide
	@echo "== mkdocs"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "== build/site/index.html; its search needs a server: $(BIN)/python -m http.server --directory build/site"

release: $(RELEASE)/.installed
	scripts/install-system-packages
	scripts/get-pyodide
	$(RELEASE)/bin/python scripts/release $(OPTIONS)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python scripts/picture.py

clean:
	rm -rf .venv .venv-* build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +


# -- environments: a stamp says what is installed -----------------------------------------------------------------------

$(VENV)/bin/python: | python
	@echo "== $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-run: $(PROJECTS) | $(VENV)/bin/python
	@echo "== installing micropie with what it runs best with"
	$(BIN)/python -m pip install $(PIP_FLAGS) ./swagger-ui --editable '.[standard]' --editable ./compat
	@touch $@

$(VENV)/.installed-docs: $(PROJECTS) | $(VENV)/bin/python
	@echo "== installing what builds the site of the documentation"
	$(BIN)/python -m pip install $(PIP_FLAGS) --upgrade 'pip>=25.1'  # the first that knows --group
	$(BIN)/python -m pip install $(PIP_FLAGS) ./swagger-ui --editable '.[standard,itsdangerous,test]' --editable ./compat --group docs
	@touch $@ $(VENV)/.installed-run

$(VENV)/.installed-test: $(PROJECTS) | $(VENV)/bin/python
	@echo "== installing micropie with everything that its tests need"
	$(BIN)/python -m pip install $(PIP_FLAGS) --upgrade 'pip>=25.1'  # the first that knows --group
	$(if $(FREE_THREADED),@mkdir -p build && $(BIN)/python scripts/free-threaded-requirements > build/free-threaded.txt)
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-compile $(EVERYTHING)
	@# pip would compile the ten thousand modules one after the other. Like pip, pass over what is no Python of today.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@ $(VENV)/.installed-run $(VENV)/.installed-docs

$(VENV)/.installed-hostile: $(VENV)/.installed-test
	@echo "== installing what fuzzing and mutation testing need"
	$(BIN)/python -m pip install $(PIP_FLAGS) --group hostile
	@touch $@

$(RELEASE)/.installed: scripts/release-requirements.txt | python
	@echo "== $(RELEASE)"
	test -x $(RELEASE)/bin/python || $(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install $(PIP_FLAGS) --require-hashes --requirement scripts/release-requirements.txt
	@touch $@

$(BENCH)/.installed: pyproject.toml benchmarks/requirements.txt | python
	@echo "== $(BENCH)"
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install $(PIP_FLAGS) --requirement benchmarks/requirements.txt --editable . --editable ./compat
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "micropie needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
		echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) can't make environments: install its venv module (Debian and Ubuntu: apt install python3-venv)."; \
		exit 1; }
