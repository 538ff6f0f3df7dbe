"""Find numbers that were typed by hand in the book's sentences.

A number in a sentence is computed by a cell and glued, or is a fact with a
citation in the same sentence, or is one of the kinds that `ALLOWED` names.
Where a paragraph works with numbers that it makes up, the line before it says
so: `% by hand: REASON`.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bookkit.tangle import ROOT

# What a number may be without a cell: the reason, and how it is told.
ALLOWED = {
    "a year": r"(?:19[5-9]\d|20[0-3]\d)(?:s|[–-](?:19|20)?\d\d)?(?![\d.,]*\d)",
    "the place of something that is numbered": (
        r"(?i:\b(?:chapter|part|section|figure|table|equation|exercise|step"
        r"|task|line|layer|head|position|row|column|segment|class|label|id"
        r"|token|axis|seed)s?)(?: +number)?"
        r" +\d+(?:\.\d+)*(?:(?:,| and| or| to|,? and|–|-) *\d+(?:\.\d+)*)*"
    ),
    "a version or a standard": (
        r"\b(?:Python|Unicode|IEEE|PyTorch|torch|transformers|version|RFC"
        r"|CC BY|CC BY-SA|Figure|Algorithm|Apache|GitHub) +\d[\d.]*\d|\b(?:"
        r"Python|Unicode|CC BY|CC BY-SA|version) +\d"
    ),
    "a name with a digit in it, such as float32 or GPT-2": (
        r"\b[^\W\d_][\w+.]*[-+]?\d[\w.-]*\w|\b[^\W\d_][\w+]*[-+]?\d"
    ),
    "nothing, one, and its opposite: 0, 1, −1": (
        r"(?<![\w.,])[−-]?[01](?![\w.,]*\d)"
    ),
}
PATTERN = re.compile("|".join(f"(?:{form})" for form in ALLOWED.values()))
NUMBER = re.compile(r"(?<![\w.,])[−-]?\d(?:[\d.,]*\d)?[\w-]*")

# Directives whose body is no sentence.
OPAQUE = {
    "bibliography",
    "code",
    "code-block",
    "code-cell",
    "eval-rst",
    "glue:figure",
    "image",
    "include",
    "literalinclude",
    "math",
    "raw",
    "raw-cell",
    "tableofcontents",
    "toctree",
}
FENCE = re.compile(r"\s*(`{3,}|~{3,}|:{3,})(?:\{([\w:-]+)\})?(.*)")
OPTION_LINE = re.compile(r"\s*:[\w-]+:(?: .*)?")
BY_HAND = re.compile(r"%\s*by hand:\s*(.*)")
SENTENCE_END = re.compile(r"(?<=[.!?])[)*_”\"]*\s+(?=[^\s\da-z])|\n\s*\n")
CITED = "\x01"


@dataclass(frozen=True)
class Finding:
    """A number without a source."""

    chapter: str
    line: int
    number: str
    sentence: str

    def __str__(self) -> str:
        return (
            f"{self.chapter}:{self.line}: {self.number} is typed by hand in "
            f"“{self.sentence}”"
        )


def blank(match: re.Match[str]) -> str:
    """Replace what was matched by as many spaces, line breaks kept."""
    return re.sub(r"[^\n]", " ", match[0])


def sentences_only(text: str) -> str:
    """Blank all that is not a sentence; every line keeps its place."""
    text = re.sub(r"\A---\n.*?\n---\n", blank, text, flags=re.DOTALL)
    lines = []
    # Open fences, outermost first: the mark, and whether its body is prose.
    fences: list[tuple[str, bool]] = []
    in_head = False
    skip_paragraph = False
    for line in text.split("\n"):
        opaque = any(not prose for _, prose in fences)
        mark = FENCE.fullmatch(line)
        if mark and fences and closes(mark, fences[-1][0]):
            fences.pop()
            line = ""
        elif mark and not opaque:
            _, name, argument = mark.groups()
            prose = bool(name) and name not in OPAQUE
            fences.append((mark[1], prose))
            in_head = True
            line = argument if prose and name != "figure" else ""
        elif opaque:
            line = ""
        elif in_head and OPTION_LINE.fullmatch(line):
            line = ""
        else:
            in_head = False
            if BY_HAND.fullmatch(line):
                skip_paragraph = True
            elif not line.strip():
                skip_paragraph = False
            if skip_paragraph or line.startswith("%"):
                line = ""
        lines.append(line)
    return without_marks("\n".join(lines))


def closes(mark: re.Match[str], opened: str) -> bool:
    """Say whether a fence ends the one that is open."""
    alone = not mark[2] and not mark[3].strip()
    return alone and mark[1][0] == opened[0] and len(mark[1]) >= len(opened)


def without_marks(text: str) -> str:
    """Blank mathematics, code, roles, targets and the numbers of lists."""
    text = re.sub(
        r"\{cite[\w:]*\}`[^`]+`",
        lambda match: CITED + blank(match)[1:],
        text,
    )
    for form in (
        r"<!--.*?-->",
        r"^\([^()\s]+\)=[ \t]*$",
        r"\{[\w:.-]+\}(`+).+?\1",
        r"(`+)(?:(?!\n\s*\n).)+?\1",
        r"\$\$.*?\$\$",
        r"(?<!\\)\$(?:(?!\n\s*\n)[^$])+\$",
        r"(?<=\])\([^()\s]*(?:\s+\"[^\"]*\")?\)",
        r"<?https?://[^\s>)]+>?",
        r"\[\^[\w-]+\]",
        r"^\s*\d+[.)](?=\s)",
    ):
        text = re.sub(form, blank, text, flags=re.DOTALL | re.MULTILINE)
    return text


def find_numbers(text: str, chapter: str) -> Iterator[Finding]:
    """Yield the numbers of a chapter that have no source."""
    prose = sentences_only(text)
    start = 0
    ends = [*SENTENCE_END.finditer(prose), None]
    for end in ends:
        stop = end.start() if end else len(prose)
        sentence = prose[start:stop]
        if CITED not in sentence:
            allowed = PATTERN.sub(blank, sentence)
            for number in NUMBER.finditer(allowed):
                place = start + number.start()
                line = prose.count("\n", 0, place)
                yield Finding(
                    chapter,
                    line + 1,
                    number[0],
                    around(text.split("\n")[line], number[0]),
                )
        start = end.end() if end else stop


def around(line: str, number: str) -> str:
    """Return the words of a line that stand near a number."""
    place = max(line.find(number), 0)
    first = line.rfind(" ", 0, max(place - 40, 0)) + 1
    last = line.find(" ", place + len(number) + 40)
    return line[first : last if last > 0 else None].strip()


def shown(path: Path, root: Path) -> str:
    """Return a path as one types it at the root."""
    inside = path.is_relative_to(root)
    return str(path.relative_to(root) if inside else path)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """List the numbers; 1 if there are any."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.prose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "chapters", nargs="*", type=Path, help="else all of book/"
    )
    chosen = parser.parse_args(arguments).chapters
    paths = chosen or sorted((root / "book").glob("*.md"))
    findings = [
        finding
        for path in paths
        for finding in find_numbers(path.read_text("utf-8"), shown(path, root))
    ]
    for finding in findings:
        print(finding)
    if findings:
        print(
            f"\n{len(findings)} numbers typed by hand. Compute each in a cell "
            "and glue it, cite its source in the same sentence, write a "
            "count in words, or write `% by hand: REASON` on the line before "
            "a paragraph whose numbers are made up.\n"
            "Without a cell may stand: " + "; ".join(ALLOWED) + "; and all "
            "in mathematics, code, links and the options of directives."
        )
    else:
        print(f"{len(paths)} files: no number is typed by hand")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
