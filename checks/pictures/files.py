"""Pictures as the content of one file: one below the other."""

from __future__ import annotations

from collections.abc import Sequence

from checks.pictures.png import png
from checks.pictures.scene import Scene, stacked
from checks.pictures.svg import standalone
from lstm import BadInput


def picture(scenes: Sequence[Scene], path: str) -> bytes:
    """``path`` ends in ``.svg`` or ``.png``."""
    if not scenes:
        raise BadInput("--plot: there is nothing to draw: no gradient was judged")
    whole = stacked(scenes)
    return png(whole) if path.lower().endswith(".png") else standalone(whole).encode()
