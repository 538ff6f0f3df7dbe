# Written from the book by `make tangle`: book/19-speed-and-memory.md.
"""The same model, faster on a CPU: packed weights, and no padding."""

import copy
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert.attention import SelfAttention, join_heads, split_heads
from bert.config import BertConfig
from bert.encoder import Layer
from bert.feed_forward import FeedForward, gelu_tanh_in_one_pass
from bert.heads import MaskedWordHead
from bert.linear import Linear
from bert.model import BertModel, PretrainedBert


# book/19-speed-and-memory.md: First trick: pack the weights once
def can_pack(dtype: torch.dtype = torch.float32) -> bool:
    """Whether this torch and this processor can pack weights of `dtype`."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    if not torch.backends.mkldnn.is_available() or not all(
        hasattr(torch.ops.mkldnn, name) for name in names
    ):
        return False
    if dtype is torch.bfloat16:  # wants instructions that not all have
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return True


def pack(weight: Tensor) -> Tensor:
    """Copy a weight `[outputs, inputs]` into oneDNN's own order."""
    return torch.ops.mkldnn._reorder_linear_weight(weight)


def packed_linear(
    x: Tensor, packed: Tensor, bias: Tensor, activation: tuple[str, str]
) -> Tensor:
    """`F.linear` with a packed weight, then an activation in the same pass.

    Args:
        x: `[..., inputs]`, of the packed weight's dtype, as is `bias`.
        activation: oneDNN's name of it and of its form, as in
            `ACTIVATIONS`.
    """
    name, form = activation
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, name, [], form)


NO_ACTIVATION = ("none", "")
ACTIVATIONS: Mapping[Callable, tuple[str, str]] = {
    F.gelu: ("gelu", "none"),
    gelu_tanh_in_one_pass: ("gelu", "tanh"),
    F.relu: ("relu", ""),
}


Samples = tuple[Tensor, Tensor]  # of a weight and of its bias


