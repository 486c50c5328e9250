# make demo   sets everything up in .venv, then packs, inspects, verifies and unpacks a real model
# make test   sets everything up, then runs the tests; with COVERAGE=1 it counts the branches of etpack that they take
# make bench  measures etpack against its peers, with BENCH_PLACES="files and folders", or quickly with the example models
# make sweep, make test-cross, make lint, make format, make wheel-check, make test-export: what CI runs besides

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXPORT_VENV := .venv-export
EXPORT_BIN := $(EXPORT_VENV)/bin
BENCH_VENV := .venv-bench
BENCH_BIN := $(BENCH_VENV)/bin
BENCH_PLACES ?=
BENCH_RESULTS ?= benchmarks/results$(if $(strip $(BENCH_PLACES)),,/examples)
PIP := -m pip --disable-pip-version-check --quiet
# As a plain path: the other way has Python import a finder whenever it starts.
EDITABLE := --config-settings editable_mode=compat -e
SDK := build/sdk
CODEC_SOURCES := build/codec-sources
BRANCHES := build/coverage/report.json
DEMO := build/demo
MODEL := examples/models/digits_fp32_xnnpack.pte

.PHONY: demo test sweep test-cross runtime-size lint format wheel-check test-export bench clean

demo: $(VENV)/installed
	@rm -rf $(DEMO) && mkdir -p $(DEMO) && cp $(MODEL) $(DEMO)/model.pte
	$(BIN)/etpack compress $(DEMO)/model.pte
	$(BIN)/etpack inspect $(DEMO)/model.etz
	$(BIN)/etpack verify --against $(DEMO)/model.pte $(DEMO)/model.etz
	$(BIN)/etpack decompress $(DEMO)/model.etz -o $(DEMO)/restored.pte
	cmp $(DEMO)/model.pte $(DEMO)/restored.pte && echo "The restored model is the same, byte for byte."

test: $(VENV)/installed-dev $(SDK)/tried
	@rm -rf build/coverage
	@$(BIN)/python -m tests.native_tools
	$(BIN)/python $(if $(COVERAGE),-m coverage run )-m pytest
	$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage json --quiet -o $(BRANCHES) && $(BIN)/python -m tests.branches $(BRANCHES))

# Damages files in some hundred thousand ways, and reads models that cost as much as any may; says how many, and how long it took.
sweep: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/sweep

# The C reader for AArch64, 32-bit Arm and a big-endian machine, under qemu.
test-cross: $(VENV)/installed-dev $(CODEC_SOURCES)/tried
	$(BIN)/python -m pytest tests/cross

# Code and stack of the C reader, for this machine's processor and for smaller ones.
runtime-size: $(VENV)/installed-dev $(CODEC_SOURCES)/tried
	$(BIN)/python -m benchmarks.runtime_size

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python schemas/generate.py --check

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Builds the wheel, installs it alone in a fresh environment, and runs it there; then builds programs on its C parts.
wheel-check: $(VENV)/installed-dev $(SDK)/tried
	rm -rf build/wheel && $(BIN)/python -m build --wheel --outdir build/wheel . >/dev/null
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python $(PIP) install build/wheel/*.whl
	cd build/wheel && cp ../../$(MODEL) model.pte && venv/bin/etpack --version \
	    && venv/bin/etpack compress model.pte && venv/bin/etpack inspect model.etz >/dev/null && venv/bin/etpack verify model.etz
	$(BIN)/cmake -S tests/consumer -B build/wheel/consumer -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	    -DCMAKE_PREFIX_PATH="$$(cd build/wheel && venv/bin/etpack runtime --cmakedir);$(CURDIR)/$(SDK)/executorch" \
	    -DCONSUMER_PARTS='reader;data_loader' >build/wheel/cmake.log || { cat build/wheel/cmake.log >&2; exit 1; }
	$(BIN)/cmake --build build/wheel/consumer >/dev/null
	build/wheel/consumer/use_reader build/wheel/model.etz | cmp - $(MODEL)
	build/wheel/consumer/use_data_loader build/wheel/model.etz | cmp - $(MODEL)

# Exports the example models afresh with torch and ExecuTorch, and runs them before and after packing.
test-export: $(EXPORT_VENV)/installed
	$(EXPORT_BIN)/python -m pytest tests/export

# With no places given, the results stand apart, so that they do not replace those that were measured with large models.
bench: $(BENCH_VENV)/installed $(SDK)/tried
	$(BENCH_BIN)/python -m benchmarks --results $(BENCH_RESULTS) $(or $(strip $(BENCH_PLACES)),examples/models)

$(VENV)/python:
	@$(PYTHON) -m venv $(VENV) || { echo "make: no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/installed: pyproject.toml setup.py etpack/_kernels.c | $(VENV)/python
	$(BIN)/python $(PIP) install $(EDITABLE) .
	@touch $@

$(VENV)/installed-dev: pyproject.toml setup.py etpack/_kernels.c | $(VENV)/python
	$(BIN)/python $(PIP) install $(EDITABLE) '.[dev]'
	@touch $@ $(VENV)/installed

# ExecuTorch's C++ SDK is in its wheel; without torch its Python part is of no use, so Python does not find it here.
$(SDK)/tried: tests/export/requirements.txt | $(VENV)/python
	$(BIN)/python $(PIP) install --no-deps --upgrade --target $(SDK) "$$(grep '^executorch==' tests/export/requirements.txt)" \
	    || echo "make: ExecuTorch's C++ SDK cannot be installed here" >&2
	@mkdir -p $(SDK) && touch $@

# Each test that needs them says so if they are not there.
$(CODEC_SOURCES)/tried: tests/cross/codec_sources.txt | $(VENV)/python
	@rm -rf $(CODEC_SOURCES) && mkdir -p $(CODEC_SOURCES)
	@$(BIN)/python $(PIP) download --no-deps --dest $(CODEC_SOURCES) -r $< && cd $(CODEC_SOURCES) \
	    && for archive in *.tar.gz; do tar -xzf "$$archive"; done \
	    && cp lz4-*/lz4libs/lz4.[ch] zstandard-*/zstd/*.[ch] . && touch complete tried \
	    || echo "make: the sources of LZ4 and zstd cannot be fetched: see $<" >&2

# torch goes first and pinned, so that nothing else picks a build of it.
$(EXPORT_VENV)/installed: pyproject.toml setup.py tests/export/requirements.txt
	$(PYTHON) -m venv $(EXPORT_VENV)
	$(EXPORT_BIN)/python $(PIP) install "$$(grep '^torch==' tests/export/requirements.txt)"
	ETPACK_WITHOUT_C=1 $(EXPORT_BIN)/python $(PIP) install -r tests/export/requirements.txt $(EDITABLE) '.[test]'
	@touch $@

$(BENCH_VENV)/installed: pyproject.toml setup.py benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_BIN)/python $(PIP) install $(EDITABLE) .
	@grep -v '^#' benchmarks/requirements.txt | while read -r peer; do \
	    $(BENCH_BIN)/python $(PIP) install "$$peer" || echo "make: $$peer cannot be installed; its figures will be missing" >&2; \
	done
	@touch $@

clean:
	rm -rf build dist $(VENV) $(EXPORT_VENV) $(BENCH_VENV) *.egg-info etpack/*.so
