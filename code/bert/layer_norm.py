# Written from the book by `make tangle`: book/06-layernorm.md.
"""LayerNorm: each token's vector to mean 0 and variance 1, then rescaled."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# book/06-layernorm.md: A loop, and the real one
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalize over the last axis; written out (Ba et al. 2016, section 3).

    Args:
        x: `[..., hidden]` float.
        weight: `[hidden]`, the scale of each feature.
        bias: `[hidden]`, the shift of each feature.
        eps: Added to the variance, under the root.

    Returns:
        `[..., hidden]` float.
    """
    mean = x.mean(dim=-1, keepdim=True)  # [..., 1]
    centred = x - mean  # [..., hidden]
    # The biased variance: divided by hidden, not by hidden - 1.
    variance = centred.square().mean(dim=-1, keepdim=True)  # [..., 1]
    return centred / torch.sqrt(variance + eps) * weight + bias


class LayerNorm(nn.Module):
    """`layer_norm` with its two learned vectors, in torch's one call."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `[..., width]` over its last axis."""
        shape = self.weight.shape
        return F.layer_norm(x, shape, self.weight, self.bias, self.eps)
