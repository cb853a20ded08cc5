"""The code blocks of the pages."""

import dataclasses
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = (*sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")), Path("README.md"))


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its first line, its language, and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = (ROOT / page).read_text()
    return [
        Block(
            page,
            text.count("\n", 0, match.start(3)) + 1,
            match[2].strip(),
            re.sub(rf"^{match[1]}", "", match[3], flags=re.M),
        )
        for match in re.finditer(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", text, re.MULTILINE)
    ]


def commands_of(block: Block) -> list[list[str]]:
    """Return the commands of a shell block, as words; a here-document is left out."""
    text = re.sub(r"<<(\w+)\n(?:.*\n)*?\1\n", "", block.text + "\n").replace("\\\n", " ")
    commands: list[list[str]] = []
    for line in text.splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("&&", ";", "|"):
                commands += [words] if words else []
                words = []
            else:
                words.append(word)
    return commands
