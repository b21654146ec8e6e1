"""Reports as one self-contained page, and their pictures alone."""

from __future__ import annotations

import importlib
from typing import Any

from checks.pictures import Scene

# By the report's class: its module here, imported when asked for, since each brings what its command brings
WRITERS = {"VerifyReport": "of_verify", "Report": "of_cross_validation", "SweepReport": "of_sweep", "BugMatrix": "of_bugs"}


def page_of(report: Any) -> str:
    """The page of what a command returned."""
    return _writer(report).page_of(report)


def pictures_of(report: Any) -> list[Scene]:
    """The pictures of that page alone."""
    return _writer(report).pictures_of(report)


def _writer(report: Any) -> Any:
    return importlib.import_module(f"checks.html.{WRITERS[type(report).__name__]}")
