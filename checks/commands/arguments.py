"""Arguments that several commands take, and the types that argparse reads them with."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

import lstm
from lstm import BadInput
from lstm.layouts import LAYOUTS, Layout, read_description


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1; got {text}")
    return value


def seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0; got {text}")
    return value


positive.__name__ = seed.__name__ = "integer"  # argparse names the type in "invalid … value"


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", metavar="PATH", help="write the machine-readable report to PATH (- for stdout)")


def add_pictures(command: argparse.ArgumentParser) -> None:
    command.add_argument("--html", metavar="PATH", help="write one self-contained page with pictures to PATH")
    words = "write the pictures alone to PATH, .svg or .png (which needs matplotlib)"
    command.add_argument("--plot", type=plot_path, metavar="PATH", help=words)


def plot_path(text: str) -> str:
    """Refused before anything runs."""
    if not text.lower().endswith((".svg", ".png")):
        raise argparse.ArgumentTypeError(f"expected a path that ends in .svg or .png; got {text}")
    if text.lower().endswith(".png") and importlib.util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("expected matplotlib for PNG (pip install matplotlib); .svg needs nothing")
    return text


def add_layout(command: argparse.ArgumentParser, attributes: bool = True) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--layout", choices=tuple(LAYOUTS), metavar="NAME", help=f"one of {', '.join(LAYOUTS)}")
    which.add_argument("--layout-file", metavar="PATH", help="a TOML file that describes the layout")
    if attributes:
        words = "what the layout needs to know beside the arrays, e.g. hidden_size=8; may be repeated"
        command.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE", help=words)


def layout_of(arguments: argparse.Namespace) -> Layout:
    return LAYOUTS[arguments.layout] if arguments.layout is not None else read_description(arguments.layout_file)


def attributes_of(arguments: argparse.Namespace) -> dict[str, Any]:
    attributes = {}
    for text in arguments.attribute:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise BadInput(f"--attribute: expected NAME=VALUE; got {text!r}")
        attributes[name] = value
    return attributes


def add_variant(command: argparse.ArgumentParser) -> None:
    """What no array says of a cell."""
    words = "of the gates, the candidate and the output, where the layout does not say, e.g. sigmoid,tanh,identity"
    command.add_argument("--activations", metavar="G,C,O", help=words)
    command.add_argument("--clip", type=float, metavar="BOUND", help="the cell state is clipped to [-BOUND, BOUND]")
    words = "of the clipping: true, or straight_through (default true)"
    command.add_argument("--clip-derivative", choices=("true", "straight_through"), help=words)


def activations_of(arguments: argparse.Namespace) -> lstm.Activations | None:
    if arguments.activations is None:
        return None
    names = arguments.activations.split(",")
    if len(names) != 3:
        raise BadInput(f"--activations: expected three names, of the gates, the candidate and the output; got {arguments.activations}")
    return lstm.Activations(*names)


def clip_of(arguments: argparse.Namespace) -> lstm.CellClip | None:
    if arguments.clip is None:
        expected_beside(arguments, "clip_derivative", "--clip BOUND, whose derivative it says")
        return None
    if not 0 < arguments.clip < float("inf"):
        raise BadInput(f"--clip: expected a positive number; got {arguments.clip}")
    return lstm.CellClip(arguments.clip, arguments.clip_derivative or "true")


def add_loss(command: argparse.ArgumentParser, words: str) -> None:
    command.add_argument("--loss", choices=tuple(lstm.LOSSES), help=words)
    command.add_argument("--reduction", choices=("mean", "sum"), help="of the cost (default mean)")


def reduction_of(arguments: argparse.Namespace) -> str:
    if arguments.loss is None:
        expected_beside(arguments, "reduction", "--loss NAME, whose reduction it says")
    return arguments.reduction or "mean"


def expected_beside(arguments: argparse.Namespace, name: str, other: str) -> None:
    """An option that has no effect without another is refused: who wrote it expects one."""
    if getattr(arguments, name) is not None:
        raise BadInput(f"--{name.replace('_', '-')}: expected beside {other}")


def add_axes(command: argparse.ArgumentParser) -> None:
    orders = ("TBD", "BTD", "TDB", "BDT", "DTB", "DBT")
    words = f"order of timesteps, batch and features in sequences: {', '.join(orders)} (default the layout's)"
    command.add_argument("--axes", choices=orders, metavar="AXES", help=words)
