# Everything runs in .venv, which is made from the lock when it is missing or older than the lock.
# Another Python for it: make PYTHON=python3.12 ...     Without CUDA (2 GB in place of 7): make CPU=1 INDEX=<of torch's CPU wheels> ...
# Arguments for a command: make reproduce ARGS="--only 10 --scale quick"

PYTHON ?= python3
UV ?= uv
ARGS ?=
CPU ?=
INDEX ?=

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed
LOCK := requirements.txt
PIP := $(RUN) -m pip install -qq --disable-pip-version-check --no-input --retries 10 --timeout 60
# What only a CUDA build of torch needs. Its CPU build has other hashes, so it comes by version from the index that is named.
CUDA := /^(nvidia-|cuda-|triton==|torch==|torchvision==)/

# The site has packages of its own, without torch.
SITE_VENV := .venv-site
SITE_RUN := $(SITE_VENV)/bin/python
SITE_READY := $(SITE_VENV)/.installed
SITE_LOCK := requirements-site.txt

.DEFAULT_GOAL := help
.PHONY: help reproduce test faults lab site test-site bench lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

reproduce: $(READY) ## every notebook again, then our numbers beside the reference and the papers (ARGS="--list", "--only 10", ...)
	$(RUN) -m lib.reproduce $(ARGS)

test: $(READY) ## code style, all tests, and every notebook against its committed outputs (ARGS="-k crowd", ...)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest $(ARGS)

faults: $(READY) ## files damaged by the thousand, passes killed and two at once: tried, survived, failed (some minutes)
	$(RUN) -m tests.faults $(ARGS)

lab: $(READY) ## JupyterLab on the notebooks (ARGS="--no-browser --port 8890", ...)
	$(RUN) -m jupyterlab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

site: $(SITE_READY) ## the readers' site into build/site, from what is committed (ARGS="--no-api" leaves out the reference)
	$(SITE_RUN) -m lib.site $(ARGS)

test-site: $(SITE_READY) ## the built site in a browser: links, formulas, keyboard, phone, accessibility
	$(SITE_RUN) -m pytest -c tests/site/pytest.ini tests/site/test_browser.py $(ARGS)

bench: $(READY) ## time and memory beside peers, and own variants, into figures/benchmarks/ (ARGS="--install", "--budget 12m", ...)
	$(RUN) -m tests.benchmarks.bench $(ARGS)
	@test -n "$(ARGS)" || $(RUN) -m tests.benchmarks.own_data_grid
	@test -n "$(ARGS)" || $(RUN) -m tests.benchmarks.own_data_real

lock: ## make both locks again from their .in files (needs uv; ARGS="--upgrade" takes newer versions)
	$(UV) pip compile requirements.in --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-annotate --quiet -o $(LOCK) $(ARGS)
	$(UV) pip compile requirements-site.in --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-annotate --quiet -o $(SITE_LOCK) $(ARGS)

# A .venv whose Python has been uninstalled counts as missing.
ifneq ($(shell test -x $(RUN) && echo works),works)
.PHONY: $(READY)
endif

# The stamp comes last and --clear removes an old one first: a failed or interrupted installation is made again, whole.
$(READY): $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if (3, 11) <= v <= (3, 12) else "Python 3.11 or 3.12 is needed, but $(PYTHON) is %d.%d: name another one, for example make PYTHON=python3.12" % v)'
	@test -z "$(CPU)" || test -n "$(INDEX)" || { echo "make CPU=1 needs INDEX=<address of torch's CPU wheels>, see the README" >&2; exit 1; }
	@echo "Installing the pinned packages into $(VENV): some minutes and up to $(if $(CPU),2,7) GB, once"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
ifeq ($(CPU),)
	@$(PIP) --require-hashes -r $(LOCK)
else
	@awk '/^[^ ]/ { keep = !($(CUDA)) } keep' $(LOCK) > $(VENV)/requirements-cpu.txt
	@$(PIP) --require-hashes --no-deps -r $(VENV)/requirements-cpu.txt
	@$(PIP) --no-deps --index-url $(INDEX) $$(grep -oE '^torch(vision)?==[^ ]+' $(LOCK))
endif
	@$(RUN) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "crowds.pth").write_text("$(CURDIR)\n")'  # lib, from any folder
	@touch $@

ifneq ($(shell test -x $(SITE_RUN) && echo works),works)
.PHONY: $(SITE_READY)
endif

$(SITE_READY): $(SITE_LOCK)
	@echo "Installing the site's pinned packages into $(SITE_VENV): about a minute and 400 MB, once"
	@$(PYTHON) -m venv --clear $(SITE_VENV) || { echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(SITE_RUN) -m pip install -qq --disable-pip-version-check --no-input --retries 10 --timeout 60 --require-hashes -r $(SITE_LOCK)
	@touch $@
