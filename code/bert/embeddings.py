# Written from the book by `make tangle`: book/05-embeddings.md.
"""From token ids to vectors: word, position and segment, added once."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert.config import BertConfig


# book/05-embeddings.md: The real one
class Embedding(nn.Module):
    """A table of vectors, one row for each id.

    Args:
        rows: How many ids there are.
        width: The length of one row.
        padding_row: A row that training leaves as it is, or None.
    """

    def __init__(self, rows: int, width: int, padding_row: int | None = None):
        super().__init__()
        self.padding_row = padding_row
        self.weight = nn.Parameter(torch.empty(rows, width))

    def forward(self, ids: Tensor) -> Tensor:
        """Look up `ids` of any shape: `[...]` -> `[..., width]`."""
        return F.embedding(ids, self.weight, self.padding_row)


class Embeddings(nn.Module):
    """The sum of three lookups: word, segment and position.

    Devlin et al. 2019, section 3 and figure 2. The sum is not yet
    normalized: the model does that next.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        hidden = config.hidden_size
        pad = config.pad_token_id
        self.word = Embedding(config.vocab_size, hidden, padding_row=pad)
        self.position = Embedding(config.max_position_embeddings, hidden)
        self.segment = Embedding(config.type_vocab_size, hidden)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Embed ids and segments, both `[batch, seq]` int64.

        Returns:
            `[batch, seq, hidden]` float32.
        """
        seq = input_ids.shape[1]
        places = torch.arange(seq, device=input_ids.device)  # [seq]
        vectors = self.word(input_ids)  # [batch, seq, hidden]
        vectors = vectors + self.segment(token_type_ids)
        # The rows of positions are the same for every sequence of the batch.
        return vectors + self.position(places)  # [batch, seq, hidden]
