"""Learning a vocabulary: against a recount, by hand, and with bad input."""

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.tokenizer import SPECIAL_TOKENS, BertTokenizer
from bert.wordpiece import split_word
from bert.wordpiece_training import (
    CutWords,
    by_count,
    by_likelihood,
    count_words,
    glued,
    letters_of,
    merge_in,
    neighbours,
    score_of,
    train_wordpiece,
)

WORDS = st.dictionaries(
    st.text("abc", min_size=1, max_size=7),
    st.integers(1, 9),
    min_size=1,
    max_size=9,
)
TOY = {"the": 6, "then": 2, "hen": 3, "ten": 4}


def recount(cuts, often):
    """Count pieces, and pairs as often as they can be glued."""
    pieces, pairs = Counter(), Counter()
    for word, cut in cuts.items():
        for piece in cut:
            pieces[piece] += often[word]
        for pair in set(pairwise(cut)):
            pairs[pair] += often[word] * (len(cut) - len(merge_in(cut, pair)))
    return pieces, pairs


def train_slowly(words, size, score):
    """The same algorithm with all counts made anew for each merge."""
    cuts = {word: letters_of(word) for word in words}
    vocabulary = [*SPECIAL_TOKENS, *sorted(recount(cuts, words)[0])]
    while len(vocabulary) < size:
        pieces, pairs = recount(cuts, words)
        ranked = [
            (
                -score(n, pieces[a], pieces[b] - n * (a == b), pieces.total()),
                (a, b),
            )
            for (a, b), n in pairs.items()
            if n >= 2
        ]
        if not ranked:
            break
        best = min(ranked)[1]
        cuts = {word: merge_in(cut, best) for word, cut in cuts.items()}
        if glued(*best) not in vocabulary:
            vocabulary.append(glued(*best))
    return vocabulary


@pytest.mark.parametrize("score", [by_count, by_likelihood])
@settings(max_examples=60, deadline=None)
@given(words=WORDS)
def test_kept_counts_learn_what_a_recount_learns(score, words):
    assert train_wordpiece(words, 30, score) == train_slowly(words, 30, score)


@settings(max_examples=40, deadline=None)
@given(words=WORDS)
def test_counts_after_merges_equal_a_recount(words):
    kept = CutWords(words)
    for _ in range(4):
        alive = [pair for pair, n in kept.pairs.items() if n > 0]
        if not alive:
            break
        kept.merge(min(alive))
    cuts = dict(zip(words, kept.cuts, strict=True))
    pieces, pairs = recount(cuts, words)
    assert +kept.pieces == pieces and +kept.pairs == pairs
    assert kept.total == pieces.total()


def test_count_and_likelihood_disagree_on_the_toy_text():
    letters = len(SPECIAL_TOKENS) + len(
        {p for w in TOY for p in letters_of(w)}
    )
    assert train_wordpiece(TOY, letters + 1, by_count)[-1] == "##en"
    assert train_wordpiece(TOY, letters + 1, by_likelihood)[-1] == "th"


def log_probability(counts):
    """The log probability of pieces that are drawn by their shares."""
    total = sum(counts)
    return sum(n * math.log(n / total) for n in counts if n)


def test_likelihood_is_the_gain_of_the_log_probability():
    gain = log_probability([7 - 4, 5 - 4, 4, 11]) - log_probability([7, 5, 11])
    assert by_likelihood(4, 7, 5, 23) == pytest.approx(gain, rel=1e-12)


def test_the_gain_of_few_merges_is_the_count_times_the_log_of_chance_less_1():
    """For a pair that is rare beside its halves."""
    left, right, total = 80_000, 50_000, 3_000_000_000
    for together in (5, 40):
        times_chance = together * total / (left * right)
        about = together * (math.log(times_chance) - 1)
        gain = by_likelihood(together, left, right, total)
        assert gain == pytest.approx(about, rel=1e-2)


@settings(max_examples=60, deadline=None)
@given(words=WORDS)
def test_the_score_of_any_pair_is_the_gain_of_merging_it(words):
    """Pairs of one piece with itself too, and three alike in a row."""
    for pair in CutWords(words).pairs:
        cut = CutWords(words)
        before = log_probability(cut.pieces.values())
        score = score_of(cut, pair, by_likelihood)
        cut.merge(pair)
        gain = log_probability(cut.pieces.values()) - before
        assert score == pytest.approx(gain, rel=1e-9, abs=1e-9)


def test_three_alike_in_a_row_hold_one_pair():
    for length, count in ((2, 1), (3, 1), (4, 2), (5, 2)):
        assert list(neighbours(["##o"] * length)) == [("##o", "##o")] * count
    assert list(neighbours(list("aab"))) == [("a", "a"), ("a", "b")]


def test_all_words_of_the_text_can_be_cut():
    vocabulary = set(train_wordpiece(TOY, 14))
    for word in TOY:
        assert (
            "".join(
                piece.removeprefix("##")
                for piece in split_word(word, vocabulary)
            )
            == word
        )


def test_vocabulary_begins_with_the_special_tokens_and_has_no_double():
    vocabulary = train_wordpiece(TOY, 16)
    assert tuple(vocabulary[:5]) == SPECIAL_TOKENS
    assert len(vocabulary) == len(set(vocabulary))


def test_too_few_pairs_give_a_smaller_vocabulary():
    assert len(train_wordpiece({"ab": 1}, 50)) == len(SPECIAL_TOKENS) + 2


def test_rare_letters_are_left_out():
    vocabulary = train_wordpiece({"aa": 9, "ab": 1}, 20, letters=1)
    assert "##b" not in vocabulary and "aa" in vocabulary


def test_words_are_counted_as_the_tokenizer_cleans_them():
    tokenizer = BertTokenizer({t: n for n, t in enumerate(SPECIAL_TOKENS)})
    counts = count_words(["Été, ÉTÉ!", "ete"], tokenizer)
    assert counts == {"ete": 3, ",": 1, "!": 1}


@pytest.mark.parametrize("words", [{}, {"a" * 101: 5}])
def test_no_words_are_refused(words):
    match = f"no words .* of {len(words)} none has at most 100 letters"
    with pytest.raises(ValueError, match=match):
        train_wordpiece(words, 100)


def test_an_empty_word_is_refused():
    with pytest.raises(ValueError, match="a word is empty"):
        train_wordpiece({"": 1, "ab": 2}, 20)


def test_a_size_without_room_for_the_letters_is_refused():
    with pytest.raises(ValueError, match="size is 7, .* alone are 10"):
        train_wordpiece(TOY, 7)


def test_a_pair_must_occur_to_be_merged():
    with pytest.raises(ValueError, match="least is 0, wanted 1 or more"):
        train_wordpiece(TOY, 20, least=0)


def test_one_text_is_no_list_of_texts():
    tokenizer = BertTokenizer({t: n for n, t in enumerate(SPECIAL_TOKENS)})
    with pytest.raises(TypeError, match="texts is 'the cat', wanted a list"):
        count_words("the cat", tokenizer)
