"""agree, glue, checkpoint_path, referee and the random checkpoints."""

import copy
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from myst_nb.core.variables import format_plain_text
from safetensors import safe_open

from bookkit import agree, checkpoint_path, gluing, referee
from bookkit.comparing import LOOSE
from bookkit.random_base import (
    BASE,
    LAYOUTS,
    SMALL,
    main,
    shapes,
    write_checkpoint,
)

EPS = 2.0**-23
ROOT = Path(__file__).parents[1]


def test_agree_returns_the_error_and_prints_it_beside_the_tolerance(capsys):
    expected = torch.tensor([1.0, -4.0, 2.0])
    found = expected + torch.tensor([0.0, 8 * EPS, 0.0])
    assert agree("sums", found, expected, roundings=4) == 8 * EPS
    assert capsys.readouterr().out == (
        "sums: largest error 9.5e-07, tolerance 1.9e-06\n"
    )


def test_agree_fails_just_over_the_tolerance():
    expected = torch.tensor([1.0, -4.0])
    agree("at it", expected + 16 * EPS, expected, roundings=4)
    with pytest.raises(AssertionError, match="is over the tolerance"):
        agree("over it", expected + 20 * EPS, expected, roundings=4)


def test_agree_refuses_a_tolerance_that_is_far_too_loose():
    expected = torch.ones(3)
    agree("at the limit", expected, expected, roundings=100)
    with pytest.raises(AssertionError, match="would let mistakes pass"):
        agree("loose", expected, expected, roundings=101)
    # An error of four roundings argues for up to four hundred.
    agree("argued for", expected + 4 * EPS, expected, roundings=400)


def test_no_chapter_fails_where_two_sides_agree_too_well():
    # Over LOOSE roundings are refused if the error is small by luck, and
    # that depends on the processor. Python's own floats do not.
    large = {
        (path.name, roundings)
        for path in (ROOT / "book").glob("*.md")
        for roundings in re.findall(
            r"roundings=(\d+)", path.read_text("utf-8")
        )
        if int(roundings) > LOOSE
    }
    assert large == {("16-training-wordpiece.md", "3000")}


@pytest.mark.parametrize("roundings", [-1, math.inf, math.nan])
def test_agree_refuses_a_tolerance_that_is_none(roundings):
    with pytest.raises(ValueError, match="wanted 0 or more"):
        agree("odd", torch.ones(3), torch.ones(3), roundings)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_agree_counts_in_roundings_of_the_dtype(dtype):
    one = torch.ones(3, dtype=dtype)
    next_up = one + torch.finfo(dtype).eps
    assert agree("next", next_up, one, 2) == torch.finfo(dtype).eps
    with pytest.raises(AssertionError, match="over the tolerance"):
        agree("two on", next_up + torch.finfo(dtype).eps, one, 1)


def test_agree_takes_the_coarser_of_two_dtypes():
    exact = torch.full((3,), 1 / 3, dtype=torch.float64)
    error = agree("float32 and float64", exact.float(), exact, roundings=2)
    assert 0 < error < EPS


def test_agree_fails_on_another_shape_that_would_broadcast():
    with pytest.raises(AssertionError, match=r"\[3, 1\], expected \[3, 5\]"):
        agree("shapes", torch.ones(3, 1), torch.ones(3, 5), roundings=1)


def test_agree_fails_when_there_is_nothing_to_compare():
    for empty in (torch.ones(0, 5), [], {}):
        with pytest.raises(AssertionError, match="nothing to compare"):
            agree("empty", empty, empty, roundings=0)


@pytest.mark.parametrize("roundings", [0, 4])
def test_nan_never_passes(roundings):
    holed = torch.tensor([1.0, math.nan])
    for found, expected in [
        (holed, holed),
        (holed, torch.ones(2)),
        (torch.ones(2), holed),
    ]:
        with pytest.raises(AssertionError, match="NaN, which equal nothing"):
            agree("holed", found, expected, roundings)


@pytest.mark.parametrize("roundings", [0, 4])
def test_infinities_pass_only_opposite_each_other(roundings):
    masked = torch.tensor([1.0, -math.inf])
    assert agree("both masked", masked, masked.clone(), roundings) == 0
    for other in (torch.ones(2), -masked):
        for pair in [(masked, other), (other, masked)]:
            with pytest.raises(AssertionError, match="infinite on one side"):
                agree("masked", *pair, roundings)


