"""Pairs, masks and labels: shares, places, segments, padding, bad input."""

import random
import re
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from bert.config import BertConfig
from bert.heads import BertForPreTraining
from bert.pretraining_data import (
    Example,
    Masking,
    Pieces,
    choose_places,
    joined,
    lay_out,
    make_batch,
    mask_row,
    sentence_pair,
    stretches,
)

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]
VOCABULARY += [f"w{n}" for n in range(30)] + [f"##c{n}" for n in range(9)]
PIECES = Pieces.of(VOCABULARY)
WORD, GOES_ON = 6, 36  # the first ids of either kind


def row(length, chance=None):
    """A row of words between [CLS] and [SEP]."""
    chance = chance or random.Random(0)
    inside = [chance.randrange(WORD, GOES_ON) for _ in range(length)]
    return [PIECES.cls, *inside, PIECES.sep]


def test_pieces_are_found_by_name():
    assert (PIECES.pad, PIECES.cls, PIECES.sep, PIECES.mask) == (0, 2, 3, 4)
    assert PIECES.ordinary == tuple(range(WORD, len(VOCABULARY)))
    assert PIECES.continuing == set(range(GOES_ON, len(VOCABULARY)))


def test_a_vocabulary_without_special_pieces_is_refused():
    with pytest.raises(ValueError, match=r"of 2 pieces lacks \[CLS\], \[SEP"):
        Pieces.of(["[PAD]", "a"])


def test_a_vocabulary_without_an_order_is_refused():
    for vocabulary in ({p: n for n, p in enumerate(VOCABULARY)}, iter("ab")):
        with pytest.raises(TypeError, match="wanted a list in the order of"):
            Pieces.of(vocabulary)


@pytest.mark.parametrize("length", [0, -1])
def test_stretches_without_room_are_refused(length):
    with pytest.raises(ValueError, match=f"length is {length}, wanted 1"):
        list(stretches([[5, 6, 7], [8, 9]], length))


def test_stretches_keep_every_sentence_whole_and_in_order():
    document = [[n] * n for n in (3, 4, 2, 7, 1, 1)]
    found = list(stretches(document, 8))
    assert found == [document[:2], document[2:3], document[3:5], document[5:]]


def test_a_sentence_longer_than_the_row_is_cut():
    assert list(stretches([[5] * 9, [6]], 4)) == [[[5] * 4], [[6]]]


def test_half_of_the_pairs_follow():
    stretch = [[10, 11], [12], [13, 14, 15]]
    stranger = [[20, 21, 22], [23]]
    chance = random.Random(7)
    labels = Counter()
    for _ in range(2000):
        pair = sentence_pair(stretch, stranger, chance)
        labels[pair.label] += 1
        foreign = {n >= 20 for n in pair.second}
        assert foreign == {pair.label == 1} and max(pair.first) < 20
    assert chisquare(list(labels.values())).pvalue > 0.001


def looks_of_seconds(pairs, stop):
    """Share that ends in `stop`, and mean length, for labels 0 and 1."""
    chance = random.Random(4)

    def stretch():
        count = chance.randint(2, 6)
        return [[9] * chance.randint(3, 25) + [stop] for _ in range(count)]

    seconds = {0: [], 1: []}
    for _ in range(pairs):
        pair = sentence_pair(stretch(), stretch(), chance)
        seconds[pair.label].append(pair.second)
    return [
        (
            sum(second[-1] == stop for second in of) / len(of),
            sum(map(len, of)) / len(of),
        )
        for of in seconds.values()
    ]


def test_the_look_of_the_second_segment_gives_no_answer_away():
    true, foreign = looks_of_seconds(pairs=20_000, stop=8)
    # Four standard errors each; a true second that is never cut inside its
    # last sentence is off by 0.05 and more.
    assert abs(true[0] - foreign[0]) < 0.02
    assert abs(true[1] - foreign[1]) < 0.04 * max(true[1], foreign[1])


