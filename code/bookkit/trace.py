"""Take one logit apart, back to the embeddings: the sums of `trace-view`.

Every step is a sum that is exact for this input. What is not linear is held
at the value that it has here: a LayerNorm's root of the variance, GELU's
factor (GELU(z) is z times a number between 0 and 1), an attention weight.
With these held, a logit is a sum of parts, and so is each of the parts.
All of it is computed in float64 and each sum is compared with its whole.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

PARTS = 12  # how many parts of a step are named; the others are one sum
HEADS = 4  # how many heads of each layer can be followed
SOURCES = 24  # how many heads are followed into the layers below


@dataclass
class Part:
    """One addend: what it is called, how much it is, what is behind it."""

    label: str
    value: float
    step: str | None = None


@dataclass
class Step:
    """A number, and the parts that it is the sum of."""

    kind: str
    short: str
    title: str
    value: float
    parts: list[Part]
    rest: Part | None = None
    next: str | None = None  # the same number, seen one operation earlier
    error: float = field(init=False)

    def __post_init__(self):
        """Add the parts up, then keep the largest and sum up the others."""
        total = sum(part.value for part in self.parts)
        self.error = abs(total - self.value)
        self.parts.sort(key=lambda part: -abs(part.value))
        small = self.parts[PARTS:]
        if small:
            self.parts = self.parts[:PARTS]
            amount = sum(part.value for part in small)
            self.rest = Part(f"the {len(small):,} others together", amount)


def plain(value: Tensor) -> str:
    """Write a number with three decimals and a real minus sign."""
    return f"{float(value):.3f}".replace("-", "−")


class Pieces:
    """A forward pass in float64 that keeps what each operation gave."""

    def __init__(self, model, ids: Tensor, segments: Tensor):
        self.trunk = copy.deepcopy(model.bert).double()
        self.head = copy.deepcopy(model.masked_words).double()
        table = self.trunk.embeddings
        seq = ids.shape[1]
        self.embeddings = {
            "word": table.word.weight[ids[0]],  # [seq, hidden]
            "position": table.position.weight[:seq],
            "segment": table.segment.weight[segments[0]],
        }
        before = sum(self.embeddings.values())
        self.norms = {"embeddings": (self.trunk.embedding_norm, before)}
        state = self.trunk.embedding_norm(before)
        self.states = [state]  # [seq, hidden], before each layer
        self.layers = [self.run_layer(layer) for layer in self.trunk.layers]

    def run_layer(self, layer) -> dict:
        """Keep the addends of one layer and what stands before its norms."""
        state = self.states[-1]
        attended, weights = layer.attention(state[None], None, True)
        before = state + attended[0]
        middle = layer.attention_norm(before)
        inner = layer.feed_forward.activation(layer.feed_forward.up(middle))
        fed = layer.feed_forward.down(inner)
        self.states.append(layer.feed_forward_norm(middle + fed))
        return {
            "layer": layer,
            "weights": weights[0],  # [heads, seq, seq]
            "attended": attended[0],  # [seq, hidden]
            "before_attention_norm": before,
            "inner": inner,  # [seq, inner]
            "fed": fed,
            "before_norm": middle + fed,
        }


def through_norm(norm, before: Tensor, direction: Tensor):
    """Carry `direction . norm(before)` to the other side of a LayerNorm.

    Returns:
        The direction with the same product with `before`, and the part that
        the norm's shift adds.
    """
    variance = before.var(correction=0)
    scaled = direction * norm.weight / torch.sqrt(variance + norm.eps)
    return scaled - scaled.mean(), float(direction @ norm.bias)


@dataclass
class Descent:
    """What each part of the trunk adds to one number."""

    attention: list[float]
    feed_forward: list[float]
    embeddings: dict[str, float]
    shifts: float
    to_attention: list[Tensor]  # the directions in which the parts count
    to_feed_forward: list[Tensor]

    def total(self) -> float:
        """The number itself."""
        parts = [*self.attention, *self.feed_forward]
        return sum(parts) + sum(self.embeddings.values()) + self.shifts


def descend(pieces: Pieces, direction: Tensor, depth: int, at: int) -> Descent:
    """Split `direction . state` of token `at` after `depth` layers."""
    found = Descent([], [], {}, 0.0, [], [])
    for kept in reversed(pieces.layers[:depth]):
        layer = kept["layer"]
        direction, shift = through_norm(
            layer.feed_forward_norm, kept["before_norm"][at], direction
        )
        found.shifts += shift
        found.to_feed_forward.insert(0, direction)
        found.feed_forward.insert(0, float(direction @ kept["fed"][at]))
        direction, shift = through_norm(
            layer.attention_norm, kept["before_attention_norm"][at], direction
        )
        found.shifts += shift
        found.to_attention.insert(0, direction)
        found.attention.insert(0, float(direction @ kept["attended"][at]))
    norm, before = pieces.norms["embeddings"]
    direction, shift = through_norm(norm, before[at], direction)
    found.shifts += shift
    for name, vectors in pieces.embeddings.items():
        found.embeddings[name] = float(direction @ vectors[at])
    return found


class Trace:
    """The steps behind the logits of some words at one position."""

    def __init__(self, model, tokens, ids, segments, at, words):
        with torch.no_grad():
            self.pieces = Pieces(model, ids, segments)
            self.tokens, self.at = tokens, at
            self.steps: dict[str, Step] = {}
            self.starts = [
                (token, self.add_logit(token, number))
                for token, number in words
            ]

    @property
    def error(self) -> float:
        """The largest difference between a number and the sum of its parts."""
        return max(step.error for step in self.steps.values())

    def add(self, name: str, *rest) -> str:
        """File a step under its name."""
        self.steps[name] = Step(*rest)
        return name

    # --- the head of the model

    def add_logit(self, token: str, number: int) -> str:
        """The logit as the decoder makes it: a product for each feature."""
        head = self.pieces.head
        state = self.pieces.states[-1][self.at]
        bent = head.activation(head.dense(state))  # [hidden]
        vector = head.norm(bent)
        row, bias = head.decoder.weight[number], head.decoder.bias[number]
        logit = float(row @ vector + bias)
        parts = [
            Part(f"feature {d}: {plain(a)} × {plain(b)}", float(a * b))
            for d, (a, b) in enumerate(zip(row, vector, strict=True))
        ]
        parts.append(Part("the word's bias", float(bias)))
        name = self.add(
            f"{number}", "decoder", "decoder",
            f"The logit of “{token}” at {self.tokens[self.at]}", logit, parts,
        )  # fmt: skip
        direction, shift = through_norm(head.norm, bent, row)
        self.steps[name].next = self.add_transform(
            name, token, logit, direction, bent, float(bias) + shift
        )
        return name

    def add_transform(self, name, token, logit, direction, bent, constant):
        """The same logit, by the features of the transform."""
        head = self.pieces.head
        state = self.pieces.states[-1][self.at]
        parts = [
            Part(
                f"feature {d} of dense: GELU gives {plain(value)}",
                float(weight * value),
            )
            for d, (weight, value) in enumerate(
                zip(direction, bent, strict=True)
            )
        ]
        parts.append(Part("the norm's shift and the word's bias", constant))
        made = self.add(
            f"{name}.transform", "transform", "transform",
            f"The logit of “{token}”, before the last LayerNorm",
            logit, parts,
        )  # fmt: skip
        # GELU(z) = z times a factor; hold the factor, and z is linear again.
        dense = head.dense(state)
        factor = torch.where(dense == 0, 0.5, bent / dense)
        held = direction * factor
        constant += float(held @ head.dense.bias)
        direction = head.dense.weight.T @ held
        self.steps[made].next = self.add_layers(
            name, token, logit, direction, constant
        )
        return made

    # --- the layers

    def add_layers(self, name, token, logit, direction, constant):
        """The same logit, by what each layer added to the vector."""
        depth = len(self.pieces.layers)
        found = descend(self.pieces, direction, depth, self.at)
        made = f"{name}.layers"
        self.followed = self.largest_heads(found)
        parts = self.trunk_parts(made, found, self.at)
        parts.append(Part("the head's shifts and biases", constant))
        return self.add(
            made, "layers", "layers",
            f"The logit of “{token}”, by what the layers added at "
            f"{self.tokens[self.at]}", logit, parts,
        )  # fmt: skip

    def trunk_parts(self, name, found: Descent, at: int, follow=True):
        """Name what embeddings, attention and feed-forward add."""
        token = self.tokens[at]
        parts = [
            Part(f"{kind} embedding of {token}", value)
            for kind, value in found.embeddings.items()
        ]
        parts.append(Part("shifts of the LayerNorms", found.shifts))
        for k, value in enumerate(found.attention):
            step = self.add_attention(name, found, k) if follow else None
            parts.append(Part(f"layer {k}, attention", value, step))
        for k, value in enumerate(found.feed_forward):
            step = self.add_feed_forward(name, found, k) if follow else None
            parts.append(Part(f"layer {k}, feed-forward", value, step))
        return parts

    def add_feed_forward(self, name, found: Descent, k: int) -> str:
        """What one feed-forward part adds, by its inner features."""
        kept = self.pieces.layers[k]
        down = kept["layer"].feed_forward.down
        direction = found.to_feed_forward[k]
        inner = kept["inner"][self.at]
        products = (direction @ down.weight) * inner  # [inner]
        parts = [
            Part(
                f"inner feature {i}: GELU gives {plain(value)}",
                float(product),
            )
            for i, (value, product) in enumerate(
                zip(inner, products, strict=True)
            )
        ]
        parts.append(Part("the bias", float(direction @ down.bias)))
        return self.add(
            f"{name}.f{k}", "feed_forward", f"feed-forward {k}",
            f"What the feed-forward part of layer {k} adds",
            found.feed_forward[k], parts,
        )  # fmt: skip

    # --- the heads

    def head_parts(self, found: Descent, k: int) -> Tensor:
        """What each head adds by way of each token, `[heads, seq]`."""
        kept = self.pieces.layers[k]
        attention = kept["layer"].attention
        heads, seq = kept["weights"].shape[:2]
        value = attention.value(self.pieces.states[k])  # [seq, hidden]
        back = attention.output.weight.T @ found.to_attention[k]  # [hidden]
        products = (value * back).reshape(seq, heads, -1).sum(-1)
        return kept["weights"][:, self.at] * products.T

    def largest_heads(self, found: Descent) -> set[tuple[int, int]]:
        """The heads that add or take away most, as (layer, head)."""
        sizes = {
            (k, h): abs(float(value))
            for k in range(len(self.pieces.layers))
            for h, value in enumerate(self.head_parts(found, k).sum(-1))
        }
        return set(sorted(sizes, key=lambda at: -sizes[at])[:SOURCES])

    def add_attention(self, name, found: Descent, k: int) -> str:
        """What the attention of one layer adds, by head."""
        by_token = self.head_parts(found, k)  # [heads, seq]
        by_head = by_token.sum(-1)
        largest = set(
            by_head.abs().topk(min(HEADS, len(by_head))).indices.tolist()
        )
        bias = self.pieces.layers[k]["layer"].attention.output.bias
        parts = []
        for h, value in enumerate(by_head):
            step = None
            if h in largest:
                step = self.add_head(name, found, k, h, by_token[h])
            parts.append(Part(f"head {h}", float(value), step))
        parts.append(Part("the bias", float(found.to_attention[k] @ bias)))
        return self.add(
            f"{name}.a{k}", "attention", f"attention {k}",
            f"What the attention of layer {k} adds",
            found.attention[k], parts,
        )  # fmt: skip

    def add_head(self, name, found: Descent, k, h, by_token: Tensor) -> str:
        """What one head adds, by the token that it comes from."""
        weights = self.pieces.layers[k]["weights"][h, self.at]
        made = f"{name}.a{k}.{h}"
        largest = int(by_token.abs().argmax())
        parts = []
        for j, (weight, value) in enumerate(
            zip(weights, by_token, strict=True)
        ):
            step = None
            if j == largest and (k, h) in self.followed:
                step = self.add_source(made, found, k, h, j, float(value))
            label = f"{self.tokens[j]}, position {j}, weight {weight:.3f}"
            parts.append(Part(label, float(value), step))
        return self.add(
            made, "head", f"head {k}.{h}",
            f"What head {h} of layer {k} adds",
            float(by_token.sum()), parts,
        )  # fmt: skip

    def add_source(self, name, found: Descent, k, h, j, value) -> str:
        """What came through one head from one token, by where it arose."""
        kept = self.pieces.layers[k]
        attention = kept["layer"].attention
        width = attention.value.weight.shape[0] // attention.heads
        head = slice(h * width, (h + 1) * width)
        back = attention.output.weight[:, head].T @ found.to_attention[k]
        back = back * kept["weights"][h, self.at, j]  # [head]
        direction = attention.value.weight[head].T @ back  # [hidden]
        below = descend(self.pieces, direction, k, j)
        made = f"{name}.{j}"
        parts = self.trunk_parts(made, below, j, follow=False)
        bias = float(back @ attention.value.bias[head])
        parts.append(Part("the bias of the values", bias))
        token = self.tokens[j]
        return self.add(
            made, "source", token,
            f"What came from {token}, position {j}, by where it arose",
            value, parts,
        )  # fmt: skip
