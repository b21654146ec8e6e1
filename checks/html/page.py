"""One self-contained page: nothing is fetched, and it reads without its script."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from checks.html.elements import Markup, element
from checks.html.script import SCRIPT
from checks.html.style import style
from checks.verdict import Verdict

# Nothing may be fetched, whatever a name in a file says
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Section:
    """``first``: beside the verdict, above everything else."""

    heading: str
    content: tuple[Any, ...]
    first: bool = False

    def markup(self) -> Markup:
        return element("section", element("h2", self.heading), *self.content)


def page(title: str, verdict: Verdict, headline: str, subject: str, sections: Sequence[Section]) -> str:
    """Args: ``headline`` is the report's, which begins with the verdict; ``subject`` what was checked."""
    word = verdict.value.upper()
    rest = " ".join(headline.split()).removeprefix(word).removeprefix(":").strip()
    header = element(
        "header", element("h1", element("span", word, class_=f"verdict {verdict.value}"), " ", rest), element("p", subject)
    )
    first = [section.markup() for section in sections if section.first]
    beside = [element("div", *first, class_="first")] if first else []
    main = element("main", *beside, *(each.markup() for each in sections if not each.first))
    footer = element("footer", "Made by ", element("code", "lstm-check"), ". This page is one file and fetches nothing.")
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"{element('title', f'{word}: {title}')}<style>{style()}</style>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{header}\n{main}\n{footer}\n<script>{SCRIPT}</script></body></html>\n'
    )
