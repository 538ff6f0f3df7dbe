# Written from the book by `make tangle`: book/10-feed-forward.md.
"""The feed-forward part: up, a bend, and down again, token by token."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert.config import BertConfig
from bert.linear import Linear


# book/10-feed-forward.md: The curve
def gelu(x: Tensor) -> Tensor:
    """GELU, `x` times the normal distribution's integral up to `x`.

    Hendrycks and Gimpel 2016, section 2, in its exact form with erf.
    """
    return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by tanh, the approximation of the same section."""
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1.0 + torch.tanh(inner))


def gelu_tanh_in_one_pass(x: Tensor) -> Tensor:
    """`gelu_tanh` in torch's one call."""
    return F.gelu(x, approximate="tanh")


# By the name in config.json.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh_in_one_pass,
    "gelu_pytorch_tanh": gelu_tanh_in_one_pass,
    "relu": F.relu,
}


# book/10-feed-forward.md: Up, bend, down
class FeedForward(nn.Module):
    """Widen each token's vector, bend it, and bring it back.

    Vaswani et al. 2017, section 3.3, with GELU in ReLU's place
    (Devlin et al. 2019, appendix A.2).
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.up = Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.down = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[batch, seq, hidden]` -> `[batch, seq, hidden]`."""
        inner = self.activation(self.up(hidden))  # [batch, seq, inner]
        return self.down(inner)  # [batch, seq, hidden]
