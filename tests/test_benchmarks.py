"""No rate is printed where the numbers differ; README says what was found."""

import json
import math

from benchmarks.readme import README, RESULTS, filled
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
