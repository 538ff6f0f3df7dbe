"""Let a chapter's cells run as the package has them, pieces put in.

`%load_ext bookkit.pieces` in a chapter's first cell. A line `# <<name>>` then
stands for the piece `#| id: name` when the cell runs, as it does when the
book is tangled; and a piece's own cell, which would make no sense alone, is
kept instead of run. The piece that was run last in this session counts, so
that a reader can change it; before that, the one in the book.
"""

import re
from pathlib import Path
from typing import Any

BOOK = Path(__file__).resolve().parents[2] / "book"
PIECE = re.compile(r"#\| id: ([\w-]+)\n")
REFERENCE = re.compile(r"^( *)# <<([\w-]+)>>[ ]*\n", re.MULTILINE)


def pieces_of_the_book() -> dict[str, str]:
    """Return the text of every piece in the chapters, by name."""
    cells = re.compile(r"^#\| id: ([\w-]+)\n(.*?)^```", re.M | re.S)
    return {
        found[1]: found[2]
        for path in sorted(BOOK.glob("*.md"))
        for found in cells.finditer(path.read_text(encoding="utf-8"))
    }


class Pieces:
    """An input transformer: it sees each cell before Python does."""

    def __init__(self) -> None:
        self.known = pieces_of_the_book()

    def __call__(self, lines: list[str]) -> list[str]:
        """Keep a piece, or put pieces into a cell that names them."""
        source = "".join(lines)
        if found := PIECE.match(source):
            self.known[found[1]] = source[found.end() :] + "\n"
            return ["pass\n"]
        return self.put_in(source).splitlines(keepends=True)

    def put_in(self, source: str) -> str:
        """Replace every reference by its piece, indented as it stands."""
        return REFERENCE.sub(self.piece, source)

    def piece(self, reference: re.Match) -> str:
        """The lines that one reference stands for."""
        indent, name = reference.groups()
        if name not in self.known:
            raise KeyError(f"no cell of the book has `#| id: {name}`")
        lines = self.put_in(self.known[name]).rstrip("\n").split("\n")
        return "".join(f"{indent}{x}\n" if x else "\n" for x in lines)


def load_ipython_extension(shell: Any) -> None:
    """Called by `%load_ext bookkit.pieces`."""
    shell.input_transformers_cleanup.append(Pieces())
