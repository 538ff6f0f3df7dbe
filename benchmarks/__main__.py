"""Measure this project and others: one Markdown table for each subject."""

import argparse
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from benchmarks.timing import as_markdown

SUBJECTS = (
    "tokenizer",
    "loading",
    "memory",
    "ragged",
    "forward",
    "training",
)
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "onnxruntime",
    "nanotoken",
)


def machine() -> dict:
    """What a reader needs to judge the numbers; nothing that names a host."""
    versions = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "cpu": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "versions": versions,
    }


def processor() -> str:
    """The processor's name, as the system has it."""
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def run_subject(name: str) -> list[dict]:
    """Run one subject in a process of its own, so that none warms another."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tables.json"
        subprocess.run(
            [sys.executable, "-m", "benchmarks", "--child", str(out), name],
            check=True,
        )
        return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []])
    parser.add_argument(
        "--out",
        type=Path,
        help="a results file; subjects that are not run stay as they are",
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = arguments.subjects or SUBJECTS
    if arguments.child:
        subject = importlib.import_module(f"benchmarks.{chosen[0]}")
        with torch.inference_mode(chosen[0] != "training"):
            tables = subject.run()
        arguments.child.write_text(json.dumps(tables))
        return
    here = machine()
    versions = ", ".join(f"{n} {v}" for n, v in here["versions"].items())
    print(
        f"{here['cpu']}, {here['cores']} cores, {here['instructions']}, "
        f"{here['threads']} threads; {versions}\n"
    )
    subjects = {}
    start = time.monotonic()
    for name in chosen:
        subjects[name] = {"machine": here, "tables": run_subject(name)}
        for table in subjects[name]["tables"]:
            print(as_markdown(table), flush=True)
    print(f"{time.monotonic() - start:.0f} seconds in all.")
    if arguments.out:
        kept = {}
        if arguments.out.is_file():
            kept = json.loads(arguments.out.read_text())
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(kept | subjects, indent=1) + "\n")


if __name__ == "__main__":
    main()
