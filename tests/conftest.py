"""What several tests share: the shipped checkpoint, and random small ones."""

from pathlib import Path

import pytest

from bookkit.random_base import LAYOUTS, SMALL, write_checkpoint

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def pocket() -> Path:
    """The checkpoint that the book ships."""
    return ROOT / "models" / "pocket-bert"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random checkpoints with distinct odd sizes, one for each layout."""
    folders = {}
    for layout in LAYOUTS:
        folders[layout] = tmp_path_factory.mktemp(layout)
        write_checkpoint(folders[layout], SMALL, layout=layout)
    return folders
