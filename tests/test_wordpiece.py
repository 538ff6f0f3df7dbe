"""The search for the longest piece."""

import random

import pytest

from bert.wordpiece import longest_piece, split_word

TOY = {"un", "undo", "able", "do", "##do", "##able", "##a", "##s"}


def longest_of_all(word, vocab):
    """Go through the whole vocabulary at each step, as a twin."""
    pieces, start = [], 0
    while start < len(word):
        marks = "##" if start else ""
        fits = [
            piece
            for piece in vocab
            if piece.startswith("##") == bool(start)
            and word.startswith(piece.removeprefix("##"), start)
            and len(piece) > len(marks)
        ]
        if not fits:
            return ["[UNK]"]
        pieces.append(max(fits, key=len))
        start += len(pieces[-1]) - len(marks)
    return pieces


@pytest.mark.parametrize(
    "word, pieces",
    [
        ("undoable", ["undo", "##able"]),
        ("undo", ["undo"]),
        ("undos", ["undo", "##s"]),
        ("dodos", ["do", "##do", "##s"]),
        ("able", ["able"]),
        ("doun", ["[UNK]"]),
        ("s", ["[UNK]"]),
        ("", []),
    ],
)
def test_the_longest_piece_goes_first(word, pieces):
    assert split_word(word, TOY) == pieces


def test_the_search_never_turns_back():
    assert split_word("undoable", {"un", "undo", "##doable"}) == ["[UNK]"]


def test_a_piece_inside_a_word_needs_its_marks():
    assert longest_piece("able", 0, TOY) == "able"
    assert longest_piece("unable", 2, TOY) == "##able"
    assert longest_piece("undo", 2, {"do"}) is None


def test_one_hundred_characters_are_the_limit():
    letters = {"a", "##a"}
    assert split_word("a" * 100, letters) == ["a"] + ["##a"] * 99
    assert split_word("a" * 101, letters) == ["[UNK]"]
    assert split_word("\U0001f600" * 101, {"\U0001f600"}) == ["[UNK]"]


def test_made_up_words_and_vocabularies_agree_with_both_twins():
    from tokenizers.models import WordPiece

    rng = random.Random(0)
    for _ in range(60):
        sizes = [rng.randint(1, 4) for _ in range(25)]
        words = {"".join(rng.choices("abc", k=size)) for size in sizes}
        vocab = {rng.choice(["", "##"]) + word for word in sorted(words)}
        ids = {token: n for n, token in enumerate(sorted(vocab | {"[UNK]"}))}
        judge = WordPiece(ids, unk_token="[UNK]")
        for _ in range(50):
            word = "".join(rng.choices("abc", k=rng.randint(1, 9)))
            found = split_word(word, vocab)
            assert found == [token.value for token in judge.tokenize(word)]
            assert found == longest_of_all(word, vocab)
