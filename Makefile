# Everything a person or a CI machine does with this project. `make` alone lists the targets.
# Needed first: Python 3.11 or newer, and make.

PYTHON ?= python3
ARGS ?=
ROOMS := core models workers service tests benchmarks examples
# mypy refuses a room that has no code yet.
TYPED = $(foreach room,$(ROOMS),$(if $(shell find $(room) -name '*.py' -print -quit 2>/dev/null),$(room)))
INSTALLED := .venv/.installed
BIN := .venv/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test faults check lint types imports audit format up bench constraints check-image

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv and install the project in it (PYTHON=python3.12 chooses the interpreter)

# The stamp is newer than both files as long as nothing changed: a second `make` installs nothing.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install ## Transcribe the sample recording, embed the sample PDF, search both, stop
	$(BIN)/python examples/demo.py

up: install ## Start everything on this machine (ARGS="--port 9000" passes options)
	$(BIN)/scribelane up $(ARGS)

test: install ## Run the whole test suite (ARGS="-k lease" passes options to pytest)
	$(BIN)/python -m pytest $(ARGS)

faults: install ## Strike a whole deployment with every fault at every moment (long; ARGS="-k Valkey" chooses)
	$(BIN)/python -m pytest tests/faults -m "long or not long" $(ARGS)

check: lint types imports audit ## Style, types, the direction of imports, known vulnerabilities

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy $(TYPED)

imports: install
	$(BIN)/lint-imports

# A finding fails. Who cannot be asked, for want of a network or of an answer within a minute, does not: the next check
# with one will. pip-audit ends with 1 in both cases, so what it says decides.
audit: install
	@said=$$(timeout 60 $(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --timeout 10 \
		--progress-spinner off 2>&1) || failed=1; \
	case "$$said" in *"Found "*" known vulnerabilit"*) echo "$$said"; exit 1 ;; esac; \
	if [ -n "$$failed" ]; then echo "audit: left out, the database of vulnerabilities gave no answer"; \
	else echo "audit: no known vulnerability; not known there: $$(echo "$$said" | grep -c 'not be audited') packages"; fi

format: install ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# What several benchmarks start or measure with; each of the other modules is one.
NOT_BENCHMARKS := accuracy_limits bare_servers embedded_document http_load in_process loaded_service memory pdf_corpus recordings recycling right_first simulated_gpus waiting_chunks written_pages

bench: install ## Run the committed benchmarks
	@set -e; for benchmark in $(filter-out $(NOT_BENCHMARKS),$(basename $(notdir $(wildcard benchmarks/*.py)))); do \
		echo "== $$benchmark"; $(BIN)/python -m benchmarks.$$benchmark $(ARGS); done

# Not part of `make test`: builds gigabytes of image, takes ten minutes, needs root, buildah and debootstrap.
check-image: install ## Build both images of Dockerfile.gpu with buildah and start what is in them (long)
	$(BIN)/python -m pytest -m container tests/container $(ARGS)

# An environment of its own, so that nothing installed by hand is pinned. torch's version is a decision, not a
# consequence; what it takes along for CUDA differs between machines. redis asks for async-timeout before Python 3.11.3.
constraints: ## Pin anew every version that a fresh install resolves to (rewrites constraints.txt)
	rm -rf build/pins && $(PYTHON) -m venv build/pins
	sed -n '/^torch==/p' constraints.txt > build/pins/torch.txt
	build/pins/bin/python -m pip install --quiet -c build/pins/torch.txt -e '.[dev,monitor]' async-timeout
	sed -n '/^#/p' constraints.txt > build/pins/constraints.txt
	build/pins/bin/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools \
		| sed -E -e '/^(nvidia-|cuda-|triton==)/d' -e 's/^(torch==[0-9.]+)\+.*/\1/' >> build/pins/constraints.txt
	mv build/pins/constraints.txt constraints.txt
	rm -rf build/pins
