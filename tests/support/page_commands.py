"""What the pages tell people to type: fenced blocks, the commands in them, their words."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for path in (ROOT / "docs").rglob("*.md") if "reference" not in path.parts),
        ROOT / "dataset" / "README.md",
    ]
)
# Behind these a new command begins.
_JOINTS = {"&&", "||", ";", "|", "&", "do", "done"}


class Block(NamedTuple):
    """A fenced block: its language ("" where none is said) and its text, without the indentation of a list."""

    page: str
    language: str
    text: str


class Said(NamedTuple):
    """A command of a page: its words; `open` where an ellipsis stands for more of them."""

    page: str
    words: tuple[str, ...]
    open: bool

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks() -> Iterator[Block]:
    """All fenced blocks of all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for indent, language, body in re.findall(r"^([ \t]*(?:\d+\. )?)```(\w*)\n(.*?)^[ \t]*```", text, re.M | re.S):
            margin = len(indent)
            lines = [line[margin:] if not line[:margin].strip() else line for line in body.splitlines()]
            yield Block(str(page.relative_to(ROOT)), language, "\n".join(lines))


def commands() -> Iterator[Said]:
    """The commands of shell blocks, of blocks without a language that begin with one, and in `code` of the text."""
    for block in blocks():
        if block.language in ("bash", "sh", "console") or (
            not block.language and re.match(r"(?:python|pip|make|ppdet-ext) ", block.text)
        ):
            yield from of_shell(block.page, block.text)
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        if page.name == "coming_from.md":
            # The first column is of other toolkits.
            text = re.sub(r"^\| [^|]*\|", "|", text, flags=re.M)
        for code in re.findall(r"`([^`]+)`", text):
            if re.match(r"(?:python |ppdet-ext |make |tools/\w+\.py)", code) and "\n" not in code:
                # In a sentence nobody says all that a command needs.
                yield from (said._replace(open=True) for said in of_shell(str(page.relative_to(ROOT)), code))


def of_shell(page: str, text: str) -> Iterator[Said]:
    """The commands of some lines of Bash."""
    variables: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        # A quoted value may hold a #, and in Bash one begins a comment behind a space alone.
        words = shlex.split(_filled(line, variables), comments=True)
        for word in list(words):
            if found := re.fullmatch(r"([A-Z]\w*)=(.*)", word, re.S):
                variables[found[1]] = found[2]
                words.remove(word)
            else:
                break
        command: list[str] = []
        for word in [*words, ";"]:
            ends = word in _JOINTS or word.endswith(";")
            if not ends or word not in _JOINTS:
                command.append(word.removesuffix(";"))
            if ends and command:
                known = tuple(one for one in command if "…" not in one and one != "...")
                yield Said(page, known, len(known) < len(command))
            command = [] if ends else command


def _filled(line: str, variables: dict[str, str]) -> str:
    """With what the page says of its variables; what the shell alone knows is open."""
    line = re.sub(r"\$\{\w+[^\w}][^}]*\}", "…", line)
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], "…"), line)
