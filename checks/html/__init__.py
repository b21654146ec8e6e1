"""Reports as one self-contained page, and their pictures alone."""

from __future__ import annotations

from typing import Any

from checks.pictures import Scene


def page_of(report: Any) -> str:
    """The page of what a command returned."""
    from checks.html.of_verify import verify_page

    return verify_page(report)


def pictures_of(report: Any) -> list[Scene]:
    from checks.html.of_verify import verify_pictures

    return verify_pictures(report)
