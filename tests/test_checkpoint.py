"""bert.checkpoint: names, every layout, and every file that is refused."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertForPreTraining as TheirBert

from bert import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel
from bert.checkpoint import (
    RENAMES,
    load_weights,
    our_name,
    read_tensors,
    tensor_files,
    their_name,
)
from bookkit.random_base import LAYOUTS, SMALL, shapes, write_checkpoint

QUERY = "bert.encoder.layer.1.attention.self.query.weight"
WORD = "bert.embeddings.word_embeddings.weight"
BIAS = "cls.predictions.bias"
NAMES = [name for name, _ in shapes(SMALL)]
WITH_HEADS = sorted(set(LAYOUTS) - {"no_prefix"})


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A tiny checkpoint in bert-base-uncased's own layout."""
    write_checkpoint(tmp_path / "tiny", SMALL)
    return tmp_path / "tiny"


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Give tensors of a checkpoint other contents; None takes one away."""
    path = folder / "model.safetensors"
    kept = load_file(path) | tensors
    save_file({n: t for n, t in kept.items() if t is not None}, path)


# Names


def test_every_published_name_has_one_of_ours_and_back():
    ours = [our_name(name) for name in NAMES]
    assert len(set(ours)) == len(NAMES)
    assert not set(ours) & set(NAMES)
    assert [their_name(name) for name in ours] == NAMES


def test_our_names_are_the_parameters_of_the_model(checkpoint):
    model = BertForPreTraining.from_pretrained(checkpoint)
    assert {our_name(name) for name in NAMES} == {
        name for name, _ in model.named_parameters()
    }


def test_every_line_of_the_rename_table_is_used():
    for theirs in RENAMES:
        start = theirs.replace("{n}", "2")
        if theirs != "cls.predictions.decoder":
            assert any(name.startswith(start) for name in NAMES), theirs


@pytest.mark.parametrize(
    ("stored", "ours"),
    [
        ("bert.embeddings.LayerNorm.gamma", "bert.embedding_norm.weight"),
        ("embeddings.LayerNorm.beta", "bert.embedding_norm.bias"),
        ("pooler.dense.bias", "bert.pooler.bias"),
        (
            "encoder.layer.11.attention.output.LayerNorm.gamma",
            "bert.layers.11.attention_norm.weight",
        ),
        (
            "bert.encoder.layer.1.output.LayerNorm.bias",
            "bert.layers.1.feed_forward_norm.bias",
        ),
        ("cls.predictions.decoder.bias", "masked_words.decoder.bias"),
        (BIAS, "masked_words.decoder.bias"),
        ("classifier.weight", "classifier.weight"),
    ],
)
def test_older_and_shorter_names_are_known(stored, ours):
    assert our_name(stored) == ours


def test_a_name_that_the_table_lacks_is_refused_on_the_way_out():
    with pytest.raises(KeyError, match="no published name for 'bert.extra'"):
        their_name("bert.extra")


# Layouts


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tensors_read_are_those_written(tmp_path, layout):
    written = write_checkpoint(tmp_path, SMALL, layout)
    found = read_tensors(tmp_path)
    assert found.keys() == written.keys()
    for name, tensor in written.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("layout", WITH_HEADS)
def test_every_tensor_is_where_transformers_has_it(tmp_path, layout):
    write_checkpoint(tmp_path, SMALL, layout)
    ours = BertForPreTraining.from_pretrained(tmp_path)
    theirs = TheirBert.from_pretrained(
        tmp_path, dtype=torch.float32, local_files_only=True
    ).state_dict()
    for name, parameter in ours.named_parameters():
        assert parameter.dtype == torch.float32
        published = their_name(name)
        if layout == "untied" and published == BIAS:
            published = "cls.predictions.decoder.bias"
        assert torch.equal(parameter, theirs[published]), name


UNUSED = {
    "position_ids": ["bert.embeddings.position_ids"],
    "decoder_copies": [BIAS, "cls.predictions.decoder.weight"],
    "untied": [BIAS],
}


@pytest.mark.parametrize("layout", WITH_HEADS)
def test_every_tensor_is_used_once_or_named_as_unused(tmp_path, layout):
    written = write_checkpoint(tmp_path, SMALL, layout)
    model = BertForPreTraining.from_pretrained(tmp_path)
    assert model.unused_tensors == UNUSED.get(layout, [])
    used = len(list(model.parameters()))
    assert used + len(model.unused_tensors) == len(written)


def test_a_smaller_model_names_what_it_leaves(checkpoint):
    trunk = BertModel.from_pretrained(checkpoint)
    assert all(name.startswith("cls.") for name in trunk.unused_tensors)
    words = BertForMaskedLM.from_pretrained(checkpoint)
    assert words.unused_tensors == [
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "cls.seq_relationship.bias",
        "cls.seq_relationship.weight",
    ]


def test_a_trunk_without_prefix_fills_the_trunk(tmp_path):
    written = write_checkpoint(tmp_path, SMALL, "no_prefix")
    model = BertModel.from_pretrained(tmp_path)
    assert model.unused_tensors == []
    table = written["embeddings.word_embeddings.weight"]
    assert torch.equal(model.embeddings.word.weight, table)


def test_a_layer_more_than_the_configuration_has_is_named_as_unused(tmp_path):
    written = write_checkpoint(tmp_path, SMALL)
    fewer = json.dumps(SMALL | {"num_hidden_layers": 2})
    (tmp_path / "config.json").write_text(fewer)
    model = BertForPreTraining.from_pretrained(tmp_path)
    assert model.unused_tensors == sorted(n for n in written if ".2." in n)
    assert len(model.unused_tensors) == 16


def test_tied_means_one_tensor_and_untied_two(tmp_path):
    write_checkpoint(tmp_path / "tied", SMALL)
    model = BertForPreTraining.from_pretrained(tmp_path / "tied")
    assert model.masked_words.decoder.weight is (
        model.bert.embeddings.word.weight
    )
    write_checkpoint(tmp_path / "untied", SMALL, "untied")
    model = BertForPreTraining.from_pretrained(tmp_path / "untied")
    assert not torch.equal(
        model.masked_words.decoder.weight, model.bert.embeddings.word.weight
    )


@pytest.mark.parametrize("layout", ["published", "decoder_copies", "untied"])
def test_weights_that_are_loaded_alone_keep_what_is_tied(tmp_path, layout):
    write_checkpoint(tmp_path, SMALL, layout)
    config = BertConfig.from_pretrained(tmp_path)
    model = BertForMaskedLM(config, initialize=False)
    load_weights(model, tmp_path)
    decoder = model.masked_words.decoder.weight
    word = model.bert.embeddings.word.weight
    assert (decoder is word) == (layout != "untied")
    opened = BertForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(decoder, opened.masked_words.decoder.weight)


# Saving


@pytest.mark.parametrize("layout", ["published", "untied", "decoder_copies"])
@pytest.mark.parametrize("kind", [BertForPreTraining, BertForMaskedLM])
def test_saved_and_opened_again_is_the_same(tmp_path, layout, kind):
    write_checkpoint(tmp_path / "first", SMALL, layout)
    model = kind.from_pretrained(tmp_path / "first")
    model.save_pretrained(tmp_path / "second")
    again = kind.from_pretrained(tmp_path / "second")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_model_can_be_saved_over_the_file_that_it_came_from(checkpoint):
    model = BertForPreTraining.from_pretrained(checkpoint)
    with torch.no_grad():
        model.bert.pooler.bias += 1.0
    model.save_pretrained(checkpoint)
    again = BertForPreTraining.from_pretrained(checkpoint)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("layout", ["published", "untied"])
def test_transformers_opens_what_is_saved_with_no_key_to_spare(
    tmp_path, layout
):
    write_checkpoint(tmp_path / "first", SMALL, layout)
    model = BertForPreTraining.from_pretrained(tmp_path / "first")
    model.save_pretrained(tmp_path / "second")
    theirs, report = TheirBert.from_pretrained(
        tmp_path / "second", local_files_only=True, output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[kind], (kind, report[kind])
    state = theirs.state_dict()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, state[their_name(name)]), name


def test_the_file_says_that_it_is_torchs(checkpoint, tmp_path):
    # Older versions of transformers refuse a file that does not.
    BertModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "new")
    path = tmp_path / "new" / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_transposed_weight_is_saved_as_it_is(checkpoint, tmp_path):
    model = BertModel.from_pretrained(checkpoint)
    up = model.layers[0].feed_forward.up
    up.weight = nn.Parameter(up.weight.detach().T.contiguous().T)
    assert not up.weight.is_contiguous()
    model.save_pretrained(tmp_path / "new")
    again = BertModel.from_pretrained(tmp_path / "new")
    assert torch.equal(again.layers[0].feed_forward.up.weight, up.weight)


# Refusals: the file


def with_header(good: bytes, header: dict) -> bytes:
    """The file with another header, its data as they were."""
    length = struct.unpack("<Q", good[:8])[0]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + good[8 + length :]


def header_of(good: bytes) -> dict:
    """The header of a safetensors file."""
    return json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]])


def overlapping(good: bytes) -> bytes:
    """Two tensors in the same bytes."""
    header = header_of(good)
    one, other = sorted(header.keys() - {"__metadata__"})[:2]
    header[one]["data_offsets"] = header[other]["data_offsets"]
    return with_header(good, header)


def beyond_the_end(good: bytes) -> bytes:
    """A tensor that ends after the file does."""
    header = header_of(good)
    last = max(
        header.keys() - {"__metadata__"},
        key=lambda name: header[name]["data_offsets"],
    )
    header[last]["data_offsets"][1] += 4 * SMALL["hidden_size"]
    header[last]["shape"][0] += 1
    return with_header(good, header)


def wrong_size(good: bytes) -> bytes:
    """A shape that needs other bytes than the offsets give."""
    header = header_of(good)
    header[WORD]["shape"] = [7, 7]
    return with_header(good, header)


def unknown_type(good: bytes) -> bytes:
    """A type of number that does not exist."""
    header = header_of(good)
    header[WORD]["dtype"] = "F33"
    return with_header(good, header)


POINTER = b"version https://git-lfs.github.com/spec/v1\nsize 440449768\n"
BROKEN = {
    "empty": (lambda good: b"", "header too small"),
    "cut in the length": (lambda good: good[:5], "header too small"),
    "cut in the header": (lambda good: good[:100], "invalid header length"),
    "cut in the data": (lambda good: good[:-1], "not fully covered"),
    "more than the data": (lambda good: good + b"\0", "not fully covered"),
    "a length that is too large": (
        lambda good: struct.pack("<Q", 10**12) + good[8:],
        "header too large",
    ),
    "no JSON": (
        lambda good: good[:8] + b"#" + good[9:],
        "invalid JSON in header",
    ),
    "offsets that overlap": (overlapping, "invalid offset for tensor"),
    "offsets beyond the end": (beyond_the_end, "not fully covered"),
    "a shape of another size": (wrong_size, "invalid shape"),
    "a type that is none": (unknown_type, "unknown variant `F33`"),
    "a pointer of Git LFS": (lambda good: POINTER, "header too large"),
    "a web page": (lambda good: b"<!DOCTYPE html>" * 9, "header too large"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_malformed_file_is_refused_and_named(checkpoint, case):
    damage, reason = BROKEN[case]
    path = checkpoint / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError) as caught:
        BertForPreTraining.from_pretrained(checkpoint)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a whole safetensors file (")
    assert reason in message
    assert message.endswith("; fetch it again")


def test_a_folder_without_tensors_is_refused(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match="tiny holds no model.safetensors, whole or"
    ):
        BertModel.from_pretrained(checkpoint)


def test_pickle_is_never_opened(checkpoint):
    path = checkpoint / "pytorch_model.bin"
    (checkpoint / "model.safetensors").rename(path)
    with pytest.raises(
        FileNotFoundError, match=r"\['pytorch_model.bin'\] is in Python's pi"
    ):
        BertModel.from_pretrained(checkpoint)


# Refusals: shards


@pytest.fixture
def shards(tmp_path) -> Path:
    """The tiny checkpoint in three files and an index."""
    write_checkpoint(tmp_path / "shards", SMALL, "sharded")
    return tmp_path / "shards"


def test_shards_are_read_in_order_and_once(shards):
    names = [path.name for path in tensor_files(shards)]
    assert names == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]


def test_a_missing_shard_is_named(shards):
    (shards / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"index.json names \['model-00002-of-00003.safetensors'\], not",
    ):
        BertModel.from_pretrained(shards)


def test_a_tensor_in_two_shards_is_refused(shards):
    first, second = tensor_files(shards)[:2]
    name = next(iter(load_file(first)))
    both = load_file(second) | {name: load_file(first)[name]}
    save_file(both, second)
    with pytest.raises(ValueError, match=f"{name} is there twice"):
        read_tensors(shards)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": []}']
)
def test_an_index_that_is_none_is_refused(shards, text):
    (shards / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match="index.json is no index of shards"):
        read_tensors(shards)


@pytest.mark.parametrize("name", ["../other.safetensors", "/other.safetensor"])
def test_an_index_that_points_elsewhere_is_refused(shards, name):
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {WORD: name}}))
    with pytest.raises(ValueError, match=f"names .'{name}'., outside its own"):
        read_tensors(shards)


# Refusals: the tensors


def test_a_missing_tensor_is_named_as_in_the_file(checkpoint):
    change(checkpoint, **{QUERY: None})
    with pytest.raises(
        ValueError, match=rf"tiny lacks 1 of the 62 tensors .*: {QUERY}$"
    ):
        BertForPreTraining.from_pretrained(checkpoint)


def test_a_trunk_cannot_fill_a_head(tmp_path):
    write_checkpoint(tmp_path, SMALL, "no_prefix")
    with pytest.raises(
        ValueError, match=r"lacks 5 of the 58 .*cls.predictions.transform.den"
    ):
        BertForMaskedLM.from_pretrained(tmp_path)


def test_of_many_missing_tensors_five_are_named(checkpoint):
    more = json.dumps(SMALL | {"num_hidden_layers": 4})
    (checkpoint / "config.json").write_text(more)
    with pytest.raises(ValueError, match=r"lacks 16 of the 78 .*, \.\.\.$"):
        BertForPreTraining.from_pretrained(checkpoint)


def test_a_misshapen_tensor_is_named_with_both_shapes(checkpoint):
    change(checkpoint, **{QUERY: torch.zeros(35, 34)})
    with pytest.raises(
        ValueError,
        match=rf"{QUERY} has the shape \[35, 34\], the .* wants \[35, 35\]",
    ):
        BertForPreTraining.from_pretrained(checkpoint)


def test_a_transposed_tensor_is_refused(checkpoint):
    up = "bert.encoder.layer.0.intermediate.dense.weight"
    turned = read_tensors(checkpoint)[up].T.contiguous()
    change(checkpoint, **{up: turned})
    with pytest.raises(ValueError, match=r"\[35, 53\], .* wants \[53, 35\]"):
        BertModel.from_pretrained(checkpoint)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_whole_numbers_are_no_weights(checkpoint, dtype):
    change(checkpoint, **{QUERY: torch.ones(35, 35).to(dtype)})
    with pytest.raises(
        ValueError, match=f"{QUERY} holds {dtype}, wanted a floating-point"
    ):
        BertForPreTraining.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    "name, named",
    [
        ("cls.predictions.decoder.weight", "cls.predictions.decoder.weight"),
        ("cls.predictions.decoder.bias", BIAS),
    ],
)
def test_a_copy_that_differs_from_what_it_is_tied_to_is_refused(
    tmp_path, name, named
):
    tensors = write_checkpoint(tmp_path, SMALL, "decoder_copies")
    other = tensors[name].clone()
    other[3] += 0.25
    change(tmp_path, **{name: other})
    with pytest.raises(
        ValueError,
        match=f"{named} differs .* by up to 0.25; .*tie_word_embeddings: fal",
    ):
        BertForPreTraining.from_pretrained(tmp_path)


def test_an_untied_model_whose_switch_was_lost_is_refused(tmp_path):
    write_checkpoint(tmp_path, SMALL, "untied")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    with pytest.raises(ValueError, match="differs from another .*; an untied"):
        BertForPreTraining.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "layout, end", [("half", "; an untied model says"), ("untied", "$")]
)
@pytest.mark.parametrize(
    "name, copy",
    [
        (WORD, WORD.removeprefix("bert.")),
        (
            "bert.embeddings.LayerNorm.weight",
            "bert.embeddings.LayerNorm.gamma",
        ),
    ],
)
def test_two_names_for_one_place_must_agree(tmp_path, layout, end, name, copy):
    tensors = write_checkpoint(tmp_path, SMALL, layout)
    change(tmp_path, **{copy: tensors[name].clone()})
    model = BertForMaskedLM.from_pretrained(tmp_path)
    assert {name, copy} & set(model.unused_tensors)
    change(tmp_path, **{copy: tensors[name] + 0.25})
    match = f"differs from another tensor .*, by up to 0.25{end}"
    with pytest.raises(ValueError, match=match):
        BertForMaskedLM.from_pretrained(tmp_path)


def test_a_refused_file_leaves_a_model_as_it_was(checkpoint):
    model = BertForPreTraining.from_pretrained(checkpoint)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    write_checkpoint(checkpoint, SMALL, seed=1)
    change(checkpoint, **{QUERY: None})
    with pytest.raises(ValueError, match="lacks 1"):
        load_weights(model, checkpoint)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_weights_stay_parameters_that_can_be_trained(checkpoint):
    model = BertForPreTraining.from_pretrained(checkpoint)
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, nn.Parameter) and parameter.requires_grad
        assert parameter.is_leaf and parameter.is_contiguous(), name
