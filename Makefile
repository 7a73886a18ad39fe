# Needs Python 3.11 to 3.13 with venv, and make. Everything else goes into .venv.
PYTHON ?= python3
UV ?= uv
BIN := .venv/bin

.PHONY: demo test check lock clean

demo: .venv/.installed
	$(BIN)/autosearch run studies/digits.py

# Half of the time goes into starting processes that load TensorFlow: two at once pay. Each keeps
# to one thread, since two that share two cores only get into each other's way.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: export TF_NUM_INTRAOP_THREADS = 1
test: .venv/.installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

# The project is installed without build isolation: setuptools comes from the lock like the rest.
.venv/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) found: install Python 3.11 to 3.13, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "$$($(PYTHON) --version) does not fit, 3.11 to 3.13 does: name another one, such as make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv: install it (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing into .venv: about 3 GB, a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv on the path: the one compiler that writes a single file for every platform.
lock:
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --fork-strategy fewest --generate-hashes --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
