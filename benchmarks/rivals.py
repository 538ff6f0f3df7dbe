"""The models that are compared: one random checkpoint of bert-base's size."""

import contextlib
import io
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from bert import BertForMaskedLM
from bookkit.random_base import BASE, write_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
POCKET = ROOT / "models" / "pocket-bert"
GRAPH_VERSION = 1  # raise it with every change to how ONNX files are made


def base_checkpoint() -> Path:
    """Random weights of bert-base's size, as `make book-base` has them."""
    folder = CACHE / "random-base"
    if not (folder / "model.safetensors").is_file():
        write_checkpoint(folder, BASE)
    return folder


def ours() -> BertForMaskedLM:
    """This project's model, plain."""
    return BertForMaskedLM.from_pretrained(base_checkpoint())


def theirs(
    attention: str = "sdpa", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """transformers' model on the same file."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers.BertForMaskedLM.from_pretrained(
        base_checkpoint(), attn_implementation=attention, dtype=dtype
    ).eval()


class Logits(nn.Module):
    """A masked-word model as a function from two tensors to one."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask
        ).logits


def first_logits(model: BertForMaskedLM) -> Callable[[Tensor, Tensor], Tensor]:
    """This project's model, with logits for each row's first token alone."""

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        states = model.bert(ids, mask).last_hidden_state
        return model.masked_words(states[:, :1])

    return run


def random_ids(batch: int, seq: int, seed: int = 5) -> Tensor:
    """Seeded ids of ordinary words, `[batch, seq]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1000, 30000, (batch, seq), generator=generator)


def onnx_path(int8: bool = False) -> Path:
    """Where the graph is kept; other makers would make another file."""
    makers = ("torch", "transformers", "onnx")
    made_by = [f"{name}-{version(name)}" for name in makers]
    if int8:
        made_by += ["int8", f"onnxruntime-{version('onnxruntime')}"]
    name = "-".join(["base", f"graph-{GRAPH_VERSION}", *made_by])
    return CACHE / "benchmarks" / f"{name}.onnx"


def onnx_file(int8: bool = False) -> Path:
    """Export transformers' model once; kept from run to run."""
    path, small = onnx_path(), onnx_path(int8=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        ids = torch.randint(1000, 30000, (2, 16))
        # A mask of ones alone would be left out of the graph.
        mask = (torch.arange(16) < torch.tensor([[16], [9]])).long()
        axes = {0: "batch", 1: "seq"}
        names = ["input_ids", "attention_mask"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Logits(theirs("eager")),
                (ids, mask),
                str(path),
                dynamo=False,
                input_names=names,
                output_names=["logits"],
                dynamic_axes=dict.fromkeys([*names, "logits"], axes),
                opset_version=17,
            )
    if int8 and not small.is_file():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with contextlib.redirect_stdout(io.StringIO()):
            quantize_dynamic(path, small, weight_type=QuantType.QInt8)
    return small if int8 else path


def onnx_runtime(int8: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """ONNX Runtime as a function from ids and mask to logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(onnx_file(int8)), options, providers=["CPUExecutionProvider"]
    )

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        return torch.from_numpy(session.run(None, given)[0])

    return run


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference of two tensors of one shape."""
    if found.shape != wanted.shape:
        return float("inf")
    return (found.float() - wanted).abs().max().item()


def cosine_gap(found: Tensor, wanted: Tensor) -> float:
    """The largest 1 - cosine of vectors along the last axis, in float64."""
    if found.shape != wanted.shape:
        return float("inf")
    gaps = [
        (1 - torch.cosine_similarity(a.double(), b.double(), dim=-1)).max()
        for a, b in zip(found, wanted, strict=True)  # one row's copies at once
    ]
    return torch.stack(gaps).max().item()
