"""The ledger: every operation's error against transformers and float64.

Each operation gets the same float32 input three times: ours in float32,
transformers' in float32, and ours in float64. So an error in the table was
made by that operation alone. The rows in `TOGETHER` run several operations
one after the other; the last two of them run the whole model. What neither
implementation offers apart, such as scores and softmax, the ledger repeats.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bert import BertForPreTraining
from bert.attention import attention_weights, join_heads, split_heads

FLOAT32 = torch.finfo(torch.float32).eps
TOGETHER = (
    "attention weights",
    "values, mixed",
    "attention, fused",
    "all layers",
    "all logits",
)


@dataclass
class Entry:
    """One line of the ledger.

    Attributes:
        name: The operation.
        roundings: How many roundings of the largest number may lie between
            two right results; argued for in chapter 15.
        referee: Largest difference from transformers, float32.
        exact: Largest difference from float64.
        scale: The largest number among the results.
    """

    name: str
    roundings: float
    referee: float = 0.0
    exact: float = 0.0
    scale: float = 0.0

    @property
    def tolerance(self) -> float:
        """The largest difference that passes."""
        return self.roundings * FLOAT32 * self.scale

    def add(self, ours: Tensor, theirs: Tensor, exact: Tensor) -> None:
        """Take one more result of this operation into account."""
        if not ours.shape == theirs.shape == exact.shape:
            raise ValueError(
                f"{self.name}: shapes {list(ours.shape)}, "
                f"{list(theirs.shape)}, {list(exact.shape)}"
            )
        here = ours.double()
        self.referee = max(self.referee, largest(here - theirs.double()))
        self.exact = max(self.exact, largest(here - exact))
        self.scale = max(self.scale, largest(exact))


def largest(tensor: Tensor) -> float:
    """The largest absolute number."""
    return tensor.abs().max().item()


def allowance(terms: int) -> float:
    """How many roundings a sum of so many terms may be off.

    Rounding errors of a long sum are as often up as down and so grow like
    the root of the number of terms. Four stand for the shortest operations.
    """
    return max(4.0, math.sqrt(terms))


class Ledger:
    """Collects the entries while the operations run.

    Args:
        model: Ours, float32.
        referee: transformers' BertForPreTraining on the same checkpoint.
    """

    def __init__(self, model: BertForPreTraining, referee: Any):
        self.model, self.referee = model, referee
        self.exact = copy.deepcopy(model).double()
        self.entries: dict[str, Entry] = {}

    def compare(
        self,
        name: str,
        terms: int,
        ours: Any,
        theirs: Any,
        exact: Any,
        *x: Any,
    ) -> None:
        """Run one operation three times on the same input."""
        entry = self.entries.setdefault(name, Entry(name, allowance(terms)))
        doubles = [v.double() if v.is_floating_point() else v for v in x]
        entry.add(ours(*x), theirs(*x), exact(*doubles))

    @torch.inference_mode()
    def run(self, batch: dict[str, Tensor]) -> list[Entry]:
        """Compare every operation on one batch without padding."""
        found = self.model(**batch, output_hidden_states=True)
        self.embeddings(batch["input_ids"], batch["token_type_ids"])
        for number in range(self.model.config.num_hidden_layers):
            self.layer(number, found.hidden_states[number])
        self.heads(found.hidden_states[-1])
        self.whole(found, batch)
        return list(self.entries.values())

    def embeddings(self, ids: Tensor, segments: Tensor) -> None:
        """The three lookups with their sum, and the norm."""
        ours, exact = self.model.bert, self.exact.bert
        theirs = self.referee.bert.embeddings

        def their_sum(ids: Tensor, segments: Tensor) -> Tensor:
            places = torch.arange(ids.shape[1])
            total = theirs.word_embeddings(ids)
            total = total + theirs.token_type_embeddings(segments)
            return total + theirs.position_embeddings(places)

        self.compare(
            "embeddings, summed",
            3,
            ours.embeddings,
            their_sum,
            exact.embeddings,
            ids,
            segments,
        )
        self.compare(
            "embeddings' LayerNorm",
            self.model.config.hidden_size,
            ours.embedding_norm,
            theirs.LayerNorm,
            exact.embedding_norm,
            ours.embeddings(ids, segments),
        )

    def layer(self, number: int, x: Tensor) -> None:
        """All operations of one layer, on what enters it."""
        ours: Any = self.model.bert.layers[number]
        exact: Any = self.exact.bert.layers[number]
        theirs = self.referee.bert.encoder.layer[number]
        hidden, inner = x.shape[-1], ours.feed_forward.up.weight.shape[0]
        own, right = ours.attention, exact.attention
        their_own = theirs.attention.self
        for name in ("query", "key", "value"):
            self.compare(
                name,
                hidden,
                getattr(own, name),
                getattr(their_own, name),
                getattr(right, name),
                x,
            )
        query = split_heads(own.query(x), own.heads)
        key = split_heads(own.key(x), own.heads)
        scale = their_own.scaling
        self.compare(
            "scores",
            query.shape[-1],
            scaled_scores,
            lambda q, k: torch.matmul(q, k.transpose(2, 3)) * scale,
            scaled_scores,
            query,
            key,
        )
        self.compare(
            "softmax",
            x.shape[1],
            lambda scores: torch.softmax(scores, dim=-1),
            lambda scores: torch.nn.functional.softmax(scores, dim=-1),
            lambda scores: torch.softmax(scores, dim=-1),
            scaled_scores(query, key),
        )
        # All three rest on sums of sums, with a steep softmax between them.
        self.compare(
            "attention weights",
            4 * hidden,
            lambda x: own(x, None, keep_weights=True)[1],
            lambda x: their_own(x)[1],
            lambda x: right(x, None, keep_weights=True)[1],
            x,
        )
        self.compare(
            "values, mixed",
            4 * hidden,
            mixed_by(own),
            lambda x: their_own(x)[0],
            mixed_by(right),
            x,
        )
        self.compare(
            "attention, fused",
            4 * hidden,
            lambda x: own(x, None)[0],
            lambda x: theirs.attention.output.dense(their_own(x)[0]),
            lambda x: right(x, None)[0],
            x,
        )
        mixed = mixed_by(own)(x)
        self.compare(
            "output projection",
            hidden,
            own.output,
            theirs.attention.output.dense,
            right.output,
            mixed,
        )
        attended = own.output(mixed)
        self.compare(
            "add and LayerNorm",
            hidden,
            lambda a, b: ours.attention_norm(a + b),
            lambda a, b: theirs.attention.output.LayerNorm(a + b),
            lambda a, b: exact.attention_norm(a + b),
            x,
            attended,
        )
        middle = ours.attention_norm(x + attended)
        self.compare(
            "up",
            hidden,
            ours.feed_forward.up,
            theirs.intermediate.dense,
            exact.feed_forward.up,
            middle,
        )
        raised = ours.feed_forward.up(middle)
        self.compare(
            "GELU",
            1,
            ours.feed_forward.activation,
            theirs.intermediate.intermediate_act_fn,
            exact.feed_forward.activation,
            raised,
        )
        bent = ours.feed_forward.activation(raised)
        self.compare(
            "down",
            inner,
            ours.feed_forward.down,
            theirs.output.dense,
            exact.feed_forward.down,
            bent,
        )
        self.compare(
            "add and LayerNorm",
            hidden,
            lambda a, b: ours.feed_forward_norm(a + b),
            lambda a, b: theirs.output.LayerNorm(a + b),
            lambda a, b: exact.feed_forward_norm(a + b),
            middle,
            ours.feed_forward.down(bent),
        )

    def heads(self, last: Tensor) -> None:
        """The masked-word head and the next-sentence head."""
        ours, exact = self.model.masked_words, self.exact.masked_words
        theirs = self.referee.cls.predictions
        hidden = last.shape[-1]
        self.compare(
            "head: dense",
            hidden,
            ours.dense,
            theirs.transform.dense,
            exact.dense,
            last,
        )
        dense = ours.dense(last)
        self.compare(
            "head: activation",
            1,
            ours.activation,
            theirs.transform.transform_act_fn,
            exact.activation,
            dense,
        )
        bent = ours.activation(dense)
        self.compare(
            "head: LayerNorm",
            hidden,
            ours.norm,
            theirs.transform.LayerNorm,
            exact.norm,
            bent,
        )
        self.compare(
            "head: decoder",
            hidden,
            ours.decoder,
            theirs.decoder,
            exact.decoder,
            ours.norm(bent),
        )
        self.compare(
            "pooler",
            hidden,
            pooled_by(self.model.bert),
            self.referee.bert.pooler,
            pooled_by(self.exact.bert),
            last,
        )
        self.compare(
            "next sentence",
            hidden,
            self.model.next_sentence,
            self.referee.cls.seq_relationship,
            self.exact.next_sentence,
            pooled_by(self.model.bert)(last),
        )

    def whole(self, found: Any, batch: dict[str, Tensor]) -> None:
        """The whole model, from ids to the last state and to the logits."""
        theirs = self.referee(**batch, output_hidden_states=True)
        exact = self.exact(**batch, output_hidden_states=True)
        count = self.model.config.num_hidden_layers
        inner = self.model.config.intermediate_size
        for name, results in {
            "all layers": [
                r.hidden_states[-1] for r in (found, theirs, exact)
            ],
            "all logits": [
                r.prediction_logits for r in (found, theirs, exact)
            ],
        }.items():
            # Each layer's errors are new, and of the size of a long sum's.
            roundings = math.sqrt(count * inner)
            entry = self.entries.setdefault(name, Entry(name, roundings))
            entry.add(*results)


def scaled_scores(query: Tensor, key: Tensor) -> Tensor:
    """What `attention_weights` gives to softmax."""
    return query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])


def mixed_by(attention: Any) -> Callable[[Tensor], Tensor]:
    """From what enters a layer to the values that its heads mixed."""

    def mixed(x: Tensor) -> Tensor:
        query, key, value = (
            split_heads(projection(x), attention.heads)
            for projection in (attention.query, attention.key, attention.value)
        )
        return join_heads(attention_weights(query, key) @ value)

    return mixed


def pooled_by(trunk: Any) -> Callable[[Tensor], Tensor]:
    """From the last hidden states to the pooler's output."""
    return lambda last: torch.tanh(trunk.pooler(last[:, 0]))
