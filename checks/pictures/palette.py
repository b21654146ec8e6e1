"""The styles that shapes are drawn in, for light and dark.

Errors within rounding are blue-grey, beyond it orange to red; in light their lightness falls, in dark it rises, from class to class,
so that the colour-blind and a black-and-white printer tell them apart. Series have Okabe and Ito's colours, and each a dash and a mark of
its own.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Style:
    """``None`` is not drawn. ``size`` is of text, in pixels."""

    light: str
    dark: str
    kind: str  # fill, stroke, text
    width: float = 1.0
    dash: str = ""
    size: float = 12.0
    bold: bool = False


# Of errors: two classes within rounding, five beyond it, and one where no finite tolerance is known
WITHIN, BEYOND = 2, 5
UNKNOWN = WITHIN + BEYOND
_LIGHT = ("#f3f6f9", "#d9e3ec", "#fdc67d", "#fba056", "#e4622a", "#b02a1a", "#5f0a14", "#ffffff")
_DARK = ("#1f2730", "#33424f", "#7a3d10", "#b05314", "#df7522", "#f9a64a", "#ffe08a", "#000000")
# dark marks on light classes and the reverse, for text within a cell
_INK_LIGHT = ("#1b1f24", "#1b1f24", "#1b1f24", "#1b1f24", "#1b1f24", "#ffffff", "#ffffff", "#1b1f24")
_INK_DARK = ("#e6edf3", "#e6edf3", "#ffffff", "#ffffff", "#14100a", "#14100a", "#14100a", "#e6edf3")

SERIES_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b5527f", "#a87400", "#444444")
SERIES_DARK = ("#56b4e9", "#ff8a3d", "#2fd0a2", "#e79ac2", "#f0c14b", "#c4c4c4")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 4")
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "circle")

STYLES: dict[str, Style] = {
    "ink": Style("#1b1f24", "#e6edf3", "text"),
    "strong": Style("#1b1f24", "#e6edf3", "text", size=14, bold=True),
    "muted": Style("#4f5861", "#aab4be", "text", size=11),
    "wrong-words": Style("#a3200f", "#ffb27a", "text", bold=True),
    "frame": Style("#8a939c", "#67727d", "stroke"),
    "grid": Style("#e1e5ea", "#2c343c", "stroke"),
    "separator": Style("#1b1f24", "#e6edf3", "stroke", width=1.4),
    "limit": Style("#1b1f24", "#e6edf3", "stroke", width=1.2, dash="5 4"),
    "marker": Style("#a3200f", "#ffb27a", "stroke", width=1.6),
    "page": Style("#ffffff", "#12161b", "fill"),
}
STYLES |= {f"e{k}": Style(light, dark, "fill") for k, (light, dark) in enumerate(zip(_LIGHT, _DARK, strict=True))}
STYLES |= {
    f"s{k}": Style(light, dark, "stroke", width=1.8, dash=dash)
    for k, (light, dark, dash) in enumerate(zip(SERIES_LIGHT, SERIES_DARK, DASHES, strict=True))
}
STYLES |= {f"d{k}": Style(light, dark, "fill") for k, (light, dark) in enumerate(zip(SERIES_LIGHT, SERIES_DARK, strict=True))}


def css(dark: bool) -> str:
    """A rule for each style, under the class ``p-NAME``."""
    return "\n".join(f".p-{name}{{{_declarations(style, dark)}}}" for name, style in STYLES.items())


def cell_css(dark: bool) -> str:
    """The classes of errors for cells of tables: ``td.e3``."""
    fills, inks = (_DARK, _INK_DARK) if dark else (_LIGHT, _INK_LIGHT)
    pairs = enumerate(zip(fills, inks, strict=True))
    return "\n".join(f".c{k}{{background:{fill};color:{ink}}}" for k, (fill, ink) in pairs)


def _declarations(style: Style, dark: bool) -> str:
    colour = style.dark if dark else style.light
    if style.kind == "stroke":
        dash = f";stroke-dasharray:{style.dash}" if style.dash else ""
        return f"fill:none;stroke:{colour};stroke-width:{style.width:g}{dash}"
    if style.kind == "text":
        return f"fill:{colour};font:{'bold ' if style.bold else ''}{style.size:g}px system-ui,sans-serif"
    return f"fill:{colour}"
