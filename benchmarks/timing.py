"""Contenders take turns; a rate is printed only where numbers agree."""

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

PAUSE = 0.3  # seconds until the threads of one that spins are at rest
BUDGET = 40.0  # seconds for one table; no round begins after that
FEWEST = 2  # rounds, however long they take
FEWEST_FOR_QUARTILES = 5  # of fewer rounds, the range is told
# What a table says of its ratios' spread, and how its column is headed.
SPREADS = {"quartiles": "quartiles", "range": "lowest to highest"}


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: As the table calls it.
        run: Does the work on what `prepare` gave, and returns the numbers.
        tolerance: The largest error against the first contender.
        prepare: Runs before each turn, outside the clock.
        spins: Whether its threads go on working for a while afterwards.
    """

    name: str
    run: Callable[[Any], Any]
    tolerance: float
    prepare: Callable[[], Any] = lambda: None
    spins: bool = False


def compare(
    title: str,
    contenders: Sequence[Contender],
    error: Callable[[Any, Any], float],
    rounds: int,
    cosine_gap: Callable[[Any, Any], float] | None = None,
) -> dict:
    """Check all contenders against the first one, then time them in turns.

    Args:
        title: What the work is.
        contenders: The first one is the measure of the others.
        error: How far a result is from the first one's.
        rounds: How many turns each gets after that check, if the time
            suffices.
        cosine_gap: A second measure, 1 - cosine, that is told and decides
            nothing.

    Returns:
        What `as_markdown` prints and a results file keeps. A contender
        whose numbers differ by more than its tolerance has no times.
    """
    wanted = contenders[0].run(contenders[0].prepare())
    judged = {}
    for contender in contenders:
        found = contender.run(contender.prepare())
        judged[contender.name] = {
            "name": contender.name,
            "error": error(found, wanted),
            "tolerance": contender.tolerance,
        }
        if cosine_gap:
            gap = cosine_gap(found, wanted)
            judged[contender.name]["cosine_gap"] = gap
        del found
    # "not larger" would let a NaN pass.
    racing = [c for c in contenders if judged[c.name]["error"] <= c.tolerance]
    if contenders[0] not in racing:
        raise RuntimeError(
            f"{title}: {contenders[0].name} differs from itself"
        )
    del wanted
    gc.collect()
    gc.freeze()  # what was there before is nobody's garbage
    before = busy_seconds()
    times: dict[str, list[float]] = {c.name: [] for c in racing}
    began = before[0]
    for done in range(rounds):
        if done >= FEWEST and time.perf_counter() - began > BUDGET:
            break
        for contender in turns(racing, done):
            state = contender.prepare()
            start = time.perf_counter()
            contender.run(state)
            times[contender.name].append(time.perf_counter() - start)
            if contender.spins:
                time.sleep(PAUSE)
    load = foreign_load(before, busy_seconds())
    base = times[contenders[0].name]
    for name, taken in times.items():
        judged[name] |= summary(taken, base)
    return {
        "title": title,
        "rounds": len(base),
        "spread": spread(len(base)),
        "foreign_load": round(load, 2),
        "rows": list(judged.values()),
    }


def turns(racing: Sequence[Contender], done: int) -> list[Contender]:
    """The order of one round, after so many that are done.

    Each contender begins a round in turn. The others follow in an order that
    is drawn anew, with a seed, so that none always runs behind the same one.
    """
    first = done % len(racing)
    others = [*racing[:first], *racing[first + 1 :]]
    random.Random(done).shuffle(others)
    return [racing[first], *others]


def spread(rounds: int) -> str:
    """What lies between `ratio_low` and `ratio_high` after so many rounds."""
    return "quartiles" if rounds >= FEWEST_FOR_QUARTILES else "range"


def summary(times: list[float], base: list[float]) -> dict:
    """Median time, and the ratios to the first contender round by round."""
    ratios = sorted(b / t for b, t in zip(base, times, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    if spread(len(ratios)) == "range":
        low, high = ratios[0], ratios[-1]
    return {
        "seconds": statistics.median(times),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
    }


def busy_seconds() -> tuple[float, float, float]:
    """The clock; processor time of everybody; of this process and its own."""
    everybody = psutil.cpu_times()
    ours = psutil.Process().cpu_times()
    idle = everybody.idle + getattr(everybody, "iowait", 0.0)
    return (
        time.perf_counter(),
        sum(everybody[:8]) - idle,
        ours.user + ours.system + ours.children_user + ours.children_system,
    )


def foreign_load(before: tuple, after: tuple) -> float:
    """How many cores were busy with other work, on average."""
    wall, everybody, ours = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, (everybody - ours) / wall)


def as_markdown(table: dict) -> str:
    """One table, as it is printed: of times, or of bytes held."""
    timed = "rounds" in table
    with_gap = any("cosine_gap" in row for row in table["rows"])
    heads = "million bytes, loaded | at most"
    if timed:
        heads = f"ms | times as fast | {SPREADS[table['spread']]}"
    heads += " | error | 1 - cosine" if with_gap else " | error"
    lines = [
        f"### {table['title']}",
        "",
        f"| what | {heads} | tolerance |",
        "|---|" + (heads.count("|") + 2) * "--:|",
    ]
    for row in table["rows"]:
        cells = times_of(row) if timed else bytes_of(row)
        error = f"{row['error']:.1e}"
        if with_gap:
            error += f" | {row['cosine_gap']:.1e}"
        lines.append(
            f"| {row['name']} | {cells} | {error} | {row['tolerance']:.0e} |"
        )
    if not timed:
        return "\n".join([*lines, ""])
    notes = [f"{table['rounds']} rounds"]
    notes.append(f"{table['foreign_load']} cores busy with other work")
    notes += [
        f"{name}: {value}" for name, value in table.get("notes", {}).items()
    ]
    return "\n".join([*lines, "", "; ".join(notes) + ".", ""])


def times_of(row: dict) -> str:
    """Time, ratio and its spread, or that there is no rate."""
    if "seconds" not in row:
        return "no rate: differs | |"
    return (
        f"{1e3 * row['seconds']:.1f} | {row['ratio']:.2f} | "
        f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
    )


def bytes_of(row: dict) -> str:
    """What was held once loaded and at most, or that nothing is told."""
    if "peak" not in row:
        return "no number: differs |"
    return f"{row['loaded'] / 1e6:.0f} | {row['peak'] / 1e6:.0f}"
