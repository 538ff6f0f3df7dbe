"""Write the README's short table from the results file.

`python -m benchmarks.readme`, after `make bench BENCH_ARGS="--out FILE"`.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "amd-epyc-two-cores.json"
BEGIN, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"

# A table's title begins so, the rows to show, and what the ratio is against.
ROWS = {
    "Forward": "bert, optimize",
    "fill_mask": "bert, optimize",
    "Sentence vectors": "bert, optimize, bfloat16",
    "Tokenizer": "bert, BertTokenizerFast",
    "Import": "bert",
    "Training": "bfloat16 autocast, at labels",
}


def short_table(stored: dict) -> str:
    """The README's lines, from what the results file holds."""
    lines = [
        "| what | against | times as fast | quartiles | error |",
        "|---|---|--:|--:|--:|",
    ]
    for subject in ("forward", "ragged", "tokenizer", "loading", "training"):
        for table in stored.get(subject, {}).get("tables", []):
            name = next(
                wanted
                for start, wanted in ROWS.items()
                if table["title"].startswith(start)
            )
            row = next(r for r in table["rows"] if r["name"] == name)
            what = table["title"].partition(";")[0]
            rate = "no rate: the numbers differ | "
            if "ratio" in row:
                rate = (
                    f"{row['ratio']:.2f} | {row['ratio_low']:.2f} to "
                    f"{row['ratio_high']:.2f}"
                )
            against = table["rows"][0]["name"]
            lines.append(
                f"| {what}: {name} | {against} | {rate} | {row['error']:.0e} |"
            )
    machine = next(iter(stored.values()))["machine"]
    versions = ", ".join(f"{n} {v}" for n, v in machine["versions"].items())
    loads = [
        table["foreign_load"]
        for subject in stored.values()
        for table in subject["tables"]
        if "foreign_load" in table
    ]
    told = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} "
        f"threads; {versions}. Medians of ratios in one run; meanwhile other "
        f"work kept {min(loads)} to {max(loads)} cores busy."
    )
    return "\n".join([*lines, "", told, ""])


def filled(readme: str, stored: dict) -> str:
    """The README with the table between its marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    if not pattern.search(readme):
        raise ValueError(f"README.md has no {BEGIN.strip()}")
    table = f"{BEGIN}{short_table(stored)}{END}"
    return pattern.sub(lambda _: table, readme)


if __name__ == "__main__":
    stored = json.loads(RESULTS.read_text("utf-8"))
    README.write_text(filled(README.read_text("utf-8"), stored), "utf-8")
