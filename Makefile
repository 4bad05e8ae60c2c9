# make run: the app, ready to inspect.  make test: all tests.  make test-fast: those that take two minutes.
# make coverage: what those reach.  make lint: style, types, import direction.  make soak: the app killed, busy, on a full disk.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# in the order of tests/conftest.py: quick files first
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
FAST := -m "not slow and not browser"
.PHONY: run test test-fast coverage lint soak browser postgres pango demo-models pictures clean

run: $(VENV)/.app pango
	$(BIN)/python -m streamlit run app.py

test: $(VENV)/.dev browser postgres pango
	$(BIN)/python -m pytest $(PARALLEL)

# without what converts models, trains for long or drives a browser
test-fast: $(VENV)/.dev postgres pango
	$(BIN)/python -m pytest $(PARALLEL) $(FAST)

# not with make test: until Python 3.12 it makes tests half as slow again
coverage: $(VENV)/.dev postgres pango
	$(BIN)/python -m pytest $(PARALLEL) $(FAST) --cov=skrd4ad --cov-report=term:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# hours; docs/reliability.md has its table. One section, fewer kills: make soak SOAK="--only kills --kills 10"
soak: $(VENV)/.dev browser postgres
	$(BIN)/python -m benchmarks.soak $(SOAK)

# the models in checkpoints/ that the app opens with; takes some minutes
demo-models: $(VENV)/.app
	$(BIN)/python -m benchmarks.demo_models

# the pictures of README and docs, taken from the running app
pictures: $(VENV)/.dev browser
	$(BIN)/python docs/make_pictures.py

# Debian's Chromium where it can be installed, otherwise Playwright's own
browser: $(VENV)/.dev
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	else $(BIN)/python -m playwright install chromium; fi

# PostgreSQL's server for the tests of the storage, which start one of their own; Debian's where it can be installed
postgres:
	@if command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null; then :; \
	elif command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; \
	else echo "PostgreSQL's server is missing: install it (Debian's package postgresql), or put initdb on the PATH."; fi

# what the PDF of a report needs of the system: Pango, and fonts of every script; the app runs without
PANGO := libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core fonts-noto-core fonts-wqy-microhei
pango: $(VENV)/.app
	@if $(BIN)/python -c "import weasyprint" 2>/dev/null && fc-list ":charset=90e8 d55c" 2>/dev/null | grep -q .; then :; \
	elif command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ] && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PANGO); then :; \
	else echo "Reports as PDF need Pango, and names in Chinese, Japanese and Korean a font; install them (Debian: $(PANGO))."; fi

$(VENV)/.app: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
