"""Which equation numbers docs/derivation.md defines, and which module of `lstm` cites which."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import NamedTuple

CITED = re.compile(r"(?<![\w.\]])\((\d{1,2})\)")


class Citation(NamedTuple):
    file: str
    equation: int


def defined(document: str) -> list[int]:
    """Equation numbers in the order of the document. A bold number defines, a plain one refers."""
    return [int(number) for number in re.findall(r"\*\*\((\d+)\)\*\*", document)]


def computed(file: str, source: str) -> set[Citation]:
    """From comments, each beside the line that computes the equation."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return {Citation(file, int(number)) for text in texts for number in CITED.findall(text)}


def mentioned(file: str, source: str) -> set[Citation]:
    """From docstrings."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module))]
    return {Citation(file, int(number)) for node in nodes for number in CITED.findall(ast.get_docstring(node) or "")}


def listed(document: str) -> set[Citation]:
    """The table of the document's last section: what it says stands where."""
    found = set()
    for file, numbers in re.findall(r"^\| `(lstm/[\w/]+\.py)` \|([ \d()]+)\|$", document, re.MULTILINE):
        found |= {Citation(file, int(number)) for number in re.findall(r"\d+", numbers)}
    return found


def faults(document: str, sources: dict[str, str]) -> list[str]:
    """What is wrong with the numbering, one sentence each. ``sources``: file name -> text."""
    numbers = defined(document)
    stands = set().union(*(computed(file, source) for file, source in sources.items()))
    cited = stands.union(*(mentioned(file, source) for file, source in sources.items()))
    found = [] if numbers == list(range(1, len(numbers) + 1)) else [f"numbers are not 1, 2, 3, …: {numbers}"]
    found += [f"({one.equation}) is cited in {one.file} and not in the document" for one in sorted(cited) if one.equation not in numbers]
    uncited = set(numbers) - {one.equation for one in cited}
    found += [f"({number}) is in the document and no code cites it" for number in sorted(uncited)]
    for one in sorted(stands - listed(document)):
        found.append(f"({one.equation}) stands in {one.file}, and the table does not say so")
    for one in sorted(listed(document) - stands):
        found.append(f"({one.equation}) does not stand in {one.file}, as the table says")
    return found
