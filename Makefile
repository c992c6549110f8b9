# Nothing needs to be installed but Python 3.11 or newer and make: each target fetches what it needs into .venv.
#
#   make run            serve on localhost:9092, data in ./kwire-data
#   make test           the tests
#   make test-long      the same with all random examples and crash points, of which make test takes some
#   make check          ruff, mypy --strict, import contracts, no import cycles
#   make jars           the official jars: with them, make test compares with the official tools too
#   make interop        real clients, the official tools and the official broker (needs Java 17+, Maven; Node, Go, Rust if there)
#   make interop-smoke  one case of each kind of it
#   make compiled       a wheel of the same source, partly compiled to C (needs a C compiler), in dist/, and the tests on it
#   make coverage       the tests with lines and branches counted, and the least that each package must have
#   make docs           the documentation as a site, in site/
#   make bench          the numbers, beside Apache Kafka
#   make clean          removes everything that the targets above made, except ./kwire-data

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
TEST_JOBS ?= 2
ARGS ?=
INTEROP_TARGET ?= kwire

# The first of these that is new enough; PYTHON=... overrides the search.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; done)

.DEFAULT_GOAL := help
.PHONY: help run test test-long check format compiled jars interop interop-smoke bench compatibility coverage docs clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "kwire needs Python 3.11 or newer; none was found (say PYTHON=/path/to/python)."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

# One stamp per set of packages; each is renewed when pyproject.toml changes.
define install
	@echo "installing $(1) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '$(1)'
	@touch $@
endef

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(call install,.)
$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(call install,.[test])
$(VENV)/.installed-check: pyproject.toml | $(BIN)/python
	$(call install,.[test$(comma)check])
$(VENV)/.installed-coverage: pyproject.toml | $(BIN)/python
	$(call install,.[test$(comma)interop$(comma)coverage])
$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(call install,.[docs])
$(VENV)/.installed-interop: pyproject.toml | $(BIN)/python
	$(call install,.[interop])
comma := ,

run: $(VENV)/.installed
	@exec $(BIN)/python -m kwire serve --listen PLAINTEXT://localhost:9092 --data kwire-data $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(TEST_JOBS) $(ARGS)

# KWIRE_TESTS=long also serves a single file: KWIRE_TESTS=long python -m pytest tests/storage/test_log_machine.py
test-long: $(VENV)/.installed-test
	KWIRE_TESTS=long $(BIN)/python -m pytest -n $(TEST_JOBS) $(ARGS)

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_cycles.py

format: $(VENV)/.installed-check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

interop: $(VENV)/.installed-interop
	$(BIN)/python -m interop --target $(INTEROP_TARGET) $(ARGS)

interop-smoke: $(VENV)/.installed-interop
	$(BIN)/python -m interop --smoke --target $(INTEROP_TARGET) $(ARGS)

# The official jars, for those tests that compare with the official tools.
jars: $(VENV)/.installed-interop
	$(BIN)/python -m interop.jars

# docs/compatibility.md, from a run of everything.
compatibility: $(VENV)/.installed-interop
	-$(BIN)/python -m interop --target kwire --json .tools/interop.json
	$(BIN)/python -m interop.compatibility .tools/interop.json docs/compatibility.md

# From an archive of the source, because compiling leaves its results beside what it compiles. The environment it is
# tested in is one to measure too: KWIRE_PYTHON=.tools/compiled/bin/python make bench.
compiled: $(BIN)/python
	@rm -rf .tools/compiled .tools/source
	@$(BIN)/python -m venv .tools/compiled
	@.tools/compiled/bin/python -m pip install --quiet --disable-pip-version-check 'hatchling>=1.25'
	.tools/compiled/bin/hatchling build --target sdist --directory .tools/source
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 .tools/compiled/bin/python -m pip wheel --quiet --disable-pip-version-check \
		--no-deps --wheel-dir dist .tools/source/kwire-*.tar.gz
	@for wheel in dist/kwire-*-$$(.tools/compiled/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')-*.whl; do \
		.tools/compiled/bin/python -m pip install --quiet --disable-pip-version-check "$$wheel[test,interop]"; done
	.tools/compiled/bin/kwire --version
	.tools/compiled/bin/python -P -m pytest -n $(TEST_JOBS) $(ARGS)

coverage: $(VENV)/.installed-coverage
	$(BIN)/python -m pytest -n $(TEST_JOBS) --cov --cov-report= $(ARGS)
	$(BIN)/coverage html --quiet
	$(BIN)/python tools/check_coverage.py

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed-interop
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .tools build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov site
	find . -name __pycache__ -type d -not -path './kwire-data/*' -prune -exec rm -rf {} +
