"""Measure this project and others: one Markdown table for each subject."""

import argparse
import importlib
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# torch, psutil and what imports them are imported where they are used: first
# `refuse_missing` says in words what is not there.

ROOT = Path(__file__).resolve().parents[1]
WITH_ONNX = ("torch", "psutil", "transformers", "onnx", "onnxruntime")
# Each subject, and the packages that it imports.
SUBJECTS = {
    "tokenizer": (
        "torch",
        "psutil",
        "transformers",
        "nanotoken",
        "docutils",
        "sphinx",
    ),
    "loading": ("torch", "psutil", "transformers"),
    "memory": WITH_ONNX,
    "ragged": WITH_ONNX,
    "forward": WITH_ONNX,
    "training": ("torch", "psutil"),
}
RESULTS = "benchmarks/results"
FOR_BFLOAT16 = ("AVX512_BF16", "AMX_BF16")  # beside the general ones
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "onnxruntime",
    "nanotoken",
)


def refuse_missing(subjects: Sequence[str]) -> None:
    """End with the command that helps, where a package is missing.

    Raises:
        SystemExit: A subject imports a package that is not installed.
    """
    missing = {
        package
        for subject in subjects
        for package in SUBJECTS[subject]
        if importlib.util.find_spec(package) is None
    }
    if missing:
        raise SystemExit(
            f"{', '.join(subjects)}: not installed, but wanted: "
            f"{', '.join(sorted(missing))}. Install all that is measured:\n"
            f"{sys.executable} -m pip install "
            "-r requirements.txt -r benchmarks/requirements.txt"
        )


def commit(root: Path) -> str:
    """The tree's git commit, "-dirty" if it is changed, or "unknown"."""
    # Asked for here: a folder without .git may lie in another repository.
    if not (root / ".git").exists() or shutil.which("git") is None:
        return "unknown"

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.strip()

    # What earlier subjects wrote changes nothing that is measured.
    changed = git("status", "--porcelain", "--", ".", f":!{RESULTS}")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def machine() -> dict:
    """What a reader needs to judge the numbers; nothing that names a host."""
    import psutil
    import torch

    versions = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    able = torch.cpu.get_capabilities()
    return {
        "cpu": processor(),
        "instructions": ", ".join(
            [
                torch.backends.cpu.get_cpu_capability(),
                *(name for name in FOR_BFLOAT16 if able.get(name.lower())),
            ]
        ),
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
    """Measure the subjects that are named, or all; print, and keep if asked.

    Raises:
        SystemExit: A subject is unknown, or a package is missing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__
    )
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help=f"any of {', '.join(SUBJECTS)}; all of them, if none is named",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="a results file; subjects that are not run stay as they are",
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = arguments.subjects or list(SUBJECTS)
    if unknown := [name for name in chosen if name not in SUBJECTS]:
        parser.error(
            f"no subject: {', '.join(unknown)}; wanted any of "
            f"{', '.join(SUBJECTS)}"
        )
    refuse_missing(chosen)
    import torch

    from benchmarks.timing import as_markdown

    if arguments.child:
        subject = importlib.import_module(f"benchmarks.{chosen[0]}")
        with torch.inference_mode(chosen[0] != "training"):
            tables = subject.run()
        arguments.child.write_text(json.dumps(tables))
        return
    here, measured = machine(), commit(ROOT)
    versions = ", ".join(f"{n} {v}" for n, v in here["versions"].items())
    print(
        f"{here['cpu']}, {here['cores']} cores, {here['instructions']}, "
        f"{here['threads']} threads; {versions}; commit {measured}\n"
    )
    subjects = {}
    start = time.monotonic()
    for name in chosen:
        subjects[name] = {
            "machine": here,
            "date": date.today().isoformat(),
            "commit": measured,
            "tables": run_subject(name),
        }
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
