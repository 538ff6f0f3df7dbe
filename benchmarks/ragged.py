"""Sentences of many lengths: words for masks, and sentence vectors."""

import random

import torch
from torch import Tensor

from benchmarks.rivals import (
    base_checkpoint,
    cosine_gap,
    onnx_runtime,
    ours,
    theirs,
)
from benchmarks.timing import Contender, compare
from bert import BertTokenizer, engine, fill_mask
from bert.fast_tokenizer import BertTokenizerFast

WORDS = (
    "the of and to a in that it was his he with as had you for at her on not "
    "be my have said which but from were this by house river morning little "
    "water under people between another something country thought nothing"
).split()


def sentences(count: int) -> list[str]:
    """Seeded rows of common words, 4 to 40 long, one mask in each."""
    source = random.Random(8)
    rows = []
    for _ in range(count):
        words = source.choices(WORDS, k=source.randrange(4, 41))
        words[source.randrange(len(words))] = "[MASK]"
        rows.append(" ".join(words) + ".")
    return rows


def run() -> list[dict]:
    """Words for masks, then sentence vectors."""
    from transformers import BertTokenizer as TheirTokenizer

    texts = sentences(32)
    plain, their_model, runtime = ours(), theirs(), onnx_runtime()
    their_half = theirs(dtype=torch.bfloat16)
    fast = engine.optimize(plain)
    half = engine.optimize(plain, torch.bfloat16)
    their_tokenizer = TheirTokenizer.from_pretrained(base_checkpoint())
    tokenizer = BertTokenizer.from_pretrained(base_checkpoint())
    quick = BertTokenizerFast.from_pretrained(base_checkpoint())

    def everywhere(ids: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        return their_model(ids, mask).logits[asked]

    def at_masks(ids: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        states = their_model.bert(ids, mask).last_hidden_state
        return their_model.cls(states[asked])

    def by_onnx(ids: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        return runtime(ids, mask)[asked]

    def their_guesses(logits_of, batch) -> list[list[float]]:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        asked = ids == their_tokenizer.mask_token_id
        best = torch.softmax(logits_of(ids, mask, asked), dim=-1).topk(5)
        for row in best.indices.tolist():
            their_tokenizer.convert_ids_to_tokens(row)
        return best.values.tolist()

    def theirs_padded(logits_of) -> list[list[float]]:
        batch = their_tokenizer(texts, padding=True, return_tensors="pt")
        return their_guesses(logits_of, batch)

    def sorted_by_length(logits_of) -> list[list[float]]:
        """The best that padded batches can do: eight of like length."""
        ids = their_tokenizer(texts)["input_ids"]
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        found: dict[int, list[float]] = {}
        for start in range(0, len(ids), 8):
            numbers = order[start : start + 8]
            batch = their_tokenizer.pad(
                {"input_ids": [ids[n] for n in numbers]}, return_tensors="pt"
            )
            guesses = their_guesses(logits_of, batch)
            found |= zip(numbers, guesses, strict=True)
        return [found[n] for n in range(len(ids))]

    def own(model, own_tokenizer) -> list[list[float]]:
        found = fill_mask(model, own_tokenizer, texts)
        return [[guess.probability for guess in row] for row in found]

    table = compare(
        "fill_mask, 32 sentences of 4 to 40 words, five words for each mask",
        [
            Contender(
                "transformers, padded batch",
                lambda _: theirs_padded(everywhere),
                0,
            ),
            Contender(
                "transformers, padded batch, logits at masks",
                lambda _: theirs_padded(at_masks),
                1e-4,
            ),
            Contender(
                "ONNX Runtime, padded batch",
                lambda _: theirs_padded(by_onnx),
                1e-4,
                spins=True,
            ),
            Contender(
                "transformers, sorted by length, four batches",
                lambda _: sorted_by_length(everywhere),
                1e-4,
            ),
            Contender(
                "transformers, sorted by length, logits at masks",
                lambda _: sorted_by_length(at_masks),
                1e-4,
            ),
            Contender(
                "ONNX Runtime, sorted by length, four batches",
                lambda _: sorted_by_length(by_onnx),
                1e-4,
                spins=True,
            ),
            Contender("bert, plain", lambda _: own(plain, tokenizer), 1e-4),
            Contender("bert, optimize", lambda _: own(fast, quick), 1e-4),
        ],
        relative_difference,
        rounds=5,
    )
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]

    def mean(states: Tensor) -> Tensor:
        real = mask[..., None]
        # In float32, whatever the model computes in.
        return (states.float() * real).sum(dim=1) / real.sum(dim=1)

    vectors = compare(
        "Sentence vectors of the same sentences; the error is 1 - cosine",
        [
            Contender(
                "transformers, float32",
                lambda _: mean(their_model.bert(ids, mask).last_hidden_state),
                1e-6,
            ),
            Contender(
                "transformers, bfloat16",
                lambda _: mean(their_half.bert(ids, mask).last_hidden_state),
                1e-4,
            ),
            Contender(
                "bert, optimize",
                lambda _: mean(fast.bert(ids, mask).last_hidden_state),
                1e-6,
            ),
            Contender(
                "bert, optimize, bfloat16",
                lambda _: mean(half.bert(ids, mask).last_hidden_state),
                1e-4,
            ),
        ],
        cosine_gap,
        rounds=7,
    )
    return [table, vectors]


def relative_difference(found: list, wanted: list) -> float:
    """The largest difference of probabilities, in shares of the right one."""
    found, wanted = torch.tensor(found), torch.tensor(wanted)
    return ((found - wanted) / wanted).abs().max().item()
