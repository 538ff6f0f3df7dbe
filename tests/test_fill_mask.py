"""Ranked words for every mask."""

import copy

import pytest
import torch

from bert import BertForMaskedLM, BertTokenizer, fill_mask
from bookkit import referee


@pytest.fixture(scope="module")
def tokenizer(pocket):
    return BertTokenizer.from_pretrained(pocket)


@pytest.fixture(scope="module")
def model(pocket):
    return BertForMaskedLM.from_pretrained(pocket)


ROME = "When in Rome, do as the [MASK] do."


def test_it_ranks_as_transformers_does(model, tokenizer):
    theirs = referee()
    batch = tokenizer(ROME, return_tensors="pt")
    place = batch["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    with torch.inference_mode():
        chances = theirs(**batch).prediction_logits[0, place].softmax(dim=-1)
    expected = chances.topk(9)
    guesses = fill_mask(model, tokenizer, ROME, top_k=9)
    assert [guess.id for guess in guesses] == expected.indices.tolist()
    for guess, chance in zip(guesses, expected.values.tolist(), strict=True):
        assert guess.probability == pytest.approx(chance, abs=1e-6)
        assert tokenizer.convert_tokens_to_ids(guess.token) == guess.id


def test_a_list_gives_what_each_text_gives(model, tokenizer):
    texts = [ROME, "The [MASK] sat on the [MASK].", "A [MASK]."]
    together = fill_mask(model, tokenizer, texts, top_k=3)
    for text, found in zip(texts, together, strict=True):
        alone = fill_mask(model, tokenizer, text, top_k=3)
        assert names(found) == names(alone)
    assert len(together[1]) == 2


def names(result: list) -> list:
    """The tokens of a result, with the nesting that it has."""
    return [
        names(entry) if isinstance(entry, list) else entry.token
        for entry in result
    ]


def test_the_whole_vocabulary_sums_to_one(model, tokenizer):
    everything = fill_mask(model, tokenizer, ROME, tokenizer.vocab_size)
    total = sum(guess.probability for guess in everything)
    assert total == pytest.approx(1, abs=1e-4)


def test_no_text_gives_no_guess(model, tokenizer):
    assert fill_mask(model, tokenizer, []) == []


@pytest.mark.parametrize(
    "text, top_k, message",
    [
        ("no gap", 5, r"no \[MASK\] in 'no gap'"),
        ([ROME, "no gap"], 5, r"no \[MASK\] in 'no gap'"),
        (ROME, 0, "top_k is 0, wanted 1 to 30522"),
        (ROME, "5", "top_k is '5', wanted 1 to 30522"),
        (ROME, 2.5, "top_k is 2.5, wanted 1 to 30522"),
        (ROME, 30523, "top_k is 30523, wanted 1 to 30522"),
    ],
)
def test_wrong_calls_are_refused_in_words(
    model, tokenizer, text, top_k, message
):
    with pytest.raises(ValueError, match=message):
        fill_mask(model, tokenizer, text, top_k)


def test_arguments_in_another_order_are_refused_in_words(model, tokenizer):
    match = r"fill_mask\(model, tokenizer, text\)"
    for wrong in ((ROME, model, tokenizer), (model.bert, tokenizer, ROME)):
        with pytest.raises(TypeError, match=match):
            fill_mask(*wrong)


@pytest.mark.parametrize("text", [None, 5, {"text": ROME}, [ROME, None]])
def test_what_is_no_text_is_refused(model, tokenizer, text):
    with pytest.raises(TypeError, match="^text: found .*wanted a string"):
        fill_mask(model, tokenizer, text)


def test_a_model_in_training_mode_is_refused(model, tokenizer):
    learning = copy.deepcopy(model).train()
    with pytest.raises(ValueError, match=r"training mode, wanted model.eval"):
        fill_mask(learning, tokenizer, ROME)


def test_a_text_that_is_too_long_is_named(model, tokenizer):
    texts = [ROME, "[MASK]" + 511 * " a"]
    with pytest.raises(ValueError, match=r"'\[MASK\] a a.* has 514 tokens, w"):
        fill_mask(model, tokenizer, texts)


def test_rows_without_a_token_are_never_guessed(small, tmp_path):
    """Some checkpoints have more rows than their vocabulary has entries."""
    model = BertForMaskedLM.from_pretrained(small["published"])
    vocab = model.config.vocab_size - 3
    with torch.no_grad():
        model.masked_words.decoder.bias[vocab:] = 50.0
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"w{n}" for n in range(vocab - len(words))]
    short = BertTokenizer({word: n for n, word in enumerate(words)})
    guesses = fill_mask(model, short, "[MASK] w1", top_k=vocab)
    assert sorted(guess.id for guess in guesses) == list(range(vocab))
    with pytest.raises(ValueError, match=f"wanted 1 to {vocab}"):
        fill_mask(model, short, "[MASK]", top_k=vocab + 1)
