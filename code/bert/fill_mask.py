# Written from the book by `make tangle`: book/13-masked-words.md.
"""Ranked words for every [MASK] of a text."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bert.heads import BertWithHeads
from bert.tokenizer import BertTokenizer


# book/13-masked-words.md: Ranking
@dataclass(frozen=True)
class Guess:
    """One word for one mask.

    Attributes:
        token: The piece of the vocabulary.
        id: Its number there.
        probability: From 0 to 1, over the whole vocabulary.
    """

    token: str
    id: int
    probability: float


@torch.inference_mode()
def fill_mask(
    model: BertWithHeads,
    tokenizer: BertTokenizer,
    text: str | list[str],
    top_k: int = 5,
) -> list:
    """Rank words for each `[MASK]`, each mask on its own.

    Returns:
        For a text with one mask, a list of `top_k` guesses, likeliest first;
        with several masks, one such list for each. For a list of texts, a
        list of those results.

    Raises:
        TypeError: The model has no masked-word head, or `text` holds
            something else than texts.
        ValueError: A text has no mask or more tokens than the model has
            positions, `top_k` is not 1 to vocab, or the model is in
            training mode.
    """
    if not hasattr(model, "masked_words"):
        raise TypeError(
            f"model is a {type(model).__name__}, wanted one with a "
            "masked-word head: fill_mask(model, tokenizer, text)"
        )
    texts = [text] if isinstance(text, str) else text
    if model.training:
        raise ValueError("the model is in training mode, wanted model.eval()")
    # A model may have rows that stand for no token.
    vocab = min(model.config.vocab_size, tokenizer.vocab_size)
    if not isinstance(top_k, int) or not 1 <= top_k <= vocab:
        raise ValueError(f"top_k is {top_k!r}, wanted 1 to {vocab}")
    if texts == []:
        return []
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    masked = batch["input_ids"] == tokenizer.mask_token_id  # [batch, seq]
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    positions = model.config.max_position_embeddings
    for row, sentence in enumerate(texts):
        if not masked[row].any():
            raise ValueError(f"no {tokenizer.mask_token} in {sentence!r}")
        if lengths[row] > positions:
            raise ValueError(
                f"{sentence[:40]!r}… has {lengths[row]} tokens, wanted at "
                f"most {positions}, the model's positions"
            )
    hidden = model.bert(**batch).last_hidden_state  # [batch, seq, hidden]
    # Logits are costly: only the masked positions get any.
    logits = model.masked_words(hidden[masked])  # [masks, vocab]
    best = torch.softmax(logits, dim=-1)[:, :vocab].topk(top_k)
    guesses = iter(as_guesses(tokenizer, best.values, best.indices))
    results = []
    for row in range(len(texts)):
        found = [next(guesses) for _ in range(int(masked[row].sum()))]
        results.append(found[0] if len(found) == 1 else found)
    return results[0] if isinstance(text, str) else results


def as_guesses(
    tokenizer: BertTokenizer, probabilities: Tensor, ids: Tensor
) -> list[list[Guess]]:
    """Name the ids: two tensors `[masks, top_k]` to guesses."""
    return [
        [
            Guess(token, number, probability)
            for token, number, probability in zip(
                tokenizer.convert_ids_to_tokens(row),
                row,
                chances,
                strict=True,
            )
        ]
        for row, chances in zip(
            ids.tolist(), probabilities.tolist(), strict=True
        )
    ]
