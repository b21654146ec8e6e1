"""The command ``bugs``: its arguments alone, so that help costs nothing."""

from __future__ import annotations

import argparse
from typing import Any

from checks.commands.arguments import add_json, add_pictures, seed


def add_bugs_command(commands: Any) -> None:
    words = "plant every known bug and show which checker catches it: the estimators, and PyTorch's and JAX's own where installed"
    bugs = commands.add_parser("bugs", help=words, description=words[0].upper() + words[1:] + ".")
    bugs.add_argument("--seed", type=seed, default=0, help="of the random network")
    add_json(bugs)
    add_pictures(bugs)
    bugs.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> Any:
    from checks.commands.bugs import bugs

    return bugs(arguments.seed)
