"""The package's character tables, in a form that a page can carry.

A browser follows some version of Unicode, the package has pinned another:
the pages ask these tables about a character and never the browser.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import pairwise

from bert import normalization

HANGUL = range(0xAC00, 0xAC00 + 11172)  # syllables: the page has the rule


def gaps(edges: list[int]) -> list[int]:
    """Write rising numbers as the steps from one to the next."""
    return [b - a for a, b in pairwise([0, *edges])]


def points() -> list[int]:
    """Return all code points that a text may hold."""
    surrogates = range(0xD800, 0xE000)
    return [p for p in range(sys.maxunicode + 1) if p not in surrogates]


def changes(change: Callable[[str], str]) -> list[list]:
    """Return what `change` makes of each character that it changes.

    Returns:
        Runs `[gap, count, step, target]`: the first character stands `gap`
        after the last run's first; character k of the run is `step * k`
        further and becomes the one `step * k` after `target`. A string as
        target is what one character becomes.
    """
    runs: list[list] = []
    before = 0
    last: list | None = None  # [first, count, step, target], still growing
    for point in points():
        made = change(chr(point))
        if made == chr(point):
            continue
        if last and grows(last, point, made):
            last[1] += 1
            continue
        target = ord(made) if len(made) == 1 else made
        last = [point, 1, 1, target]
        runs.append(last)
    for run in runs:
        run[0], before = run[0] - before, run[0]
    return runs


def grows(run: list, point: int, made: str) -> bool:
    """Tell whether a character continues a run; fixes the step of a pair."""
    first, count, step, target = run
    if len(made) != 1 or isinstance(target, str):
        return False
    if ord(made) - target != point - first:
        return False
    if count == 1 and point - first in (1, 2):
        run[2] = point - first
        return True
    return point == first + count * step


def orders() -> list[list[int]]:
    """Return runs `[gap, count, order]` of the marks that have an order.

    Decomposing sorts the marks behind a letter by this number (Unicode's
    canonical combining class).
    """
    found: list[list[int]] = []
    end = 0
    for point in points():
        character = chr(point)
        order = unicodedata.combining(character)
        known = normalization.inside(character, normalization.DECOMPOSED)
        if not order or not known:
            continue
        if found and point == end and found[-1][2] == order:
            found[-1][1] += 1
        else:
            found.append([point - end, 1, order])
        end = point + 1
    return found


def decompose(character: str) -> str:
    """Decompose as the package does, but for Korean syllables."""
    if ord(character) in HANGUL:
        return character
    return normalization.decompose(character)


@cache
def unicode_tables() -> dict:
    """Return everything that `wordpiece.js` knows about characters."""
    return {
        "dropped": gaps(normalization.DROPPED),
        "spaces": gaps(normalization.WHITE_SPACE),
        "ideographs": gaps(normalization.CHINESE),
        "marks": gaps(normalization.MARKS),
        "punctuation": gaps(normalization.PUNCTUATION),
        "decompositions": changes(decompose),
        "orders": orders(),
        "lower": changes(normalization.lower),
    }
