"""The referee: transformers' own BERT on the book's checkpoint."""

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

from bookkit.checkpoint import checkpoint_path


def referee(what: str = "model") -> Any:
    """Return transformers' BertForPreTraining, or its BertTokenizer.

    Both are read from `checkpoint_path()`, once for each process: a chapter
    that changes the model's weights works on a `copy.deepcopy` of it.

    Args:
        what: "model" (float32, eager attention, eval mode) or "tokenizer".

    Returns:
        The model; a head that the checkpoint lacks has random weights.
    """
    if what not in ("model", "tokenizer"):
        raise ValueError(f"referee: {what!r}, wanted 'model' or 'tokenizer'")
    folder = str(checkpoint_path())
    return load_tokenizer(folder) if what == "tokenizer" else load(folder)


@functools.cache
def load(folder: str) -> Any:
    """Read the model of a folder, without a word."""
    with quiet():
        import torch
        from transformers import BertForPreTraining

        # A head that is not in the file is filled with random numbers.
        # Opened within inference_mode, its weights could learn nothing later.
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            torch.manual_seed(0)
            model = BertForPreTraining.from_pretrained(
                folder,
                dtype=torch.float32,
                attn_implementation="eager",
                local_files_only=True,
            )
    return model.eval()


@functools.cache
def load_tokenizer(folder: str) -> Any:
    """Read the tokenizer of a folder, without a word."""
    with quiet():
        from transformers import BertTokenizer

        return BertTokenizer.from_pretrained(folder, local_files_only=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing bars, advice and warnings."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging

        level, bars = (
            logging.get_verbosity(),
            logging.is_progress_bar_enabled(),
        )
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
