# Written from the book by `make tangle`: book/20-fast-tokenizer.md.
"""The same ids, faster: tables clean a text, each word is cut once."""

import unicodedata
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from bert.normalization import PUNCTUATION, normalize, separate
from bert.tokenizer import SPECIAL_PATTERN, SPECIAL_TOKENS, BertTokenizer
from bert.wordpiece import LONGEST_WORD, split_word

# book/20-fast-tokenizer.md: A dictionary that works out what it lacks
Key = TypeVar("Key", bound=int | str)
Value = TypeVar("Value")
LIMIT = 2**16  # keys that are kept beside those that stay
LONGEST_KEY = 64  # characters; a longer key would fill the memory


class Remembered(dict[Key, Value]):
    """A dict that works out what it lacks, and forgets it when full.

    Args:
        work_out: From a key to its value.
        known: What it knows from the start and never forgets.
    """

    def __init__(
        self, work_out: Callable[[Key], Value], known: dict[Key, Value]
    ) -> None:
        super().__init__(known)
        self.work_out = work_out
        self.stay = len(known)

    def __missing__(self, key: Key) -> Value:
        value = self.work_out(key)
        if isinstance(key, int) or len(key) <= LONGEST_KEY:
            if len(self) >= self.stay + LIMIT:
                for later in list(islice(self, self.stay, None)):
                    del self[later]
            self[key] = value
        return value


# book/20-fast-tokenizer.md: Tables for characters
# Stands for a character that must be seen with its neighbours. No text
# contains it after cleaning.
NOT_ALONE = "\0"
ASCII = range(128)


class BertTokenizerFast(BertTokenizer):
    """A `BertTokenizer` that remembers: the same arguments and ids.

    It reads its settings once, when it is made.
    """

    def __init__(self, *arguments, **settings) -> None:
        super().__init__(*arguments, **settings)
        ascii_cleaned = {code: self.cleaned(code) for code in ASCII}
        self.characters = Remembered(self.cleaned, ascii_cleaned)
        self.single = {
            code: text for code, text in ascii_cleaned.items() if len(text) < 2
        }
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
        """What stands for one character of a text, by its code point."""
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
            text = text.translate(self.single)
            for sign, between_blanks in self.set_apart.items():
                if sign in text:
                    text = text.replace(sign, between_blanks)
            return text.split()
        cleaned = text.translate(self.characters)
        return super().words(text) if NOT_ALONE in cleaned else cleaned.split()

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
            for ids in map(self.known_words.__getitem__, self.words(part)):
                found += ids
        return found
