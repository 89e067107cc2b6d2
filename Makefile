# `make demo`: install, and compare the ports on real digits. `make test`: install, and test.
# On Linux, PIP_FLAGS can name PyTorch's index of CPU builds; see README.md.

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/lenet compare

test: .venv/installed
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt $(PIP_FLAGS) torch
	$(BIN)/pip install --quiet --constraint constraints.txt $(PIP_FLAGS) --editable '.[all,dev]'
	touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
