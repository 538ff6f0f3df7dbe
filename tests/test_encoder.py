"""One layer: two parts, each added and then normalized."""

import math

import torch
import torch.nn.functional as F

from bert.config import BertConfig
from bert.encoder import Layer

CONFIG = BertConfig(
    hidden_size=21,
    num_attention_heads=3,
    intermediate_size=37,
    layer_norm_eps=1e-2,  # large, so that a forgotten one shows
)


def random_layer(seed: int = 0) -> Layer:
    """A layer whose every weight is far from any usual value."""
    torch.manual_seed(seed)
    layer = Layer(CONFIG).double().eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0.3, 0.7)
    return layer


def by_hand(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """The layer token by token and head by head, from its bare tensors."""
    w = dict(layer.named_parameters())

    def linear(v: torch.Tensor, name: str) -> torch.Tensor:
        return v @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(v: torch.Tensor, name: str) -> torch.Tensor:
        centred = v - v.mean()
        root = math.sqrt(centred.square().mean() + CONFIG.layer_norm_eps)
        return centred / root * w[f"{name}.weight"] + w[f"{name}.bias"]

    q, k, v = (linear(x, f"attention.{n}") for n in ("query", "key", "value"))
    rows = []
    for token in range(len(x)):
        heads = []
        for start in range(0, 21, 7):
            cut = slice(start, start + 7)
            scores = k[:, cut] @ q[token, cut] / math.sqrt(7)
            heads.append(torch.softmax(scores, dim=0) @ v[:, cut])
        attended = linear(torch.cat(heads), "attention.output")
        middle = norm(x[token] + attended, "attention_norm")
        bent = F.gelu(linear(middle, "feed_forward.up"))
        lowered = linear(bent, "feed_forward.down")
        rows.append(norm(middle + lowered, "feed_forward_norm"))
    return torch.stack(rows)


def test_a_layer_is_what_its_formula_says():
    layer, x = random_layer(), torch.randn(5, 21, dtype=torch.float64)
    with torch.no_grad():
        found, none = layer(x[None], mask=None)
        kept, weights = layer(x[None], mask=None, keep_weights=True)
        expected = by_hand(layer, x)
    assert none is None and weights.shape == (1, 3, 5, 5)
    assert (found[0] - expected).abs().max() < 1e-12
    assert (kept[0] - expected).abs().max() < 1e-12


def test_gradients_are_those_of_finite_differences():
    layer = random_layer(1)
    x = torch.randn(1, 3, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, None)[0], x)
    assert torch.autograd.gradcheck(lambda x: layer(x, None, True)[0], x)
