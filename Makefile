# Everything runs in .venv, which is made once, and again when the requirements change.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-slow test-browser web lint bench

demo: $(INSTALLED)
	$(BIN)/ossicle demo -o demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not browser"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile -m slow

# onnxruntime for the web page, fetched by npm; a wheel has it inside.
web:
	$(PYTHON) src/ossicle/deploy/web/fetch.py

test-browser: $(INSTALLED) web
	$(BIN)/python -m pytest tests/browser

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet librosa
	$(BIN)/python benchmarks/speed.py

# torch first and alone: whatever else needs it then takes the one that is there.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	touch $@
