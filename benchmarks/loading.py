"""A process from its start to its end: import, load, sum of a matrix."""

import subprocess
import sys

from benchmarks.rivals import base_checkpoint
from benchmarks.timing import Contender, compare

# Each prints the sum of the last layer's widest matrix.
OURS = """
import sys
from bert import BertForMaskedLM
model = BertForMaskedLM.from_pretrained(sys.argv[1])
print(model.bert.layers[-1].feed_forward.up.weight.double().sum().item())
"""
THEIRS = """
import sys
from transformers import BertForMaskedLM
model = BertForMaskedLM.from_pretrained(sys.argv[1])
layer = model.bert.encoder.layer[-1]
print(layer.intermediate.dense.weight.double().sum().item())
"""
TORCH = "import torch"


def run() -> list[dict]:
    """One table; the last row loads nothing and is a lower bound."""
    folder = str(base_checkpoint())

    def process(script: str) -> float | None:
        told = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, folder],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        return float(told[-1]) if told else None

    return [
        compare(
            "Import and load at bert-base's size, whole process; from its "
            "start to its end: import, load, sum of one matrix",
            [
                Contender("transformers", lambda _: process(THEIRS), 0),
                Contender("bert", lambda _: process(OURS), 0),
                Contender("import torch alone", lambda _: process(TORCH), 0),
            ],
            # Without a model there is no number that could differ.
            lambda found, wanted: 0 if found is None else abs(found - wanted),
            rounds=3,
        )
    ]
