# Every command of the project. `make run` and `make test` set up what is missing.
PYTHON = .venv/bin/python
DEPLOYED = function_app.py graph.py settings.py attempts.py reprocess_http reprocess_timer
COMPILE = $(PYTHON) -m uv pip compile -q --universal --python-version 3.13 --generate-hashes \
	--no-emit-index-url --no-header

.PHONY: help setup run test soak check format bench lock clean
help:  ## list the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'
setup:
	@scripts/setup
run: setup  ## run the app with emulated Graph and identity (PORT=7071)
	@exec $(PYTHON) -m emulator
test: setup  ## run all tests
	@scripts/azurite
	$(PYTHON) -m pytest
soak: setup  ## the bad days for longer (SOAK=10 times)
	@scripts/azurite
	SOAK=$${SOAK:-10} $(PYTHON) -m pytest tests/e2e/test_bad_days.py -s
check: setup  ## lint and type-check
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(DEPLOYED) emulator
format: setup  ## format the code
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .
bench: setup  ## measure
	$(PYTHON) -m benchmarks
lock: setup  ## pin requirements*.in, with hashes
	$(PYTHON) -m pip install --quiet uv
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt
clean:  ## remove what set-up and tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .azurite .bench
