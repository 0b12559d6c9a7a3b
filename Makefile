# Everything runs in .venv, which is made from the lock when it is missing or older than the lock.
# Another Python for it: make PYTHON=python3.12 ...     Arguments for a command: make reproduce ARGS="--only 10 --scale quick"

PYTHON ?= python3
UV ?= uv
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed
LOCK := requirements.txt

.DEFAULT_GOAL := help
.PHONY: help reproduce test lab bench lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

reproduce: $(READY) ## every notebook anew, then our numbers beside the reference and the papers (ARGS="--list", "--only 10", ...)
	$(RUN) -m lib.reproduce $(ARGS)

test: $(READY) ## code style, all tests, and every notebook against its committed outputs (ARGS="-k crowd", ...)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest $(ARGS)

lab: $(READY) ## JupyterLab on the notebooks (ARGS="--no-browser --port 8890", ...)
	$(RUN) -m jupyterlab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

bench: $(READY) ## time, memory and own labels beside peer libraries, into figures/benchmarks/
	$(RUN) -m tests.benchmarks.bench $(ARGS)
	$(RUN) -m tests.benchmarks.own_data_grid

lock: ## make requirements.txt anew from requirements.in (needs uv; ARGS="--upgrade" takes newer versions)
	$(UV) pip compile requirements.in --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-annotate --quiet -o $(LOCK) $(ARGS)

# A .venv whose Python has been uninstalled counts as missing.
ifneq ($(shell test -x $(RUN) && echo works),works)
.PHONY: $(READY)
endif

# The stamp comes last and --clear removes an old one first: a failed or interrupted installation is made again, whole.
$(READY): $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if (3, 11) <= v <= (3, 12) else "Python 3.11 or 3.12 is needed, but $(PYTHON) is %d.%d: name another one, for example make PYTHON=python3.12" % v)'
	@echo "Installing the pinned packages into $(VENV): some minutes and up to 7 GB, once"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(RUN) -m pip install -qq --disable-pip-version-check --no-input --retries 10 --timeout 60 --require-hashes -r $(LOCK)
	@$(RUN) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "crowds.pth").write_text("$(CURDIR)\n")'  # lib, from any folder
	@touch $@