class FastLinear(Linear):
    """A Linear that keeps a packed copy of its weight, made at first use.

    Attributes:
        dtype: In which it computes; it gives back the dtype that it takes.
        most_rows: For more rows than these it computes as Linear does.
    """

    dtype = torch.float32
    most_rows = math.inf
    packed: tuple[object, Samples, Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., inputs]` to `[..., outputs]`."""
        if not self.packs(x):
            return super().forward(x)
        return self.then(NO_ACTIVATION, x)

    def packs(self, x: Tensor) -> bool:
        """Whether `x` has few enough rows for the packed weight."""
        return x.numel() <= self.most_rows * x.shape[-1]

    def then(self, activation: tuple[str, str], x: Tensor) -> Tensor:
        """Map, then apply an activation, in one pass in `self.dtype`."""
        _, _, packed, bias = self.up_to_date()
        found = packed_linear(x.to(self.dtype), packed, bias, activation)
        return found.to(x.dtype)

    def up_to_date(self) -> tuple[object, Samples, Tensor, Tensor]:
        """The packed weight and the bias, packed anew if either changed.

        Before them: the state they were made from, and samples of weight and
        bias. These views keep both, so that no other tensor can take their
        place in memory.
        """
        if self.packed is None or self.packed[0] != self.state(self.packed[1]):
            weight, bias = self.weight.detach(), self.bias.detach()
            samples = sample_of(weight), sample_of(bias)
            now = self.state(samples)
            packed = pack(weight.to(self.dtype))
            copied = bias.to(self.dtype, copy=True)
            self.packed = now, samples, packed, copied
        return self.packed

    def state(self, samples: Samples) -> object:
        """What changes with dtype, weight or bias, given samples of both."""
        return self.dtype, *map(state_of, (self.weight, self.bias), samples)

    def __getstate__(self) -> dict:
        """Everything but the packed copy, for deepcopy and torch.save."""
        return self.__dict__ | {"packed": None}


def sample_of(tensor: Tensor) -> Tensor:
    """At most eight numbers, no two from one row or column; a view.

    Args:
        tensor: A weight `[outputs, inputs]` or a bias `[outputs]`.
    """
    few = tensor[tuple(slice(None, None, n // 8 + 1) for n in tensor.shape)]
    return few.diagonal() if few.dim() == 2 else few


def state_of(tensor: Tensor, sample: Tensor) -> tuple[int, int | None, list]:
    """What changes with a tensor: its place, a count, and its sample."""
    # torch does not count the changes of tensors made in inference mode,
    # nor the steps of a fused optimizer: look at some numbers too.
    count = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), count, sample.tolist()


def activated(
    activation: Callable[[Tensor], Tensor], linear: Linear, x: Tensor
) -> Tensor:
    """`activation(linear(x))`, in one pass where that is known."""
    if (
        activation in ACTIVATIONS
        and isinstance(linear, FastLinear)
        and is_untouched(linear)
        and linear.packs(x)
    ):
        return linear.then(ACTIVATIONS[activation], x)
    return activation(linear(x))


def is_untouched(module: nn.Module) -> bool:
    """Whether calling a module runs its class's forward and nothing else."""
    hooks = module._forward_pre_hooks or module._forward_hooks
    return not hooks and "forward" not in vars(module)


class FastFeedForward(FeedForward):
    """A FeedForward that widens and activates in one pass."""

    def forward(self, hidden: Tensor) -> Tensor:
        """`[batch, seq, hidden]` -> `[batch, seq, hidden]`."""
        return self.down(activated(self.activation, self.up, hidden))


class FastMaskedWordHead(MaskedWordHead):
    """A MaskedWordHead that transforms and activates in one pass."""

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., hidden]` -> `[..., vocab]`."""
        found = activated(self.activation, self.dense, hidden)
        return self.decoder(self.norm(found))  # [..., vocab]


# book/19-speed-and-memory.md: Second trick: leave out the padding
class RealTokens:
    """Where the real tokens of a padded batch go when padding is left out.

    They stand below each other, row by row, the shortest rows first.

    Args:
        real: `[batch, seq]` bool; in each row, True first, then False.

    Attributes:
        shape: `(batch, seq)`.
        places: `[tokens]`, where each stands in the batch, row by row.
        groups: How many rows of equal length, and their tokens as a slice.
    """

    def __init__(self, real: Tensor):
        self.shape = real.shape
        lengths = real.sum(dim=1)  # [batch]
        order = lengths.argsort(stable=True)
        places = torch.arange(real.numel()).view(real.shape)  # [batch, seq]
        self.places = places[order][real[order]]  # [tokens]
        self.groups, start = [], 0
        found = torch.stack(lengths.unique(return_counts=True), dim=1)
        for length, rows in found.tolist():
            stop = start + length * rows
            self.groups.append((rows, slice(start, stop)))
            start = stop

    def gather(self, padded: Tensor) -> Tensor:
        """`[batch, seq, hidden]` -> `[tokens, hidden]`."""
        return padded.flatten(0, 1)[self.places]

    def scatter(self, tokens: Tensor) -> Tensor:
        """`[tokens, hidden]` -> `[batch, seq, hidden]`, 0 at padding."""
        batch, seq = self.shape
        padded = tokens.new_zeros(batch * seq, tokens.shape[-1])
        padded[self.places] = tokens
        return padded.view(batch, seq, -1)


def attend_in_groups(
    attention: SelfAttention, hidden: Tensor, real: RealTokens
) -> Tensor:
    """`SelfAttention` without padding: `[tokens, hidden]`, same shape."""
    query = attention.query(hidden)  # [tokens, hidden]
    key = attention.key(hidden)
    value = attention.value(hidden)
    mixed = torch.empty_like(query)
    for rows, span in real.groups:
        q, k, v = (
            # [rows, heads, seq, head]
            split_heads(x[span].unflatten(0, (rows, -1)), attention.heads)
            for x in (query, key, value)
        )
        joined = join_heads(F.scaled_dot_product_attention(q, k, v))
        mixed[span] = joined.flatten(0, 1)  # [tokens, hidden]
    return attention.output(mixed)


def run_without_padding(
    layer: Layer, hidden: Tensor, real: RealTokens
) -> Tensor:
    """`Layer` without padding: `[tokens, hidden]`, same shape."""
    attended = attend_in_groups(layer.attention, hidden, real)
    hidden = layer.attention_norm(hidden + attended)
    return layer.feed_forward_norm(hidden + layer.feed_forward(hidden))


class FastBertModel(BertModel):
    """A BertModel, for inference, whose layers skip the padding."""

    dtype = torch.float32

    def train(self, mode: bool = True) -> Self:
        """Refuse: the optimized model has no gradients."""
        if mode:
            raise RuntimeError(
                "an optimized model only infers; train the plain model, "
                "and optimize it again"
            )
        return super().train(mode)

    def run_layers(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        keep_states: bool = False,
        keep_weights: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """As the plain one; where it skips padding, each layer gives 0.

        Raises:
            TypeError: The model was converted after it was optimized.
        """
        if hidden.dtype != torch.float32:
            raise TypeError(
                f"the hidden states are {hidden.dtype}, wanted "
                "torch.float32: an optimized model cannot be converted"
            )
        batch, seq, _ = hidden.shape
        if mask is None:
            is_real = torch.ones(batch, seq, dtype=torch.bool)
        else:
            is_real = mask[:, 0, 0] == 0  # [batch, seq]
        skips = padded_at_the_end(is_real) and all(map(is_plain, self.layers))
        if keep_weights or not skips:
            return super().run_layers(hidden, mask, keep_states, keep_weights)
        real = RealTokens(is_real)
        states = [hidden]
        tokens = real.gather(hidden).to(self.dtype)  # [tokens, hidden]
        for layer in self.layers:
            assert isinstance(layer, Layer)  # for the type checker
            tokens = run_without_padding(layer, tokens, real)
            if keep_states:
                states.append(real.scatter(tokens).float())
        return real.scatter(tokens).float(), states, []


def padded_at_the_end(real: Tensor) -> bool:
    """Whether each row of `[batch, seq]` is True first, False after."""
    again = real[:, 1:] & ~real[:, :-1]
    return bool(real[:, 0].all()) and not bool(again.any())


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer and its attention are of our classes, without hooks."""
    return (
        type(layer) is Layer
        and type(layer.attention) is SelfAttention
        and is_untouched(layer)
        and is_untouched(layer.attention)
    )


