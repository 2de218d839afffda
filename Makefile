# make demo   everything a newcomer needs: environment, install, sample indexes, the page on http://localhost:8501
# make test   the linters, the types and all tests
# make docs   the guides and the reference as a site, in site/
# All may be run again at any time: what is done is not done twice.

VENV   := .venv
BIN    := $(VENV)/bin
TORCH  := $(shell grep -i '^torch==' constraints.txt)
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: demo test lint docs clean

demo: $(VENV)/.demo
	@$(BIN)/kalm corpus add samples samples --include 'en/*' --include 'zh/*'
	@$(BIN)/kalm index build samples
	@$(BIN)/kalm corpus add packages "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	   --include '*.dist-info/METADATA'
	@$(BIN)/kalm index build packages --detach
	@$(BIN)/kalm worker --once & $(BIN)/kalm serve  # the page opens at once; the second corpus comes in beside it

test: $(VENV)/.dev lint
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/index.html."

clean:
	rm -rf $(VENV) data site

$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it and run make again."; exit 1; }
	@echo "Making the environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -q --upgrade pip
	@# The default index's Linux build of torch brings several gigabytes of CUDA: only where there is a GPU for it.
	@echo "Installing $(TORCH) ..."
	@if nvidia-smi -L >/dev/null 2>&1; then $(PIP) install -q $(TORCH); \
	 elif $(PIP) install -q --no-index --no-deps $(TORCH) 2>/dev/null; then :; \
	 elif $(PIP) install -q --no-deps --retries 0 --timeout 15 --index-url $(CPU_WHEELS) $(TORCH) 2>/dev/null; then :; \
	 else $(PIP) install -q $(TORCH); fi
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "Installing the application ..."
	@$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "Installing the application and its test tools ..."
	@$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo
