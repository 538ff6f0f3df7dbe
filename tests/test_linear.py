"""The affine map: what lies where in its weight, and what it computes."""

import pytest
import torch
from torch import Tensor, nn

from bert.linear import Linear
from bookkit import agree

INPUTS, OUTPUTS = 5, 7


@pytest.fixture
def linear() -> Linear:
    """A map from 5 to 7 numbers with seeded random parameters."""
    generator = torch.Generator().manual_seed(0)
    made = Linear(INPUTS, OUTPUTS)
    with torch.no_grad():
        made.weight.copy_(torch.randn(OUTPUTS, INPUTS, generator=generator))
        made.bias.copy_(torch.randn(OUTPUTS, generator=generator))
    return made


@pytest.fixture
def x() -> Tensor:
    """Random vectors, `[batch, seq, inputs]`."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, INPUTS, generator=generator)


def test_linear_equals_the_loop(linear: Linear, x: Tensor) -> None:
    looped = torch.empty(2, 3, OUTPUTS)
    for batch in range(2):
        for place in range(3):
            for out in range(OUTPUTS):
                total = linear.bias[out].item()
                for i in range(INPUTS):
                    weight = linear.weight[out, i].item()
                    total += weight * x[batch, place, i].item()
                looped[batch, place, out] = total
    agree("linear, loop", linear(x), looped, roundings=8)


def test_linear_equals_torchs_with_its_gradients(
    linear: Linear, x: Tensor
) -> None:
    torchs = nn.Linear(INPUTS, OUTPUTS)
    torchs.load_state_dict(linear.state_dict())
    agree("linear, torch", linear(x), torchs(x), roundings=0)
    linear(x).square().sum().backward()
    torchs(x).square().sum().backward()
    for name, parameter in linear.named_parameters():
        theirs = torchs.get_parameter(name).grad
        agree(f"gradient of {name}", parameter.grad, theirs, roundings=0)


def test_a_vector_is_mapped_alike_wherever_it_stands(
    linear: Linear, x: Tensor
) -> None:
    alone = linear(x[1, 2])
    assert alone.shape == (OUTPUTS,)
    agree("alone or in a batch", linear(x)[1, 2], alone, roundings=8)


def test_the_weight_has_one_row_for_each_output(linear: Linear) -> None:
    assert linear.weight.shape == (OUTPUTS, INPUTS)
    transposed = {"weight": linear.weight.T, "bias": linear.bias}
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        Linear(INPUTS, OUTPUTS).load_state_dict(transposed)


def test_a_vector_of_another_width_is_refused(linear: Linear) -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        linear(torch.zeros(3, OUTPUTS))
