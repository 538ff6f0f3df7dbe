"""Attention: heads, weights, the fused form, and transformers' numbers."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bert.attention import (
    SelfAttention,
    attention_weights,
    join_heads,
    split_heads,
)
from bert.config import BertConfig
from bert.model import BertModel
from bookkit import agree
from bookkit.random_base import LAYOUTS

# All different, so that no two axes can be taken for each other.
BATCH, SEQ, HEADS, HEAD = 2, 3, 5, 7
HIDDEN = HEADS * HEAD


def random(*shape: int, seed: int = 0) -> Tensor:
    """Seeded normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def vectors() -> Tensor:
    """`[batch, seq, hidden]`."""
    return random(BATCH, SEQ, HIDDEN, seed=1)


@pytest.fixture
def hiding() -> Tensor:
    """A mask that hides the last token of the second sentence."""
    mask = torch.zeros(BATCH, 1, 1, SEQ)
    mask[1, ..., -1] = float("-inf")
    return mask


def make_attention(dropout: float = 0.0) -> SelfAttention:
    """A layer's attention with seeded random parameters, in eval mode."""
    config = BertConfig(
        hidden_size=HIDDEN,
        num_attention_heads=HEADS,
        attention_probs_dropout_prob=dropout,
    )
    attention = SelfAttention(config).eval()
    with torch.no_grad():
        for seed, parameter in enumerate(attention.parameters()):
            parameter.copy_(0.3 * random(*parameter.shape, seed=10 + seed))
    return attention


def attend_in_loops(
    attention: SelfAttention, x: Tensor
) -> tuple[Tensor, Tensor]:
    """One sentence `[seq, hidden]`, head by head and query by query."""
    gathered = torch.zeros(SEQ, HIDDEN)
    weights = torch.zeros(HEADS, SEQ, SEQ)
    for head in range(HEADS):
        band = slice(head * HEAD, (head + 1) * HEAD)
        q, k, v = (
            x @ linear.weight[band].T + linear.bias[band]
            for linear in (attention.query, attention.key, attention.value)
        )
        for i in range(SEQ):
            scores = [(q[i] @ k[j]).item() / HEAD**0.5 for j in range(SEQ)]
            powers = [math.exp(score - max(scores)) for score in scores]
            for j in range(SEQ):
                weights[head, i, j] = powers[j] / sum(powers)
                gathered[i, band] += weights[head, i, j] * v[j]
    output = attention.output
    return gathered @ output.weight.T + output.bias, weights


# --- heads -----------------------------------------------------------------


def test_a_head_is_a_run_of_each_tokens_numbers(vectors: Tensor) -> None:
    split = split_heads(vectors, HEADS)
    assert split.shape == (BATCH, HEADS, SEQ, HEAD)
    for batch in range(BATCH):
        for head in range(HEADS):
            for place in range(SEQ):
                run = vectors[batch, place, head * HEAD : (head + 1) * HEAD]
                assert torch.equal(split[batch, head, place], run)


def test_joining_undoes_splitting(vectors: Tensor) -> None:
    joined = join_heads(split_heads(vectors, HEADS))
    agree("there and back", joined, vectors, roundings=0)


def test_a_token_owns_one_row_of_every_head(vectors: Tensor) -> None:
    changed = vectors.clone()
    changed[0, 1] += 1.0
    differs = split_heads(changed, HEADS) != split_heads(vectors, HEADS)
    rows = differs.any(dim=-1)  # [batch, heads, seq]
    wanted = torch.zeros(BATCH, HEADS, SEQ, dtype=torch.bool)
    wanted[0, :, 1] = True
    assert torch.equal(rows, wanted)


def test_heads_that_do_not_divide_the_width_are_refused(
    vectors: Tensor,
) -> None:
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        split_heads(vectors, HEADS + 1)
    with pytest.raises(ValueError, match="6 heads do not divide .* 35"):
        BertConfig(hidden_size=HIDDEN, num_attention_heads=HEADS + 1)


# --- weights ---------------------------------------------------------------


def test_every_query_shares_out_exactly_one() -> None:
    query = random(BATCH, HEADS, SEQ, HEAD, seed=2)
    key = random(BATCH, HEADS, SEQ, HEAD, seed=3)
    weights = attention_weights(query, key)
    assert weights.shape == (BATCH, HEADS, SEQ, SEQ)
    assert bool((weights > 0).all())
    sums = weights.sum(dim=-1)
    agree("row sums", sums, torch.ones(BATCH, HEADS, SEQ), roundings=4)
    assert (weights.sum(dim=-2) - 1).abs().max() > 0.1


def test_scores_are_divided_by_the_root_of_a_heads_width() -> None:
    # One feature of size 1 in common: the score is 1 before the scale.
    query = torch.zeros(1, 1, 2, 16)
    query[..., 0] = 1.0
    key = torch.zeros(1, 1, 2, 16)
    key[0, 0, 0, 0] = 1.0
    odds = math.exp(1 / 4)
    wanted = torch.tensor([odds / (odds + 1), 1 / (odds + 1)])
    weights = attention_weights(query, key)[0, 0]
    agree("scaled", weights, wanted.expand(2, 2), roundings=4)


