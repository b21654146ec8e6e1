"""Pages of verify to look at in tests, each drawn once, and a parser that keeps what the tests ask of a page."""

from __future__ import annotations

import functools
import html.parser
import re

import numpy as np
from verify_cases import Arrays, check, golden, oracle_of

from checks.html import page_of
from checks.verify.report import VerifyReport

TIMESTEPS, HIDDEN, DEPARTS = 6, 5, 2
FETCHING = re.compile(r"https?:|//[a-z]|url\(|@import|\bfetch\(|XMLHttpRequest|import\(", re.IGNORECASE)
ALLOWED = ("http://www.w3.org/2000/svg",)  # a name, not an address that is fetched


@functools.cache
def reports() -> dict[str, VerifyReport]:
    """Right; and with a mistake in gate f at t = 2, which reaches every earlier timestep."""
    arrays, reading = golden("torch", timesteps=TIMESTEPS, hidden=HIDDEN, batch=2, inputs=3)
    oracle = oracle_of(arrays, reading)
    plain = {name: array for name, array in arrays.items() if not name.startswith("internal.")}
    return {
        "right": check(plain, reading, oracle),
        "wrong": check(_with_a_mistake(plain), reading, oracle),
        "no gradients": check({name: array for name, array in plain.items() if not name.startswith("grad.")}, reading, oracle),
        "another forward": check(plain | {"outputs": arrays["outputs"] + 0.1}, reading, oracle),
        "huge": check(plain | {"grad.weight_hh_l0": np.full_like(arrays["grad.weight_hh_l0"], 1e300)}, reading, oracle),
    }


def _with_a_mistake(arrays: Arrays) -> Arrays:
    weight, inputs = arrays["grad.weight_hh_l0"].copy(), arrays["grad.inputs"].copy()
    weight[HIDDEN : 2 * HIDDEN] *= 1.5
    weight[HIDDEN + 3, 2] *= 4  # gate f, unit 3, from h 2
    inputs[: DEPARTS + 1] *= 0.9
    return arrays | {"grad.weight_hh_l0": weight, "grad.inputs": inputs}


@functools.cache
def page(name: str) -> str:
    return page_of(reports()[name])


class Seen(html.parser.HTMLParser):
    """Every tag with its attributes; the text within each element of some kinds; whether tags close in order."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.texts["body"][0].split())


def problems(text: str) -> list[str]:
    """What every page must not have."""
    seen = Seen(text)
    found = [f"svg without a label: {one}" for one in seen.all("svg") if not (one.get("aria-label") and one.get("role") == "img")]
    found += [f"th without scope: {one}" for one in seen.all("th") if one.get("scope") not in ("row", "col")]
    found += ["a table without a caption"] * (len(seen.all("table")) - len(seen.all("caption")))
    found += ["a table without headings of columns"] * (len(seen.all("table")) - len(seen.all("thead")))
    identities = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    found += [f"id used twice: {one}" for one in set(identities) if identities.count(one) > 1]
    bare = text
    for allowed in ALLOWED:
        bare = bare.replace(allowed, "")
    found += [f"fetches: {one}" for one in FETCHING.findall(bare)]
    for name in ("src", "href", "srcset", "action", "data"):
        found += [f"{tag} {name}" for tag, attributes in seen.tags if name in attributes and attributes[name] != "data:,"]
    if len(seen.all("h1")) != 1 or len(seen.all("html")) != 1 or seen.all("html")[0].get("lang") != "en":
        found.append("no single heading, or no language")
    return found
