# Written from the book by `make tangle`: book/11-all-the-layers.md.
"""One layer of BERT: attention and feed-forward, each added and normed."""

import torch.nn.functional as F
from torch import Tensor, nn

from bert.attention import SelfAttention
from bert.config import BertConfig
from bert.feed_forward import FeedForward
from bert.layer_norm import LayerNorm


# book/11-all-the-layers.md: As modules
class Layer(nn.Module):
    """Post-LayerNorm: each part's output is added, then normalized.

    Vaswani et al. 2017, section 3.1; Devlin et al. 2019, section 3.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.dropout = config.hidden_dropout_prob
        self.attention = SelfAttention(config)
        self.attention_norm = LayerNorm(hidden, eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = LayerNorm(hidden, eps)

    def forward(
        self, hidden: Tensor, mask: Tensor | None, keep_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """`[batch, seq, hidden]` -> the same shape, and the attention weights.

        The arguments are those of `SelfAttention.forward`.
        """
        attended, weights = self.attention(hidden, mask, keep_weights)
        attended = F.dropout(attended, self.dropout, self.training)
        hidden = self.attention_norm(hidden + attended)
        fed = self.feed_forward(hidden)
        fed = F.dropout(fed, self.dropout, self.training)
        return self.feed_forward_norm(hidden + fed), weights
