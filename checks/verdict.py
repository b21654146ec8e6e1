"""What a check concludes. The values are the words that reports print and that JSON carries."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.Enum):
    AGREES = "agrees"
    DISAGREES = "disagrees"
    INCONCLUSIVE = "inconclusive"

    @staticmethod
    def of_all(verdicts: Iterable[Verdict]) -> Verdict:
        """One disagreement decides; failing that, one that cannot tell."""
        verdicts = list(verdicts)
        for decisive in (Verdict.DISAGREES, Verdict.INCONCLUSIVE):
            if decisive in verdicts:
                return decisive
        return Verdict.AGREES

    @property
    def exit_code(self) -> int:
        """0 only where everything agrees: what could not be checked must not look like what was."""
        return 0 if self is Verdict.AGREES else 1