def test_no_roundings_asks_for_the_last_bit(capsys):
    one = torch.ones(3)
    assert agree("same", one, one.clone(), roundings=0) == 0
    assert capsys.readouterr().out == "same: equal to the last bit\n"
    with pytest.raises(AssertionError, match="3 of 3 numbers differ"):
        agree("next", one + EPS, one, roundings=0)


def test_zeros_agree_only_with_zeros():
    zeros = torch.zeros(3)
    assert agree("zeros", zeros, zeros, roundings=4) == 0
    with pytest.raises(AssertionError, match="over the tolerance"):
        agree("not zero", zeros + 1e-30, zeros, roundings=4)


def test_arrays_numbers_and_lists_compare_with_tensors():
    numbers = [0.5, 1.5, -2.5]
    agree("list", numbers, torch.tensor(numbers), roundings=1)
    agree("array", np.array(numbers), tuple(numbers), roundings=1)
    agree("number", 0.1 + 0.2, 0.3, roundings=2)
    parts = [torch.ones(3), torch.zeros(3)]
    agree("tensors", parts, torch.stack(parts), roundings=1)


def test_python_floats_keep_their_precision():
    with pytest.raises(AssertionError, match="over the tolerance"):
        agree("float64", 1.0 + 1e-9, 1.0, roundings=8)


def test_ids_are_equal_or_not():
    ids = [101, 2043, 102]
    agree("ids", ids, torch.tensor(ids), roundings=0)
    with pytest.raises(AssertionError, match="1 of 3 numbers differ"):
        agree("ids", ids, [101, 2044, 102], roundings=0)
    with pytest.raises(ValueError, match="whole numbers have no rounding"):
        agree("ids", ids, ids, roundings=1)


def test_texts_are_equal_or_not(capsys):
    agree("tokens", ["when", "in"], ("when", "in"), roundings=0)
    assert capsys.readouterr().out == "tokens: equal\n"
    with pytest.raises(AssertionError, match="item 1 is 'on', expected 'in'"):
        agree("tokens", ["when", "on"], ["when", "in"], roundings=0)
    with pytest.raises(AssertionError, match="found 1 items, expected 2"):
        agree("tokens", ["when"], ["when", "in"], roundings=0)
    with pytest.raises(AssertionError, match="found 'a', expected 'b'"):
        agree("letter", "a", "b", roundings=0)
    with pytest.raises(AssertionError, match="found 'a', expected 1"):
        agree("kinds", "a", 1, roundings=0)
    with pytest.raises(ValueError, match="texts and lists .* have no tol"):
        agree("letter", "a", "a", roundings=1)


def test_rows_of_different_lengths_compare_item_by_item():
    rows = [[101, 7, 102], [101, 102]]
    agree("rows", rows, copy.deepcopy(rows), roundings=0)
    with pytest.raises(AssertionError, match=r"item 1 is \[101, 102\], exp"):
        agree("rows", rows, [[101, 7, 102], [101, 103]], roundings=0)
    with pytest.raises(AssertionError, match="item 0 is"):
        agree("rows", rows, [[101, 102], [101, 102]], roundings=0)
    holed = [[math.nan], [1.0, 2.0]]
    with pytest.raises(AssertionError, match="item 0 is"):
        agree("holed", holed, holed, roundings=0)


def test_dicts_compare_key_by_key(capsys):
    found = {"ids": [1, 2], "words": ["a", "b"]}
    agree("batch", found, copy.deepcopy(found), roundings=0)
    assert "batch, ids: equal to the last bit" in capsys.readouterr().out
    with pytest.raises(AssertionError, match=r"batch, ids: 1 of 2"):
        agree("batch", found, found | {"ids": [1, 3]}, roundings=0)
    with pytest.raises(AssertionError, match=r"only in expected: \['more'\]"):
        agree("batch", found, found | {"more": [1]}, roundings=0)
    with pytest.raises(AssertionError, match="found a dict, expected a list"):
        agree("batch", found, [1, 2], roundings=0)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(AssertionError, match="cannot compare a set"):
        agree("set", {1}, {1}, roundings=0)
    with pytest.raises(AssertionError, match="different shapes"):
        ragged = [torch.ones(3), torch.ones(5)]
        agree("ragged", ragged, ragged, roundings=0)


