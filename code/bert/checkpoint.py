# Written from the book by `make tangle`: book/04-opening-the-file.md.
"""Reading and writing a checkpoint's tensors, under our own names."""

import json
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bert.config import resolve_folder


# book/04-opening-the-file.md: Reading everything
def tensor_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint, whole or in shards."""
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return shard_files(index)
    pickled = sorted(file.name for file in folder.glob("*.bin"))
    hint = (
        f"; {pickled} is in Python's pickle format, which can run code "
        "when it is read, and is not opened here"
        if pickled
        else ", whole or in shards; fetch the checkpoint again"
    )
    raise FileNotFoundError(f"{folder} holds no model.safetensors{hint}")


def shard_files(index: Path) -> list[Path]:
    """Return the files that an index names; all must lie beside it."""
    try:
        stored = json.loads(index.read_text(encoding="utf-8"))
        shards = sorted(map(Path, set(stored["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{index} is no index of shards ({type(error).__name__}: {error})"
        ) from None
    elsewhere = [str(shard) for shard in shards if shard.name != str(shard)]
    if elsewhere:
        raise ValueError(f"{index} names {elsewhere}, outside its own folder")
    files = [index.parent / shard for shard in shards]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise FileNotFoundError(
            f"{index} names {absent}, not in {index.parent}; fetch them"
        )
    return files


def read_tensors(name: str | os.PathLike) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, under the names in the file.

    Args:
        name: A folder, or a name on the hub.

    Raises:
        FileNotFoundError: The folder, its tensors or a shard is absent.
        ValueError: A file is truncated, malformed, or names a tensor twice.
    """
    tensors: dict[str, Tensor] = {}
    for path in tensor_files(resolve_folder(name)):
        try:
            with safe_open(path, framework="pt") as file:
                for stored in file.keys():
                    if stored in tensors:
                        raise ValueError(f"{path}: {stored} is there twice")
                    tensors[stored] = file.get_tensor(stored)
        except SafetensorError as error:
            raise ValueError(
                f"{path} is not a whole safetensors file ({error}); "
                "fetch it again"
            ) from None
    return tensors


# book/04-opening-the-file.md: The names
# The checkpoint's names on the left, the attributes of our modules on the
# right; {n} stands for the number of a layer. The first line that fits
# counts, from the right, too: ...attention.output stands above ...attention.
RENAMES = {
    "bert.embeddings.word_embeddings": "bert.embeddings.word",
    "bert.embeddings.position_embeddings": "bert.embeddings.position",
    "bert.embeddings.token_type_embeddings": "bert.embeddings.segment",
    "bert.embeddings.LayerNorm": "bert.embedding_norm",
    "bert.encoder.layer.{n}.attention.output.dense": (
        "bert.layers.{n}.attention.output"
    ),
    "bert.encoder.layer.{n}.attention.output.LayerNorm": (
        "bert.layers.{n}.attention_norm"
    ),
    "bert.encoder.layer.{n}.attention.self": "bert.layers.{n}.attention",
    "bert.encoder.layer.{n}.intermediate.dense": (
        "bert.layers.{n}.feed_forward.up"
    ),
    "bert.encoder.layer.{n}.output.dense": "bert.layers.{n}.feed_forward.down",
    "bert.encoder.layer.{n}.output.LayerNorm": (
        "bert.layers.{n}.feed_forward_norm"
    ),
    "bert.pooler.dense": "bert.pooler",
    "cls.predictions.transform.dense": "masked_words.dense",
    "cls.predictions.transform.LayerNorm": "masked_words.norm",
    "cls.predictions.bias": "masked_words.decoder.bias",
    "cls.predictions.decoder": "masked_words.decoder",
    "cls.seq_relationship": "next_sentence",
}


def our_name(stored: str) -> str:
    """Return our name of a tensor that the file calls `stored`.

    Names that the table does not know come back as they are.
    """
    # The first conversions of Google's checkpoints kept its gamma and beta.
    name = stored.replace("LayerNorm.gamma", "LayerNorm.weight")
    name = name.replace("LayerNorm.beta", "LayerNorm.bias")
    if name.startswith(("embeddings.", "encoder.", "pooler.")):
        name = "bert." + name
    number = re.search(r"\.layer\.(\d+)\.", name)
    layer = number[1] if number else ""
    for theirs, ours in RENAMES.items():
        start = theirs.replace("{n}", layer)
        if name == start or name.startswith(start + "."):
            return ours.replace("{n}", layer) + name[len(start) :]
    return name


