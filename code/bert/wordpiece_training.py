# Written from the book by `make tangle`: book/16-training-wordpiece.md.
"""Learning a WordPiece vocabulary from a text."""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

from bert.tokenizer import SPECIAL_TOKENS, BertTokenizer
from bert.wordpiece import CONTINUES, LONGEST_WORD


# book/16-training-wordpiece.md: In a loop
def count_words(texts: Iterable[str], tokenizer: BertTokenizer) -> Counter:
    """Count the words of some texts, cleaned as `tokenizer` cleans."""
    if isinstance(texts, str):
        raise TypeError(f"texts is {texts!r:.40}, wanted a list of texts")
    counts: Counter = Counter()
    for text in texts:
        counts.update(tokenizer.words(text))
    return counts


def letters_of(word: str) -> list[str]:
    """Cut a word into its letters, all but the first with `##` in front."""
    return [word[0], *(CONTINUES + letter for letter in word[1:])]


def glued(left: str, right: str) -> str:
    """The piece that two neighbours make; the right one has a `##`."""
    return left + right.removeprefix(CONTINUES)


def merge_in(cut: list[str], pair: tuple[str, str]) -> list[str]:
    """Glue a pair wherever it stands in one word, from the left."""
    merged: list[str] = []
    for piece in cut:
        if merged and (merged[-1], piece) == pair:
            merged[-1] = glued(*pair)
        else:
            merged.append(piece)
    return merged


# book/16-training-wordpiece.md: The real one
def by_count(together: int, left: int, right: int, total: int) -> float:
    """Score a merge by how often the two pieces stand together."""
    return float(together)


def by_likelihood(together: int, left: int, right: int, total: int) -> float:
    """Score a merge by how much likelier it makes the text.

    The likelihood is that of pieces drawn one by one, each as often as it
    is counted (Schuster and Nakajima 2012, section 3, name the criterion).
    The glued piece is taken to be new in the text.

    Args:
        together: How often the two would be glued.
        left, right: How often each is counted; for a piece beside itself,
            `right` is what is left of it without the left halves.
        total: How many pieces there are in all.
    """

    def weighted(count: int) -> float:
        return count * math.log(count) if count else 0.0

    before = weighted(left) + weighted(right) - weighted(total)
    after = (
        weighted(together)
        + weighted(left - together)
        + weighted(right - together)
    )
    return after - weighted(total - together) - before


Score = Callable[[int, int, int, int], float]
Pair = tuple[str, str]


def neighbours(cut: list[str]) -> Iterator[Pair]:
    """The pairs that a merge could glue: of three alike in a row, one."""
    before = None
    for pair in pairwise(cut):
        if pair == before:  # its left half is already in a pair
            before = None
        else:
            yield pair
            before = pair


class CutWords:
    """Words cut into pieces, and the counts that a merge changes.

    Args:
        word_counts: How often each word occurs.
    """

    def __init__(self, word_counts: Mapping[str, int]):
        self.cuts = [letters_of(word) for word in word_counts]
        self.often = list(word_counts.values())
        self.pieces: Counter[str] = Counter()
        self.pairs: Counter[Pair] = Counter()
        self.total = 0
        # Which words hold a pair, and which pairs hold a piece.
        self.words_with: defaultdict[Pair, set[int]] = defaultdict(set)
        self.pairs_with: defaultdict[str, set[Pair]] = defaultdict(set)
        for number in range(len(self.cuts)):
            self.add(number)

    def add(self, number: int) -> None:
        """Count the pieces and pairs of one word."""
        cut, often = self.cuts[number], self.often[number]
        self.total += often * len(cut)
        for piece in cut:
            self.pieces[piece] += often
        for pair in neighbours(cut):
            self.pairs[pair] += often
            self.words_with[pair].add(number)
            for piece in pair:
                self.pairs_with[piece].add(pair)

    def remove(self, number: int) -> None:
        """Take the pieces and pairs of one word out of the counts."""
        cut, often = self.cuts[number], self.often[number]
        self.total -= often * len(cut)
        for piece in cut:
            self.pieces[piece] -= often
        for pair in neighbours(cut):
            self.pairs[pair] -= often
            self.words_with[pair].discard(number)

    def merge(self, pair: Pair) -> set[Pair]:
        """Glue a pair wherever it stands.

        Returns:
            The pairs whose score may have risen: those with a piece whose
            count has changed.
        """
        for number in sorted(self.words_with[pair]):
            self.remove(number)
            self.cuts[number] = merge_in(self.cuts[number], pair)
            self.add(number)
        touched = set()
        for piece in {*pair, glued(*pair)}:
            alive = {p for p in self.pairs_with[piece] if self.pairs[p] > 0}
            self.pairs_with[piece] = alive
            touched |= alive
        return touched


def train_wordpiece(
    word_counts: Mapping[str, int],
    size: int,
    score: Score = by_likelihood,
    least: int = 2,
    letters: int = 1000,
) -> list[str]:
    """Learn a vocabulary: the special tokens, the letters, the merges.

    Args:
        word_counts: How often each word occurs.
        size: How many pieces are wanted; fewer when no pair is left.
        score: What to merge first; it may not rise when `total` falls.
        least: How often a pair must occur to be merged.
        letters: How many different characters to keep, the commonest;
            words with others are left out, and become [UNK].

    Raises:
        ValueError: No words are left, one is empty, `least` is below 1, or
            `size` has no room for the letters.
    """
    if least < 1:
        raise ValueError(f"least is {least}, wanted 1 or more")
    if "" in word_counts:
        raise ValueError("a word is empty, wanted one letter or more")
    kept = words_within(word_counts, letters)
    if not kept:
        raise ValueError(
            f"no words to learn from: of {len(word_counts)} none has at most "
            f"{LONGEST_WORD} letters, all among the {letters} commonest"
        )
    words = CutWords(kept)
    vocabulary = [*SPECIAL_TOKENS, *sorted(words.pieces)]
    if size < len(vocabulary):
        raise ValueError(
            f"size is {size}, but the special tokens and the letters "
            f"alone are {len(vocabulary)}"
        )
    known = set(vocabulary)
    queue: list[tuple[float, Pair]] = []

    def enter(pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            if words.pairs[pair] >= least:
                heapq.heappush(queue, (-score_of(words, pair, score), pair))

    enter(words.pairs)
    while len(vocabulary) < size and queue:
        promised, pair = heapq.heappop(queue)
        if words.pairs[pair] < least:
            continue
        # An old promise is too high, never too low: ask again.
        if (now := -score_of(words, pair, score)) != promised:
            heapq.heappush(queue, (now, pair))
            continue
        enter(words.merge(pair))
        if (piece := glued(*pair)) not in known:
            known.add(piece)
            vocabulary.append(piece)
    return vocabulary


def score_of(words: CutWords, pair: Pair, score: Score) -> float:
    """The score of a pair as the words are cut now."""
    left, right = (words.pieces[piece] for piece in pair)
    if pair[0] == pair[1]:
        # One piece loses both halves: first the left ones, then the right.
        right -= words.pairs[pair]
    return score(words.pairs[pair], left, right, words.total)


def words_within(
    word_counts: Mapping[str, int], letters: int
) -> dict[str, int]:
    """The words of the commonest letters, none longer than LONGEST_WORD."""
    counts: Counter[str] = Counter()
    for word, often in word_counts.items():
        for letter in word:
            counts[letter] += often
    common = {letter for letter, _ in counts.most_common(letters)}
    return {
        word: often
        for word, often in word_counts.items()
        if len(word) <= LONGEST_WORD and common.issuperset(word)
    }
