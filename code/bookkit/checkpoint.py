"""Which checkpoint the book is rendered on."""

import os
from pathlib import Path

POCKET_BERT = Path(__file__).parents[2] / "models" / "pocket-bert"


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
    # Imported here: the tangler runs before the package is there.
    from bert.config import resolve_folder

    return resolve_folder(name)
