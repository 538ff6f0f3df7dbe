"""Write a checkpoint with random weights, in any layout that BERT has had.

As a command it has bert-base-uncased's exact sizes, names and files, so that
the book can be rendered at that size without the hub.
"""

import argparse
import json
import shutil
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bookkit.checkpoint import POCKET_BERT

# config.json of google-bert/bert-base-uncased, field by field.
BASE = {
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 30522,
}

# For tests: no two sizes are equal, so swapped axes cannot pass (a head is 7
# wide), and the weights are large enough for every step to be felt.
SMALL = BASE | {
    "hidden_size": 35,
    "initializer_range": 0.3,
    "intermediate_size": 53,
    "max_position_embeddings": 43,
    "num_attention_heads": 5,
    "num_hidden_layers": 3,
    "vocab_size": 99,
}

# What the layout "unusual" changes: settings that published files share, so
# that one who ignores them goes unseen.
UNUSUAL = {
    "attention_probs_dropout_prob": 0.2,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.3,
    "layer_norm_eps": 1e-2,
    "pad_token_id": 3,
    "type_vocab_size": 3,
}

LAYOUTS = {
    "published": "gamma and beta, no decoder: bert-base-uncased's own file",
    "no_prefix": "the trunk alone, without `bert.` before its names",
    "sharded": "three files and an index",
    "half": "float16, weight and bias",
    "bfloat16": "bfloat16, weight and bias",
    "untied": "a decoder with a weight and a bias of its own",
    "decoder_copies": "tied, and the decoder's tensors are stored again",
    "position_ids": "with the whole numbers that older versions stored",
    "unusual": "another activation, eps, padding, segments and dropout",
}


def write_checkpoint(
    folder: Path, config: dict, layout: str = "published", seed: int = 0
) -> dict[str, Tensor]:
    """Write config.json, vocab.txt, tokenizer_config.json and the tensors.

    Weights are normal with the standard deviation `initializer_range`,
    biases too, and LayerNorm's scale is spread around 1, so that no term
    of any sum is absent.

    Args:
        folder: Where to; made if it is absent.
        config: The fields of config.json, such as `SMALL` or `BASE`.
        layout: One of `LAYOUTS`.
        seed: Of the random numbers. The same seed gives the same numbers
            in every layout, but for the rounding of the half ones.

    Returns:
        The tensors as they stand in the file.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}, wanted one of {list(LAYOUTS)}")
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "unusual":
        config = config | UNUSUAL
    tensors = laid_out(random_tensors(config, seed), config, layout, seed)
    if layout == "untied":
        config = config | {"tie_word_embeddings": False}
    write_tokenizer(folder, config)
    write_json(folder / "config.json", config)
    if layout == "sharded":
        save_in_shards(tensors, folder)
    else:
        path = folder / "model.safetensors"
        save_file(tensors, path, metadata={"format": "pt"})
    return tensors


def shapes(config: dict) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of each tensor, with today's names."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    vocab = config["vocab_size"]

    def dense(name: str, wide: int, narrow: int) -> Iterator:
        yield f"{name}.weight", (wide, narrow)
        yield f"{name}.bias", (wide,)

    def norm(name: str) -> Iterator:
        yield f"{name}.LayerNorm.weight", (hidden,)
        yield f"{name}.LayerNorm.bias", (hidden,)

    tables = {
        "word": vocab,
        "position": config["max_position_embeddings"],
        "token_type": config["type_vocab_size"],
    }
    for table, rows in tables.items():
        yield f"bert.embeddings.{table}_embeddings.weight", (rows, hidden)
    yield from norm("bert.embeddings")
    for number in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from dense(f"{layer}.attention.{part}", hidden, hidden)
        yield from norm(f"{layer}.attention.output")
        yield from dense(f"{layer}.intermediate.dense", inner, hidden)
        yield from dense(f"{layer}.output.dense", hidden, inner)
        yield from norm(f"{layer}.output")
    yield from dense("bert.pooler.dense", hidden, hidden)
    yield "cls.predictions.bias", (vocab,)
    yield from dense("cls.predictions.transform.dense", hidden, hidden)
    yield from norm("cls.predictions.transform")
    yield from dense("cls.seq_relationship", 2, hidden)


def random_tensors(config: dict, seed: int) -> dict[str, Tensor]:
    """Return random tensors under today's names, float32."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes(config):
        noise = torch.randn(shape, generator=generator)
        if name.endswith("LayerNorm.weight"):
            tensors[name] = 1 + 0.1 * noise
        else:
            tensors[name] = config["initializer_range"] * noise
    return tensors