def test_scores_far_beyond_exps_range_stay_finite() -> None:
    query = 1e3 * random(BATCH, HEADS, SEQ, HEAD, seed=2)
    key = 1e3 * random(BATCH, HEADS, SEQ, HEAD, seed=3)
    for sign in (1, -1):
        weights = attention_weights(query, sign * key)
        assert bool(torch.isfinite(weights).all())
        sums = weights.sum(dim=-1)
        agree("row sums", sums, torch.ones(BATCH, HEADS, SEQ), roundings=4)


def test_a_hidden_token_is_as_good_as_absent(hiding: Tensor) -> None:
    query = random(BATCH, HEADS, SEQ, HEAD, seed=2)
    key = random(BATCH, HEADS, SEQ, HEAD, seed=3)
    weights = attention_weights(query, key, hiding)
    assert bool((weights[1, ..., -1] == 0).all())
    absent = attention_weights(query[1:], key[1:, :, :-1])
    agree("absent", weights[1:, ..., :-1], absent, roundings=8)
    free = attention_weights(query[:1], key[:1])
    agree("the other sentence", weights[:1], free, roundings=8)


# --- the whole attention ---------------------------------------------------


def test_attention_equals_the_loop(vectors: Tensor) -> None:
    attention = make_attention()
    with torch.inference_mode():
        output, weights = attention(vectors, None, keep_weights=True)
        looped = [attend_in_loops(attention, x) for x in vectors]
    outputs, maps = zip(*looped, strict=True)
    agree("output", output, torch.stack(outputs), roundings=16)
    agree("weights", weights, torch.stack(maps), roundings=16)


@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_form_equals_the_readable_one(
    vectors: Tensor, hiding: Tensor, masked: bool
) -> None:
    attention = make_attention()
    mask = hiding if masked else None
    gradients, outputs = [], []
    for keep in (False, True):
        x = vectors.clone().requires_grad_()
        output, weights = attention(x, mask, keep_weights=keep)
        assert (weights is not None) == keep
        output.square().sum().backward()
        outputs.append(output)
        gradients.append(x.grad)
    agree("fused", *outputs, roundings=16)
    agree("fused, gradient", *gradients, roundings=32)


def test_shuffled_tokens_come_out_shuffled(vectors: Tensor) -> None:
    attention = make_attention()
    order = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        output, _ = attention(vectors, None)
        shuffled, _ = attention(vectors[:, order], None)
    agree("shuffled", shuffled, output[:, order], roundings=16)
    assert (shuffled - output).abs().max() > 0.1


def test_every_token_hears_of_every_other_and_of_no_other_sentence(
    vectors: Tensor,
) -> None:
    attention = make_attention()
    changed = vectors.clone()
    changed[0, 0] += 1.0
    with torch.inference_mode():
        before, after = (
            attention(vectors, None)[0],
            attention(changed, None)[0],
        )
    moved = (after - before).abs().amax(dim=-1)  # [batch, seq]
    assert bool((moved[0] > 1e-3).all())
    agree("the other sentence", after[1], before[1], roundings=8)


def test_the_keys_bias_changes_nothing(vectors: Tensor) -> None:
    attention = make_attention()
    with torch.inference_mode():
        before, _ = attention(vectors, None)
        attention.key.bias.copy_(random(HIDDEN, seed=9))
        after, _ = attention(vectors, None)
    agree("another bias", after, before, roundings=16)


def test_dropout_is_for_training_alone(vectors: Tensor) -> None:
    attention = make_attention(dropout=0.5)
    plain = make_attention(dropout=0.0)
    with torch.inference_mode():
        output, _ = attention(vectors, None)
        agree("eval", output, plain(vectors, None)[0], roundings=0)
        trained, weights = attention.train()(vectors, None, keep_weights=True)
        same, _ = plain.train()(vectors, None)
    assert (trained - output).abs().max() > 0.01
    agree("dropout of nothing", same, output, roundings=16)
    # The weights are those before dropout.
    sums = weights.sum(dim=-1)
    agree("row sums", sums, torch.ones(BATCH, HEADS, SEQ), roundings=4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_equals_transformers(
    small: dict[str, Path], layout: str
) -> None:
    from transformers import BertModel as TheirModel

    folder = small[layout]
    ours = BertModel.from_pretrained(folder)
    theirs = TheirModel.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    x = random(BATCH, 11, HIDDEN, seed=4)
    mask = torch.zeros(BATCH, 1, 1, 11)
    mask[1, ..., 8:] = torch.finfo(torch.float32).min
    for layer, block in zip(ours.layers, theirs.encoder.layer, strict=True):
        with torch.inference_mode():
            output, weights = layer.attention(x, mask, keep_weights=True)
            fused, _ = layer.attention(x, mask)
            gathered, their_weights = block.attention.self(x, mask)
            expected = block.attention.output.dense(gathered)
        agree("weights", weights, their_weights, roundings=32)
        agree("output", output, expected, roundings=16)
        agree("fused", fused, expected, roundings=16)
