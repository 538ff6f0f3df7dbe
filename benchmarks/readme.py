"""Write the README's short table from all results files.

`python -m benchmarks.readme`, after `make bench BENCH_ARGS="--out FILE"` on
each machine, with a FILE of its own in `benchmarks/results`.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"

# A table's title begins so, and the row to show of it.
ROWS = {
    "Forward": "bert, optimize",
    "fill_mask": "bert, optimize",
    "Sentence vectors": "bert, optimize, bfloat16",
    "Tokenizer": "bert, BertTokenizerFast",
    "Import": "bert",
    "Training": "bfloat16 autocast, at labels",
}
# The subjects whose tables are shown, in this order.
SUBJECTS = ("forward", "ragged", "tokenizer", "loading", "training")
# A contender of other people begins so.
RIVALS = ("transformers", "tokenizers", "nanotoken", "ONNX Runtime")


def stored_results(folder: Path) -> dict[str, dict]:
    """What each results file holds, by a short name of its machine.

    Raises:
        ValueError: No file, or two of machines with one short name.
    """
    found: dict[str, dict] = {}
    for path in sorted(folder.glob("*.json")):
        stored = json.loads(path.read_text("utf-8"))
        name = short_name(next(iter(stored.values()))["machine"]["cpu"])
        if name in found:
            raise ValueError(
                f"{path.name} is the second file of {name!r}: found two, "
                "wanted one results file for each processor"
            )
        found[name] = stored
    if not found:
        raise ValueError(f"{folder.name}: found no .json, wanted one or more")
    return found


def short_name(cpu: str) -> str:
    """The maker's name and the processor's, without marks and clock."""
    bare = re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", cpu)
    return " ".join(bare.split())


def shown(stored: dict) -> Iterator[tuple[str, dict, dict]]:
    """What each table of one machine is of, its row to show, and the table.

    Raises:
        ValueError: A table that `ROWS` does not know, or without that row.
    """
    for subject in SUBJECTS:
        for table in stored.get(subject, {}).get("tables", []):
            title = table["title"]
            names = [n for start, n in ROWS.items() if title.startswith(start)]
            rows = [r for r in table["rows"] if r["name"] in names]
            if len(rows) != 1:
                raise ValueError(
                    f"{title!r} has {len(rows)} rows named {names}, wanted 1"
                )
            yield title.partition(";")[0], rows[0], table


def short_table(results: dict[str, dict]) -> str:
    """The README's lines, from what the results files hold."""
    lines = [
        f"| what | against | {' | '.join(results)} |",
        "|---|---|" + len(results) * "--:|",
    ]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for machine, stored in results.items():
        for what, row, table in shown(stored):
            against = table["rows"][0]["name"]
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else "differs"
            line = cells.setdefault((f"{what}: {row['name']}", against), {})
            line[machine] = ratio
    for words, ratios in cells.items():
        columns = [ratios.get(name, "not measured") for name in results]
        lines.append(f"| {' | '.join([*words, *columns])} |")
    lines.append("")
    for stored in results.values():
        lines += machine_lines(stored)
    medians = "Times as fast, each number the median of ratios in one run."
    return "\n".join([*lines, "", medians, faster_rivals(results), ""])


def machine_lines(stored: dict) -> list[str]:
    """A machine, its programs' versions, when, and what else it did.

    One line, or more where the subjects ran with different versions.
    """
    of_table = {name: stored[name] for name in SUBJECTS if name in stored}
    lines = []
    for words, subjects in grouped(of_table, machine_words):
        ran = {name: stored[name] for name in subjects}
        days = grouped(ran, day_words)
        if len(days) > 1 or len(ran) < len(of_table):
            days = [(f"{day} ({', '.join(of)})", of) for day, of in days]
        measured = ", ".join(day for day, _ in days)
        loads = [
            table["foreign_load"]
            for kept in ran.values()
            for table in kept["tables"]
        ]
        lines.append(
            f"- {words}; measured {measured}, while other work kept "
            f"{min(loads):.2f} to {max(loads):.2f} cores busy."
        )
    return lines


def grouped(
    stored: dict, words: Callable[[dict], str]
) -> list[tuple[str, list[str]]]:
    """The subjects of which the same words are told, together."""
    found: dict[str, list[str]] = {}
    for subject, kept in stored.items():
        found.setdefault(words(kept), []).append(subject)
    return list(found.items())


def machine_words(kept: dict) -> str:
    """Where one subject was measured, in words."""
    machine = kept["machine"]
    versions = ", ".join(f"{n} {v}" for n, v in machine["versions"].items())
    return (
        f"{machine['cpu']} ({machine['instructions']}), {machine['cores']} "
        f"cores, {machine['threads']} threads; {versions}"
    )


def day_words(kept: dict) -> str:
    """When one subject was measured, in words; old files do not tell it."""
    if "date" not in kept:
        return "on a day that was not kept"
    at = f" at commit {kept['commit']}" if "commit" in kept else ""
    return f"on {kept['date']}{at}"


def faster_rivals(results: dict[str, dict]) -> str:
    """One sentence that names each rival that beat ours anywhere.

    A rival counts where its numbers are as exact as ours must be, in the
    table of which the README shows a row.
    """
    # Of each rival, by place: the machines there, and how far it leads.
    found: dict[str, dict[str, dict[str, float]]] = {}
    for machine, stored in results.items():
        for what, ours, table in shown(stored):
            for row in table["rows"]:
                if beats(row, ours):
                    places = found.setdefault(row["name"], {})
                    lead = row["ratio"] / ours["ratio"]
                    places.setdefault(what, {})[machine] = lead
    if not found:
        return "No rival whose numbers are as exact was faster."
    told = "; ".join(
        f"{name}, {led(places)}" for name, places in found.items()
    )
    return f"Rivals that are faster than ours: {told}."


def led(places: dict[str, dict[str, float]]) -> str:
    """How many times as fast as ours a rival is, and where."""
    leads = [lead for place in places.values() for lead in place.values()]
    ends = dict.fromkeys(f"{lead:.2f}" for lead in (min(leads), max(leads)))
    where: dict[str, list[str]] = {}
    for what, machines in places.items():
        where.setdefault(", ".join(machines), []).append(f'"{what}"')
    told = ", ".join(
        f"{f'at {whats[0]}' if len(whats) == 1 else f'in {len(whats)} rows'} "
        f"({machines})"
        for machines, whats in where.items()
    )
    return f"{' to '.join(ends)} times as fast {told}"


def beats(row: dict, ours: dict) -> bool:
    """Whether a rival's row is faster than ours, and exact enough for it."""
    return (
        row["name"].startswith(RIVALS)
        and "ratio" in row
        and "ratio" in ours
        and row["error"] <= ours["tolerance"]
        and row["ratio"] > ours["ratio"]
    )


def filled(readme: str, results: dict[str, dict]) -> str:
    """The README with the table between its marks.

    Raises:
        ValueError: The README has no such marks.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    if not pattern.search(readme):
        raise ValueError(f"README.md has no {BEGIN.strip()}")
    table = f"{BEGIN}{short_table(results)}{END}"
    return pattern.sub(lambda _: table, readme)


def main() -> None:
    """Write README.md anew, with what the results files hold."""
    results = stored_results(RESULTS)
    README.write_text(filled(README.read_text("utf-8"), results), "utf-8")


if __name__ == "__main__":
    main()
