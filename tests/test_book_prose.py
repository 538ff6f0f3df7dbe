"""Numbers typed by hand are found, and only those."""

import pytest

from bookkit.prose import ALLOWED, find_numbers, main


def numbers(text: str) -> list[str]:
    """The numbers that are found in a chapter's text."""
    return [finding.number for finding in find_numbers(text, "book/a.md")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The error is 3.6e-07 here.", ["3.6e-07"]),
        ("It has 12 layers.", ["12"]),
        ("There are 30,522 words, and 768 numbers each.", ["30,522", "768"]),
        ("A share of 12.5 %.", ["12.5"]),
        ("It falls to −10,000 or -100.", ["−10,000", "-100"]),
        ("**12** heads and *64* numbers", ["12", "64"]),
        ("| size | 768 |", ["768"]),
        ("## All 12 heads", ["12"]),
        ("[the 24 layers](other.md)", ["24"]),
        ("```{note}\n:class: b12\nIt has 12 layers.\n```", ["12"]),
        (":::{admonition} All 24 of them\nFew.\n:::", ["24"]),
        ("```{figure} a12.svg\n:name: f12\nIts 24 heads.\n```", ["24"]),
        ("````{note}\n```python\nx = 12\n```\nIt has 24.\n````", ["24"]),
        ("A 254th, and 5B", ["254th", "5B"]),
        ("A 2048-wide row", ["2048-wide"]),
        ("It was 3 times 2018.5 long.", ["3", "2018.5"]),
    ],
)
def test_a_number_typed_by_hand_is_found(text, found):
    assert numbers(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "In 2018, and in the 1990s, and 2017–2019.",
        "See chapter 12, sections 3 and 4, figure 7.2, layers 3 to 11.",
        "Python 3.11, Unicode 15.1, IEEE 754, version 2, CC BY 4.0.",
        "In float32, bfloat16, UTF-8, U+0301, GPT-2, L2 and x86-64.",
        "Rows sum to 1, a mask is 0 or 1, cosines reach −1.",
        "The scale is $1/\\sqrt{64}$, or\n$$\n\\frac{12}{768}\n$$\n",
        "```{math}\n12 = 3 \\cdot 4\n```",
        "```{code-cell} ipython3\nx = 12\n```",
        "````{note}\n```{code-cell} ipython3\nx = 12\n```\n````",
        "```python\nx = 12\n```",
        "The code `x[:12]` and ``a ` 12`` ends.",
        "The error is {glue:text}`error_12`.",
        "Go to {ref}`chapter 12's 24 heads <heads-12>`.",
        "(heads-12)=\n# Heads",
        "See [it](https://example.org/12) or <https://example.org/24>.",
        "```{image} ../images/map-07.svg\n:alt: All 12 parts.\n```",
        "```{figure} a12.svg\n:alt: Its 12 heads.\nWords.\n```",
        "1. One.\n2. Two.\n12. Twelve.",
        "A note.[^12]",
        "% a comment on 12\nWords.",
        "<!-- 12 -->",
        "---\nkernel: 12\n---\n\nWords.",
    ],
)
def test_what_needs_no_cell_is_left_alone(text):
    assert numbers(text) == []


def test_a_citation_stands_for_the_numbers_of_its_own_sentence():
    cited = "It has 12 layers and\n768 numbers {cite:p}`devlin2019bert`."
    assert numbers(cited) == []
    assert numbers(f"{cited} And 24 heads.") == ["24"]
    assert numbers(f"And 24 heads. {cited}") == ["24"]
    assert numbers(f"And 24 heads\n\n{cited}") == ["24"]


def test_made_up_numbers_are_said_to_be_so_for_one_paragraph():
    text = "% by hand: scores for three tokens\nScores 2, 5 and 3,\nor 7.\n"
    assert numbers(text) == []
    assert numbers(text + "\nBut 12 heads.") == ["12"]


def test_a_finding_says_where(tmp_path, capsys):
    book = tmp_path / "book"
    book.mkdir()
    (book / "a.md").write_text("# A\n\nWell, it has\n12 layers.\n", "utf-8")
    (book / "b.md").write_text("# B\n", "utf-8")
    assert main([], tmp_path) == 1
    said = capsys.readouterr().out
    assert "book/a.md:4: 12 is typed by hand in “12 layers.”" in said
    assert "1 numbers typed by hand" in said
    assert all(reason in said for reason in ALLOWED)
    assert main([str(book / "b.md")], tmp_path) == 0
    assert "1 files: no number is typed by hand" in capsys.readouterr().out


def test_no_number_is_typed_by_hand_into_this_book(capsys):
    assert main([]) == 0, capsys.readouterr().out