@pytest.mark.parametrize("own, foreign", [(5, 20), (20, 5)])
def test_the_length_of_the_second_segment_gives_no_answer_away(own, foreign):
    """One text is short and the other long: both have the short one's room."""
    sentences = {5: 2, 20: 6}
    stretch, stranger = ([[9] * n] * sentences[n] for n in (own, foreign))
    chance, lengths = random.Random(3), {0: Counter(), 1: Counter()}
    for _ in range(2000):
        pair = sentence_pair(stretch, stranger, chance)
        lengths[pair.label][len(pair.second)] += 1
    for found in lengths.values():
        assert sorted(found) == [2, 3, 4, 5]
        assert chisquare(list(found.values())).pvalue > 0.001


def test_no_second_segment_begins_its_document():
    stretch, stranger = [[1], [2], [3]], [[11], [12], [13]]
    chance = random.Random(5)
    firsts = {
        sentence_pair(stretch, stranger, chance).second[0] for _ in range(99)
    }
    assert firsts == {2, 3, 12, 13}


@pytest.mark.parametrize("lengths", [(1, 2), (2, 1), (0, 2)])
def test_a_pair_needs_two_sentences(lengths):
    stretch, stranger = ([[5]] * length for length in lengths)
    found = re.escape(str([1] * min(lengths)))
    with pytest.raises(ValueError, match=f"needs 2 sentences .* {found}$"):
        sentence_pair(stretch, stranger, random.Random(0))


def test_an_empty_sentence_makes_no_pair():
    for texts in (([[5], []], [[5], [6]]), ([[5], [6]], [[], [5, 6]])):
        with pytest.raises(ValueError, match="none empty, found lengths"):
            sentence_pair(*texts, random.Random(0))


@pytest.mark.parametrize("second, label", [([], 1), ([6], -100), ([6], 2)])
def test_a_label_that_does_not_fit_the_second_segment_is_refused(
    second, label
):
    match = f"label is {label} beside {len(second)} ids, wanted 0 or 1 with"
    with pytest.raises(ValueError, match=match):
        Example([5], second, label)


def test_the_three_shares_are_those_of_the_paper():
    counts, chance = Counter(), random.Random(5)
    for _ in range(900):
        ids = row(40, chance)
        seen, labels = mask_row(ids, PIECES, Masking(), chance)
        for here, saw, label in zip(ids, seen, labels, strict=True):
            if label == -100:
                assert saw == here
                continue
            assert label == here
            counts["masked" if saw == PIECES.mask else saw == here] += 1
    total = counts.total()
    assert total == 900 * 6
    # One in 39 swaps draws the same piece again.
    kept = 0.1 + 0.1 / len(PIECES.ordinary)
    expected = [0.8 * total, kept * total, (0.2 - kept) * total]
    found = [counts["masked"], counts[True], counts[False]]
    assert chisquare(found, expected).pvalue > 0.001


@pytest.mark.parametrize("whole_words", [False, True])
def test_all_places_are_asked_for_equally_often(whole_words):
    counts, chance = Counter(), random.Random(2)
    masking = Masking(whole_words=whole_words)
    for _ in range(3000):
        counts.update(choose_places(row(20), PIECES, masking, chance))
    assert sorted(counts) == list(range(1, 21))
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_whole_words_are_chosen_whole_up_to_the_last_place():
    word = [WORD, GOES_ON, GOES_ON + 1]
    ids = [PIECES.cls, *word, WORD + 1, *word, PIECES.sep]
    seen_last = False
    for seed in range(50):
        places = choose_places(
            ids, PIECES, Masking(0.43, whole_words=True), random.Random(seed)
        )
        for word_places in ({1, 2, 3}, {5, 6, 7}):
            assert word_places & set(places) in (set(), word_places)
        assert len(places) <= 3
        seen_last |= 7 in places
    assert seen_last


def test_a_row_that_begins_within_a_word_does_not_touch_cls():
    """And a word ends at [SEP], though the next piece would carry it on."""
    ids = [PIECES.cls, GOES_ON, GOES_ON + 1, PIECES.sep, GOES_ON, PIECES.sep]
    masking = Masking(0.34, whole_words=True)  # one place: one word fits
    for seed in range(9):
        assert choose_places(ids, PIECES, masking, random.Random(seed)) == [4]


