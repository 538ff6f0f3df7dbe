# Written from the book by `make tangle`: book/12-padding.md.
"""What the model accepts, and the mask that hides padding."""

import torch
from torch import Tensor

from bert.config import BertConfig


# book/12-padding.md: The real one
def added_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a mask of ones and zeros into one to add to the scores.

    Args:
        attention_mask: `[batch, seq]`, 1 at real tokens, 0 at padding.
        dtype: That of the scores.

    Returns:
        `[batch, 1, 1, seq]` of `dtype`: 0 at real tokens, the smallest
        finite number at padding. Minus infinity would make a row without
        any real token 0/0.
    """
    hidden = attention_mask == 0  # [batch, seq]
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    mask = mask.masked_fill(hidden, torch.finfo(dtype).min)
    return mask[:, None, None, :]  # [batch, 1, 1, seq]


# book/12-padding.md: At the door
def check_inputs(
    config: BertConfig,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    token_type_ids: Tensor,
) -> None:
    """Raise ValueError when an input does not fit, naming found and wanted."""
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(
            f"input_ids has the shape {list(input_ids.shape)}, wanted "
            "[batch, seq] with at least one token"
        )
    seq, positions = input_ids.shape[1], config.max_position_embeddings
    if seq > positions:
        raise ValueError(
            f"{seq} tokens are more than the model's {positions} positions; "
            "cut the text (truncation=True)"
        )
    check_range("input_ids", input_ids, config.vocab_size)
    check_range("token_type_ids", token_type_ids, config.type_vocab_size)
    others = {"token_type_ids": token_type_ids}
    if attention_mask is not None:
        check_range("attention_mask", attention_mask, 2)
        others["attention_mask"] = attention_mask
    for name, tensor in others.items():
        if tensor.shape != input_ids.shape:
            raise ValueError(
                f"{name} has the shape {list(tensor.shape)}, "
                f"input_ids has {list(input_ids.shape)}"
            )


def check_range(name: str, ids: Tensor, count: int) -> None:
    """Raise unless every id is a whole number from 0 to count - 1."""
    if ids.is_floating_point() or ids.is_complex():
        raise ValueError(f"{name} holds {ids.dtype}, wanted whole numbers")
    if ids.dtype is torch.bool or ids.numel() == 0:
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= count:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} holds {wrong}, wanted 0 to {count - 1}")
