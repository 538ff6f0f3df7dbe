# Written from the book by `make tangle`: book/08-all-heads.md.
"""Self-attention: every token gathers from every other, head by head."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert.config import BertConfig
from bert.linear import Linear


# book/08-all-heads.md: Splitting without a loop
def split_heads(x: Tensor, heads: int) -> Tensor:
    """Cut the last axis into heads and bring them in front of seq.

    Args:
        x: `[batch, seq, hidden]`.
        heads: How many; they divide hidden.

    Returns:
        `[batch, heads, seq, head]`.
    """
    batch, seq, hidden = x.shape
    x = x.reshape(batch, seq, heads, hidden // heads)
    return x.transpose(1, 2)  # [batch, heads, seq, head]


def join_heads(x: Tensor) -> Tensor:
    """Undo `split_heads`: `[batch, heads, seq, head]` to one hidden axis."""
    return x.transpose(1, 2).flatten(start_dim=2)  # [batch, seq, hidden]


# book/08-all-heads.md: All heads in the same steps
def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None = None
) -> Tensor:
    """How much each token takes from each: softmax of the scaled scores.

    Vaswani et al. 2017, section 3.2.1, equation 1 (without the values).

    Args:
        query: `[batch, heads, seq, head]` float.
        key: `[batch, heads, seq, head]` float.
        mask: Added to the scores; broadcasts to
            `[batch, heads, seq, seq]`. None adds nothing.

    Returns:
        `[batch, heads, seq, seq]` float; the last axis sums to one.
    """
    scores = query @ key.transpose(-1, -2)  # [batch, heads, seq, seq]
    scores = scores / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1)


# book/08-all-heads.md: As a module
class SelfAttention(nn.Module):
    """All heads of one layer, and the projection that mixes them.

    Vaswani et al. 2017, section 3.2.2; Devlin et al. 2019, section 3.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        hidden = config.hidden_size
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = Linear(hidden, hidden)
        self.key = Linear(hidden, hidden)
        self.value = Linear(hidden, hidden)
        self.output = Linear(hidden, hidden)

    def forward(
        self, hidden: Tensor, mask: Tensor | None, keep_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            hidden: `[batch, seq, hidden]` float.
            mask: Float, added to the scores, which are
                `[batch, heads, seq, seq]`; None adds nothing.
            keep_weights: Whether to return the attention weights.

        Returns:
            `[batch, seq, hidden]`, and the weights
            `[batch, heads, seq, seq]` or None.
        """
        query = split_heads(self.query(hidden), self.heads)
        key = split_heads(self.key(hidden), self.heads)
        value = split_heads(self.value(hidden), self.heads)
        if keep_weights or self.training:
            weights = attention_weights(query, key, mask)
            kept = F.dropout(weights, self.dropout, self.training)
            mixed = kept @ value  # [batch, heads, seq, head]
        else:
            # The same sums in one pass that need not store the weights.
            weights = None
            mixed = F.scaled_dot_product_attention(query, key, value, mask)
        output = self.output(join_heads(mixed))  # [batch, seq, hidden]
        return output, weights if keep_weights else None
