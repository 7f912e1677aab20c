# make demo   sets everything up, then trains, exports, simulates on Lava and verifies
# make test   sets everything up, then runs the tests side by side, but for those that take long
# make kill-test   ends commands at random moments, TIMES=100 by each signal, and looks at what is left
# make test-everything   runs these too, and all that need no Lava on Python 3.11 again
# make docs   builds the documentation as a site, into runs/site
# make notebooks   runs the tutorials and stores what they put out
# make dependencies   says which packages are outdated or have known faults
# make locks  writes anew which files have the pinned versions, by their hashes
# A Python 3.10 is found by environment/find-python.sh; name another with make PYTHON=...

VENV := .venv
BIN := $(VENV)/bin
WITHOUT_LAVA := .venv-without-lava
DEMO := runs/demo
# A worker for each core, but not more memory than a laptop has; one that is idle takes over tests.
PYTEST := -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal
MINUTES := 30
CASES := 100
export PYTHON HASHES

TIMES := 100
SEED := 0
RUNS := 2000

.PHONY: setup demo test test-everything fuzz kill-test soak lint docs notebooks dependencies locks clean

setup:
	@environment/make-venv.sh 3.10 $(VENV)

demo: setup
	$(BIN)/tandem-hw train digits --model lenet --epochs 15 --out $(DEMO) --overwrite
	$(BIN)/tandem-hw export $(DEMO)/checkpoint.pt --out $(DEMO)/digits.net --overwrite
	$(BIN)/tandem-hw simulate $(DEMO)/digits.net --backend lava-cpu --json $(DEMO)/simulate.json --overwrite
	$(BIN)/tandem-hw verify $(DEMO)/digits.net --backends reference,lava-cpu --json $(DEMO)/verify.json --overwrite

test: setup
	$(BIN)/python $(PYTEST) -m "not exhaustive"

test-everything: setup
	$(BIN)/python $(PYTEST)
	@environment/make-venv.sh 3.11 $(WITHOUT_LAVA)
	$(WITHOUT_LAVA)/bin/python $(PYTEST)

# Damaged files of every format for so long, each with a limit of memory and time; then so many at
# the command line.
fuzz: setup
	$(BIN)/python -m tests.helpers.fuzz --minutes $(MINUTES)
	$(BIN)/python -m tests.helpers.fuzz.at_command_line --cases $(CASES)

kill-test: setup
	$(BIN)/python -m tests.helpers.kills $(TIMES) $(SEED)
	$(BIN)/python -m tests.helpers.early_interrupts $(TIMES)

# simulate so many times in one process: it must not come to hold more.
soak: setup
	$(BIN)/python -m benchmarks soak --runs $(RUNS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# On Python 3.11, whose mkdocstrings is newer.
docs:
	@environment/make-venv.sh 3.11 $(WITHOUT_LAVA)
	NO_MKDOCS_2_WARNING=1 $(WITHOUT_LAVA)/bin/mkdocs build --strict

notebooks: setup
	$(BIN)/python -m tests.helpers.notebooks

# The lock of Python 3.11 is looked at as well where its environment is there.
dependencies: setup
	@$(BIN)/python environment/check_dependencies.py 3.10 $(VENV) \
	    $(if $(wildcard $(WITHOUT_LAVA)),3.11 $(WITHOUT_LAVA))

locks:
	@environment/make-locks.sh

clean:
	rm -rf $(VENV) $(WITHOUT_LAVA) runs
