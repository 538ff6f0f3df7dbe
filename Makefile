# The book, its package and its checks. `make book` and `make test` need
# nothing but Python 3.11 or later, and Chromium for the pages' audit;
# everything else they install themselves, into .venv.

PYTHON ?= python3
BIN = .venv/bin
RUN = PYTHONPATH=code $(BIN)/python

# A BERT folder, or a name on the Hugging Face hub; else models/pocket-bert.
CHECKPOINT ?= $(BERT_CHECKPOINT)
export BERT_CHECKPOINT := $(CHECKPOINT)

# The folder that gets _build.
OUT ?= .
HTML = $(OUT)/_build/html
LINTED = code tests benchmarks book/_ext

.NOTPARALLEL:
.PHONY: book book-base tangle drawings live-picture check pytest audit test pdf bench \
        pocket-bert clean

book: .venv/ready tangle
	rm -rf $(OUT)/_build
	$(BIN)/jupyter-book build . --path-output $(OUT) -W --keep-going
	@echo; echo "Open $(abspath $(HTML))/index.html"

# The book on random weights of bert-base's exact size and layout.
book-base: .venv/ready
	$(RUN) -m bookkit.random_base .cache/random-base
	$(MAKE) book CHECKPOINT=.cache/random-base OUT=.cache/book-base

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), sys.version"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

tangle: .venv/ready
	$(RUN) -m bookkit.tangle

drawings: .venv/ready
	$(RUN) -m bookkit.drawing

# The landing page's pictures of the live page; after `make book`.
live-picture: .venv/ready
	$(RUN) -m bookkit.live_picture $(HTML)

check: .venv/ready
	$(RUN) -m bookkit.tangle --check
	$(RUN) -m bookkit.drawing --check
	$(RUN) -m bookkit.prose
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy code
	$(BIN)/codespell book README.md CONTRIBUTING.md

pytest: .venv/ready
	$(RUN) -m pytest

audit: .venv/ready
	$(RUN) -m bookkit.audit $(HTML)

# Everything, the book from nothing included.
test: check pytest book audit

pdf: .venv/ready
	$(RUN) -m bookkit.pdf $(HTML) $(OUT)/_build/bert.pdf

bench: .venv/ready
	$(RUN) -m benchmarks $(BENCH_ARGS)

pocket-bert: .venv/ready
	$(RUN) -m bookkit.pocket_bert $(POCKET_ARGS)

clean:
	rm -rf _build .cache
