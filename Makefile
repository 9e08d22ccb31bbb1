.PHONY: demo test test-all lint bench bench-all docs clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/.core
	$(BIN)/ferkit demo --out demo --force

# without the variable scikit-learn skips its array-API checks
test: .venv/.test lint
	SCIPY_ARRAY_API=1 $(BIN)/pytest -m "not slow"

test-all: .venv/.test lint
	SCIPY_ARRAY_API=1 $(BIN)/pytest

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/.core
	for name in loading training prediction grid_search; do $(BIN)/python benchmarks/$$name.py || exit 1; done

# with those that take longer
bench-all: bench
	for name in scaling precision; do $(BIN)/python benchmarks/$$name.py || exit 1; done

docs: .venv/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv demo docs/_build docs/auto_examples docs/generated

.venv/.core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.docs: .venv/.core
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

.venv/.test: .venv/.core
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@
