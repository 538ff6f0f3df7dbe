# The book, its package and its checks. `make book` and `make test` need
# nothing but Python 3.11 or later; everything else they install themselves.

PYTHON ?= python3
BIN = .venv/bin
RUN = PYTHONPATH=code $(BIN)/python
OUT ?= _build
CHECKPOINT ?=
export BERT_CHECKPOINT = $(CHECKPOINT)
export OMP_NUM_THREADS ?= 2

.PHONY: book book-base tangle drawings check pytest test audit pdf bench \
        pocket-bert clean

book: .venv/ready tangle
	rm -rf $(OUT)
	$(BIN)/jupyter-book build . --path-output $(dir $(OUT)/) -W --keep-going
	@echo; echo "Open $(CURDIR)/$(OUT)/html/index.html"

book-base: .venv/ready
	$(RUN) -m bookkit.random_base .cache/random-base
	$(MAKE) book CHECKPOINT=$(CURDIR)/.cache/random-base OUT=_build-base/_build

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), sys.version"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on -r requirements.txt
	$(BIN)/python -m pip install --no-deps -e .
	touch $@

tangle: .venv/ready
	$(RUN) -m bookkit.tangle

drawings: .venv/ready
	$(RUN) -m bookkit.drawing

check: .venv/ready
	$(RUN) -m bookkit.tangle --check
	$(RUN) -m bookkit.drawing --check
	$(RUN) -m bookkit.prose
	$(BIN)/ruff check code tests benchmarks
	$(BIN)/ruff format --check code tests benchmarks
	$(BIN)/mypy code
	$(BIN)/codespell book README.md CONTRIBUTING.md

pytest: .venv/ready
	$(RUN) -m pytest -q

audit: .venv/ready
	$(RUN) -m bookkit.audit $(OUT)/html

test: check pytest book audit

pdf: .venv/ready
	$(RUN) -m bookkit.pdf $(OUT)/html $(OUT)/bert.pdf

bench: .venv/ready
	$(RUN) -m benchmarks $(BENCH_ARGS)

pocket-bert: .venv/ready
	$(RUN) -m bookkit.pocket_bert $(POCKET_ARGS)

clean:
	rm -rf _build _build-base .cache
