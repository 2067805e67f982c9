PYTHON ?= python3
PYTHON_DEEPSPARSE ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup demo peers test lint types clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python main.py --dataset mnist --epochs 6

# The rivals of benchmarks/latency.py. Those that need other packages get environments of their own; one that cannot be
# installed here is reported as not measured.
peers: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/requirements.txt
	-$(PYTHON_DEEPSPARSE) -m venv .venv-deepsparse && .venv-deepsparse/bin/python -m pip install --quiet \
		--requirement benchmarks/peers/requirements-deepsparse.txt || rm -rf .venv-deepsparse
	-$(PYTHON) -m venv .venv-perforatedai && .venv-perforatedai/bin/python -m pip install --quiet \
		--constraint constraints.txt --requirement benchmarks/peers/requirements-perforatedai.txt \
		|| rm -rf .venv-perforatedai

test: setup lint types
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
