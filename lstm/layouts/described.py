"""A layout from a small TOML file, for code whose arrangement no framework has.

    axes = "DBT"                          # of inputs and outputs; default TBD
    state_axes = "HB"                     # of h0, c0; default: as axes has them
    gates = "i f o g"                     # their order wherever an axis says "gates"; "i g o": f = 1 - i
    output_activation = "identity"        # h = o * c; also gate_activation, candidate_activation
    forget_offset = 1.0                   # the code adds this to the forget gate's pre-activation
    cell_clip = 3.0                       # and cell_clip_derivative = "straight_through" or "true"

    [arrays]                              # each axis in words: see lstm.layouts.pieces
    WLSTM = ["bias x h", "gates"]         # (1 + D + H, 4H), the bias as row 0

    [arrays]                              # or: a matrix for each gate on [h, x], biases as columns
    "W{gate}" = ["unit", "h x"]
    "b{gate}" = ["unit", "bias"]

In a name ``{gate}`` is a gate as ``[gate_names]`` spells it, ``{layer}`` the layer's number from ``first_layer`` on, and
``{direction}`` what ``[directions]`` has for forward and reverse. Instead of a list an array may have a table: ``axes``, and
``holds = "bias"`` or ``"peephole"`` where no axis says what the array holds, ``gate`` for an array of one gate, ``optional``.
"""

from __future__ import annotations

import pathlib
import tomllib
from typing import Any

from lstm.layouts.attributes import Configuration, activation_name, choice, finite_number, positive_number
from lstm.layouts.described_arrays import pieces_from
from lstm.layouts.described_values import checked_keys, gate_order, text, texts, whole_number
from lstm.layouts.layout import Layout
from lstm.layouts.naming import Naming
from lstm.layouts.pieces import Piece
from lstm.layouts.states import check_axes
from lstm.parameters import Activations, CellClip
from lstm.validation import BadInput

LARGEST = 1 << 20  # bytes: a description is a page

KEYS = (
    *("name", "axes", "state_axes", "arrays", "gates", "gate_names", "directions", "first_layer"),
    *("gate_activation", "candidate_activation", "output_activation", "forget_offset", "cell_clip", "cell_clip_derivative"),
)


def read_description(path: Any) -> Layout:
    """The layout that a TOML file describes.

    Raises:
        BadInput: naming the file or the key, what was expected and what came.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise BadInput(f"{path}: expected a layout's description, in TOML; got {error.strerror}") from None
    if len(content) > LARGEST:
        raise BadInput(f"{path}: expected a layout's description, of at most {LARGEST} bytes; got more")
    try:
        said = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, nested without end
        raise BadInput(f"{path}: expected TOML; got {' '.join(str(error).split())}") from None
    return described_layout(said, path.stem)


def described_layout(said: dict[str, Any], name: str = "described") -> Layout:
    """The layout that a parsed description says; see the module's docstring for the keys."""
    checked_keys("", said, KEYS)
    gates = gate_order("gates", said.get("gates", "i f g o"))
    pieces = pieces_from(said.get("arrays"), gates, texts("gate_names", said.get("gate_names", {}), gates))
    axes = check_axes("axes", said.get("axes", "TBD"), "TBD")
    state_axes = said.get("state_axes", axes.replace("T", "").replace("D", "H"))
    offset = finite_number("forget_offset", said.get("forget_offset", 0.0))
    if offset and "f" not in gates:
        raise BadInput(f"forget_offset: expected none where the forget gate is coupled, f = 1 - i; got {offset:g}")
    return Layout(
        name=text("name", said.get("name", name)),
        pieces=pieces,
        naming=_naming(said, pieces),
        holds=_held(pieces, gates),
        axes=axes,
        state_axes=check_axes("state_axes", state_axes, "NBH" if "N" in str(state_axes) else "BH"),
        configuration=Configuration(_activations(said), _clip(said)),
        forget_offset=offset,
    )


def _activations(said: dict[str, Any]) -> Activations:
    usual = {"gate_activation": "sigmoid", "candidate_activation": "tanh", "output_activation": "tanh"}
    return Activations(*(activation_name(key, said.get(key, name)) for key, name in usual.items()))


def _clip(said: dict[str, Any]) -> CellClip | None:
    if "cell_clip" not in said:
        if "cell_clip_derivative" in said:
            raise BadInput("cell_clip_derivative: expected only beside cell_clip, the bound; got it alone")
        return None
    derivative = choice("true", "straight_through")("cell_clip_derivative", said.get("cell_clip_derivative", "true"))
    return CellClip(positive_number("cell_clip", said["cell_clip"]), derivative)


def _naming(said: dict[str, Any], pieces: tuple[Piece, ...]) -> Naming:
    first = whole_number("first_layer", said.get("first_layer", 0))
    directions = texts("directions", said.get("directions", {}), ("forward", "reverse"))
    _used("first_layer", "{level}", said, pieces)
    _used("directions", "{direction}", said, pieces)
    forward = directions["forward"]
    return Naming("{}", str(first), forward=forward, forward_of_two=forward, reverse=directions["reverse"], first=first)


def _used(key: str, placeholder: str, said: dict[str, Any], pieces: tuple[Piece, ...]) -> None:
    if key in said and not any(placeholder in piece.name for piece in pieces):
        shown = placeholder.replace("level", "layer")
        raise BadInput(f"{key}: expected only where an array's name has {shown}; got it, and none has")


def _held(pieces: tuple[Piece, ...], gates: tuple[str, ...]) -> frozenset[str]:
    """Which variants there are names or axes for."""
    one = pieces[0]
    held = set() if "f" in gates else {"coupled"}
    held |= {"levels"} if "{level}" in one.name or "layers" in one.stacks else set()
    held |= {"bidirectional"} if "{direction}" in one.name or "directions" in one.stacks else set()
    held |= {"reverse"} if "{direction}" in one.name else set()
    return frozenset(held)
