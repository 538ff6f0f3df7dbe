# Written from the book by `make tangle`: book/04-opening-the-file.md.
"""The sizes of a BERT model, read from its config.json."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

# book/04-opening-the-file.md: The configuration as an object
# The curves that the feed-forward part knows.
HIDDEN_ACTS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")


@dataclass(frozen=True)
class BertConfig:
    """The sizes and switches of one BERT model.

    The fields are those of `config.json`; the defaults are the values of
    google-bert/bert-base-uncased, whose sizes are those of BERT-base
    (Devlin et al. 2019, section 3).

    Raises:
        ValueError: A size is not positive, a rate is no share of one, a
            switch is not True or False, `hidden_act` is unknown, the heads
            do not divide the hidden width, or the padding is no token.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    tie_word_embeddings: bool = True

    @property
    def head_size(self) -> int:
        """The width of one head."""
        return self.hidden_size // self.num_attention_heads

    def __post_init__(self) -> None:
        for field in fields(self):
            check_value(field.name, field.type, getattr(self, field.name))
        if self.pad_token_id >= self.vocab_size:
            raise ValueError(
                f"config: pad_token_id is {self.pad_token_id}, "
                f"wanted less than {self.vocab_size}, the vocab_size"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"config: {self.num_attention_heads} heads do not divide "
                f"a hidden size of {self.hidden_size}"
            )

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike) -> Self:
        """Read `config.json` from a folder or from a hub name."""
        path = resolve_folder(name) / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path.parent} holds no config.json")
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from None
        refuse_other_architectures(stored, path)
        known = {field.name for field in fields(cls)}
        return cls(**{k: v for k, v in stored.items() if k in known})

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write `config.json` into `folder`."""
        stored = {"model_type": "bert", **asdict(self)}
        path = Path(folder) / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def check_value(name: str, kind: object, value: object) -> None:
    """Raise when a field of the configuration holds what it never may."""
    if kind is int:
        least = 0 if name == "pad_token_id" else 1
        fits = type(value) is int and value >= least
        wanted = f"a whole number of at least {least}"
    elif kind is float:
        fits = isinstance(value, (int, float)) and 0 <= value < 1
        wanted = "a number from 0 up to, not including, 1"
    elif kind is bool:
        fits, wanted = isinstance(value, bool), "True or False"
    else:
        fits, wanted = value in HIDDEN_ACTS, " or ".join(HIDDEN_ACTS)
    if not fits:
        raise ValueError(f"config: {name} is {value!r}, wanted {wanted}")


def refuse_other_architectures(stored: object, path: Path) -> None:
    """Raise when `config.json` describes a model that this is not."""
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: wanted an object, found {stored!r:.40}")
    wanted = {
        "model_type": ("bert",),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
    }
    for name, allowed in wanted.items():
        value = stored.get(name, allowed[0])
        if value not in allowed:
            raise ValueError(
                f"{path}: {name} is {value!r}, this package knows "
                + " or ".join(map(repr, allowed))
            )


# A repository may hold the same weights for other frameworks as well.
FILES = [
    "config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
]


def resolve_folder(name: str | os.PathLike) -> Path:
    """Return the folder of a checkpoint, fetched first if it is a hub name.

    A name that is a folder on this computer never reaches the network.

    Raises:
        FileNotFoundError: No such folder, and no hub name either: it
            begins with `/`, `.` or `~`, or is not `name` or `owner/name`.
        OSError: The hub has no such name, was not reached, or broke off.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    parts = str(name).split("/")
    if len(parts) > 2 or not all(parts) or parts[0].startswith((".", "~")):
        raise FileNotFoundError(f"there is no folder {str(name)!r}")
    # Imported here: who opens a folder needs no hub.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), allow_patterns=FILES))
    except Exception as error:
        raise OSError(
            f"{str(name)!r} is no folder here, and fetching it from the hub "
            f"failed ({type(error).__name__}: {error}). Check the name and "
            "the network, or give the path of a folder with config.json, "
            "vocab.txt and model.safetensors."
        ) from error
