"""bert.layer_norm: the function, torch's call, and what tells them apart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertModel as TheirBert

from bert.layer_norm import LayerNorm, layer_norm
from bert.model import BertModel

SHAPES = [(5,), (3, 5), (2, 3, 5), (2, 3, 7, 11), (4, 9, 384)]
EPS32 = 2.0**-23


def random_case(shape: tuple[int, ...], dtype=torch.float32, seed: int = 0):
    """Numbers away from 0 and 1, and a scale and a shift with no ones."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(shape, generator=generator, dtype=dtype) + 0.7
    width = shape[-1]
    scale = 1.5 + torch.rand(width, generator=generator, dtype=dtype)
    shift = torch.randn(width, generator=generator, dtype=dtype)
    return x, scale, shift


def by_loop(vector, scale, shift, eps) -> list[float]:
    """One token, in Python's own numbers."""
    mean = math.fsum(vector) / len(vector)
    variance = math.fsum((v - mean) ** 2 for v in vector) / len(vector)
    return [
        (v - mean) / math.sqrt(variance + eps) * s + b
        for v, s, b in zip(vector, scale, shift, strict=True)
    ]


# A large eps, so that a forgotten or misplaced one fails.
@pytest.mark.parametrize("eps", [1e-12, 1e-2, 0.5])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_the_function_equals_the_loop(shape, eps):
    x, scale, shift = random_case(shape, torch.float64)
    found = layer_norm(x, scale, shift, eps).reshape(-1, shape[-1])
    for row, vector in zip(found, x.reshape(-1, shape[-1]), strict=True):
        expected = by_loop(
            vector.tolist(), scale.tolist(), shift.tolist(), eps
        )
        assert row.tolist() == pytest.approx(expected, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("eps", [1e-12, 1e-2])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_module_equals_the_function(shape, eps):
    x, scale, shift = random_case(shape)
    module = LayerNorm(shape[-1], eps)
    module.load_state_dict({"weight": scale, "bias": shift})
    expected = layer_norm(x, scale, shift, eps)
    error = (module(x) - expected).abs().max()
    assert error <= 20 * EPS32 * expected.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_lies_within_roundings_of_float64(shape):
    x, scale, shift = random_case(shape)
    exact = layer_norm(x.double(), scale.double(), shift.double(), 1e-12)
    found = layer_norm(x, scale, shift, 1e-12)
    error = (found - exact).abs().max()
    assert error <= 20 * EPS32 * exact.abs().max()


def test_mean_is_zero_and_the_biased_variance_one():
    x, _, _ = random_case((2, 3, 5), torch.float64)
    one, zero = torch.ones(5).double(), torch.zeros(5).double()
    found = layer_norm(x, one, zero, 0.0)
    assert found.mean(-1).abs().max() < 1e-14
    assert (found.var(-1, correction=0) - 1).abs().max() < 1e-14
    # Not the other one, which a width of 5 tells apart by far.
    assert (found.var(-1) - 1.25).abs().max() < 1e-14


def test_every_vector_gets_the_same_length():
    x, _, _ = random_case((7, 13), torch.float64)
    one, zero = torch.ones(13).double(), torch.zeros(13).double()
    lengths = layer_norm(x, one, zero, 0.0).norm(dim=-1)
    assert (lengths - math.sqrt(13)).abs().max() < 1e-14


def test_eps_stands_inside_the_root():
    # Variance 4, and 5 under the root: 3 would be the root plus eps.
    x = torch.tensor([-2.0, 2.0], dtype=torch.float64)
    one, zero = torch.ones(2).double(), torch.zeros(2).double()
    found = layer_norm(x, one, zero, 5.0)
    assert found.tolist() == pytest.approx([-2 / 3, 2 / 3], rel=1e-15)


def test_equal_features_give_the_shift_and_no_nan():
    shift = torch.tensor([1.0, -2.0, 3.0])
    x = torch.full((2, 3), 7.0)
    module = LayerNorm(3, 1e-12)
    module.load_state_dict({"weight": torch.ones(3), "bias": shift})
    assert torch.equal(
        layer_norm(x, torch.ones(3), shift, 1e-12), shift.expand(2, 3)
    )
    assert torch.equal(module(x), shift.expand(2, 3))


def test_one_token_does_not_move_another():
    x, scale, shift = random_case((2, 3, 5))
    changed = x.clone()
    changed[1, 2] *= -4
    before = layer_norm(x, scale, shift, 1e-12)
    after = layer_norm(changed, scale, shift, 1e-12)
    same = (before == after).all(dim=-1)
    assert same.flatten().tolist() == [True] * 5 + [False]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=20),
    st.floats(0.1, 50.0),
    st.floats(-1e3, 1e3),
)
def test_shifting_and_stretching_change_nothing(vector, stretch, shift):
    x = torch.tensor(vector, dtype=torch.float64)
    if x.std() < 1.0:
        x = x + torch.arange(len(vector), dtype=torch.float64) * 10
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    found = layer_norm(stretch * x + shift, one, zero, 0.0)
    expected = layer_norm(x, one, zero, 0.0)
    assert (found - expected).abs().max() < 1e-9


def test_a_large_common_part_does_not_cancel_the_rest():
    x, scale, shift = random_case((3, 35))
    moved = x + 1000  # what is rounded away here is no fault of the norm
    exact = layer_norm(moved.double(), scale.double(), shift.double(), 1e-12)
    found = layer_norm(moved, scale, shift, 1e-12)
    # The mean of numbers near 1000 has roundings of about 1e-4.
    assert (found - exact).abs().max() < 1e-3


def test_the_gradient_is_that_of_small_steps():
    x, scale, shift = random_case((2, 5), torch.float64)
    for tensor in (x, scale, shift):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *tensors: layer_norm(*tensors, 1e-2), (x, scale, shift)
    )


@pytest.mark.parametrize("layout", ["published", "no_prefix", "bfloat16"])
def test_every_norm_is_that_of_transformers(small, layout):
    ours = BertModel.from_pretrained(small[layout])
    theirs = TheirBert.from_pretrained(
        small[layout], dtype=torch.float32, local_files_only=True
    )
    pairs = [(ours.embedding_norm, theirs.embeddings.LayerNorm)]
    for layer, other in zip(ours.layers, theirs.encoder.layer, strict=True):
        pairs.append((layer.attention_norm, other.attention.output.LayerNorm))
        pairs.append((layer.feed_forward_norm, other.output.LayerNorm))
    assert len(pairs) == 7
    x, _, _ = random_case((2, 11, 35))
    with torch.inference_mode():
        for mine, other in pairs:
            assert mine.eps == other.eps == 1e-12
            expected = other(x)
            written = layer_norm(x, mine.weight, mine.bias, mine.eps)
            for found in (mine(x), written):
                error = (found - expected).abs().max()
                assert error <= 20 * EPS32 * expected.abs().max()
