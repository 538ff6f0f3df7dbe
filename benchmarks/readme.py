"""Write the README's short table from all results files.

`python -m benchmarks.readme`, after `make bench BENCH_ARGS="--out FILE"` on
each machine, with a FILE of its own in `benchmarks/results`.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"

# Of each table, by its title up to a semicolon: its words in the README, and
# the name of our row in it.
SHOWN = {
    **{
        f"Forward, {shape} tokens, float32": (
            f"logits of {shape} tokens",
            "bert, optimize",
        )
        for shape in ("1 x 16", "1 x 128", "8 x 128", "32 x 128")
    },
    "fill_mask, 32 sentences of 4 to 40 words, five words for each mask": (
        "`fill_mask`, 32 sentences of 4 to 40 words",
        "bert, optimize",
    ),
    "Sentence vectors of the same sentences": (
        "vectors of these sentences, bfloat16 asked for",
        "bert, optimize, bfloat16",
    ),
    "Import and load at bert-base's size, whole process": (
        "import and load, whole process",
        "bert",
    ),
    **{
        f"Tokenizer, one thread: {texts}": (words, "bert, BertTokenizerFast")
        for texts, words in {
            "docutils' docstrings, nothing known": (
                "tokenize English, nothing seen before"
            ),
            "Sphinx's messages, nothing known": (
                "tokenize many languages, nothing seen before"
            ),
            "docutils' docstrings, second half after the first": (
                "tokenize English after other English"
            ),
            "docutils' docstrings, seen before": (
                "tokenize the same English again"
            ),
        }.items()
    },
    "Training step, pocket-bert, 32 x 128 tokens": (
        "training step in bfloat16, logits at labels",
        "bfloat16 autocast, at labels",
    ),
}
# The names of other people's contenders begin so. The last is our own: in
# training, float32 stands in for a rival.
RIVALS = (
    "transformers",
    "tokenizers",
    "nanotoken",
    "ONNX Runtime",
    "float32, logits at labels",
)


def stored_results(folder: Path) -> dict[str, dict]:
    """What each results file holds, by a short name of its machine.

    Raises:
        ValueError: No file, or two of machines with one short name.
    """
    found: dict[str, dict] = {}
    for path in sorted(folder.glob("*.json")):
        stored = json.loads(path.read_text("utf-8"))
        name = short_name(next(iter(stored.values()))["machine"])
        if name in found:
            raise ValueError(
                f"{path.name} is the second file of {name!r}: found two, "
                "wanted one results file for each processor"
            )
        found[name] = stored
    if not found:
        raise ValueError(f"{folder.name}: found no .json, wanted one or more")
    return found


def short_name(machine: dict) -> str:
    """A processor's name without marks and clock, and its last instructions.

    Its widest instructions stand last.
    """
    bare = re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", machine["cpu"])
    widest = machine["instructions"].split(", ")[-1]
    return f"{' '.join(bare.split())}, {widest}"


def short_table(results: dict[str, dict]) -> str:
    """The README's lines, from what the results files hold.

    Raises:
        ValueError: A table that was not measured, or not against the same.
    """
    lines = [
        f"| what | against | {' | '.join(results)} |",
        "|---|---|" + len(results) * "---|",
    ]
    for title, (words, ours) in SHOWN.items():
        tables = [table_of(stored, title) for stored in results.values()]
        against = {table["rows"][0]["name"] for table in tables if table}
        if len(against) != 1:
            raise ValueError(
                f"{title!r}: measured against {sorted(against)}, wanted one "
                "first contender, the same on all machines"
            )
        cells = [ratios(table, ours) for table in tables]
        lines.append(f"| {' | '.join([words, *against, *cells])} |")
    lines.append("")
    for stored in results.values():
        lines += machine_lines(stored)
    return "\n".join([*lines, ""])


def table_of(stored: dict, title: str) -> dict | None:
    """The table of that title among one machine's, if it was measured."""
    for kept in stored.values():
        for table in kept["tables"]:
            if table["title"].partition(";")[0] == title:
                return table
    return None


def ratios(table: dict | None, name: str) -> str:
    """How many times as fast ours is, and behind it the fastest rival.

    A rival counts where its numbers are as exact as ours must be. The first
    contender is none: all ratios are to it.
    """
    if table is None:
        return "not measured"
    (ours,) = (row for row in table["rows"] if row["name"] == name)
    rivals = [
        row
        for row in table["rows"][1:]
        if row["name"].startswith(RIVALS)
        and "ratio" in row
        and row["error"] <= ours["tolerance"]
    ]
    found = f"**{ours['ratio']:.2f}**" if "ratio" in ours else "differs"
    if not rivals:
        return found
    best = max(rivals, key=lambda row: row["ratio"])
    return f"{found}; {best['ratio']:.2f} {best['name']}"


def machine_lines(stored: dict) -> list[str]:
    """A machine, its programs' versions, when, and what else it did.

    One line, or more where the subjects ran with different versions.
    """
    alike: dict[str, list[dict]] = {}
    for kept in stored.values():
        alike.setdefault(machine_words(kept["machine"]), []).append(kept)
    lines = []
    for words, subjects in alike.items():
        days = sorted({kept["date"] for kept in subjects})
        loads = [
            table["foreign_load"]
            for kept in subjects
            for table in kept["tables"]
            if "foreign_load" in table
        ]
        lines.append(
            f"- {words}; measured on {', '.join(days)}, while other work kept "
            f"{min(loads):.2f} to {max(loads):.2f} cores busy."
        )
    return lines


def machine_words(machine: dict) -> str:
    """Where a subject was measured, in words."""
    versions = ", ".join(f"{n} {v}" for n, v in machine["versions"].items())
    return (
        f"{machine['cpu']} ({machine['instructions']}), {machine['cores']} "
        f"cores, {machine['threads']} threads; {versions}"
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
