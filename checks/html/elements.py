"""Pieces of HTML, as strings; whatever comes from a file is escaped here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any


class Markup(str):
    """Text that is HTML already."""


def text(value: Any) -> Markup:
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def emphasised(words: str) -> Markup:
    """The catalogue's sentences mark a word as ``*this*``; a product, ``a * b``, has spaces; code stands between backticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", re.sub(r"\*(\w+)\*", r"<em>\1</em>", text(words))))


def element(tag: str, *content: Any, **attributes: Any) -> Markup:
    """``element("p", "a < b", class_="note")``; an attribute that is None is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for name, value in attributes.items() if value is not None
    )
    return Markup(f"<{tag}{written}>{''.join(text(part) for part in content)}</{tag}>")


def listing(items: Iterable[Any]) -> Markup:
    return element("ul", *(element("li", item) for item in items))


def pairs(of: dict[str, Any]) -> Markup:
    """Names and what belongs to each."""
    rows = [Markup(element("dt", name) + element("dd", value)) for name, value in of.items()]
    return element("dl", *rows)


def table(caption: Any, head: Sequence[Any], rows: Iterable[Sequence[Any]], class_: str | None = None) -> Markup:
    """The first cell of each row is the row's heading. A cell may be ``<td>`` already."""
    header = element("tr", *(element("th", one, scope="col") for one in head))
    body = [element("tr", element("th", row[0], scope="row"), *(_cell(one) for one in row[1:])) for row in rows]
    inside = element("table", element("caption", caption), element("thead", header), element("tbody", *body), class_=class_)
    return element("div", inside, class_="wide", tabindex="0", role="region", aria_label=str(caption))


def _cell(value: Any) -> Markup:
    return value if isinstance(value, Markup) and value.startswith("<td") else element("td", value)


def details(summary: str, *content: Any) -> Markup:
    return element("details", element("summary", summary), *content)


def number(value: float | None, digits: int = 2) -> str:
    """Short, as a report prints it."""
    return "not finite" if value is None else f"{value:.{digits}g}"
