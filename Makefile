.PHONY: help demo test test-all test-min test-browser survive coverage lint soak fuzz mutate bench bench-all docs dist release-check clean
.DEFAULT_GOAL := help

PYTHON ?= python3
# The oldest supported dependencies have no wheels for newer versions of Python.
OLDEST_PYTHON ?= python3.11
BIN := .venv/bin
# One process per core with one thread each is quickest. Without SCIPY_ARRAY_API, scikit-learn skips its array API checks.
# ARGS are further arguments of pytest, such as ARGS="-k frozen".
PYTEST = SCIPY_ARRAY_API=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: .venv/.core ## train on drawn faces and write the figures to demo/
	$(BIN)/ferkit demo --out demo --force

test: .venv/.test lint ## lint and run the tests
	$(PYTEST) -m "not slow"

test-all: .venv/.test lint ## the slow tests too
	$(PYTEST)

test-min: BIN = .venv-min/bin
test-min: .venv-min/.test ## run the tests with the oldest supported dependencies, in .venv-min
	$(PYTEST) -m "not slow"

test-browser: .venv/.browser ## open the pages of `ferkit serve` and `export-web` in Chromium, which must be installed; screenshots/ shows them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 $(ARGS) tests/browser

survive: .venv/.test ## kill trainings more than 100 times and compare their weights with undisturbed ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -m slow -k survive $(ARGS) tests/test_checkpoint.py

coverage: .venv/.test ## run the tests and print which lines and branches they miss
	$(PYTEST) -m "not slow" --cov

lint: .venv/.test ## check style, format, the directions of imports and type hints
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

soak: .venv/.test ## fit 1,000 times and check that memory, tensors, files and threads do not grow
	OMP_NUM_THREADS=1 $(BIN)/python tests/test_leaks.py 500

# TARGETS are pixels, tables, votes, archives, images and models; ARGS are further arguments, such as ARGS="--first 7".
MINUTES ?= 1
fuzz: .venv/.test ## compare what ferkit reads from damaged and hostile files with slow references, MINUTES=1 or INPUTS=… each
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py $(TARGETS) $(if $(INPUTS),--inputs $(INPUTS),--minutes $(MINUTES)) $(ARGS)

# One child: with several, a change that reads from a wrong file takes a message meant for another, and mutmut waits forever.
mutate: .venv/.mutate ## change the code of loaders and parsers in many small ways and list the changes that no test notices
	OMP_NUM_THREADS=1 SCIPY_ARRAY_API=1 $(BIN)/python -m mutmut run --max-children 1 $(ARGS)
	$(BIN)/python -m mutmut results

bench: .venv/.core ## measure speed: loading, training, prediction, grid search
	for name in loading training prediction grid_search; do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-all: bench .venv/.test ## the longer benchmarks too
	for name in scaling precision serving; do $(BIN)/python benchmarks/$$name.py || exit 1; done

docs: .venv/.docs ## build the pages into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# python -m build makes the wheel from the sdist, so that both are tried. -I ignores the checkout and PYTHONPATH.
dist: .venv/.dist ## build wheel and sdist in dist/, and try the wheel in a fresh environment
	rm -rf dist
	$(BIN)/python -m build
	outside=$$(mktemp -d) && trap "rm -rf $$outside" EXIT && $(PYTHON) -m venv $$outside/venv && \
	$$outside/venv/bin/pip install --quiet dist/*.whl && cp tests/smoke.py $$outside && \
	cd $$outside && venv/bin/python -I smoke.py && venv/bin/ferkit --version && venv/bin/ferkit --help

# uv makes the environments, and downloads each package only once.
release-check: .venv/.dist ## try the wheel in dist/ with every extra by itself, on the oldest and the newest Python
	$(BIN)/pip install --quiet uv
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/extras.py dist/*.whl $(ARGS)

clean: ## remove the environments and everything that was built
	rm -rf .venv .venv-min demo dist screenshots mutants docs/_build docs/auto_examples docs/generated .coverage*

.venv/.core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.docs: .venv/.core
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

.venv/.test: .venv/.core
	$(BIN)/pip install --quiet --editable '.[test,lint,tools]'
	touch $@

.venv/.browser: .venv/.test
	$(BIN)/pip install --quiet --editable '.[browser]'
	touch $@

.venv/.mutate: .venv/.test
	$(BIN)/pip install --quiet --editable '.[mutate]'
	touch $@

.venv/.dist:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet build
	touch $@

# lowest-direct: the lowest allowed version of each dependency in pyproject.toml, and the newest of their own.
.venv-min/.test: pyproject.toml
	$(OLDEST_PYTHON) -m venv --clear .venv-min
	.venv-min/bin/pip install --quiet uv
	.venv-min/bin/uv pip install --quiet --python .venv-min --resolution lowest-direct --editable '.[test]'
	touch $@
