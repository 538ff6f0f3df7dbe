"""The most memory that a process held, from its imports to its last pass."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from benchmarks.rivals import (
    Logits,
    base_checkpoint,
    first_logits,
    largest_difference,
    onnx_file,
    onnx_runtime,
    ours,
    random_ids,
    theirs,
)
from bert import engine

BATCH, SEQ, PASSES = 8, 128, 3
SYSTEM_TOLD = Path("/proc/self/status")  # on Linux
TITLE = (
    f"Memory of a process at bert-base's size, {PASSES} passes of "
    f"{BATCH} x {SEQ} tokens"
)

# What is loaded, and how far its first row's logits may be from those of the
# first one.
WAYS: dict[str, tuple[Callable[[], Callable], float]] = {
    "transformers, sdpa": (lambda: Logits(theirs()), 1e-5),
    "ONNX Runtime": (onnx_runtime, 1e-5),
    "bert, plain": (lambda: Logits(ours()), 1e-5),
    "bert, optimize": (lambda: Logits(engine.optimize(ours())), 1e-5),
    "bert, optimize, logits at one position": (
        lambda: first_logits(engine.optimize(ours())),
        1e-5,
    ),
    "bert, optimize, bfloat16": (
        lambda: Logits(engine.optimize(ours(), torch.bfloat16)),
        0.05,
    ),
}


def most_held() -> int:
    """The most bytes that this process has held in memory so far."""
    if SYSTEM_TOLD.is_file():
        # Unlike getrusage, it leaves out what came before this program.
        lines = SYSTEM_TOLD.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


@torch.inference_mode()
def child(name: str, out: Path) -> None:
    """Load one way, let it run, and write down what it took."""
    logits_of = WAYS[name][0]()
    loaded = psutil.Process().memory_info().rss
    ids = random_ids(BATCH, SEQ)
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
