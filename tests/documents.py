"""Code and command lines of the README and the documentation, for the tests that run them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from repository import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# ([\w.-]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file it stands in.
        line: Where it begins.
        language: What the fence says, or empty: command lines.
        text: Its content.
    """

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that it is, if its first line says so: `# own_space.yaml`."""
        named = NAMED.match(self.text)
        return named.group(1) if named else ""

    def __str__(self) -> str:
        """Return where it stands."""
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command line; `words` are those of the command itself, without what stands before and behind it."""

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return where it stands, and the line."""
        return f"{self.page.name}:{self.line}: {shlex.join(self.words)}"


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found.group(1), found.group(2))
        for found in FENCE.finditer(text)
    ]


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows."""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)


def commands(page: Path) -> list[Command]:
    """Return the command lines of a page: lines of its blocks without a language, and code within its text."""
    found = []
    text = page.read_text()
    prose = FENCE.sub(lambda block: "\n" * block.group(0).count("\n"), text)
    for block in blocks(page):
        if not block.language:
            found += [(block.line + 1 + i, line) for i, line in enumerate(block.text.splitlines())]
    found += [(prose.count("\n", 0, code.start()) + 1, code.group(1)) for code in re.finditer(r"`([^`\n]+)`", prose)]
    return [
        Command(page, number, command)
        for number, line in sorted(found)
        if (command := _command(line)) and command[0] in ("onepath", "make", "python")
    ]


def _command(line: str) -> tuple[str, ...]:
    """Return the words of a command (behind `ray job submit --`), without variables and optional parts."""
    line = re.sub(r"\s\[[^\]]*\]", "", line.split(" -- ")[-1])
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # prose
        return ()
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return tuple(words)
