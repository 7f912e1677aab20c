# make demo   sets everything up, then trains, exports, simulates on Lava and verifies
# make test   sets everything up, then runs the tests
# A Python 3.10 is found by environment/find-python.sh; name another with make PYTHON=...

VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
export PYTHON

.PHONY: setup demo test lint clean

setup:
	@environment/make-venv.sh 3.10 $(VENV)

demo: setup
	$(BIN)/tandem-hw train digits --model lenet --epochs 15 --out $(DEMO) --overwrite
	$(BIN)/tandem-hw export $(DEMO)/checkpoint.pt --out $(DEMO)/digits.net
	$(BIN)/tandem-hw simulate $(DEMO)/digits.net --backend lava-cpu --json $(DEMO)/simulate.json
	$(BIN)/tandem-hw verify $(DEMO)/digits.net --backends reference,lava-cpu --json $(DEMO)/verify.json

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-without-lava runs
