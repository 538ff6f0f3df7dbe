# Written from the book by `make tangle`: book/20-fast-tokenizer.md.
"""The same ids, faster: tables clean a text, each word is cut once."""

import unicodedata
from collections.abc import Callable
from typing import TypeVar

from bert.normalization import PUNCTUATION, normalize, separate
from bert.tokenizer import SPECIAL_PATTERN, SPECIAL_TOKENS, BertTokenizer
from bert.wordpiece import LONGEST_WORD, split_word

# book/20-fast-tokenizer.md: A dictionary that works out what it lacks
Key = TypeVar("Key", bound=int | str)
Value = TypeVar("Value")
LIMIT = 2**16  # keys that are kept beside those known from the start
LONGEST_KEY = 64  # characters; longer keys take room and rarely return


class Remembered(dict[Key, Value]):
    """A dict whose `[key]` works out what is missing, and keeps it.

    It does not keep keys of more than `LONGEST_KEY` characters. When it is
    full, with `LIMIT` keys more than at the start, it forgets those.

    Args:
        work_out: From a key to its value.
        known: What it knows from the start and never forgets.
    """

    def __init__(
        self, work_out: Callable[[Key], Value], known: dict[Key, Value]
    ) -> None:
        super().__init__(known)
        self.work_out = work_out
        self.n_known = len(known)

    def __missing__(self, key: Key) -> Value:
        value = self.work_out(key)
        if isinstance(key, int) or len(key) <= LONGEST_KEY:
            if len(self) >= self.n_known + LIMIT:
                # Not del: another thread may be forgetting the same keys.
                for later in list(self)[self.n_known :]:
                    self.pop(later, None)
            self[key] = value
        return value


# book/20-fast-tokenizer.md: Tables for characters
# Stands for a character that must be seen with its neighbours. Cleaning
# drops it, so no cleaned text contains it.
NOT_ALONE = "\0"
ASCII = range(128)


class BertTokenizerFast(BertTokenizer):
    """A `BertTokenizer` that remembers words: same arguments, same ids.

    Its settings and `vocab` must not be changed afterwards: the tables are
    made from them once.
    """

    def __init__(self, *arguments, **settings) -> None:
        super().__init__(*arguments, **settings)
        ascii_cleaned = {code: self.cleaned(code) for code in ASCII}
        self.known_characters = Remembered(self.cleaned, ascii_cleaned)
        # With None for nothing, str.translate stays on its quick way.
        self.ascii_table = {
            code: text or None
            for code, text in ascii_cleaned.items()
            if len(text) <= 1
        }
        # Each sign becomes itself between blanks, and no other sign: so the
        # order of the replacements does not matter.
        self.set_apart = {
            chr(code): text
            for code, text in ascii_cleaned.items()
            if len(text) > 1
        }
        tokens: dict[str, tuple[int, ...]] = {
            token: (index,)
            for token, index in self.vocab.items()
            if len(token) <= LONGEST_WORD  # a longer word is unknown
        }
        self.known_words = Remembered(self.word_ids, tokens)

    def cleaned(self, code: int) -> str:
        """What stands for one character of a text, by its code point.

        Nothing if it is dropped, itself between blanks if it is a word of its
        own, `NOT_ALONE` if it must be seen with its neighbours.
        """
        stripping = self.strip_accents
        if stripping is None:
            stripping = self.do_lower_case
        text = normalize(
            chr(code),
            self.do_lower_case,
            self.tokenize_chinese_chars,
            self.strip_accents,
        )
        if stripping and any(map(unicodedata.combining, text)):
            return NOT_ALONE
        return separate(text, PUNCTUATION)

    def words(self, text: str) -> list[str]:
        """Clean a text as this checkpoint wants it, and cut it into words."""
        if text.isascii():
            text = text.translate(self.ascii_table)
            for sign, between_blanks in self.set_apart.items():
                if sign in text:
                    text = text.replace(sign, between_blanks)
            return text.split()
        found = text.translate(self.known_characters)
        return super().words(text) if NOT_ALONE in found else found.split()

    def word_ids(self, word: str) -> tuple[int, ...]:
        """The ids of a cleaned word's pieces."""
        pieces = split_word(word, self.vocab)
        return tuple(map(self.vocab.__getitem__, pieces))

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without `[CLS]` and `[SEP]` around it."""
        found = []
        # Special tokens are found in the raw text: cleaning breaks them up.
        for part in SPECIAL_PATTERN.split(text):
            if part in SPECIAL_TOKENS:
                found.append(self.vocab[part])
                continue
            for known in map(self.known_words.__getitem__, self.words(part)):
                found += known
        return found