@pytest.mark.parametrize(
    ("value", "format", "shown"),
    [
        (3.14159, "{:.2f}", "3.14"),
        (3.1, "{:.2f}", "3.10"),
        (30522, "{:,}", "30,522"),
        (3.6e-7, "{:.1e}", "3.6e-07"),
        ("it's", "{}", "it's"),
        (0.5, "{:.1%}", "50.0%"),
    ],
)
def test_glued_text_is_shown_as_it_was_formatted(
    monkeypatch, value, format, shown
):
    kept = []
    monkeypatch.setattr(gluing, "get_ipython", lambda: "a kernel")
    monkeypatch.setattr(
        "myst_nb.ext.glue.ipy_display",
        lambda bundle, **rest: kept.append((bundle, rest)),
    )
    gluing.glue("number", value, format)
    [(bundle, rest)] = kept
    # What {glue:text} does with it, in a page.
    [text] = bundle.values()
    assert format_plain_text(text, "") == shown
    # Without the prefix, the number would be shown under the cell too.
    assert list(bundle) == ["application/papermill.record/text/plain"]
    assert rest["metadata"]["scrapbook"]["name"] == "number"


def test_glue_says_nothing_without_a_kernel(capsys):
    gluing.glue("number", 3.5, "{:.2f}")
    assert capsys.readouterr().out == ""


