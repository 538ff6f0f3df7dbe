"""The whole model against transformers, in every layout of the file."""

import warnings

import pytest
import torch

from bert import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel
from bert.checkpoint import our_name
from bookkit.random_base import LAYOUTS, SMALL, UNUSUAL

# With heads; `no_prefix` holds the trunk alone.
WHOLE = sorted(set(LAYOUTS) - {"no_prefix"})
BATCH, SEQ = 3, 17


def inputs(seed: int = 0) -> dict[str, torch.Tensor]:
    """A random batch whose second row ends in padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(
        5, SMALL["vocab_size"], (BATCH, SEQ), generator=generator
    )
    ids[0, 2] = UNUSUAL["pad_token_id"]  # where it is a token like any other
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    segments = torch.zeros_like(ids)
    segments[:, 6:] = 1
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": segments,
    }


def inputs_for(layout: str) -> dict[str, torch.Tensor]:
    """The random batch, with a third segment where there is one."""
    batch = inputs()
    if layout == "unusual":
        batch["token_type_ids"][:, 12:] = 2
    return batch


def referee(kind: str, folder):
    """transformers' own model on a folder, without its reports."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(transformers, kind).from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
    return model.eval()


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference."""
    assert found.shape == expected.shape
    return (found - expected).abs().max().item()


@pytest.mark.parametrize("layout", WHOLE)
def test_both_heads_match_transformers(small, layout):
    ours = BertForPreTraining.from_pretrained(small[layout])
    theirs = referee("BertForPreTraining", small[layout])
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.inference_mode():
        found = ours(**inputs_for(layout), **asked)
        expected = theirs(**inputs_for(layout), **asked)
    for name in ("prediction_logits", "seq_relationship_logits"):
        assert distance(getattr(found, name), getattr(expected, name)) < 2e-5
    for name in ("hidden_states", "attentions"):
        pairs = zip(getattr(found, name), getattr(expected, name), strict=True)
        assert max(distance(a, b) for a, b in pairs) < 2e-5


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_trunk_matches_transformers(small, layout):
    ours = BertModel.from_pretrained(small[layout])
    theirs = referee("BertModel", small[layout])
    with torch.inference_mode():
        batch = inputs_for(layout)
        found, expected = ours(**batch), theirs(**batch)
    last = expected.last_hidden_state
    assert distance(found.last_hidden_state, last) < 2e-5
    assert distance(found.pooler_output, expected.pooler_output) < 2e-5


@pytest.mark.parametrize("layout", ["published", "untied", "unusual"])
def test_gradients_of_the_loss_match_transformers(small, layout):
    ours = BertForPreTraining.from_pretrained(small[layout])
    theirs = referee("BertForPreTraining", small[layout])
    labels = torch.full((BATCH, SEQ), -100)
    labels[0, 3], labels[1, 2], labels[2, 11] = 7, 93, 51
    batch = inputs_for(layout) | {
        "labels": labels,
        "next_sentence_label": torch.tensor([0, 1, 1]),
    }
    found, expected = ours(**batch), theirs(**batch)
    assert abs(found.loss.item() - expected.loss.item()) < 2e-5
    found.loss.backward()
    expected.loss.backward()
    gradients = {
        name: parameter.grad for name, parameter in ours.named_parameters()
    }
    compared = 0
    for name, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            grown = gradients[our_name(name)]
            scale = parameter.grad.abs().max().item()
            assert distance(grown, parameter.grad) < 2e-5 * max(scale, 1)
            compared += 1
    # transformers keeps a bias beside an untied decoder that gets none.
    assert compared == len(gradients)


@pytest.mark.parametrize("layout", ["published", "untied"])
@pytest.mark.parametrize("kind", ["BertForPreTraining", "BertForMaskedLM"])
def test_transformers_loads_what_was_saved(small, layout, kind, tmp_path):
    import transformers

    import bert

    ours = getattr(bert, kind).from_pretrained(small[layout])
    ours.save_pretrained(tmp_path / "saved")
    theirs, report = getattr(transformers, kind).from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    name = "logits" if kind == "BertForMaskedLM" else "prediction_logits"
    with torch.inference_mode():
        found = getattr(ours(**inputs()), name)
        expected = getattr(theirs.eval()(**inputs()), name)
    assert distance(found, expected) < 2e-5
    again = getattr(bert, kind).from_pretrained(tmp_path / "saved")
    with torch.inference_mode():
        assert torch.equal(getattr(again(**inputs()), name), found)


def test_every_tensor_is_used_or_named(small):
    model = BertForPreTraining.from_pretrained(small["published"])
    assert model.unused_tensors == []
    trunk = BertModel.from_pretrained(small["published"])
    assert len(trunk.unused_tensors) == 7
    assert all(name.startswith("cls.") for name in trunk.unused_tensors)


def test_padding_changes_nothing(small):
    model = BertForMaskedLM.from_pretrained(small["published"])
    batch = inputs()
    other = {name: tensor.clone() for name, tensor in batch.items()}
    other["input_ids"][1, 9:] = 42
    other["token_type_ids"][1, 9:] = 0
    with torch.inference_mode():
        one = model(**batch).logits[1, :9]
        two = model(**other).logits[1, :9]
        cut = {name: tensor[1:2, :9] for name, tensor in batch.items()}
        alone = model(**cut).logits[0]
    assert torch.equal(one, two)
    assert distance(one, alone) < 2e-5


def test_a_row_of_padding_stays_finite(small):
    model = BertForMaskedLM.from_pretrained(small["published"])
    batch = inputs()
    batch["attention_mask"][2] = 0
    for asked in (False, True):  # both forms of attention
        with torch.inference_mode():
            logits = model(**batch, output_attentions=asked).logits
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("seq", [7, SEQ])
def test_float64_runs_with_a_mask(small, seq):
    # The fused attention misreads a float32 mask beside float64 scores.
    model = BertModel.from_pretrained(small["published"])
    batch = {name: tensor[:, :seq] for name, tensor in inputs().items()}
    with torch.inference_mode():
        single = model(**batch).last_hidden_state
        double = model.double()(**batch).last_hidden_state
    assert double.dtype is torch.float64
    assert distance(single.double(), double) < 2e-5


def test_the_order_of_the_batch_changes_nothing(small):
    model = BertModel.from_pretrained(small["published"])
    turned = {name: tensor.flip(0) for name, tensor in inputs().items()}
    with torch.inference_mode():
        forth = model(**inputs()).last_hidden_state
        back = model(**turned).last_hidden_state.flip(0)
    assert distance(forth, back) < 2e-5


def test_without_positions_tokens_may_be_permuted(small):
    model = BertModel.from_pretrained(small["published"])
    torch.nn.init.zeros_(model.embeddings.position.weight)
    ids = inputs()["input_ids"]
    order = torch.randperm(SEQ, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        straight = model(ids).last_hidden_state[:, order]
        permuted = model(ids[:, order]).last_hidden_state
    assert distance(straight, permuted) < 2e-5


def test_a_layer_with_zero_outputs_is_two_norms(small):
    model = BertModel.from_pretrained(small["published"])
    layer = model.layers[0]
    for linear in (layer.attention.output, layer.feed_forward.down):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    hidden = torch.randn(2, 5, SMALL["hidden_size"])
    with torch.inference_mode():
        found, _ = layer(hidden, mask=None)
        expected = layer.feed_forward_norm(layer.attention_norm(hidden))
    assert torch.equal(found, expected)


def test_dropout_is_only_for_training(small):
    model = BertModel.from_pretrained(small["published"])
    one = model(**inputs()).last_hidden_state
    assert torch.equal(one, model(**inputs()).last_hidden_state)
    torch.manual_seed(0)
    learning = model.train()(**inputs()).last_hidden_state
    assert distance(learning, one) > 1e-2


@pytest.mark.parametrize("asked", [False, True])
def test_dropout_draws_what_transformers_draws(small, asked):
    """In the same places, in the same order, with the rate of each."""
    ours = BertForPreTraining.from_pretrained(small["unusual"]).train()
    theirs = referee("BertForPreTraining", small["unusual"]).train()
    assert ours.config.hidden_dropout_prob == 0.3
    assert ours.config.attention_probs_dropout_prob == 0.2
    results = []
    for model in (ours, theirs):
        torch.manual_seed(5)
        with torch.no_grad():
            results.append(model(**inputs(), output_attentions=asked))
    found, expected = (result.prediction_logits for result in results)
    assert distance(found, expected) < 2e-5


def test_first_weights_are_those_of_the_configuration():
    config = BertConfig(**{**CONFIG, "initializer_range": 0.02})
    torch.manual_seed(0)
    model = BertForPreTraining(config)
    words = model.bert.embeddings.word.weight
    assert words is model.masked_words.decoder.weight
    assert words[config.pad_token_id].abs().max() == 0
    assert abs(words[1:].std().item() - 0.02) < 0.001
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        if name.endswith("norm.weight"):
            assert (parameter == 1).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name


CONFIG = {
    name: value
    for name, value in SMALL.items()
    if name in BertConfig.__dataclass_fields__
}


def refusals() -> list[tuple[dict, str]]:
    """Wrong inputs, and what is said about them."""
    ids = inputs()["input_ids"]
    one = torch.ones(BATCH, SEQ, dtype=torch.long)
    return [
        ({"input_ids": ids[0]}, r"shape \[17\], wanted \[batch, seq\]"),
        ({"input_ids": ids[:, :0]}, "at least one token"),
        ({"input_ids": ids.float()}, "input_ids holds torch.float32, wanted"),
        ({"input_ids": ids > 9}, "input_ids holds torch.bool, wanted"),
        ({"input_ids": ids.byte()}, "torch.uint8, wanted torch.int64"),
        (
            {"input_ids": ids, "token_type_ids": one.bool()},
            "token_type_ids holds torch.bool, wanted torch.int64",
        ),
        (
            {"input_ids": ids, "attention_mask": one.float()},
            "attention_mask holds torch.float32, wanted whole numbers",
        ),
        ({"input_ids": ids + 99}, "input_ids holds .*, wanted 0 to 98"),
        ({"input_ids": ids - 99}, "input_ids holds -.*, wanted 0 to 98"),
        (
            {"input_ids": ids.repeat(1, 3)},
            "51 tokens are more than the model's 43 positions",
        ),
        (
            {"input_ids": ids, "attention_mask": one[:, :5]},
            r"attention_mask has the shape \[3, 5\], input_ids has \[3, 17\]",
        ),
        (
            {"input_ids": ids, "attention_mask": one * 2},
            "attention_mask holds 2, wanted 0 to 1",
        ),
        (
            {"input_ids": ids, "token_type_ids": one[:1]},
            r"token_type_ids has the shape \[1, 17\]",
        ),
        (
            {"input_ids": ids, "token_type_ids": one * 2},
            "token_type_ids holds 2, wanted 0 to 1",
        ),
    ]


@pytest.mark.parametrize("wrong, message", refusals())
def test_wrong_inputs_are_refused_in_words(small, wrong, message):
    model = BertModel.from_pretrained(small["published"])
    with pytest.raises(ValueError, match=message):
        model(**wrong)
