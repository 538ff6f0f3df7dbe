"""The most memory that a process held, from its imports to its last pass."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor

from benchmarks.rivals import (
    base_checkpoint,
    largest_difference,
    onnx_file,
    onnx_runtime,
    ours,
    theirs,
)
from bert import engine

BATCH, SEQ, PASSES = 8, 128, 3
TITLE = (
    f"Memory of a process at bert-base's size, {PASSES} passes of "
    f"{BATCH} x {SEQ} tokens"
)
Logits = Callable[[Tensor, Tensor], Tensor]


def transformers_logits() -> Logits:
    """transformers' model, as a function from ids and mask."""
    model = theirs()
    return lambda ids, mask: model(ids, mask).logits


def plain_logits() -> Logits:
    """This project's model, plain."""
    model = ours()
    return lambda ids, mask: model(ids, mask).logits


def fast_logits(dtype: torch.dtype = torch.float32) -> Logits:
    """The same, optimized; the plain one shares its weights."""
    model = engine.optimize(ours(), dtype)
    return lambda ids, mask: model(ids, mask).logits


def first_logits() -> Logits:
    """The same, with logits for the first token of each row alone."""
    model = engine.optimize(ours())

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        states = model.bert(ids, mask).last_hidden_state
        return model.masked_words(states[:, :1])

    return run


# How each is loaded, and how far its first row's logits may be from the
# first one's.
WAYS: dict[str, tuple[Callable[[], Logits], float]] = {
    "transformers, sdpa": (transformers_logits, 1e-5),
    "ONNX Runtime": (onnx_runtime, 1e-5),
    "bert, plain": (plain_logits, 1e-5),
    "bert, optimize": (fast_logits, 1e-5),
    "bert, optimize, logits at one position": (first_logits, 1e-5),
    "bert, optimize, bfloat16": (lambda: fast_logits(torch.bfloat16), 0.3),
}


def most_held() -> int:
    """The most bytes that this process has held in memory so far."""
    told = Path("/proc/self/status")
    if told.is_file():  # what came before this program does not count there
        lines = told.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    memory = psutil.Process().memory_info()
    return getattr(memory, "peak_wset", memory.rss)


@torch.inference_mode()
def child(name: str, out: Path) -> None:
    """Load one way, let it run, and write down what it took."""
    logits_of = WAYS[name][0]()
    loaded = psutil.Process().memory_info().rss
    ids = torch.randint(
        1000,
        30000,
        (BATCH, SEQ),
        generator=torch.Generator().manual_seed(5),
    )
    mask = torch.ones_like(ids)
    for _ in range(PASSES):
        # No name for the whole: one pass must not hold that of the last one.
        first = logits_of(ids, mask)[0, 0].tolist()  # [vocab]
    told = {"loaded": loaded, "peak": most_held(), "logits": first}
    out.write_text(json.dumps(told))


def run() -> list[dict]:
    """One table; each way in a process of its own."""
    base_checkpoint(), onnx_file()  # made now, so that no child makes them
    out = base_checkpoint().parent / "benchmarks" / "memory.json"
    wanted, rows = None, []
    for name, (_, tolerance) in WAYS.items():
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", __name__, name, str(out)],
            check=True,
        )
        told = json.loads(out.read_text())
        found = torch.tensor(told.pop("logits"))
        wanted = found if wanted is None else wanted
        error = largest_difference(found, wanted)
        rows.append({"name": name, "error": error, "tolerance": tolerance})
        if error <= tolerance:  # else no number is shown
            rows[-1] |= told
    return [{"title": TITLE, "rows": rows}]


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2]))
