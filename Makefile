# `make demo`: install, and compare the ports on real digits. `make test`: install, and test;
# `make quick`: one case of each test, in a minute.
# On Linux, PIP_FLAGS can name PyTorch's index of CPU builds; see README.md.

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
# Python compiles what it imports; pip would compile all 20,000 files, which takes a minute.
QUICKLY := --quiet --no-compile

.PHONY: demo test quick workshop fuzz mutants lint web pages clean

demo: .venv/installed
	$(BIN)/lenet compare

test: .venv/installed
	$(BIN)/pytest

quick: .venv/installed
	$(BIN)/pytest --quick

# JupyterLab, and the first notebook in it. `make workshop N=3` opens the third.
N := 1
workshop: .venv/workshop
	$(BIN)/lenet workshop $(N)

.venv/workshop: .venv/installed
	$(BIN)/pip install $(QUICKLY) --constraint constraints.txt --editable '.[workshop]'
	touch $@

# Damaged files for every reader, until Ctrl-C or the first fault; the tests read a fixed number.
fuzz: .venv/installed
	$(BIN)/python -m tests.fuzz

# Small changes to the code, each of which some test must notice. GROUPS="arithmetic" for one group of modules.
mutants: .venv/mutants
	$(BIN)/python -m tests.mutants $(GROUPS)

.venv/mutants: .venv/installed
	$(BIN)/pip install $(QUICKLY) --constraint constraints.txt --editable '.[mutants]'
	touch $@

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# onnxruntime-web out of its npm package, for `lenet report --web web`: pinned, and refused if it is another.
ORT := onnxruntime-web-1.30.0
ORT_SHA512 := ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61

web: web/.$(ORT)

web/.$(ORT):
	rm -rf web && mkdir web
	cd web && npm pack --silent onnxruntime-web@$(ORT:onnxruntime-web-%=%)
	cd web && echo "$(ORT_SHA512)  $(ORT).tgz" | sha512sum --check --quiet
	tar -xzf web/$(ORT).tgz -C web --strip-components=2 package/dist/ort.wasm.bundle.min.mjs package/dist/ort-wasm-simd-threaded.wasm
	rm web/$(ORT).tgz && touch $@

# The static pages, ready to publish: the report is site/index.html.
pages: .venv/workshop
	$(BIN)/python -m workshop.static site/workshop
	$(BIN)/lenet report --site site $(REPORT_FLAGS)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install $(QUICKLY) --constraint constraints.txt $(PIP_FLAGS) torch
	$(BIN)/pip install $(QUICKLY) --constraint constraints.txt $(PIP_FLAGS) --editable '.[all,dev]'
	touch $@

clean:
	rm -rf .venv web site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
