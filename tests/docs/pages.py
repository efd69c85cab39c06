"""The pages that people read, taken apart: fences, links, tables, headings."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)


@dataclass
class Fence:
    """A fenced block: ```<language> <words>."""

    page: Path
    line: int
    language: str
    words: list
    text: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def fences(page):
    text = page.read_text()
    for match in FENCE.finditer(text):
        language, *words = match[1].split() or [""]
        yield Fence(page, text.count("\n", 0, match.start()) + 1, language, words, match[2])


def prose(page):
    """The text without fenced blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page):
    """The names that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page):
    """The targets of links that lead into the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def tables(page):
    """Each table as a list of rows, each a dict from the column's title to the cell."""
    for block in re.findall(r"(?:^\|.*\n)+", prose(page) + "\n", re.M):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        yield [dict(zip(rows[0], row)) for row in rows[2:]]


def column(page, title):
    """All cells of the columns with this title."""
    return [row[title] for table in tables(page) for row in table if title in row]


def codes(cell):
    """The words in backquotes."""
    return re.findall(r"`([^`]+)`", cell)