def their_name(name: str) -> str:
    """Return the published name of one of our tensors; undoes `our_name`."""
    number = re.search(r"\.layers\.(\d+)\.", name)
    layer = number[1] if number else ""
    for theirs, ours in RENAMES.items():
        start = ours.replace("{n}", layer)
        if name == start or name.startswith(start + "."):
            return theirs.replace("{n}", layer) + name[len(start) :]
    raise KeyError(f"no published name for {name!r}")


# book/04-opening-the-file.md: Into the model
def load_weights(model: nn.Module, name: str | os.PathLike) -> list[str]:
    """Give `model` the tensors of a checkpoint, as float32.

    Returns:
        The names in the file that the model has no use for, sorted.

    Raises:
        ValueError: A tensor of the model is missing in the file, has
            another shape or no floating-point type, or is there twice
            with different numbers.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    # A tied parameter has several names in the model; the first one counts.
    first_name = {id(p): n for n, p in reversed(parameters.items())}
    found: dict[str, Tensor] = {}
    unused: list[str] = []
    for stored, tensor in in_order_of_trust(read_tensors(name)):
        ours = name_in(model, stored)
        if ours not in parameters:
            unused.append(stored)
            continue
        check_tensor(stored, tensor, parameters[ours])
        place = first_name[id(parameters[ours])]
        if place in found:
            check_copy(model, stored, tensor, found[place])
            unused.append(stored)
        else:
            found[place] = nn.Parameter(tensor.to(torch.float32))
    refuse_missing(model, name, set(first_name.values()) - found.keys())
    # One object under all its names, so that what is tied stays tied.
    model.load_state_dict(
        {ours: found[first_name[id(p)]] for ours, p in parameters.items()},
        assign=True,
    )
    return sorted(unused)


def refuse_missing(
    model: nn.Module, name: str | os.PathLike, missing: set[str]
) -> None:
    """Raise when parameters of `model` got no tensor."""
    if missing:
        published = [name_in_file(model, ours) for ours in sorted(missing)]
        shown = ", ".join(published[:5]) + ", ..." * (len(missing) > 5)
        raise ValueError(
            f"{name} lacks {len(missing)} of the "
            f"{len(list(model.parameters()))} tensors that the model needs: "
            f"{shown}"
        )


def in_order_of_trust(tensors: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Sort so that the name which counts comes before its copies.

    An untied decoder has its own bias; `cls.predictions.bias` is then a
    leftover that transformers keeps in the file and does not use.
    """
    return sorted(
        tensors.items(), key=lambda item: item[0] == "cls.predictions.bias"
    )


def check_copy(
    model: nn.Module, stored: str, tensor: Tensor, used: Tensor
) -> None:
    """Raise when two tensors of a file have one place and differ."""
    tied = getattr(model, "tied", True)
    if stored == "cls.predictions.bias" and not tied:
        return
    hint = "; an untied model says tie_word_embeddings: false in config.json"
    if not torch.equal(tensor.to(torch.float32), used):
        raise ValueError(
            f"{stored} differs from another tensor for the same place, by up "
            f"to {(tensor.to(torch.float32) - used).abs().max():.3g}"
            + (hint if tied else "")
        )


def name_in(model: nn.Module, stored: str) -> str:
    """Return the name in `model` of a tensor that the file calls `stored`."""
    ours = our_name(stored)
    # A model that is the trunk alone has no prefix on its names.
    return ours if hasattr(model, "bert") else ours.removeprefix("bert.")


def name_in_file(model: nn.Module, ours: str) -> str:
    """Return the published name of a tensor of `model`."""
    return their_name(ours if hasattr(model, "bert") else f"bert.{ours}")


def check_tensor(stored: str, tensor: Tensor, wanted: Tensor) -> None:
    """Raise when a tensor of the file does not fit its place."""
    if tensor.shape != wanted.shape:
        raise ValueError(
            f"{stored} has the shape {list(tensor.shape)}, "
            f"the configuration wants {list(wanted.shape)}"
        )
    if not tensor.is_floating_point():
        raise ValueError(
            f"{stored} holds {tensor.dtype}, wanted a floating-point type"
        )


def save_weights(model: nn.Module, folder: str | os.PathLike) -> None:
    """Write a model's tensors to `model.safetensors`, published names."""
    tensors = {
        name_in_file(model, name): tensor.detach().contiguous()
        for name, tensor in model.named_parameters()
    }
    if "cls.predictions.decoder.weight" in tensors:
        # Untied, transformers reads the bias beside the decoder's weight.
        bias = tensors["cls.predictions.bias"]
        tensors["cls.predictions.decoder.bias"] = bias.clone()
    path = Path(folder) / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
