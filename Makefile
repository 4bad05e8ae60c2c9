# make run: the app, ready to inspect.  make test: all tests.  make test-fast: those that take two minutes.
# make coverage: what those reach.  make lint: style, types, import direction.  make soak: the app killed, busy, on a full disk.
# make docs: the pages with the Python reference.  make test-oldest: the lower bounds of the requirements.  make lock: the versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# in the order of tests/conftest.py: quick files first
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
FAST := -m "not slow and not browser"
# torch's builds for the processor alone; PyPI's bring 4 GB of libraries for graphics cards. Empty: as the configured indexes have it
TORCH_CPU ?= https://download.pytorch.org/whl/cpu
.PHONY: run test test-fast test-oldest coverage lint docs lock soak system browser postgres pango demo-models pictures clean

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

# in an environment of its own, with the lower bounds of the requirements and the newest of what they need
test-oldest: $(VENV)/.dev
	rm -rf build/oldest && mkdir -p build
	$(BIN)/uv venv --quiet --python $(BIN)/python build/oldest/env
	$(BIN)/uv pip install --quiet --python build/oldest/env --resolution lowest-direct ".[all]"
	cd build/oldest && env/bin/skrd4ad demo parts --classes machined_disc --train 12 --test-good 2 --per-defect 1
	cd build/oldest && env/bin/skrd4ad train --data parts --class machined_disc --epochs 1
	cd build/oldest && env/bin/skrd4ad predict --model checkpoints/parts/machined_disc/* parts/machined_disc/test --out found
	cd build/oldest && env/bin/skrd4ad export --model checkpoints/parts/machined_disc/* --format openvino
	cd build/oldest && env/bin/skrd4ad export --model checkpoints/parts/machined_disc/* --format onnx

# requirements.lock: the versions of this environment, which the tests have passed in, for every platform, with hashes
lock: $(VENV)/.dev
	mkdir -p build && $(BIN)/python -m pip freeze --exclude-editable | grep -v " @ " > build/versions.txt
	$(BIN)/uv pip compile pyproject.toml --extra all --universal --python-version 3.11 --constraint build/versions.txt --generate-hashes \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet --output-file requirements.lock

# build/docs/index.html; links and names that lead nowhere are errors
docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --noconftest tests/test_architecture.py

# hours; docs/reliability.md has its table. One section, fewer kills: make soak SOAK="--only kills --kills 10"
soak: $(VENV)/.dev browser postgres
	$(BIN)/python -m benchmarks.soak $(SOAK)

# the models in checkpoints/ that the app opens with; takes some minutes
demo-models: $(VENV)/.app
	$(BIN)/python -m benchmarks.demo_models

# the pictures of README and docs, taken from the running app
pictures: $(VENV)/.dev browser
	$(BIN)/python docs/make_pictures.py

# all that the tests need of the system at once; where that fails, each of the next three says what is missing
system:
	-@if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium postgresql $(PANGO); fi

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
	@if [ -z "$(TORCH_CPU)" ] || [ "$$(uname -s)" != Linux ] || command -v nvidia-smi >/dev/null 2>&1; then :; \
	elif $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 0 --timeout 10 --index-url $(TORCH_CPU) \
		$$(grep -E '^torch(vision)?>=' requirements.txt) 2>/dev/null && $(BIN)/python -c "import torchvision" 2>/dev/null; then :; \
	else echo "No pair of torch and torchvision for the processor alone at $(TORCH_CPU): they come as the configured indexes have them."; \
		$(BIN)/python -m pip uninstall --quiet --yes torch torchvision 2>/dev/null; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
