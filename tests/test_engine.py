"""The optimized model gives the plain one's numbers, whatever it skips."""

import copy
import io
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    engine,
    fill_mask,
)
from bert.attention import SelfAttention
from bert.engine import FastLinear, optimize
from bert.feed_forward import gelu_tanh_in_one_pass
from bert.linear import Linear

HAS_ONEDNN = torch.backends.mkldnn.is_available()
needs_onednn = pytest.mark.skipif(
    not HAS_ONEDNN, reason="torch was built without oneDNN"
)


@pytest.fixture(params=[True, False], ids=["packed", "unpacked"])
def packed(request, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Force the choice that is otherwise measured."""
    if request.param and not HAS_ONEDNN:
        pytest.skip("torch was built without oneDNN")

    def most_packed_rows(config: BertConfig, dtype: torch.dtype) -> float:
        return math.inf if request.param and engine.can_pack(dtype) else 0

    monkeypatch.setattr(engine, "most_packed_rows", most_packed_rows)
    return request.param


@pytest.fixture(scope="module")
def ragged() -> tuple[Tensor, Tensor]:
    """Ids and mask of rows whose lengths are not sorted, two of them equal."""
    lengths = torch.tensor([4, 11, 1, 7, 4])
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, 99, (5, 13), generator=generator)
    mask = (torch.arange(13) < lengths[:, None]).long()
    return ids * mask, mask


def close(found: Tensor, expected: Tensor) -> None:
    """Raise unless two float32 results differ by some roundings only."""
    tolerance = 60 * torch.finfo(torch.float32).eps * expected.abs().max()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance.item())


@needs_onednn
def test_torch_still_has_the_private_operations():
    assert engine.can_pack()


@needs_onednn
@pytest.mark.parametrize("rows", [1, 2, 3, 17, 130])
@pytest.mark.parametrize(
    "activation", [None, F.gelu, gelu_tanh_in_one_pass, F.relu]
)
def test_packed_linear_equals_f_linear(rows: int, activation: Callable | None):
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 35, generator=generator)
    weight = torch.randn(53, 35, generator=generator)
    bias = torch.randn(53, generator=generator)
    wanted = F.linear(x, weight, bias)
    name = engine.NO_ACTIVATION
    if activation is not None:
        wanted = activation(wanted)
        name = engine.ACTIVATIONS[activation]
    close(engine.packed_linear(x, engine.pack(weight), bias, name), wanted)


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
@pytest.mark.parametrize("layout", ["published", "untied", "half", "unusual"])
def test_optimized_equals_plain(kind, layout, small, ragged, packed):
    model = kind.from_pretrained(small[layout])
    ids, mask = ragged
    with torch.inference_mode():
        plain = model(ids, mask)
        fast = optimize(model)(ids, mask)
    name = "logits" if kind is BertForMaskedLM else "last_hidden_state"
    real = mask.bool()
    close(getattr(fast, name)[real], getattr(plain, name)[real])


def test_both_heads_and_hidden_states_equal_plain(small, ragged, packed):
    model = BertForPreTraining.from_pretrained(small["published"])
    ids, mask = ragged
    labels = torch.where(mask == 1, ids, -100)
    pairs = torch.tensor([0, 1, 0, 1, 1])
    with torch.inference_mode():
        plain, fast = (
            some(
                ids,
                mask,
                labels=labels,
                next_sentence_label=pairs,
                output_hidden_states=True,
            )
            for some in (model, optimize(model))
        )
    close(fast.loss, plain.loss)
    close(fast.seq_relationship_logits, plain.seq_relationship_logits)
    assert len(fast.hidden_states) == len(plain.hidden_states) == 4
    for ours, theirs in zip(
        fast.hidden_states, plain.hidden_states, strict=True
    ):
        close(ours[mask == 1], theirs[mask == 1])


def test_optimized_equals_transformers(small, ragged, packed):
    from transformers import BertForMaskedLM as Theirs

    theirs = Theirs.from_pretrained(small["published"]).eval()
    fast = optimize(BertForMaskedLM.from_pretrained(small["published"]))
    ids, mask = ragged
    with torch.inference_mode():
        wanted = theirs(ids, attention_mask=mask).logits
        close(fast(ids, mask).logits[mask == 1], wanted[mask == 1])


def test_hidden_states_are_zero_at_padding(small, ragged, packed):
    fast = optimize(BertModel.from_pretrained(small["published"]))
    ids, mask = ragged
    found = fast(ids, mask).last_hidden_state
    assert (found[mask == 0] == 0).all()
    assert (found[mask == 1] != 0).all()


@pytest.mark.parametrize(
    "row", [[0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]
)
def test_padding_elsewhere_is_computed_as_plain(row, small, packed):
    model = BertModel.from_pretrained(small["published"])
    ids = torch.tensor([[7, 8, 9, 10, 11]] * 2)
    mask = torch.tensor([row, [1, 1, 1, 1, 1]])
    with torch.inference_mode():
        plain, fast = model(ids, mask), optimize(model)(ids, mask)
    close(fast.last_hidden_state, plain.last_hidden_state)
    close(fast.pooler_output, plain.pooler_output)


def test_attention_weights_are_those_of_plain(small, ragged, packed):
    model = BertModel.from_pretrained(small["published"])
    ids, mask = ragged
    with torch.inference_mode():
        plain = model(ids, mask, output_attentions=True)
        fast = optimize(model)(ids, mask, output_attentions=True)
    assert len(fast.attentions) == 3
    for ours, theirs in zip(fast.attentions, plain.attentions, strict=True):
        close(ours, theirs)


def test_a_batch_of_one_equals_its_row_in_a_batch(small, ragged, packed):
    fast = optimize(BertModel.from_pretrained(small["published"]))
    ids, mask = ragged
    together = fast(ids, mask).last_hidden_state
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = fast(ids[row : row + 1, :length]).last_hidden_state[0]
        close(together[row, :length], alone)


def test_packs_only_what_the_measurement_chooses(small, packed):
    fast = optimize(BertForMaskedLM.from_pretrained(small["published"]))
    maps = [m for m in fast.modules() if hasattr(m, "bias") and m.bias.ndim]
    kinds = {type(m) for m in maps if m.weight.ndim == 2}
    assert kinds == {FastLinear if packed else engine.Linear}


def test_the_face_stays(small, packed):
    model = BertForMaskedLM.from_pretrained(small["published"])
    fast = optimize(model)
    assert type(fast) is BertForMaskedLM
    assert fast.config is not None and fast.unused_tensors is not None
    assert list(fast.state_dict()) == list(model.state_dict())
    assert fast.tied
    assert fast.masked_words.decoder.weight is fast.bert.embeddings.word.weight


def test_weights_are_shared_and_the_plain_model_is_untouched(small, packed):
    model = BertForMaskedLM.from_pretrained(small["published"])
    kinds = [type(m) for m in model.modules()]
    fast = optimize(model)
    for ours, theirs in zip(
        fast.parameters(), model.parameters(), strict=True
    ):
        assert ours.data_ptr() == theirs.data_ptr()
        assert theirs.requires_grad and not ours.requires_grad
    assert [type(m) for m in model.modules()] == kinds


def test_follows_when_a_weight_or_bias_changes(small, ragged, packed):
    model = BertForMaskedLM.from_pretrained(small["published"])
    fast = optimize(model)
    ids, mask = ragged
    before = fast(ids, mask).logits
    query = model.bert.layers[1].attention.query
    for tensor in (query.weight[7], query.bias):  # one row; then all
        with torch.no_grad():
            tensor.mul_(9)
            after = model(ids, mask).logits
        found = fast(ids, mask).logits
        close(found[mask == 1], after[mask == 1])
        assert (found - before)[mask == 1].abs().max() > 1e-3
        before = found


@needs_onednn
def test_keeps_what_it_packed_so_that_no_other_can_take_its_place():
    linear = FastLinear(4, 7)
    kept = linear.up_to_date()[1]
    assert [tensor.data_ptr() for tensor in kept] == [
        linear.weight.data_ptr(),
        linear.bias.data_ptr(),
    ]


def test_follows_a_step_of_a_fused_optimizer(small, ragged, packed):
    """Such a step is not counted in the weights' versions."""
    model = BertForMaskedLM.from_pretrained(small["published"])
    fast = optimize(model)
    ids, mask = ragged
    before = fast(ids, mask).logits
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    with torch.enable_grad():
        model(ids, mask).logits.square().mean().backward()
    optimizer.step()
    found = fast(ids, mask).logits
    assert (found - before)[mask == 1].abs().max() > 0.01
    with torch.no_grad():
        close(found[mask == 1], model(ids, mask).logits[mask == 1])


def test_the_sample_lies_in_several_rows_and_columns():
    weight = torch.zeros(8, 6)
    seen = engine.sample_of(weight)
    before = engine.state_of(weight, seen)
    weight.data[:, 1:] += 1  # torch does not count it
    changed = engine.state_of(weight, seen)
    assert changed != before
    weight.data[1:] += 1
    assert engine.state_of(weight, seen) != changed
    long = torch.arange(30_000.0).view(10_000, 3)
    assert engine.sample_of(long).tolist() == [0, 3754, 7508]


def test_a_weight_that_lies_column_by_column_is_watched_too():
    linear = FastLinear(6, 8)
    linear.weight = torch.nn.Parameter(torch.zeros(6, 8).T)
    seen = engine.sample_of(linear.weight.detach())
    before = engine.state_of(linear.weight, seen)
    linear.weight.data[4] += 1
    assert engine.state_of(linear.weight, seen) != before


def test_a_class_derived_from_linear_keeps_its_forward(small, ragged, packed):
    class Doubled(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = BertForMaskedLM.from_pretrained(small["published"]).eval()
    model.bert.layers[0].attention.query.__class__ = Doubled
    ids, mask = ragged
    with torch.no_grad():
        wanted = model(ids, mask).logits
    close(optimize(model)(ids, mask).logits[mask == 1], wanted[mask == 1])


class Doubled(BertModel):
    """A model whose own forward does more."""

    def forward(self, *given, **named):
        found = super().forward(*given, **named)
        found.last_hidden_state = 2 * found.last_hidden_state
        return found


class Thrice(SelfAttention):
    """Attention whose own forward does more."""

    def forward(self, *given):
        found, weights = super().forward(*given)
        return 3 * found, weights


def derive_attention(model: BertModel) -> None:
    model.layers[0].attention.__class__ = Thrice


def derive_model(model: BertModel) -> None:
    model.__class__ = Doubled


def hook_layer(model: BertModel) -> None:
    model.layers[1].register_forward_hook(
        lambda layer, given, found: (0.1 * found[0], found[1])
    )


def hook_attention(model: BertModel) -> None:
    model.layers[1].attention.register_forward_pre_hook(
        lambda attention, given: (2 * given[0], *given[1:])
    )


def hook_up(model: BertModel) -> None:
    model.layers[1].feed_forward.up.register_forward_hook(
        lambda up, given, found: found + 1
    )


def replace_forward(model: BertModel) -> None:
    norm = model.layers[0].attention_norm
    model.layers[0].forward = lambda hidden, *rest: (norm(hidden), None)


@pytest.mark.parametrize(
    "change",
    [
        derive_attention,
        derive_model,
        hook_layer,
        hook_attention,
        hook_up,
        replace_forward,
    ],
)
def test_what_others_hang_on_a_model_is_computed(
    change: Callable, small, ragged, packed
):
    ids, mask = ragged
    model = BertModel.from_pretrained(small["published"])
    untouched = model(ids, mask).last_hidden_state[mask == 1]
    change(model)
    wanted = model(ids, mask).last_hidden_state[mask == 1]
    assert (wanted - untouched).abs().max() > 0.01
    found = optimize(model)(ids, mask).last_hidden_state[mask == 1]
    close(found, wanted)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="is a Identity, wanted one of this"):
        optimize(torch.nn.Identity())


def test_follows_when_weights_are_assigned(small, ragged, packed):
    model = BertForMaskedLM.from_pretrained(small["published"])
    fast = optimize(model)
    ids, mask = ragged
    fast(ids, mask)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.bert.layers[0].feed_forward.up.weight.mul_(2)
        fast.load_state_dict(other.state_dict(), assign=True)
        wanted = other(ids, mask).logits
        close(fast(ids, mask).logits[mask == 1], wanted[mask == 1])


def test_weights_from_inference_mode_are_taken(small, ragged, packed):
    ids, mask = ragged
    with torch.inference_mode():
        model = BertModel.from_pretrained(small["published"])
        fast = optimize(model)
        found = fast(ids, mask).last_hidden_state[mask == 1]
        close(found, model(ids, mask).last_hidden_state[mask == 1])


def test_can_be_copied_and_saved_after_packing(small, ragged, packed):
    fast = optimize(BertForMaskedLM.from_pretrained(small["published"]))
    ids, mask = ragged
    wanted = fast(ids, mask).logits
    close(copy.deepcopy(fast)(ids, mask).logits, wanted)
    stream = io.BytesIO()
    torch.save(fast.state_dict(), stream)
    stream.seek(0)
    fast.load_state_dict(torch.load(stream))
    close(fast(ids, mask).logits, wanted)


def test_optimizing_twice_changes_nothing(small, ragged, packed):
    fast = optimize(BertForMaskedLM.from_pretrained(small["published"]))
    ids, mask = ragged
    close(optimize(fast)(ids, mask).logits, fast(ids, mask).logits)


def test_save_pretrained_writes_the_same_file(small, packed, tmp_path: Path):
    model = BertForMaskedLM.from_pretrained(small["published"])
    model.save_pretrained(tmp_path / "plain")
    optimize(model).save_pretrained(tmp_path / "fast")
    plain, fast = (
        (tmp_path / name / "model.safetensors").read_bytes()
        for name in ("plain", "fast")
    )
    assert plain == fast


def test_bfloat16_keeps_directions_and_gives_float32(small, ragged, packed):
    model = BertForMaskedLM.from_pretrained(small["published"])
    half = optimize(model, torch.bfloat16)
    ids, mask = ragged
    found = half(ids, mask)
    assert found.logits.dtype == torch.float32
    states = half.bert(ids, mask).last_hidden_state
    assert states.dtype == torch.float32
    wanted = model.bert(ids, mask).last_hidden_state
    cosines = torch.cosine_similarity(states[mask == 1], wanted[mask == 1], -1)
    assert cosines.min() > 0.99
    error = (states - wanted)[mask == 1].abs().max()
    # Where nothing is gained, float32 stays.
    in_half = packed and engine.can_pack(torch.bfloat16)
    assert error > 1e-4 if in_half else error < 1e-4
    # Heads compute in float32.
    close(half.masked_words(wanted), model.masked_words(wanted))


def test_fill_mask_guesses_the_same(pocket: Path, packed):
    model = BertForMaskedLM.from_pretrained(pocket)
    tokenizer = BertTokenizer.from_pretrained(pocket)
    texts = [
        "When in Rome, do as the [MASK] do.",
        "The [MASK] of the old [MASK] was closed for the whole winter.",
        "[MASK]",
    ]
    plain = fill_mask(model, tokenizer, texts)
    fast = fill_mask(optimize(model), tokenizer, texts)
    flat = [plain[0], *plain[1], plain[2]], [fast[0], *fast[1], fast[2]]
    for ours, theirs in zip(*flat, strict=True):
        assert [g.id for g in ours] == [g.id for g in theirs]
        for our, their in zip(ours, theirs, strict=True):
            assert our.probability == pytest.approx(
                their.probability, rel=1e-4
            )


@pytest.fixture
def measured_anew():
    """Forget what was measured, before a test and after it."""
    engine.measure_packing.cache_clear()
    yield
    engine.measure_packing.cache_clear()


ODD_SIZES = BertConfig(
    hidden_size=35, intermediate_size=53, num_attention_heads=5
)


def is_packed(module: nn.Module) -> bool:
    """Whether there is a FastLinear in it."""
    return any(isinstance(part, FastLinear) for part in module.modules())


def test_measuring_keeps_the_random_state(measured_anew):
    before = torch.get_rng_state()
    engine.most_packed_rows(ODD_SIZES, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@needs_onednn
def test_wrong_numbers_are_never_chosen(
    monkeypatch: pytest.MonkeyPatch, measured_anew
):
    def wrong(x, packed, bias, activation):
        return torch.zeros(*x.shape[:-1], len(bias), dtype=x.dtype)

    monkeypatch.setattr(
        engine, "seconds_of", lambda module, x: 2 - is_packed(module)
    )
    assert engine.most_packed_rows(ODD_SIZES, torch.float32) == math.inf
    monkeypatch.setattr(engine, "packed_linear", wrong)
    engine.measure_packing.cache_clear()
    assert engine.most_packed_rows(ODD_SIZES, torch.float32) == 0


@needs_onednn
@pytest.mark.parametrize(
    "seconds, most",
    [
        ({16: 0.96, 64: 0.96, 256: 0.96}, 0),  # not worth a second copy
        ({16: 1.01, 64: 0.5, 256: 0.5}, 0),
        ({16: 0.99, 64: 0.94, 256: 1.01}, 64),
        ({16: 0.94, 64: 1.01, 256: 0.5}, 16),
        ({16: 0.94, 64: 0.99, 256: 1.01}, 64),
        ({16: 0.94, 64: 0.99, 256: 0.99}, math.inf),
    ],
)
def test_packs_up_to_the_rows_at_which_it_was_faster(
    monkeypatch: pytest.MonkeyPatch, measured_anew, seconds: dict, most: float
):
    def seconds_of(module, x):
        return seconds[len(x)] if is_packed(module) else 1.0

    monkeypatch.setattr(engine, "seconds_of", seconds_of)
    assert engine.most_packed_rows(ODD_SIZES, torch.float32) == most


@pytest.mark.parametrize(
    "dtype, off, is_close",
    [
        (torch.float32, 15, True),  # 8, and the root of 64 terms
        (torch.float32, 17, False),
        (torch.bfloat16, 8, True),
        (torch.bfloat16, 9, False),
    ],
)
def test_close_is_a_few_roundings(dtype, off, is_close):
    expected = torch.ones(3)
    found = (expected + off * torch.finfo(dtype).eps).to(dtype)
    assert engine.is_close(found, expected, terms=64) == is_close
    assert not engine.is_close(found * math.nan, expected, terms=64)


@pytest.mark.parametrize("most, packs", [(5, False), (6, True)])
def test_rows_are_counted_over_all_axes_but_the_last(most, packs):
    linear = FastLinear(4, 7)
    linear.most_rows = most
    assert linear.packs(torch.zeros(2, 3, 4)) == packs


@needs_onednn
@pytest.mark.parametrize("rows, packs", [(4, True), (5, False)])
def test_the_layers_use_packed_weights_for_as_many_rows_as_chosen(
    small, monkeypatch: pytest.MonkeyPatch, rows: int, packs: bool
):
    used = []

    def packed_linear(x, packed, bias, activation):
        used.append(len(bias))
        return real_one(x, packed, bias, activation)

    real_one = engine.packed_linear
    monkeypatch.setattr(engine, "most_packed_rows", lambda *asked: 4)
    monkeypatch.setattr(engine, "packed_linear", packed_linear)
    model = BertForMaskedLM.from_pretrained(small["published"])
    ids = torch.arange(5, 5 + rows)[None]
    with torch.inference_mode():
        close(optimize(model)(ids).logits, model(ids).logits)
    in_layers = 6 * model.config.num_hidden_layers
    in_head = 2  # packed for any number of rows
    assert len(used) == in_head + packs * in_layers


def test_without_the_operations_nothing_is_packed(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(engine, "can_pack", lambda dtype: False)
    assert engine.most_packed_rows(ODD_SIZES, torch.float32) == 0


@needs_onednn
def test_bfloat16_is_left_alone_where_the_processor_lacks_it(small):
    program = """
import sys
import torch
from bert import BertForMaskedLM, optimize

model = BertForMaskedLM.from_pretrained(sys.argv[1])
optimize(model, torch.bfloat16)(torch.tensor([[5, 6, 7]]))
"""
    found = subprocess.run(
        [sys.executable, "-c", program, str(small["published"])],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr


def test_training_is_refused(small):
    fast = optimize(BertForMaskedLM.from_pretrained(small["published"]))
    with pytest.raises(RuntimeError, match="only infers"):
        fast.train()


def test_converting_an_optimized_model_is_refused(small, packed):
    model = BertModel.from_pretrained(small["published"])
    converted = optimize(model).double()
    with pytest.raises(TypeError, match=r"are torch.float64, wanted torch.f"):
        converted(torch.tensor([[5, 6]]))
    assert model(torch.tensor([[5, 6]])).last_hidden_state.dtype is (
        torch.float32
    )


@pytest.mark.skipif(
    not engine.can_pack(torch.bfloat16), reason="no bfloat16 to pack here"
)
@pytest.mark.parametrize("in_half, most", [(2.0, 0), (0.5, math.inf)])
def test_bfloat16_must_beat_packed_float32(
    monkeypatch: pytest.MonkeyPatch,
    measured_anew,
    in_half: float,
    most: float,
):
    def seconds(module, x):  # plain is the slowest
        if not is_packed(module):
            return 3.0
        return 1.0 if x.dtype is torch.float32 else in_half

    monkeypatch.setattr(engine, "seconds_of", seconds)
    assert engine.most_packed_rows(ODD_SIZES, torch.float32) == math.inf
    assert engine.most_packed_rows(ODD_SIZES, torch.bfloat16) == most


@needs_onednn
def test_bfloat16_must_win_at_all_rows(small, monkeypatch: pytest.MonkeyPatch):
    most = {torch.float32: math.inf, torch.bfloat16: 64}
    monkeypatch.setattr(
        engine, "most_packed_rows", lambda config, dtype: most[dtype]
    )
    model = BertModel.from_pretrained(small["published"])
    assert optimize(model, torch.bfloat16).dtype is torch.float32
    most[torch.bfloat16] = math.inf
    assert optimize(model, torch.bfloat16).dtype is torch.bfloat16


def test_other_dtypes_are_refused(small):
    model = BertModel.from_pretrained(small["published"])
    with pytest.raises(ValueError, match="wanted torch.float32 or "):
        optimize(model, torch.float16)
    with pytest.raises(ValueError, match=r"is torch.float64 on cpu, wanted"):
        optimize(model.double())
