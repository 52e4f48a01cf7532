"""Finds the blocks of code in a Markdown page, in their order, with what is said about them around them.

A block after the comment `<!-- not run: reason -->` cannot be executed. A block of kind `text` right after another one
is what that one prints; `...` stands for anything. A block whose first line is `# name.toml` is that file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]

_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->")
_FILE = re.compile(r"# (?P<name>[\w./-]+\.\w+)\n")


@dataclass
class Block:
    """One fenced block; `place` is the page and the line of its first line of code."""

    kind: str
    text: str
    place: str
    not_run: str = ""
    output: str | None = None

    @property
    def file_name(self):
        match = _FILE.match(self.text)
        return match["name"] if match else None


def blocks_of(page):
    """Return the blocks of a page; an output belongs to its block. Directives of Sphinx are no blocks."""
    blocks, not_run, before = [], "", None
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence":
            kind = token.info.split()[0] if token.info else ""
            if kind == "text" and before is not None:
                before.output, before = token.content, None
            elif kind.startswith("{"):
                before = None
            else:
                place = f"{page.relative_to(ROOT)}:{token.map[0] + 2}"
                before = Block(kind, token.content, place, not_run)
                blocks.append(before)
        else:
            before = None
        match = _NOT_RUN.search(token.content) if token.type == "html_block" else None
        not_run = match["reason"] if match else ""
    return blocks
