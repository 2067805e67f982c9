PYTHON ?= python3
PYTHON_DEEPSPARSE ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CORES := $(shell nproc)
MODULES := $(sort $(wildcard src/sparbor/*.py src/sparbor/*/*.py src/sparbor/*/*/*.py))

.PHONY: setup demo peers networks reference pictures notebooks docs test lint types sanitize emulate c-api fuzz wheel-check clean

setup: $(INSTALLED)

# An editable installation knows the modules by name: one that was added or moved needs another.
$(VENV)/.modules: FORCE
	@mkdir -p $(VENV)
	@echo $(MODULES) | cmp -s - $@ || echo $(MODULES) > $@

FORCE:

$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*/* native/*/*/*) $(VENV)/.modules
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -c 'import sparbor._native' || \
	  { echo 'The native engine was not built; `pip install -v -e .` in $(VENV) says why.' >&2; exit 1; }
	touch $@

demo: setup
	$(BIN)/python main.py --dataset mnist --epochs 6

# The rivals of bench/latency.py. Those that need other packages get environments of their own; one that cannot be
# installed here is reported as not measured.
peers: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement bench/peers/requirements.txt
	-$(PYTHON_DEEPSPARSE) -m venv .venv-deepsparse && .venv-deepsparse/bin/python -m pip install --quiet \
		--requirement bench/peers/requirements-deepsparse.txt || rm -rf .venv-deepsparse
	-$(PYTHON) -m venv .venv-perforatedai && .venv-perforatedai/bin/python -m pip install --quiet \
		--constraint constraints.txt --requirement bench/peers/requirements-perforatedai.txt \
		|| rm -rf .venv-perforatedai

# docs/networks.md: which of the world's networks train sparse and deploy. What they come from needs another PyTorch.
networks:
	$(PYTHON) -m venv .venv-networks
	.venv-networks/bin/python -m pip install --quiet --requirement bench/network_zoo/requirements.txt --editable .
	OMP_NUM_THREADS=1 .venv-networks/bin/python bench/networks.py

# docs/reference.md and docs/reference/, of the docstrings.
reference: setup
	$(BIN)/python tools/api_reference.py

# docs/synapses.svg, of a short training run. The charts of results come with the pages: bench/overview.py and others.
pictures: setup
	$(BIN)/python tools/synapse_frames.py

# The pages under docs/ as a site, in build/site. A broken link is an error, and so is anything that a reader's browser would
# have to fetch from elsewhere. (Under --quiet MkDocs counts no warnings, of which its strict mode makes errors.)
SITE_BIN := .venv-docs/bin

docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 $(SITE_BIN)/mkdocs build
	$(SITE_BIN)/python tools/site/check.py build/site

.venv-docs/.installed: tools/site/requirements.txt constraints.txt
	$(PYTHON) -m venv .venv-docs
	$(SITE_BIN)/python -m pip install --quiet --constraint constraints.txt --requirement tools/site/requirements.txt
	touch $@

# examples/notebooks, of the scripts of examples.
notebooks: setup
	$(BIN)/python tools/notebooks.py

# A process for each core, and one thread of PyTorch in each: more threads than cores would wait for each other.
test: setup lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

# The kernels' tests with the engine for 64-bit ARM, in an emulator.
AARCH64 := build/aarch64

emulate: setup
	tests/emulation/build.sh
	env PYTEST_PLUGINS=tests.emulation.client \
	  SPARBOR_EMULATION="qemu-aarch64 -L $(AARCH64)/root -E PYTHONPATH=$(AARCH64)/site $(AARCH64)/root/usr/bin/python3.11" \
	  $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal \
	  tests/test_kernels.py tests/test_conv_kernels.py tests/test_ranking.py tests/test_ops.py \
	  tests/test_int8.py tests/test_dense_int8.py tests/test_quantized.py tests/test_quantized_convolution.py \
	  tests/test_quantized_filters.py -k "not portable"

# The engine's tests under AddressSanitizer and UBSan, in a process for each core. The sanitized build lies in a folder of
# its own, which -S puts before the editable installation. What the sanitizers say goes past Python: --capture=sys lets
# it through.
SANITIZED := build/sanitized
SANITIZED_WORKERS = --tx "$(CORES)*popen//python=$(BIN)/python -S" --dist=worksteal
SANITIZER_LIBRARIES = $(shell $(CXX) -print-file-name=libasan.so) $(shell $(CXX) -print-file-name=libstdc++.so)

sanitize: setup
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(SANITIZED) . \
	  --config-settings=build-dir=build/sanitize --config-settings=cmake.define.SPARBOR_SANITIZE=ON
	env LD_PRELOAD="$(SANITIZER_LIBRARIES)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  PYTHONPATH="$(SANITIZED):.:$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	  $(BIN)/python -S -m pytest --capture=sys $(SANITIZED_WORKERS) \
	  tests/test_packing.py tests/test_kernels.py tests/test_conv_kernels.py \
	  tests/test_program.py tests/test_runtime.py tests/test_values.py tests/test_products.py tests/test_ops.py \
	  tests/test_ranking.py tests/test_hostile_files.py tests/test_sessions.py tests/test_updates.py \
	  tests/test_int8.py tests/test_dense_int8.py tests/test_quantized.py tests/test_quantized_convolution.py \
	  tests/test_quantized_filters.py tests/test_reductions.py \
	  tests/test_onnx_pack.py tests/test_padding_and_resizing.py tests/test_arrays_and_indexing.py tests/test_elementwise_operators.py \
	  tests/test_recurrence.py::test_backwards_by_hand tests/test_recurrence.py::test_operations_that_cannot_be

# The engine for C, as users get it and under the sanitizers, and what its tests say of both. `make sanitize` has the
# kernels of x86-64, which take long to build.
JSON = $(shell $(BIN)/python -c 'import nlohmann_json; print(nlohmann_json.__path__[0])')
C_API = $(BIN)/cmake -S . -DSPARBOR_C_API=ON -DCMAKE_PREFIX_PATH=$(JSON)

c-api: setup
	$(C_API) -B build/c_api
	$(BIN)/cmake --build build/c_api --parallel $(CORES)
	$(C_API) -B build/c_api_sanitized -DSPARBOR_SANITIZE=ON -DSPARBOR_X86=OFF
	$(BIN)/cmake --build build/c_api_sanitized --parallel $(CORES)
	$(BIN)/python -m pytest tests/test_c_api.py

# Any bytes into the loader of the engine for C, under the sanitizers. The golden models are where libFuzzer starts, and
# what it learns it goes on with the next time; a file that it finds fault with is build/fuzz/crash-*.
CLANG ?= clang++
FUZZ_SECONDS ?= 600

fuzz: setup
	$(BIN)/cmake -S . -B build/fuzz -DSPARBOR_FUZZ=ON -DCMAKE_CXX_COMPILER=$(CLANG) -DCMAKE_PREFIX_PATH=$(JSON)
	$(BIN)/cmake --build build/fuzz --parallel $(CORES)
	mkdir -p build/fuzz/corpus
	cp tests/golden/*.safetensors build/fuzz/corpus
	build/fuzz/fuzz_load -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
	  -mutate_depth=2 -cross_over=0 -artifact_prefix=build/fuzz/ -verbosity=0 -print_final_stats=1 build/fuzz/corpus

# Builds the sdist and from it a wheel with each of these Pythons, and runs the golden models where that alone is installed.
WHEEL_PYTHONS ?= $(PYTHON)

wheel-check: setup
	$(BIN)/python tests/wheel_check.py $(WHEEL_PYTHONS)

clean:
	rm -rf $(VENV) .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
