"""A diagnosis and a probe's strength as HTML, from the report's own JSON."""

from __future__ import annotations

from typing import Any

from checks.html.elements import Markup, details, element, emphasised, listing, table

SHOWN = 3  # causes, and sentences about single arrays, that are not folded away
ABOUT_ALL = ("Right", "Walking", "Every", "What is wrong")  # how sentences about the whole begin


def cause_blocks(said: dict[str, Any]) -> list[Markup]:
    """The mistakes that make exactly these numbers, or that none is named."""
    claims = said.get("diagnosis") or []
    if not claims:
        known = said.get("known") or {}
        why = known.get("withheld") or "no mistake that was tried makes these numbers to rounding, so none is named"
        return [element("p", element("strong", "No diagnosis: "), f"{why}.")]
    lead = (
        "This makes exactly these numbers, to rounding, in every array given."
        if len(claims) == 1
        else f"One of {len(claims)} mistakes that nothing given tells apart; each makes exactly these numbers, to rounding."
    )
    drawn = [_claim(claim) for claim in claims]
    folded = [details(f"{len(drawn) - SHOWN} more", *drawn[SHOWN:])] if len(drawn) > SHOWN else []
    return [*drawn[:1], element("p", lead), *drawn[1:SHOWN], *folded]


def _claim(claim: dict[str, Any]) -> Markup:
    parts = [element("p", element("strong", claim["name"]))]
    for cause in claim["causes"]:
        equation = f" Breaks equation {cause['equation']} of docs/derivation.md." if cause["equation"] else ""
        parts.append(element("p", emphasised(f"{cause['title']}: {cause['effect']}.{equation}")))
        parts.append(element("p", element("strong", "Fix: "), emphasised(cause["fix"])))
        parts += [element("p", f"The same gradient: {words}.") for words in cause["also"]]
    return element("div", *parts, class_="cause")


def inside_blocks(said: dict[str, Any]) -> list[Markup]:
    """Where the gradients inside the network, if they were given, first depart."""
    inside = said.get("inside") or []
    wrong = [each["sentence"] for each in inside if each["timestep"] is not None]
    if wrong:
        return [element("p", element("strong", "Inside the network:")), listing(wrong)]
    words = "Inside the network, all gradients given are right at every timestep: look at what is made of them."
    return [element("p", words)] if inside else []


def known_blocks(said: dict[str, Any]) -> list[Markup]:
    """Where it is wrong, whatever the cause."""
    known = said.get("known") or {}
    sentences = known.get("sentences") or []
    short = [one for one in sentences if one.startswith(ABOUT_ALL)]
    arrays = [one for one in sentences if not one.startswith(ABOUT_ALL)]
    if not said.get("diagnosis"):  # which otherwise says how each array looks
        short, arrays = short + arrays[:SHOWN], arrays[SHOWN:]
    found = [listing(short)] if short else []
    found += [details("How each array looks" if said.get("diagnosis") else f"{len(arrays)} more arrays", listing(arrays))] if arrays else []
    misses = known.get("near_misses") or []
    near = [f"{each['name']} explains {min(99, int(100 * each['explained']))} %: {each['title']}" for each in misses]
    if near:
        found.append(details("Near misses, not the cause as they stand", listing(near)))
    if known.get("tried"):
        found.append(details("What was tried", element("p", known["tried"])))
    return found


def probe_blocks(probe: dict[str, Any] | None) -> list[Markup]:
    """Which bugs would pass unseen."""
    if probe is None:
        return []
    planted, unseen, elsewhere = probe["planted"], probe["unseen"], probe["only_in_arrays_not_given"]
    if not planted:
        return [element("p", "No bugs of the catalogue can be planted in this network, so what it would hide is not known.")]
    seen = planted - len(unseen) - len(elsewhere)
    found = [element("p", f"Planted one by one, {seen} of {planted} bugs of the catalogue would show in the arrays given.")]
    found += [table("Bugs that would stay unseen on this input", ("bug", "what it is"), _rows(unseen))] if unseen else []
    words = "Bugs that would show only in arrays that were not given"
    found += [table(words, ("bug", "what it is"), _rows(elsewhere))] if elsewhere else []
    spans = [f"{family} for every k tried from {least} to {most}" for family, (least, most) in probe["lengths"].items()]
    found += [element("p", "Unseen in the arrays given:"), listing(spans)] if spans else []
    if probe["weaknesses"]:
        found += [element("p", "Weak because:"), listing(probe["weaknesses"])]
    return found


def _rows(bugs: dict[str, str]) -> list[list[Any]]:
    return [[name, element("td", title, class_="words")] for name, title in bugs.items()]
