# Written from the book by `make tangle`: book/07-one-head.md.
"""The affine map that most of BERT's weights belong to."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# book/07-one-head.md: Where queries, keys and values come from
class Linear(nn.Module):
    """`x @ weight.T + bias`, for each vector along the last axis.

    The weight lies in the file as `[outputs, inputs]`: one row for each
    number that comes out.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., inputs]` to `[..., outputs]`."""
        return F.linear(x, self.weight, self.bias)
