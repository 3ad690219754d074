# Each target makes .venv by itself. A change of setup.py or constraints.txt installs again.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/shapes

.PHONY: quickstart test test-slow test-all test-parity install lint docs axe

install: .venv/installed

.venv/installed: setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

quickstart: install  ## Trains on the embedded data and shows what it finds.
	$(BIN)/python launch.py --config=configs/shapes.py:rotor --workdir=$(RUN)
	@echo "Picture: $(RUN)/results.png"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.prose  # phrases that have to be read twice

# The tests look for barriers on the search page by it, and skip where it is not there.
axe: .venv/axe/node_modules/axe-core/axe.min.js  ## axe-core, by npm.

.venv/axe/node_modules/axe-core/axe.min.js: | install
	npm install --prefix .venv/axe --no-audit --no-fund --silent axe-core@4.14.1

docs: install  ## The documentation site, in docs/_build; a warning is an error.
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build
	@echo "Open docs/_build/index.html"

# Two at a time; a file's tests share what they set up.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile

test: install lint  ## The linter, the type checker and every test but the slow ones.
	$(PYTEST) -m "not slow"

test-slow: install  ## The tests that make test leaves out.
	$(PYTEST) -m slow

test-all: install lint  ## Every test.
	$(PYTEST)

test-parity: install  ## The tests against PyTorch, which make test skips: its packages take gigabytes.
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,parity]'
	$(BIN)/pytest tests/composeret_jax/models/encoders tests/composeret_jax/pretrained tests/composeret_jax/training/test_import_original.py \
	  tests/data_pipelines/texts
