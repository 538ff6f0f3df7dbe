"""One training step of pocket-bert's size: forward, backward, AdamW."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.rivals import POCKET, random_ids
from benchmarks.timing import Contender, compare
from bert import BertForPreTraining
from bert.heads import IGNORED
from bert.pretraining import pretraining_losses

BATCH, SEQ = 32, 128


def a_batch() -> dict[str, Tensor]:
    """Random ids; every seventh place is asked for."""
    ids = random_ids(BATCH, SEQ, seed=18)
    labels = torch.full_like(ids, IGNORED)
    labels[:, ::7] = ids[:, ::7]
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
        "labels": labels,
        "next_sentence_label": torch.full((BATCH,), IGNORED),
    }


class ByConvolution(TorchFunctionMode):
    """Calls of F.linear become 1x1 convolutions, which oneDNN computes."""

    def __torch_function__(self, called, types, given=(), named=None):
        if called is not F.linear:
            return called(*given, **(named or {}))
        x, weight, bias = given
        rows = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
        # [1, inputs, rows, 1] -> [1, outputs, rows, 1]
        found = F.conv2d(rows, weight[:, :, None, None], bias)
        return found.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def run() -> list[dict]:
    """Logits everywhere, only at the labels, and the latter in other ways."""
    batch = a_batch()
    start = BertForPreTraining.from_pretrained(POCKET)

    def everywhere(model: BertForPreTraining) -> Tensor:
        trunk = model.bert(batch["input_ids"], batch["attention_mask"])
        logits = model.masked_words(trunk.last_hidden_state)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["labels"].flatten()
        )

    def at_labels(model: BertForPreTraining) -> Tensor:
        return pretraining_losses(model, batch)[0]

    def by_convolution(model: BertForPreTraining) -> Tensor:
        with ByConvolution():
            return at_labels(model)

    def in_half(model: BertForPreTraining) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return at_labels(model)

    def contender(name: str, loss_of, tolerance: float) -> Contender:
        # Eval mode: dropout would make the losses differ.
        model = copy.deepcopy(start).eval()
        # A rate of 0 does all the work, and leaves the losses equal.
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)

        def step(_: None) -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model)
            loss.backward()
            optimizer.step()
            return loss.item()

        return Contender(name, step, tolerance)

    with torch.enable_grad():
        return [
            compare(
                f"Training step, pocket-bert, {BATCH} x {SEQ} tokens; "
                "the error is that of the loss",
                [
                    contender("float32, logits everywhere", everywhere, 1e-5),
                    contender("float32, logits at labels", at_labels, 1e-5),
                    contender(
                        "float32 by 1x1 convolution, at labels",
                        by_convolution,
                        1e-5,
                    ),
                    contender("bfloat16 autocast, at labels", in_half, 3e-2),
                ],
                lambda found, wanted: abs(found - wanted),
                rounds=2,
            )
        ]
