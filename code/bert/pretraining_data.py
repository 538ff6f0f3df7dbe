# Written from the book by `make tangle`: book/17-pretraining-data.md.
"""From documents to batches: pairs of segments, masks and labels."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bert.heads import IGNORED

# book/17-pretraining-data.md: What must be known of a vocabulary
Sentence = list[int]
Document = list[Sentence]


@dataclass(frozen=True)
class Pieces:
    """What masking must know of a vocabulary, as ids.

    Attributes:
        pad, cls, sep, mask: The special pieces.
        ordinary: The pieces that may stand in for another: all but those
            in square brackets.
        continuing: The pieces that carry on a word, written with ##.
    """

    pad: int
    cls: int
    sep: int
    mask: int
    ordinary: tuple[int, ...]
    continuing: frozenset[int]

    @staticmethod
    def of(vocabulary: Sequence[str]) -> "Pieces":
        """Look the pieces up in a vocabulary, a list in the order of ids.

        Raises:
            TypeError: It is no list; a dict may have another order.
            ValueError: A special piece is not there.
        """
        if not isinstance(vocabulary, list | tuple):
            raise TypeError(
                f"vocabulary is a {type(vocabulary).__name__}, wanted a list "
                "in the order of the ids, such as tokenizer.tokens"
            )
        ids = {piece: number for number, piece in enumerate(vocabulary)}
        special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
        absent = [piece for piece in special if piece not in ids]
        if absent:
            raise ValueError(
                f"the vocabulary of {len(vocabulary)} pieces lacks "
                f"{', '.join(absent)}; pretraining needs {', '.join(special)}"
            )
        bracketed = {p for p in vocabulary if p[:1] == "[" and p[-1:] == "]"}
        return Pieces(
            pad=ids["[PAD]"],
            cls=ids["[CLS]"],
            sep=ids["[SEP]"],
            mask=ids["[MASK]"],
            ordinary=tuple(ids[p] for p in vocabulary if p not in bracketed),
            continuing=frozenset(ids[p] for p in vocabulary if p[:2] == "##"),
        )


# book/17-pretraining-data.md: From documents to pairs
def stretches(document: Document, length: int) -> Iterator[Document]:
    """Cut a document into runs of whole sentences, as long as fit.

    Args:
        document: Its sentences, each a list of ids.
        length: The most ids in one run; a longer sentence is cut off.

    Raises:
        ValueError: `length` has no room for an id.
    """
    if length < 1:
        raise ValueError(f"length is {length}, wanted 1 or more")
    run: Document = []
    used = 0
    for sentence in document:
        sentence = sentence[:length]
        if run and used + len(sentence) > length:
            yield run
            run, used = [], 0
        run.append(sentence)
        used += len(sentence)
    if run:
        yield run


def joined(sentences: Document) -> Sentence:
    """The ids of several sentences in one list."""
    return [number for sentence in sentences for number in sentence]


@dataclass(frozen=True)
class Example:
    """One row of a batch before its special pieces and its masks.

    Attributes:
        first: The ids of the first segment.
        second: Those of the second; empty when there is one segment only.
        label: 0 when the second follows the first in its document, 1 when
            it comes from another, -100 when there is no second.

    Raises:
        ValueError: The label does not fit the second segment.
    """

    first: Sentence
    second: Sentence
    label: int

    def __post_init__(self) -> None:
        if self.label not in ((0, 1) if self.second else (IGNORED,)):
            raise ValueError(
                f"the label is {self.label} beside {len(self.second)} ids, "
                f"wanted 0 or 1 with a second segment, {IGNORED} without"
            )


def sentence_pair(
    stretch: Document, stranger: Document, chance: random.Random
) -> Example:
    """Make a pair for next-sentence prediction.

    Devlin et al. 2019, section 3.1, task 2: half of the second segments
    follow the first, half come from another document.

    Args:
        stretch: At least two sentences that follow each other, none empty.
        stranger: The same, from another document.
        chance: The random numbers that cut and choose.

    Raises:
        ValueError: A stretch of fewer than two sentences, or an empty one.
    """
    for sentences in (stretch, stranger):
        if len(sentences) < 2 or not all(sentences):
            raise ValueError(
                "a pair needs 2 sentences or more, none empty, found "
                f"lengths {[len(sentence) for sentence in sentences]}"
            )
    cut = chance.randint(1, len(stretch) - 1)
    own = joined(stretch[cut:])
    foreign = joined(stranger[chance.randint(1, len(stranger) - 1) :])
    # One rule cuts both, so that neither length nor ends tell them apart.
    longest = min(len(own), len(foreign))
    room = chance.randint(max(1, longest // 2), longest)
    follows = chance.random() < 0.5
    second = own if follows else foreign
    return Example(joined(stretch[:cut]), second[:room], int(not follows))


# book/17-pretraining-data.md: Masks
@dataclass(frozen=True)
class Masking:
    """How many places are asked for, and what then stands there.

    The defaults are those of Devlin et al. 2019, section 3.1, task 1. What
    is neither masked nor swapped stays as it is, and is asked for too.

    Attributes:
        share: Of the places without the special pieces.
        masked: Of the chosen places, the share that becomes [MASK].
        swapped: Of the chosen places, the share that becomes another piece.
        whole_words: Whether all pieces of a word are chosen together.

    Raises:
        ValueError: A share is not one of a whole.
    """

    share: float = 0.15
    masked: float = 0.8
    swapped: float = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        shares = (self.share, self.masked, self.swapped)
        whole = all(0 <= share <= 1 for share in shares)
        if not whole or self.masked + self.swapped > 1:
            raise ValueError(
                "wanted shares from 0 to 1, masked and swapped together "
                f"too, found {self}"
            )


def choose_places(
    ids: Sentence, pieces: Pieces, masking: Masking, chance: random.Random
) -> list[int]:
    """Choose the places of a row to ask for, in order.

    The share is counted in pieces; at least one place is chosen, unless
    the row holds special pieces only. Words are taken in random order; one
    with more pieces than are still wanted is passed over.
    """
    words: list[list[int]] = []
    for place, number in enumerate(ids):
        if number in (pieces.cls, pieces.sep, pieces.pad):
            continue
        # A piece right behind [CLS] or [SEP] begins a word, even with ##.
        same_word = number in pieces.continuing and (
            words and words[-1][-1] == place - 1
        )
        if masking.whole_words and same_word:
            words[-1].append(place)
        else:
            words.append([place])
    wanted = max(1, round(masking.share * sum(map(len, words))))
    chosen: list[int] = []
    for word in chance.sample(words, len(words)):
        if len(chosen) + len(word) <= wanted:
            chosen += word
        if len(chosen) == wanted:
            break
    if not chosen and words:  # every word is longer than the share
        chosen = min(words, key=len)
    return sorted(chosen)


def mask_row(
    ids: Sentence, pieces: Pieces, masking: Masking, chance: random.Random
) -> tuple[Sentence, list[int]]:
    """Change the chosen places of a row.

    Returns:
        What the model sees, and the labels: the id that stood there at
        chosen places, -100 elsewhere.
    """
    seen, labels = list(ids), [IGNORED] * len(ids)
    for place in choose_places(ids, pieces, masking, chance):
        labels[place] = ids[place]
        die = chance.random()
        if die < masking.masked:
            seen[place] = pieces.mask
        elif die < masking.masked + masking.swapped:
            seen[place] = chance.choice(pieces.ordinary)
    return seen, labels


# book/17-pretraining-data.md: A batch
def make_batch(
    examples: list[Example],
    pieces: Pieces,
    masking: Masking,
    chance: random.Random,
    length: int | None = None,
) -> dict[str, Tensor]:
    """Lay examples out as the arguments of `BertForPreTraining`.

    Args:
        examples: One for each row.
        pieces: The ids of the special pieces.
        masking: How to mask; called anew, it masks other places.
        chance: Decides what is masked.
        length: What to pad to; None means the longest row.

    Returns:
        `input_ids`, `attention_mask`, `token_type_ids` and `labels`, each
        `[batch, seq]` int64, and `next_sentence_label`, `[batch]`.

    Raises:
        ValueError: No examples, or a row longer than `length`.
    """
    examples = list(examples)  # read twice, which a generator allows once
    if not examples:
        raise ValueError("a batch needs at least one example, found none")
    rows = [lay_out(example, pieces) for example in examples]
    longest = max(len(ids) for ids, _ in rows)
    length = longest if length is None else length
    if longest > length:
        raise ValueError(f"a row of {longest} ids is longer than {length}")
    shape = (len(rows), length)
    batch = {
        "input_ids": torch.full(shape, pieces.pad),
        "attention_mask": torch.zeros(shape, dtype=torch.int64),
        "token_type_ids": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.full(shape, IGNORED),
    }  # each [batch, seq]
    for row, (ids, segments) in enumerate(rows):
        seen, labels = mask_row(ids, pieces, masking, chance)
        batch["input_ids"][row, : len(ids)] = torch.tensor(seen)
        batch["attention_mask"][row, : len(ids)] = 1
        batch["token_type_ids"][row, : len(ids)] = torch.tensor(segments)
        batch["labels"][row, : len(ids)] = torch.tensor(labels)
    batch["next_sentence_label"] = torch.tensor([e.label for e in examples])
    return batch


def lay_out(example: Example, pieces: Pieces) -> tuple[Sentence, list[int]]:
    """Add [CLS] and [SEP], and number the segments 0 and 1."""
    ids = [pieces.cls, *example.first, pieces.sep]
    segments = [0] * len(ids)
    if example.second:
        ids += [*example.second, pieces.sep]
        segments += [1] * (len(example.second) + 1)
    return ids, segments
