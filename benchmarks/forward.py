"""Whole passes with logits everywhere, at several shapes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor

from benchmarks.rivals import (
    Logits,
    cosine_gap,
    first_logits,
    largest_difference,
    onnx_runtime,
    ours,
    random_ids,
    theirs,
)
from benchmarks.timing import Contender, compare
from bert import engine

SHAPES = {(1, 16): 15, (1, 128): 9, (8, 128): 5, (32, 128): 3}  # rounds
FROZEN_AT = (1, 128)  # compiling costs most of a minute, so one shape alone
TOLERANCE = 1e-5
# For bfloat16 and int8 alike, whose logits (standard deviation 0.55) are off
# in the second digit or the first: error and cosine tell how far.
COARSE = 0.2


def run() -> list[dict]:
    """One table for each shape."""
    plain, sdpa, eager = ours(), theirs("sdpa"), theirs("eager")
    sdpa_half = theirs("sdpa", torch.bfloat16)
    fast = engine.optimize(plain)
    half = engine.optimize(plain, torch.bfloat16)
    asked = first_logits(fast)
    # As it comes: it is compiled once for each shape, before the clock.
    compiled = torch.compile(Logits(theirs("sdpa")), dynamic=False)
    frozen = compiled_and_frozen()
    runtime, runtime_int8 = onnx_runtime(), onnx_runtime(int8=True)
    packed_rows = engine.most_packed_rows(plain.config, torch.float32)
    peak = peak_rates() | {
        "rows for which optimize uses packed weights": str(packed_rows)
    }
    tables = []
    for (batch, seq), rounds in SHAPES.items():
        ids = random_ids(batch, seq)
        mask = torch.ones_like(ids)

        def medium(_: None, ids=ids, mask=mask) -> Tensor:
            torch.set_float32_matmul_precision("medium")
            logits = sdpa(ids, mask).logits
            torch.set_float32_matmul_precision("highest")
            return logits

        contenders = [
            Contender(
                "transformers, sdpa",
                lambda _, i=ids, m=mask: sdpa(i, m).logits,
                TOLERANCE,
            ),
            Contender(
                "transformers, eager",
                lambda _, i=ids, m=mask: eager(i, m).logits,
                TOLERANCE,
            ),
            Contender("transformers, products 'medium'", medium, COARSE),
            Contender(
                "transformers, torch.compile",
                lambda _, i=ids, m=mask: compiled(i, m),
                TOLERANCE,
            ),
            Contender(
                "transformers, torch.compile, frozen",
                lambda _, i=ids, m=mask: frozen(i, m),
                TOLERANCE,
            ),
            Contender(
                "transformers, bfloat16",
                lambda _, i=ids, m=mask: sdpa_half(i, m).logits,
                COARSE,
            ),
            Contender(
                "ONNX Runtime",
                lambda _, i=ids, m=mask: runtime(i, m),
                TOLERANCE,
                spins=True,
            ),
            Contender(
                "ONNX Runtime, int8",
                lambda _, i=ids, m=mask: runtime_int8(i, m),
                COARSE,
                spins=True,
            ),
            Contender(
                "bert, plain",
                lambda _, i=ids, m=mask: plain(i, m).logits,
                TOLERANCE,
            ),
            Contender(
                "bert, optimize",
                lambda _, i=ids, m=mask: fast(i, m).logits,
                TOLERANCE,
            ),
            Contender(
                "bert, optimize, logits at one position",
                lambda _, i=ids, m=mask: asked(i, m),
                TOLERANCE,
            ),
            Contender(
                "bert, optimize, bfloat16",
                lambda _, i=ids, m=mask: half(i, m).logits,
                COARSE,
            ),
        ]
        if (batch, seq) != FROZEN_AT:
            contenders = [
                c for c in contenders if not c.name.endswith("frozen")
            ]
        if batch > 1:  # the costliest that answer no question of a reach
            costly = ("eager", "'medium'")
            contenders = [c for c in contenders if not c.name.endswith(costly)]
        if batch > 8:
            few = ("transformers, sdpa", "ONNX Runtime", "bert, optimize")
            contenders = [c for c in contenders if c.name in few]
        table = compare(
            f"Forward, {batch} x {seq} tokens, float32; else the row says so",
            contenders,
            difference_at_shared_positions,
            rounds,
            gap_at_shared_positions,
        )
        table["notes"] = peak | {
            "products of optimize, share of the faster peak": share_of_peak(
                table, peak, plain.config, batch, seq
            )
        }
        tables.append(table)
    return tables


def difference_at_shared_positions(found: Tensor, wanted: Tensor) -> float:
    """The largest difference; `found` may be the first positions alone."""
    return largest_difference(found, wanted[:, : found.shape[1]])


def gap_at_shared_positions(found: Tensor, wanted: Tensor) -> float:
    """The largest 1 - cosine of two logit vectors at one position."""
    return cosine_gap(found, wanted[:, : found.shape[1]])


def compiled_and_frozen() -> Callable[[Tensor, Tensor], Tensor]:
    """transformers' model compiled with its weights as constants."""
    # The option keeps it apart from a model that is compiled without.
    compiled = torch.compile(
        Logits(theirs("sdpa")), dynamic=False, options={"freezing": True}
    )

    def run(ids: Tensor, mask: Tensor) -> Tensor:
        # What reads the model for the compiler looks at this one alone.
        with torch._inductor.config.patch(freezing=True):
            return compiled(ids, mask)

    return run


def peak_rates() -> dict[str, str]:
    """What each library reaches in one large product; and which one ran."""
    square, bias = torch.randn(2048, 2048), torch.zeros(2048)
    ways = {"F.linear": lambda: F.linear(square, square, bias)}
    if engine.can_pack():
        packed = engine.pack(square)
        ways["packed"] = lambda: engine.packed_linear(
            square, packed, bias, engine.NO_ACTIVATION
        )
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(5):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    rates = {
        f"{name}, billion operations a second": f"{2 * 2048**3 / t / 1e9:.0f}"
        for name, t in best.items()
    }
    return rates | {"F.linear calls": "oneDNN" if onednn_runs() else "MKL"}


def onednn_runs() -> bool:
    """Ask oneDNN itself whether F.linear in float32 calls it."""
    script = (
        "import torch; x = torch.randn(64, 64); "
        "torch.nn.functional.linear(x, x)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return "exec,cpu" in told


def share_of_peak(
    table: dict, peak: dict, config, batch: int, seq: int
) -> str:
    """Operations of all products over time and the faster peak."""
    tokens, hidden = batch * seq, config.hidden_size
    layer = 8 * hidden * hidden + 4 * hidden * config.intermediate_size
    work = tokens * config.num_hidden_layers * (layer + 4 * seq * hidden)
    work += 2 * tokens * hidden * (hidden + config.vocab_size)
    row = next(r for r in table["rows"] if r["name"] == "bert, optimize")
    if "seconds" not in row:
        return "no rate"
    best = max(float(v) for n, v in peak.items() if "billion" in n)
    return f"{100 * work / row['seconds'] / 1e9 / best:.0f} %"
