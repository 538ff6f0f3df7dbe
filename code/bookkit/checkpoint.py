"""Which checkpoint the book is rendered on."""

import os
from pathlib import Path

POCKET_BERT = Path(__file__).parents[2] / "models" / "pocket-bert"

# What a chapter opens; a hub repository holds other frameworks' files too.
NEEDED = [
    "config.json",
    "vocab.txt",
    "tokenizer_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
]


def checkpoint_path() -> Path:
    """Return the folder of the checkpoint that all chapters open.

    The environment variable `BERT_CHECKPOINT` names a folder, or a
    repository on the Hugging Face hub, which is then fetched. Without it,
    `models/pocket-bert`. A folder never reaches the network.

    Raises:
        FileNotFoundError: `BERT_CHECKPOINT` is neither a folder nor a
            hub's `owner/name`.
        OSError: The hub could not be reached, or has no such repository.
    """
    name = os.environ.get("BERT_CHECKPOINT", "")
    if not name:
        return POCKET_BERT
    # Chapters run in book/, commands at the root: a relative path may have
    # been meant from either.
    for folder in (Path(name).expanduser(), POCKET_BERT.parents[1] / name):
        if folder.is_dir():
            return folder.resolve()
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"BERT_CHECKPOINT is {name!r}, and there is no such folder"
        )
    return fetch(name)


def fetch(name: str) -> Path:
    """Download what the book needs of a hub repository."""
    # Imported here: a folder is opened without the hub's library.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=NEEDED))
    except Exception as error:
        raise OSError(
            f"BERT_CHECKPOINT is {name!r}, which is no folder here, and "
            f"fetching it from the hub failed ({type(error).__name__}: "
            f"{error}). Check the name and the network, or name a folder "
            "with config.json, vocab.txt and model.safetensors."
        ) from error
