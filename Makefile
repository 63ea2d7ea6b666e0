# Every command of the project. `make run` and `make test` set up what is missing.
PYTHON = .venv/bin/python
DEPLOYED = function_app.py settings.py setting_kinds.py events.py deadline.py attempts.py table.py \
	graph reprocess_http reprocess_timer
COMPILE = $(PYTHON) -m uv pip compile -q --universal --python-version 3.13 --generate-hashes \
	--no-emit-index-url --no-header

.PHONY: help setup run test soak faults mutants check check-docs format fuzz bench pictures package licences sbom audit lock clean
help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'
setup:
	@scripts/setup
run: setup  ## run the app with emulated Graph and identity (PORT=7071 OPTIONS='--packages 3')
	@exec $(PYTHON) -m emulator $(OPTIONS)
test: setup  ## run all tests
	@scripts/azurite
	@scripts/kusto
	@scripts/adaptivecards
	@scripts/chromium >/dev/null
	$(PYTHON) -m pytest -n 2 --dist loadfile
soak: setup  ## the bad days for longer (SOAK=10 times)
	@scripts/azurite
	SOAK=$${SOAK:-10} $(PYTHON) -m pytest tests/e2e/test_bad_days.py -s
faults: setup  ## try every fault on every operation (two minutes), and write docs/reliability.md
	@scripts/azurite
	$(PYTHON) -m tests.faults
mutants: setup  ## break the rules in small ways, and list what no test notices (five minutes)
	@set -f; $(PYTHON) -m tests.mutants $(NAMES)
check: setup  ## lint and type-check
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(DEPLOYED) emulator benchmarks scripts/packages.py
check-docs: setup  ## check what documents and scripts tell to run (installs az, 700 MB)
	@scripts/check-docs
format: setup  ## format the code
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .
fuzz: setup  ## fuzz every parser of foreign bytes (FUZZ_SECONDS=20 for each of 26)
	$(PYTHON) -m tests.fuzz
bench: setup  ## measure, half an hour; writes docs/benchmarks.md (ONLY='peers cold', ONLY=--quick)
	$(PYTHON) -m benchmarks $(ONLY)
pictures: setup  ## take pictures of the page: .pictures, docs/report.png
	@$(PYTHON) -m tests.pictures
package: setup  ## make .package, the folder that a deployment sends, and list it
	@$(PYTHON) -m tests.package
licences: setup  ## list the licences of what is deployed; fails on one that nobody has allowed
	@$(PYTHON) scripts/packages.py licences
sbom: setup  ## list what is deployed, as .sbom/redeliver.cdx.json (CycloneDX)
	@scripts/supply-chain sbom
audit: setup  ## ask for known vulnerabilities of what is deployed (online)
	@scripts/supply-chain audit
lock: setup  ## pin requirements*.in, with hashes
	$(PYTHON) -m pip install --quiet uv
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-audit.in -o requirements-audit.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt
clean:  ## remove what set-up and tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .azurite .bench .kusto .cards .check-docs .package .sbom .pictures .fuzz mutants
