# Everything from a fresh clone: `make demo` shows the product, `make test` proves it. Both do their own set-up in .venv.

# Python 3.11, 3.12 or 3.13 for .venv; found by itself, or given: make demo PYTHON=/usr/local/bin/python3.12
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && { echo $$p; break; }; done)
# torch comes in first and stays: a CUDA build needs its version and its index, for example
# make demo WORKER_TORCH=2.11.0 TORCH_INDEX=https://download.pytorch.org/whl/cu128
WORKER_TORCH ?= 2.13.0
TORCH_INDEX ?=
SAM2 := sam2==1.1.0
TRANSFORMERS := transformers==5.23.0

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
RUN := $(BIN)/python
PIP := $(RUN) -m pip install --disable-pip-version-check --quiet

# `make demo VOLUME=ct.nii.gz TRUTH=labels.nii.gz`, or without truth: `make demo VOLUME=ct.nii.gz BOX="liver:60,40,30,60,110,120"`
VOLUME ?=
TRUTH ?=
BOX ?=
OUT ?= out/demo
DEMO_OPTIONS = $(if $(VOLUME),--volume "$(VOLUME)") $(if $(TRUTH),--truth "$(TRUTH)") \
	$(foreach box,$(BOX),--box "$(box)") --out "$(OUT)"

# The tests find real volumes by MEMSEG3D_DATA, or in ../shared/data (Testing/conftest.py); those that need them skip otherwise.

# Threads of torch that wait leave the processor to the workers that tests and demo start beside them.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help demo picture house test test-quick coverage lint audit-readers audit-fuzz audit-napari audit-experts audit-kills audit-ray clean debian

help:
	@echo "make demo    segment two organs of a CT phantom and look at out/demo/overview.png"
	@echo "             make demo VOLUME=ct.nii.gz TRUTH=labels.nii.gz takes your own data"
	@echo "make test    lint, types and all tests, on all cores (TESTERS=1: on one)"
	@echo "make test-quick    ruff and the quick test files of every room (Testing/seconds.json): for the daily round"
	@echo "make coverage    all tests, and which lines they run: out/coverage/index.html"
	@echo "make house   draw and list the house anew from its imports;  make audit-readers, audit-fuzz, audit-napari, audit-experts, audit-kills, audit-ray    long checks"
	@echo "make lint    lint and types alone;  make clean    remove .venv, out and caches"

demo: $(VENV)/runtime.stamp
	$(RUN) -m demo $(DEMO_OPTIONS)

# The README's picture, made anew from the demo of this checkout.
picture: demo
	$(RUN) -c "from PIL import Image; image = Image.open('$(OUT)/overview.png').convert('RGB'); \
	image.resize((1280, round(image.height * 1280 / image.width)), Image.Resampling.LANCZOS) \
	.save('docs/images/overview.png', optimize=True)"

# The house drawn and listed anew from its imports and first lines: docs/images/house.svg, docs/files.md, and figures on the terminal.
house: $(VENV)/venv.stamp
	$(RUN) -m Testing.house --write

# A tester a core, of one thread each (more would wait for each other), and four at most: one may need 3 GB of memory.
# What is compiled is kept whatever the environment says: each worker that a test starts would compile all of it anew.
TESTERS ?= logical
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(TOOLS_REQUIRED) $(RUN) -m pytest -n $(TESTERS) --maxprocesses 4 --dist worksteal

LINT = $(RUN) -m ruff check . && $(RUN) -m mypy && MYPYPATH=MemSeg3D $(RUN) -m mypy --explicit-package-bases MemSeg3D

# Lint goes beside the tests, for it has use for one core alone; where it fails, what it said stands at the end.
test: debian $(VENV)/test.stamp
	@mkdir -p out; \
	{ $(LINT); } >out/lint.log 2>&1 & lint=$$!; \
	$(PYTEST) --junitxml=out/tests.xml; tests=$$?; \
	wait $$lint || { echo "make lint fails:"; cat out/lint.log; exit 1; }; \
	exit $$tests

