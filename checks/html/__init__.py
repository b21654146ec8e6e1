"""Reports as one self-contained page, and their pictures alone."""

from __future__ import annotations

from typing import Any

from checks.pictures import Scene
from checks.report import Report


def page_of(report: Any) -> str:
    """The page of what a command returned."""
    return _writers(report)[0](report)


def pictures_of(report: Any) -> list[Scene]:
    """The pictures of that page alone."""
    return _writers(report)[1](report)


def _writers(report: Any) -> tuple[Any, Any]:
    """Imported when asked for: each brings what its command brings."""
    if isinstance(report, Report):
        from checks.html.of_cross_validation import cross_validation_page, cross_validation_pictures

        return cross_validation_page, cross_validation_pictures
    if type(report).__name__ == "SweepReport":
        from checks.html.of_sweep import sweep_page, sweep_pictures

        return sweep_page, sweep_pictures
    if type(report).__name__ == "BugMatrix":
        from checks.html.of_bugs import bugs_page

        return bugs_page, lambda _: []
    from checks.html.of_verify import verify_page, verify_pictures

    return verify_page, verify_pictures