def laid_out(
    tensors: dict[str, Tensor], config: dict, layout: str, seed: int
) -> dict[str, Tensor]:
    """Name, cast and add to the tensors as the layout has it."""
    if layout in ("published", "position_ids"):
        tensors = {google_name(name): t for name, t in tensors.items()}
    if layout == "no_prefix":
        tensors = {
            name.removeprefix("bert."): tensor
            for name, tensor in tensors.items()
            if name.startswith("bert.")
        }
    if layout == "half":
        tensors = {name: t.to(torch.float16) for name, t in tensors.items()}
    if layout == "bfloat16":
        tensors = {name: t.to(torch.bfloat16) for name, t in tensors.items()}
    if layout == "position_ids":
        places = torch.arange(config["max_position_embeddings"])
        tensors["bert.embeddings.position_ids"] = places.unsqueeze(0)
    word = "bert.embeddings.word_embeddings.weight"
    bias = "cls.predictions.bias"
    if layout == "decoder_copies":
        tensors["cls.predictions.decoder.weight"] = tensors[word].clone()
        tensors["cls.predictions.decoder.bias"] = tensors[bias].clone()
    if layout == "untied":
        own = random_tensors(config, seed + 1)
        tensors["cls.predictions.decoder.weight"] = own[word]
        tensors["cls.predictions.decoder.bias"] = own[bias]
    return tensors


def google_name(name: str) -> str:
    """Return the name in Google's files: gamma and beta in a LayerNorm."""
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


def save_in_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    """Deal the tensors to three files, and write which is where."""
    names = sorted(tensors)
    files: dict[str, str] = {}
    for number in range(3):
        file = f"model-{number + 1:05}-of-00003.safetensors"
        shard = {name: tensors[name] for name in names[number::3]}
        save_file(shard, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(shard, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    write_json(folder / "model.safetensors.index.json", index)


def write_tokenizer(folder: Path, config: dict) -> None:
    """Write vocab.txt and tokenizer_config.json.

    At bert-base's size the vocabulary is the real one, else special tokens,
    letters, and fillers up to the size.
    """
    size = config["vocab_size"]
    if size == BASE["vocab_size"]:
        shutil.copyfile(POCKET_BERT / "vocab.txt", folder / "vocab.txt")
    else:
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokens += string.ascii_lowercase
        tokens += [f"##{letter}" for letter in string.ascii_lowercase]
        tokens += [".", ",", "!", "?"]
        if size < len(tokens):
            raise ValueError(
                f"vocab_size is {size}, wanted at least {len(tokens)}"
            )
        tokens += [f"[unused{n}]" for n in range(size - len(tokens))]
        text = "\n".join(tokens) + "\n"
        (folder / "vocab.txt").write_text(text, encoding="utf-8")
    settings = {
        "do_lower_case": True,
        "model_max_length": config["max_position_embeddings"],
        "tokenizer_class": "BertTokenizer",
    }
    write_json(folder / "tokenizer_config.json", settings)


def write_json(path: Path, value: dict) -> None:
    """Write a dict, indented, with a line break at the end."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the checkpoint of bert-base's size; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.random_base", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    tensors = write_checkpoint(chosen.folder, BASE, seed=chosen.seed)
    count = sum(tensor.numel() for tensor in tensors.values())
    print(f"{chosen.folder}: {len(tensors)} tensors, {count:,} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
