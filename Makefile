# Every command of the project. Each installs what it needs and says what that is.
PYTHON = .venv/bin/python
DEPLOYED = $(wildcard *.py) graph planning reprocess_http reprocess_timer reprocessing
COMPILE = $(PYTHON) -m uv pip compile -q --universal --python-version 3.13 --generate-hashes \
	--no-emit-index-url --no-header

.PHONY: help setup run break test test-unit soak faults mutants check check-docs format fuzz bench pictures package licences sbom audit lock clean
help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'
setup:
	@scripts/setup dev
run:  ## run the app with an emulated Graph (PORT=7071 OPTIONS='--requests 5000'; OPTIONS=--help)
	@scripts/setup
	@exec $(PYTHON) -m emulator $(OPTIONS)
break:  ## while it runs: break Graph or the identity (HOW=throttle, HOW=mend; HOW=--help)
	@exec $(PYTHON) -m emulator break $(HOW)
test: setup  ## run all tests
	@scripts/azurite
	@scripts/kusto
	@scripts/adaptivecards
	@scripts/chromium >/dev/null
	$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder
test-unit: setup  ## run the unit tests (seconds)
	$(PYTHON) -m pytest -n 2 tests/unit
soak: setup  ## the bad days for longer (SOAK=10 times)
	@scripts/azurite
	SOAK=$${SOAK:-10} $(PYTHON) -m pytest tests/e2e/test_bad_days.py -s
faults: setup  ## try every fault on every operation (two minutes), and print the distinct results
	@scripts/azurite
	$(PYTHON) -m tests.faults
mutants: setup  ## break the rules in small ways, and list what no test notices (five minutes)
	@set -f; $(PYTHON) -m tests.mutants $(NAMES)
check: setup  ## lint and type-check
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(DEPLOYED) emulator benchmarks scripts/packages.py scripts/lost.py
check-docs: setup  ## check what documents and scripts tell to run (installs az, 700 MB)
	@scripts/check-docs
format: setup  ## format the code
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .
fuzz: setup  ## fuzz every parser of foreign bytes (FUZZ_SECONDS=20 for each of 18)
	$(PYTHON) -m tests.fuzz
bench: setup  ## measure, half an hour; writes docs/benchmarks.md (ONLY='drains cold'; ONLY=--quick writes nothing)
	$(PYTHON) -m benchmarks $(ONLY)
pictures: setup  ## take pictures of the page: .pictures, docs/report.png
	@$(PYTHON) -m tests.pictures
package: setup  ## make .package, the folder that a deployment sends, and list it
	@$(PYTHON) -m tests.support.package
licences: setup  ## list the licences of what is deployed; fails on one that nobody has allowed
	@$(PYTHON) scripts/packages.py licences
sbom: setup  ## list what is deployed, as .sbom/redeliver.cdx.json (CycloneDX)
	@scripts/supply-chain sbom
audit: setup  ## ask for known vulnerabilities of what is deployed (online)
	@scripts/supply-chain audit
lock: setup  ## pin requirements*.in, with hashes
	$(PYTHON) -m pip install --quiet uv
	$(COMPILE) requirements.in -o requirements.txt
	{ echo --require-hashes; cat requirements.txt; } >.lock && mv .lock requirements.txt # no installer may skip them
	$(COMPILE) requirements-audit.in -o requirements-audit.txt
	$(COMPILE) requirements-run.in -o requirements-run.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt
clean:  ## remove what set-up and tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .azurite .bench .kusto .cards .check-docs .package .package.zip .sbom .pictures .fuzz mutants
