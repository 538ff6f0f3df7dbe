# Written from the book by `make tangle`: book/20-fast-tokenizer.md.
"""The same ids, faster: each chunk of a text is worked out once."""

import re
import unicodedata
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

from bert.normalization import PUNCTUATION, normalize, separate
from bert.tokenizer import SPECIAL_PATTERN, SPECIAL_TOKENS, BertTokenizer
from bert.wordpiece import CONTINUES, LONGEST_WORD

# book/20-fast-tokenizer.md: A dictionary that works out what it lacks
Key = TypeVar("Key", bound=int | str)
Value = TypeVar("Value")
LIMIT = 2**16  # keys that are kept
LONGEST_KEY = 64  # characters; a longer key would fill the memory


class Remembered(dict[Key, Value]):
    """A dict that works out what it lacks, and forgets all when full.

    Args:
        work_out: From a key to its value.
    """

    def __init__(self, work_out: Callable[[Key], Value]):
        super().__init__()
        self.work_out = work_out

    def __missing__(self, key: Key) -> Value:
        value = self.work_out(key)
        if isinstance(key, int) or len(key) <= LONGEST_KEY:
            if len(self) >= LIMIT:
                self.clear()
            self[key] = value
        return value


# book/20-fast-tokenizer.md: A table for characters, a memory for words
# These str.split would split at, but BERT deletes them.
SPLIT_BUT_DELETED = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
# Stands for a character that must be seen with its neighbours. No text
# contains it after cleaning.
NOT_ALONE = "\0"


class BertTokenizerFast(BertTokenizer):
    """A `BertTokenizer` that remembers: the same arguments and ids.

    It reads its settings once, when it is made.
    """

    def __init__(self, *arguments, **settings) -> None:
        super().__init__(*arguments, **settings)
        self.continuing = {
            token.removeprefix(CONTINUES): index
            for token, index in self.vocab.items()
            if token.startswith(CONTINUES)
        }
        self.longest_piece = max(map(len, self.vocab))
        self.characters = Remembered(self.cleaned)
        self.known_words = Remembered(self.word_ids)
        self.known_chunks = Remembered(self.chunk_ids)

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without `[CLS]` and `[SEP]` around it."""
        if "[" not in text:
            return self.ids_without_special(text)
        # Special tokens are found in the raw text, wherever they stand.
        found = []
        for part in SPECIAL_PATTERN.split(text):
            if part in SPECIAL_TOKENS:
                found.append(self.vocab[part])
            else:
                found += self.ids_without_special(part)
        return found

    def ids_without_special(self, text: str) -> list[int]:
        """The ids of a text in which no special token is looked for."""
        if SPLIT_BUT_DELETED.search(text):
            text = SPLIT_BUT_DELETED.sub("", text)
        known = map(self.known_chunks.__getitem__, text.split())
        return list(chain.from_iterable(known))

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

    def chunk_ids(self, chunk: str) -> tuple[int, ...]:
        """The ids of a chunk, or of any text without a special token."""
        text = chunk.translate(self.characters)
        words = self.words(chunk) if NOT_ALONE in text else text.split()
        if len(words) > 8:
            known = map(self.known_words.__getitem__, words)
            return tuple(chain.from_iterable(known))
        found: tuple[int, ...] = ()
        for word in words:  # few: adding tuples is quicker than collecting
            found += self.known_words[word]
        return found

    def word_ids(self, word: str) -> tuple[int, ...]:
        """The ids of a cleaned word's pieces, the longest that fits first."""
        if len(word) > LONGEST_WORD:
            return (self.unk_token_id,)
        if word in self.vocab:
            return (self.vocab[word],)
        found, start, pieces = [], 0, self.vocab
        while start < len(word):
            for end in range(
                min(len(word), start + self.longest_piece), start, -1
            ):
                index = pieces.get(word[start:end])
                if index is not None:
                    break
            else:  # no piece fits here
                return (self.unk_token_id,)
            found.append(index)
            start, pieces = end, self.continuing
        return tuple(found)
