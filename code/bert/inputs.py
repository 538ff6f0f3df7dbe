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
        `[batch, 1, 1, seq]` of `dtype`: 0 at real tokens, the lowest finite
        number at padding. Minus infinity would make a row without any real
        token NaN.
    """
    padding = attention_mask == 0  # [batch, seq]
    mask = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    mask = mask.masked_fill(padding, torch.finfo(dtype).min)
    return mask[:, None, None, :]  # [batch, 1, 1, seq]


# book/12-padding.md: At the door
def check_inputs(
    config: BertConfig,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
) -> None:
    """Raise when an input does not fit, naming found and wanted.

    Raises:
        TypeError: An input is no tensor.
        ValueError: A shape, a type or an id does not fit.
    """
    given = {"input_ids": input_ids}
    if attention_mask is not None:
        given["attention_mask"] = attention_mask
    if token_type_ids is not None:
        given["token_type_ids"] = token_type_ids
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name} is a {type(tensor).__name__}, wanted a tensor "
                "[batch, seq] (from a tokenizer: return_tensors='pt')"
            )
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(
            f"input_ids has the shape {list(input_ids.shape)}, wanted "
            "[batch, seq] with at least one token"
        )
    seq, positions = input_ids.shape[1], config.max_position_embeddings
    if seq > positions:
        raise ValueError(
            f"{seq} tokens are more than the model's {positions} positions; "
            f"cut the text (truncation=True, max_length={positions})"
        )
    for name, tensor in given.items():
        if name == "attention_mask":
            check_range(name, tensor, 2)
        elif name == "token_type_ids":
            check_ids(name, tensor, config.type_vocab_size)
        else:
            check_ids(name, tensor, config.vocab_size)
        if tensor.shape != input_ids.shape:
            raise ValueError(
                f"{name} has the shape {list(tensor.shape)}, "
                f"input_ids has {list(input_ids.shape)}"
            )


def check_ids(name: str, ids: Tensor, count: int) -> None:
    """Raise unless torch can look the ids up in a table of `count` rows."""
    if ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} holds {ids.dtype}, wanted torch.int64")
    check_range(name, ids, count)


def check_range(name: str, numbers: Tensor, count: int) -> None:
    """Raise unless all are whole, or True or False, and in range(count)."""
    if numbers.is_floating_point() or numbers.is_complex():
        raise ValueError(f"{name} holds {numbers.dtype}, wanted whole numbers")
    if numbers.dtype is torch.bool or numbers.numel() == 0:
        return
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= count:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} holds {wrong}, wanted 0 to {count - 1}")
