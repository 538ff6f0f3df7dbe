# Written from the book by `make tangle`: book/03-wordpiece.md.
"""Cutting a word into pieces that the vocabulary holds."""

from collections.abc import Container

# book/03-wordpiece.md: The rule in code
UNKNOWN = "[UNK]"
CONTINUES = "##"  # a piece that is not the start of its word
LONGEST_WORD = 100  # characters; a longer word is unknown


def longest_piece(word: str, start: int, vocab: Container[str]) -> str | None:
    """Find the longest piece of the vocabulary that fits at `start`.

    Returns:
        The piece, with `##` before it unless it starts the word, or None.
    """
    prefix = CONTINUES if start else ""
    for end in range(len(word), start, -1):
        piece = prefix + word[start:end]
        if piece in vocab:
            return piece
    return None


def split_word(word: str, vocab: Container[str]) -> list[str]:
    """Cut one word into pieces, the longest that fits first.

    Args:
        word: A word of a normalized text, without white space.
        vocab: All pieces, the continuing ones written `##like`.

    Returns:
        The pieces in order, or `["[UNK]"]` alone when some part of the
        word has no piece or the word is longer than 100 characters.
    """
    if len(word) > LONGEST_WORD:
        return [UNKNOWN]
    pieces: list[str] = []
    start = 0
    while start < len(word):
        piece = longest_piece(word, start, vocab)
        if piece is None:
            return [UNKNOWN]
        pieces.append(piece)
        start += len(piece) - (len(CONTINUES) if start else 0)
    return pieces
