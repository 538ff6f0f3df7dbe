"""No rate is printed where the numbers differ; README says what was found."""

import json
import math
import subprocess
import sys

from benchmarks.readme import README, RESULTS, ROOT, filled
from benchmarks.timing import Contender, as_markdown, compare, foreign_load


def race(*contenders: Contender) -> dict:
    """Compare by the absolute difference of numbers."""
    return compare(
        "numbers", contenders, lambda found, wanted: abs(found - wanted), 3
    )


def test_a_contender_with_other_numbers_gets_no_rate():
    table = race(
        Contender("first", lambda _: 1.0, 0),
        Contender("near", lambda _: 1.01, 0.1),
        Contender("far", lambda _: 1.2, 0.1),
        Contender("none", lambda _: math.nan, 0.1),
    )
    assert [r["name"] for r in table["rows"] if "ratio" in r] == [
        "first",
        "near",
    ]
    lines = as_markdown(table).split("\n")
    for name in ("far", "none"):
        (line,) = [x for x in lines if x.startswith(f"| {name} ")]
        assert "no rate" in line
    assert table["rows"][0]["ratio"] == 1


def test_other_numbers_get_no_bytes_and_every_row_has_all_cells():
    near = {"name": "near", "error": 1e-6, "tolerance": 1e-5}
    far = {"name": "far", "error": 2e-5, "tolerance": 1e-5}
    held = {"title": "t", "rows": [near | {"loaded": 2e6, "peak": 3e6}, far]}
    timed = race(
        Contender("a", lambda _: 1.0, 0), Contender("b", lambda _: 2.0, 0)
    )
    for table in (held, timed):
        _, _, *lines = as_markdown(table).strip().split("\n")
        rows = [line for line in lines if line.startswith("|")]
        assert len(rows) == 4 and len({r.count("|") for r in rows}) == 1
    printed = as_markdown(held)
    assert "| near | 2 | 3 | 1.0e-06 | 1e-05 |" in printed
    assert "| far | no number: differs | | 2.0e-05 |" in printed


def test_what_was_held_counts_memory_that_was_given_back():
    program = """
import psutil
from benchmarks.memory import most_held

before = most_held()
held = bytearray(b"x") * (before + 100_000_000)
del held
assert most_held() > before + 90_000_000
assert psutil.Process().memory_info().rss < most_held() - 90_000_000
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_contenders_take_turns_and_prepare_anew():
    turns = []

    def contender(name: str) -> Contender:
        return Contender(
            name, lambda state: turns.append(state) or 0, 0, lambda: name
        )

    race(contender("a"), contender("b"))
    # The first one's numbers, the check of both, and three rounds.
    assert "".join(turns) == "a" + "ab" + "ab" * 3


def test_foreign_load_is_what_others_did():
    assert foreign_load((0, 0, 0), (10, 15, 5)) == 1
    assert foreign_load((0, 0, 0), (10, 5, 5)) == 0


def test_the_readme_shows_the_results():
    stored = json.loads(RESULTS.read_text("utf-8"))
    readme = README.read_text("utf-8")
    assert filled(readme, stored) == readme
