"""GELU in its two forms, and the two maps around it."""

import math

import pytest
import torch
import torch.nn.functional as F

from bert.config import BertConfig
from bert.feed_forward import ACTIVATIONS, FeedForward, gelu, gelu_tanh

GRID = torch.linspace(-8, 8, 4001, dtype=torch.float64)


def test_gelu_is_x_times_the_normal_distribution():
    by_hand = [x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in GRID.tolist()]
    expected = torch.tensor(by_hand, dtype=torch.float64)
    assert (gelu(GRID) - expected).abs().max() < 1e-14


def test_both_forms_are_torchs():
    assert (gelu(GRID) - F.gelu(GRID)).abs().max() < 1e-14
    tanh = F.gelu(GRID, approximate="tanh")
    assert (gelu_tanh(GRID) - tanh).abs().max() < 1e-14


def test_the_two_forms_are_not_the_same_function():
    gap = (gelu(GRID) - gelu_tanh(GRID)).abs().max().item()
    assert 4e-4 < gap < 5e-4


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_are_those_of_transformers(name):
    from transformers.activations import ACT2FN

    assert (ACTIVATIONS[name](GRID) - ACT2FN[name](GRID)).abs().max() < 1e-14


def test_each_token_is_for_itself():
    config = BertConfig(
        hidden_size=15, num_attention_heads=5, intermediate_size=37
    )
    block = FeedForward(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    hidden = torch.randn(2, 7, 15)
    found = block(hidden)
    assert found.shape == hidden.shape
    for token in range(7):
        alone = block(hidden[:, token])
        assert (found[:, token] - alone).abs().max() < 1e-4
