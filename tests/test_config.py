"""bert.config: what is read, what is refused, and where a folder is."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest
from transformers import BertConfig as TheirConfig

from bert.config import HIDDEN_ACTS, BertConfig, resolve_folder
from bert.feed_forward import ACTIVATIONS
from bookkit.random_base import BASE, SMALL


def write_config(folder: Path, **changes) -> Path:
    """Write the tiny configuration, with some entries changed."""
    text = json.dumps(SMALL | changes)
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


def test_defaults_are_the_sizes_of_bert_base_uncased():
    defaults = dataclasses.asdict(BertConfig())
    shared = defaults.keys() & BASE.keys()
    assert len(shared) == 13
    assert {name: defaults[name] for name in shared} == {
        name: BASE[name] for name in shared
    }


def test_defaults_are_those_of_transformers():
    theirs = TheirConfig().to_dict()
    ours = dataclasses.asdict(BertConfig())
    assert ours == {name: theirs[name] for name in ours}


def test_what_is_read_is_what_stands_in_the_file(tmp_path):
    config = BertConfig.from_pretrained(write_config(tmp_path))
    for name, value in dataclasses.asdict(config).items():
        assert value == SMALL.get(name, True), name
    assert config.head_size == 7


def test_a_path_is_read_as_a_string_too(tmp_path):
    folder = write_config(tmp_path)
    assert BertConfig.from_pretrained(str(folder)) == (
        BertConfig.from_pretrained(folder)
    )


def test_entries_that_nobody_uses_are_left_alone(tmp_path):
    folder = write_config(tmp_path, use_cache=True, something_new=[1, 2])
    assert BertConfig.from_pretrained(folder).hidden_size == 35


def test_saved_and_read_again_is_the_same(tmp_path):
    config = BertConfig(hidden_size=35, num_attention_heads=5, pad_token_id=3)
    config.save_pretrained(tmp_path / "new" / "folder")
    assert BertConfig.from_pretrained(tmp_path / "new" / "folder") == config


def test_transformers_reads_what_is_saved(tmp_path):
    config = BertConfig(hidden_size=35, num_attention_heads=5, vocab_size=99)
    config.save_pretrained(tmp_path)
    theirs = TheirConfig.from_pretrained(tmp_path, local_files_only=True)
    assert theirs.model_type == "bert"
    for name, value in dataclasses.asdict(config).items():
        assert getattr(theirs, name) == value, name


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BertConfig().hidden_size = 8


SIZES = [
    field.name
    for field in dataclasses.fields(BertConfig)
    if field.type is int and field.name != "pad_token_id"
]


@pytest.mark.parametrize("value", [0, -3, 2.0, "768", None, True])
@pytest.mark.parametrize("name", SIZES)
def test_a_size_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"config: {name} is .*at least 1"):
        BertConfig(**{name: value})


def test_a_padding_id_may_be_zero_and_not_less():
    assert BertConfig(pad_token_id=0).pad_token_id == 0
    with pytest.raises(ValueError, match="pad_token_id is -1, .*at least 0"):
        BertConfig(pad_token_id=-1)


@pytest.mark.parametrize("value", [-0.1, 1.0, "0.1", None, float("nan")])
@pytest.mark.parametrize("name", ["hidden_dropout_prob", "layer_norm_eps"])
def test_a_rate_that_is_no_share_of_one_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"config: {name} is .*wanted a num"):
        BertConfig(**{name: value})


def test_the_padding_is_a_token_of_the_vocabulary():
    assert BertConfig(vocab_size=30, pad_token_id=29).pad_token_id == 29
    with pytest.raises(ValueError, match="is 30, wanted less than 30, the"):
        BertConfig(vocab_size=30, pad_token_id=30)


@pytest.mark.parametrize("value", ["false", 0, None])
def test_a_switch_is_true_or_false(value):
    match = f"tie_word_embeddings is {value!r}, wanted True or False"
    with pytest.raises(ValueError, match=match):
        BertConfig(tie_word_embeddings=value)


@pytest.mark.parametrize("value", ["swish", ["gelu"], None])
def test_an_unknown_activation_is_refused(tmp_path, value):
    match = re.escape(f"hidden_act is {value!r}, wanted gelu or gelu_new or")
    with pytest.raises(ValueError, match=match):
        BertConfig(hidden_act=value)
    with pytest.raises(ValueError, match=match):
        BertConfig.from_pretrained(write_config(tmp_path, hidden_act=value))


def test_the_activations_that_may_be_named_are_those_that_there_are():
    assert set(HIDDEN_ACTS) == ACTIVATIONS.keys()


def test_the_package_brings_its_types():
    root = Path(__file__).parents[1]
    assert (root / "code" / "bert" / "py.typed").is_file()
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    data = project["tool"]["setuptools"]["package-data"]
    assert data["bert"] == ["py.typed"]


def test_heads_must_divide_the_hidden_width():
    with pytest.raises(ValueError, match="6 heads do not divide .* of 35"):
        BertConfig(hidden_size=35, num_attention_heads=6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_type", "roberta"),
        ("model_type", "distilbert"),
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("is_decoder", True),
        ("add_cross_attention", True),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path, name, value):
    folder = write_config(tmp_path, **{name: value})
    with pytest.raises(ValueError) as caught:
        BertConfig.from_pretrained(folder)
    message = str(caught.value)
    assert f"{name} is {value!r}, this package knows" in message
    assert str(folder / "config.json") in message


def test_a_configuration_without_a_model_type_is_taken_for_bert(tmp_path):
    # Google's own bert_config.json files have none.
    kept = {k: v for k, v in SMALL.items() if k != "model_type"}
    (tmp_path / "config.json").write_text(json.dumps(kept))
    assert BertConfig.from_pretrained(tmp_path).vocab_size == 99


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no config.json"):
        BertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["", '{"hidden_size": 35', "not JSON"])
def test_a_broken_configuration_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json is not JSON"):
        BertConfig.from_pretrained(tmp_path)


def test_a_configuration_that_is_a_list_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"wanted an object, found \[1, 2\]"):
        BertConfig.from_pretrained(tmp_path)


def test_a_folder_never_reaches_the_network(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"a connection to {arguments}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert resolve_folder(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve_folder("owner/name") == Path("owner/name")


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./nothing", "../none", "~/none-here", "a/"]
)
def test_a_path_that_is_no_folder_is_never_looked_for_on_the_hub(
    name, monkeypatch
):
    def refuse(*arguments, **named):
        raise AssertionError("asked the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(FileNotFoundError, match=f"there is no folder '{name}"):
        resolve_folder(name)