def test_the_shortest_word_is_asked_for_when_none_fits():
    long = [WORD, *range(GOES_ON, GOES_ON + 4)]
    ids = [PIECES.cls, *long, *long[:3], *long[:4], PIECES.sep]
    masking = Masking(whole_words=True)
    places = choose_places(ids, PIECES, masking, random.Random(0))
    assert places == [6, 7, 8]


@pytest.mark.parametrize("length, count", [(1, 1), (9, 1), (11, 2), (17, 3)])
def test_the_share_is_rounded_to_the_nearest_count(length, count):
    places = choose_places(row(length), PIECES, Masking(), random.Random(0))
    assert len(places) == count


NAN = float("nan")


@pytest.mark.parametrize(
    "shares",
    [
        (1.1, 0.8, 0.1), (-0.1, 0.8, 0.1), (0.15, 1.1, -0.2), (0.15, 0.9, 0.2),
        (NAN, 0.8, 0.1), (0.15, NAN, 0.1), (0.15, 0.8, NAN),
    ],
)  # fmt: skip
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match=r"from 0 to 1.*found Masking\("):
        Masking(*shares)


def test_swapped_pieces_are_ordinary_ones():
    masking = Masking(share=1.0, masked=0.0, swapped=1.0)
    seen, _ = mask_row(row(500), PIECES, masking, random.Random(1))
    assert set(seen[1:-1]) <= set(PIECES.ordinary)


def test_a_batch_has_segments_padding_and_labels():
    examples = [Example([7, 8], [9], 1), Example([7], [], -100)]
    batch = make_batch(examples, PIECES, Masking(), random.Random(0), 9)
    assert {name: list(t.shape) for name, t in batch.items()} == {
        "input_ids": [2, 9],
        "attention_mask": [2, 9],
        "token_type_ids": [2, 9],
        "labels": [2, 9],
        "next_sentence_label": [2],
    }
    assert batch["token_type_ids"][0].tolist() == [0] * 4 + [1] * 2 + [0] * 3
    assert batch["attention_mask"].sum(dim=1).tolist() == [6, 3]
    assert batch["next_sentence_label"].tolist() == [1, -100]
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
    assert lay_out(examples[1], PIECES) == ([2, 7, 3], [0, 0, 0])


def test_a_generator_makes_the_same_batch_as_a_list():
    examples = [Example([7, 8], [9], 0), Example([7], [8, 9], 1)]
    one, other = (
        make_batch(some, PIECES, Masking(), random.Random(0))
        for some in (examples, iter(examples))
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_empty_and_too_long_batches_are_refused():
    with pytest.raises(ValueError, match="at least one example"):
        make_batch([], PIECES, Masking(), random.Random(0))
    with pytest.raises(ValueError, match="row of 12 ids is longer than 11"):
        make_batch(
            [Example([7] * 10, [], -100)],
            PIECES, Masking(), random.Random(0), 11,
        )  # fmt: skip


def tiny_model():
    """A random model of odd sizes for the vocabulary above."""
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=15,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=22,
        max_position_embeddings=33,
        initializer_range=0.4,
    )
    return BertForPreTraining(config).eval()


def test_what_stands_under_the_padding_changes_no_loss():
    model = tiny_model()
    examples = [Example([7, 8, 9], [11, 12], 0), Example([13], [14], 1)]
    loss = model(
        **make_batch(examples, PIECES, Masking(0.5), random.Random(2))
    ).loss
    batch = make_batch(examples, PIECES, Masking(0.5), random.Random(2), 31)
    padding = batch["attention_mask"] == 0
    batch["input_ids"][padding] = 17
    batch["token_type_ids"][padding] = 1
    torch.testing.assert_close(model(**batch).loss, loss)


def test_joined_sentences_are_one_list():
    assert joined([[1, 2], [], [3]]) == [1, 2, 3]