# book/19-speed-and-memory.md: Choose by measuring
def most_packed_rows(config: BertConfig, dtype: torch.dtype) -> float:
    """Up to how many rows packed products in `dtype` are the fastest.

    0 if they lose with the fewest rows, gain too little or are off, infinity
    if they win each time that is measured.
    """
    if not can_pack(dtype):
        return 0
    return measure_packing(config, dtype, torch.get_num_threads())


ROWS_TRIED = 16, 64, 256  # a sentence, a long one, a small batch


@functools.cache
@torch.inference_mode()
def measure_packing(
    config: BertConfig, dtype: torch.dtype, threads: int
) -> float:
    """Up to how many rows packed feed-forward parts win, taking turns."""
    hidden, inner = config.hidden_size, config.intermediate_size
    # So many that a weight has left the small caches when its turn comes.
    parts = 1 + 20_000_000 // (8 * hidden * inner)
    parts = min(parts, config.num_hidden_layers)
    generator = torch.Generator().manual_seed(0)
    plain = nn.Sequential(*(FeedForward(config) for _ in range(parts)))
    for weight in plain.parameters():
        weight.normal_(std=hidden**-0.5, generator=generator)
    x = torch.randn(max(ROWS_TRIED), hidden, generator=generator)
    packed = packed_copy(plain, dtype)
    if not is_close(packed[0](x.to(dtype)), plain[0](x), inner):
        return 0
    ways = [(packed, x.to(dtype)), (plain, x)]
    if dtype is not torch.float32:  # it must beat float32 packed, too
        ways.append((packed_copy(plain, torch.float32), x))
    most, best = 0.0, 1.0
    for rows in ROWS_TRIED:
        rounds = [
            [seconds_of(way, x[:rows]) for way, x in ways]
            for _ in range(3 + 128 // rows)
        ]
        # Other programs only ever make a call longer: the shortest counts.
        shortest, *rivals = map(min, zip(*rounds, strict=True))
        gain = min(rivals) / shortest
        if gain < 1:
            break
        most, best = rows, max(best, gain)
    else:
        most = math.inf
    return most if best >= 1.05 else 0  # a second copy of all weights costs


def packed_copy(plain: nn.Sequential, dtype: torch.dtype) -> nn.Sequential:
    """Feed-forward parts with the same weights, which they pack in `dtype`."""
    shared: dict = {id(weight): weight for weight in plain.parameters()}
    packed = copy.deepcopy(plain, shared)
    for module in packed.modules():
        if isinstance(module, FeedForward):
            change_class(module, FastFeedForward)
        elif isinstance(module, Linear):
            change_class(module, FastLinear, dtype=dtype)
    return packed


def is_close(found: Tensor, expected: Tensor, terms: int) -> bool:
    """Whether sums of so many terms are off by roundings at most."""
    # A few roundings to the dtype of what was found, and in float32 one for
    # each term. They cancel like the steps of a random walk: the root is left.
    roundings = 8 * torch.finfo(found.dtype).eps
    roundings += math.sqrt(terms) * torch.finfo(torch.float32).eps
    error = (found.float() - expected).abs().max()
    return bool(error <= roundings * expected.abs().max())


def seconds_of(module: nn.Module, x: Tensor) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    module(x)
    return time.perf_counter() - start


# book/19-speed-and-memory.md: One call
FAST: dict[type, type] = {
    FeedForward: FastFeedForward,
    MaskedWordHead: FastMaskedWordHead,
    BertModel: FastBertModel,
}


def change_class(module: nn.Module, new: type, **settings: object) -> None:
    """Give a module the methods of another class; its data stay.

    Args:
        settings: What this module has in place of the class's defaults.
    """
    module.__class__ = new
    vars(module).update(settings)


def choose_linear_maps(model: PretrainedBert, dtype: torch.dtype) -> None:
    """Pack the layers' maps for the rows measured; the heads' for any.

    In the layers in float32, unless `dtype` wins every time.
    """
    trunk = next(m for m in model.modules() if isinstance(m, BertModel))
    if most_packed_rows(model.config, dtype) < math.inf:
        dtype = torch.float32
    if type(trunk) is FastBertModel:
        change_class(trunk, FastBertModel, dtype=dtype)
    in_layers = set(trunk.layers.modules())
    for module in model.modules():
        # Not of a derived class: it may compute something else.
        if type(module) in (Linear, FastLinear):
            own = dtype if module in in_layers else torch.float32
            most = most_packed_rows(model.config, own)
            if most and module not in in_layers:
                most = math.inf  # heads were not measured
            kind = FastLinear if most else Linear
            change_class(module, kind, dtype=own, most_rows=most)


Model = TypeVar("Model", bound=PretrainedBert)


def optimize(model: Model, dtype: torch.dtype = torch.float32) -> Model:
    """Return a second model for fast inference on a CPU.

    It shares the weights with `model`, has its attributes, its outputs at
    every real token but for roundings, and follows when training changes
    the weights in place. Weights that are put in their place, as by
    `load_weights`, it does not see. Padding at the end of rows is not
    computed: what leaves a layer is 0 there, and outputs there mean
    nothing. If packed products are measured to be faster, the weights are
    packed, each when it is first used so. In the layers that is up to the
    number of rows for which they were faster. If a layer or its attention is
    of a derived class or has hooks, all layers run as they are, padding
    included.

    Args:
        model: On the CPU, float32. It stays as it is.
        dtype: In which the layers compute, if it is faster: float32, or
            bfloat16, which keeps two to three digits. Embeddings and heads
            stay in float32.

    Raises:
        TypeError: It is no model of this package.
        ValueError: The model is elsewhere, or its dtype or `dtype` is none
            of these.
    """
    check_model(model, dtype)
    shared: dict = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False)
        for weight in model.parameters()
    }
    fast = copy.deepcopy(model, shared).eval()
    for module in fast.modules():
        if type(module) in FAST:
            change_class(module, FAST[type(module)])
    choose_linear_maps(fast, dtype)
    return fast


def check_model(model: PretrainedBert, dtype: torch.dtype) -> None:
    """Raise unless model and dtype are what optimize takes."""
    if not isinstance(model, PretrainedBert):
        raise TypeError(
            f"model is a {type(model).__name__}, wanted one of this package"
        )
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(
            f"dtype is {dtype!r}, wanted torch.float32 or torch.bfloat16"
        )
    for name, weight in model.named_parameters():
        if weight.device.type != "cpu" or weight.dtype != torch.float32:
            raise ValueError(
                f"{name} is {weight.dtype} on {weight.device}, "
                "wanted torch.float32 on cpu"
            )
