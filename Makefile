# Two commands for everybody: `make demo` and `make test`. The rest is for those who change the program.
# PYTHON=… makes .venv with that one (3.11.2 to 3.13); ARGS=… goes to pytest.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
PYTHON_CODE := exchange keys audit proto bench tests examples
# Names of ours that vermin takes for Python 2's, and then leaves the whole file unread.
LIKENESSES := --exclude file --exclude str.decode

.PHONY: demo install test slow testbed lint bench bench-check plain soak mutants transcripts lock clean

demo: .venv/run.stamp ## the 25 bulletins between the 18 agencies, then an auditor
	@$(BIN)/exchange demo

install: .venv/run.stamp ## the program alone, each package pinned by its hash: .venv/bin/exchange

test: testbed ## every test but those that only repeat, some minutes
	@$(PYTEST) -m 'not slow' $(ARGS)

slow: testbed ## the tests that test leaves out; .ci/run runs both
	@$(PYTEST) -m slow $(ARGS)

testbed: .venv/dev.stamp
	@.ci/packages
	@tests/tlog/install || echo 'without aics-tlog some tests are skipped' >&2
	@tests/other_python || echo 'without another Python a test is skipped' >&2

lint: .venv/dev.stamp ## style, types, the oldest Python, generated code, schemas
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/vermin -q --violations --no-tips --no-parse-comments -t=3.11- $(LIKENESSES) $(PYTHON_CODE)
	@$(BIN)/python proto/generate.py --check
	@$(BIN)/python proto/generate.py --lint

bench: .venv/dev.stamp ## figures as shares of bounds computed in the same run; ARGS="--quick ingest" for one
	@bench/install
	@$(BIN)/python -m bench $(ARGS)

bench-check: .venv/dev.stamp ## fails where a bulletin takes 15 % more CPU than bench/figures.json says
	@$(BIN)/python -m bench --check $(ARGS)

plain: testbed ## every test with the fast ways off: the laws alone decide (docs/decisions/0026)
	@EXCHANGE_PLAIN=1 $(PYTEST) $(ARGS)

soak: testbed ## every test, its loops 15 times as long and its random values new ones; hours
	@EXCHANGE_TEST_SCALE=$${EXCHANGE_TEST_SCALE:-15} $(PYTEST) --timeout 3600 $(ARGS)

mutants: .venv/dev.stamp ## removes each numbered check of the acts; fails if the tests stay green
	@$(BIN)/python tests/mutants.py $(ARGS)

transcripts: .venv/dev.stamp ## regenerates the command transcripts
	@$(BIN)/python -m tests.transcripts $(ARGS)

lock: ## the four lock files, from pyproject.toml (needs uv)
	@uv pip compile -q --generate-hashes --python-version 3.11.2 --no-header --no-emit-index-url pyproject.toml -o requirements/run.txt
	@uv pip compile -q --generate-hashes --python-version 3.11.2 --no-header --no-emit-index-url --extra dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@printf 'aics-tlog==0.2.1\n' | uv pip compile -q --generate-hashes --python-version 3.12 --no-header --no-emit-index-url - -o requirements/tlog.txt
	@printf 'hatchling==1.33.0\neditables>=0.5\n' | uv pip compile -q --generate-hashes --python-version 3.11.2 --no-header --no-emit-index-url -c requirements/dev.txt - -o requirements/build.txt

clean:
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A fresh Debian has no ensurepip; only root may put it there.
.venv/made.stamp:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy python3-venv; \
	  else echo 'sudo apt-get install -y python3-venv' >&2; exit 1; fi
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run.stamp: .venv/made.stamp requirements/run.txt requirements/build.txt pyproject.toml
	@$(PIP) install -q --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	@$(PIP) install -q --require-hashes -r requirements/dev.txt
	@touch $@