def test_the_checkpoint_is_pocket_bert_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("BERT_CHECKPOINT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path() == ROOT / "models" / "pocket-bert"
    assert (checkpoint_path() / "model.safetensors").is_file()


def test_a_named_folder_is_found_from_here_and_from_the_root(
    monkeypatch, tmp_path
):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("BERT_CHECKPOINT", "mine")
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path() == tmp_path / "mine"
    monkeypatch.setenv("BERT_CHECKPOINT", "models/pocket-bert")
    assert checkpoint_path() == ROOT / "models" / "pocket-bert"


@pytest.mark.parametrize("name", ["./none", "/none/here", "~/none", "a/b/c"])
def test_a_folder_that_is_not_there_never_reaches_the_hub(
    monkeypatch, tmp_path, name
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_CHECKPOINT", name)
    monkeypatch.setattr("huggingface_hub.snapshot_download", pytest.fail)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        checkpoint_path()


def test_a_hub_name_is_fetched_without_what_is_not_needed(
    monkeypatch, tmp_path
):
    asked = []

    def snapshot(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setenv("BERT_CHECKPOINT", "some-one/some-bert")
    assert checkpoint_path() == tmp_path
    [(name, patterns)] = asked
    assert name == "some-one/some-bert"
    assert "model.safetensors" in patterns
    assert not [p for p in patterns if p.endswith((".bin", ".h5", "*"))]


def test_a_hub_that_fails_is_told_with_what_to_do(monkeypatch):
    def snapshot(name, allow_patterns):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setenv("BERT_CHECKPOINT", "some-one/some-bert")
    with pytest.raises(OSError, match="no route.*Check the name and the net"):
        checkpoint_path()


@pytest.mark.parametrize("layout", ["published", "no_prefix"])
def test_the_referee_reads_any_layout_in_float32(
    monkeypatch, tmp_path, capfd, layout
):
    written = write_checkpoint(tmp_path, SMALL, layout)
    monkeypatch.setenv("BERT_CHECKPOINT", str(tmp_path))
    model = referee()
    assert model is referee()
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == "eager"
    [name] = [key for key in written if "word_embeddings" in key]
    words = model.bert.embeddings.word_embeddings.weight
    assert torch.equal(words, written[name])
    tokens = referee("tokenizer").tokenize("Hi!")
    assert tokens == ["h", "##i", "!"]
    out, err = capfd.readouterr()
    assert out + err == ""


def test_the_referee_leaves_the_random_numbers_alone(monkeypatch, tmp_path):
    write_checkpoint(tmp_path, SMALL, "no_prefix")
    monkeypatch.setenv("BERT_CHECKPOINT", str(tmp_path))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    referee()
    assert torch.equal(torch.rand(3), expected)


def test_the_referee_knows_two_things():
    with pytest.raises(ValueError, match="wanted 'model' or 'tokenizer'"):
        referee("config")


def test_base_has_the_names_and_sizes_of_bert_base_uncased():
    sizes = dict(shapes(BASE))
    # Devlin et al. 2019, section 3, round it to 110 million.
    assert sum(math.prod(shape) for shape in sizes.values()) == 110_106_428
    assert sizes["bert.embeddings.word_embeddings.weight"] == (30522, 768)
    assert sizes["bert.encoder.layer.11.output.dense.weight"] == (768, 3072)


def test_the_published_layout_has_googles_names(tmp_path):
    names = write_checkpoint(tmp_path, SMALL).keys()
    assert "bert.embeddings.LayerNorm.gamma" in names
    assert "cls.predictions.transform.LayerNorm.beta" in names
    assert "cls.predictions.bias" in names
    assert not [name for name in names if "LayerNorm.weight" in name]
    assert not [name for name in names if "decoder" in name]


def test_sizes_for_tests_are_distinct():
    heads = SMALL["num_attention_heads"]
    sizes = [
        *(value for key, value in SMALL.items() if key.endswith("size")),
        *(heads, SMALL["hidden_size"] // heads),
        SMALL["num_hidden_layers"],
        SMALL["max_position_embeddings"],
    ]
    assert len(sizes) == len(set(sizes)) == 8
    assert SMALL["hidden_size"] % heads == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_returned_is_what_is_in_the_files(tmp_path, layout):
    written = write_checkpoint(tmp_path, SMALL, layout)
    read = {}
    for path in tmp_path.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            read |= {name: file.get_tensor(name) for name in file.keys()}
    assert read.keys() == written.keys()
    for name, tensor in read.items():
        assert tensor.dtype == written[name].dtype
        assert torch.equal(tensor, written[name])
    vocab = (tmp_path / "vocab.txt").read_text("utf-8").splitlines()
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert len(vocab) == len(set(vocab)) == config["vocab_size"] == 99


def test_shards_are_named_by_the_index(tmp_path):
    written = write_checkpoint(tmp_path, SMALL, "sharded")
    assert not (tmp_path / "model.safetensors").exists()
    index = json.loads(
        (tmp_path / "model.safetensors.index.json").read_text("utf-8")
    )
    assert index["weight_map"].keys() == written.keys()
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / file, framework="pt") as shard:
            assert name in shard.keys()


def test_halves_are_half(tmp_path):
    for layout, dtype in [
        ("half", torch.float16),
        ("bfloat16", torch.bfloat16),
    ]:
        tensors = write_checkpoint(tmp_path / layout, SMALL, layout)
        assert {tensor.dtype for tensor in tensors.values()} == {dtype}


def test_the_untied_decoder_differs_from_the_words(tmp_path):
    tensors = write_checkpoint(tmp_path, SMALL, "untied")
    words = tensors["bert.embeddings.word_embeddings.weight"]
    decoder = tensors["cls.predictions.decoder.weight"]
    assert decoder.shape == words.shape
    assert not torch.isclose(decoder, words).all()
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert config["tie_word_embeddings"] is False


def test_the_seed_decides_the_numbers(tmp_path):
    first = write_checkpoint(tmp_path, SMALL, seed=3)
    again = write_checkpoint(tmp_path, SMALL, seed=3)
    other = write_checkpoint(tmp_path, SMALL, seed=4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_an_unknown_layout_and_a_tiny_vocabulary_are_refused(tmp_path):
    with pytest.raises(ValueError, match="layout 'pickle', wanted one of"):
        write_checkpoint(tmp_path, SMALL, "pickle")
    with pytest.raises(ValueError, match="vocab_size is 7, wanted at least"):
        write_checkpoint(tmp_path, SMALL | {"vocab_size": 7})


def test_the_command_writes_bert_base_with_the_real_vocabulary(
    monkeypatch, tmp_path, capsys
):
    # The real size takes seconds and 440 MB: as many words, little else.
    narrow = SMALL | {"vocab_size": BASE["vocab_size"], "hidden_size": 5}
    monkeypatch.setattr("bookkit.random_base.BASE", narrow)
    assert main([str(tmp_path / "base"), "--seed", "3"]) == 0
    assert "tensors" in capsys.readouterr().out
    real = ROOT / "models" / "pocket-bert" / "vocab.txt"
    written = tmp_path / "base" / "vocab.txt"
    assert written.read_bytes() == real.read_bytes()


def test_bookkit_offers_its_figures_as_a_submodule():
    code = "import bookkit, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "code")},
    )