test-quick: debian $(VENV)/test.stamp
	$(RUN) -m ruff check .
	$(PYTEST) --quick

coverage: debian $(VENV)/test.stamp
	$(PYTEST) --cov --cov-report=html:out/coverage --cov-report=json:out/coverage.json --cov-report=term:skip-covered

lint: $(VENV)/test.stamp
	$(LINT)

# Long checks with an environment of their own, which neither tests nor demo need.
audit-readers: $(VENV)/test.stamp
	$(RUN) -m venv .venv-readers && .venv-readers/bin/python -m pip install -q -r Testing/audits/readers/requirements.txt
	-cd Testing/audits/readers && npm install --silent
	$(RUN) -m Testing.audits.readers --programs .venv-readers/bin

audit-napari: $(VENV)/venv.stamp
	test -x .venv-napari/bin/python || $(PYTHON) -m venv .venv-napari
	.venv-napari/bin/python -m pip install -q torch==$(WORKER_TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	.venv-napari/bin/python -m pip install -q -e "server[napari]" torch==$(WORKER_TORCH)
	.venv-napari/bin/python -m Testing.audits.napari out/napari.png

audit-fuzz: $(VENV)/test.stamp
	test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install -q torch==$(WORKER_TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	.venv-fuzz/bin/python -m pip install -q -r Testing/audits/requirements-fuzz.txt -e server torch==$(WORKER_TORCH)
	.venv-fuzz/bin/python -m Testing.audits.fuzz_files
	.venv-fuzz/bin/python -m Testing.audits.fuzz_http
	$(RUN) -m Testing.audits.fuzz_client

# VISTA3D's network against MONAI's own, which takes long to import and is needed for nothing else.
audit-experts: $(VENV)/test.stamp
	$(RUN) -m pip install -q --no-deps --target .venv-experts monai==1.6.1 einops==0.8.2
	PYTHONPATH=.venv-experts $(RUN) -m pytest -q Testing/server/experts/test_vista3d.py

# A hundred kills of a worker in the middle of rounds, and a hundred damaged data folders.
audit-kills: $(VENV)/test.stamp
	$(RUN) -m Testing.audits.damage
	$(RUN) Testing/benchmarks/kills.py

# Ray Serve in an environment of its own: a killed replica, two against one, what listens; the HTTP tests against two replicas.
RAY_TESTS := $(addprefix Testing/server/service/test_,rounds.py answers.py volumes.py volume_files.py openapi.py bad_input.py planes.py)
audit-ray: $(VENV)/test.stamp
	test -x .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install -q torch==$(WORKER_TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	.venv-ray/bin/python -m pip install -q -r requirements/test.txt -e "server[scale]" torch==$(WORKER_TORCH)
	MEMSEG3D_SERVE_OPTIONS="--ray --replicas 2" .venv-ray/bin/python -m pytest -q $(RAY_TESTS)
	.venv-ray/bin/python -m Testing.audits.ray_serve

clean:
	rm -rf $(VENV) out .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/venv.stamp:
	@test -n "$(PYTHON)" || { echo "MemSeg3D needs Python 3.11, 3.12 or 3.13: install one, or name it: make demo PYTHON=/path/to/python3.11"; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	  { echo "No virtual environment could be made in $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

# Without an NVIDIA card the wheels for CPUs serve: a fifth of the size. Where an index is set (by TORCH_INDEX, pip's settings or in CI) it is
# asked alone, and so it is where PyTorch's own cannot be reached.
CPU_INDEX := https://download.pytorch.org/whl/cpu
USES_CPU_WHEELS = $(shell test -z "$(TORCH_INDEX)$$CI$$PIP_INDEX_URL$$PIP_NO_INDEX" && test "$$(uname -s)" = Linux && \
	! command -v nvidia-smi >/dev/null 2>&1 && ! $(RUN) -m pip config list 2>/dev/null | grep -q index && echo yes)
TORCH_INSTALL = $(PIP) $(if $(wildcard $(VENV)/torch-*.stamp),--force-reinstall) torch==$(WORKER_TORCH)
# The name carries the version and the index, so another choice of torch is installed and not mistaken for this one; where one
# was installed before it is replaced, for pip takes the same version from another index for the same torch.
TORCH_STAMP := $(VENV)/torch-$(WORKER_TORCH)$(if $(TORCH_INDEX),-$(notdir $(TORCH_INDEX))).stamp
$(TORCH_STAMP): $(VENV)/venv.stamp
	@echo "Installing torch $(WORKER_TORCH) (a few minutes on first use) ..."
	$(if $(USES_CPU_WHEELS),$(TORCH_INSTALL) --retries 0 --timeout 15 --index-url $(CPU_INDEX) ||) \
	  $(TORCH_INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@rm -f $(VENV)/torch-*.stamp && touch $@

$(VENV)/runtime.stamp: $(TORCH_STAMP) requirements/runtime.txt server/pyproject.toml
	@echo "Installing the worker and Slicer's libraries ..."
	$(PIP) -r requirements/runtime.txt -e "server[train,report,evaluate,data]" torch==$(WORKER_TORCH)
	@touch $@

# Of the Makefile too: it names the versions of the reference packages.
$(VENV)/test.stamp: $(VENV)/runtime.stamp requirements/test.txt requirements/references.txt Makefile
	@echo "Installing the test tools and the reference packages ..."
	$(PIP) -r requirements/test.txt -r requirements/references.txt torch==$(WORKER_TORCH)
	SAM2_BUILD_CUDA=0 $(PIP) --no-deps --no-build-isolation $(SAM2)
	$(PIP) --no-deps $(TRANSFORMERS)
	@touch $@

# DICOM files are judged by other people's tools, and sent to a PACS of other people's. Root on Debian installs them, and then a
# missing one fails the tests; elsewhere those tests skip and say what to install.
DEBIAN_TOOLS := dciodvfy:dicom3tools dcmdump:dcmtk Orthanc:orthanc
# The PACS of the tests speaks DICOMweb by a plug-in, which is no command.
DICOMWEB_PLUGIN := $(wildcard /usr/share/orthanc/plugins/libOrthancDicomWeb*)
MISSING_PACKAGES = $(foreach pair,$(DEBIAN_TOOLS),$(if $(shell command -v $(firstword $(subst :, ,$(pair))) 2>/dev/null),,$(lastword $(subst :, ,$(pair))))) \
	$(if $(DICOMWEB_PLUGIN),,orthanc-dicomweb)
IS_ROOT_DEBIAN := $(shell test "$$(id -u)" = 0 && command -v apt-get 2>/dev/null)
TOOLS_REQUIRED := $(if $(IS_ROOT_DEBIAN),MEMSEG3D_DICOM_TOOLS=required)
debian:
	@missing="$(strip $(MISSING_PACKAGES))"; \
	if [ -n "$$missing" ] && [ -n "$(IS_ROOT_DEBIAN)" ] && [ -t 0 ] && [ -z "$$CI" ]; then \
	  printf "The tests of DICOM use $$missing (with a PACS). Install by apt-get? [y/N] "; read answer; \
	  case "$$answer" in [yY]*) ;; *) echo "Not installed: those tests fail; MEMSEG3D_DICOM_TOOLS= lets them skip."; missing=;; esac; \
	fi; \
	if [ -n "$$missing" ] && [ -n "$(IS_ROOT_DEBIAN)" ]; then \
	  echo "Installing $$missing ..."; \
	  apt-get update -qq || echo "No package lists could be fetched; trying those that are here."; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing \
	    || echo "Could not install $$missing: the tests that validate DICOM files will fail."; \
	elif [ -n "$$missing" ]; then \
	  echo "Not installed: $$missing. The tests that validate DICOM files will skip."; \
	fi
