"""Every operation's error against transformers and float64."""

import copy
import warnings

import pytest
import torch

from bert import BertForPreTraining
from bert.feed_forward import gelu_tanh
from bookkit.ledger import FLOAT32, TOGETHER, Ledger


def compare(folder, change=None):
    """Run the ledger on a folder, on a model that was changed or not."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        referee = transformers.BertForPreTraining.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
    model = BertForPreTraining.from_pretrained(folder)
    if change:
        model = copy.deepcopy(model)
        change(model)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 99, (2, 13), generator=generator)
    segments = torch.zeros_like(ids)
    segments[:, 7:] = 1
    batch = {
        "input_ids": ids,
        "token_type_ids": segments,
        "attention_mask": torch.ones_like(ids),
    }
    return {entry.name: entry for entry in Ledger(model, referee).run(batch)}


@pytest.mark.parametrize("layout", ["published", "untied", "half"])
def test_no_operation_is_off_and_no_tolerance_too_loose(small, layout):
    for entry in compare(small[layout]).values():
        assert entry.referee <= entry.tolerance, entry
        assert entry.exact <= entry.tolerance, entry
        seen = max(entry.exact, FLOAT32 * entry.scale)
        assert entry.tolerance <= 100 * seen, entry


def test_the_shipped_checkpoint_is_in_the_ledger_too(pocket):
    for entry in compare(pocket).values():
        assert max(entry.referee, entry.exact) <= entry.tolerance, entry


def wrong_gelu(model):
    model.bert.layers[1].feed_forward.activation = gelu_tanh


def swapped_norms(model):
    layer = model.bert.layers[0]
    layer.attention_norm, layer.feed_forward_norm = (
        layer.feed_forward_norm,
        layer.attention_norm,
    )


def forgotten_bias(model):
    torch.nn.init.zeros_(model.bert.layers[2].attention.output.bias)


@pytest.mark.parametrize(
    "change, name",
    [
        (wrong_gelu, "GELU"),
        (swapped_norms, "add and LayerNorm"),
        (forgotten_bias, "output projection"),
    ],
)
def test_a_mistake_stands_out_in_its_own_row(small, change, name):
    entry = compare(small["published"], change)[name]
    assert entry.referee > 10 * entry.tolerance


def scaled_key(model):
    attention = model.bert.layers[1].attention
    with torch.no_grad():
        attention.key.weight.mul_(1.01)


def test_a_mistake_before_the_scores_is_not_theirs_nor_softmaxs(small):
    """Each of the two runs alone; the row of both together has it all."""
    found = compare(small["published"], scaled_key)
    for name in ("key", "attention weights"):
        assert found[name].referee > 10 * found[name].tolerance, name
    for name in ("scores", "softmax"):
        assert found[name].referee <= found[name].tolerance, name
    assert set(TOGETHER) < set(found)
