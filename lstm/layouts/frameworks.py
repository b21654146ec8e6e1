"""The layouts of single frameworks, as data.

Single cells that a framework lets its users stack have names prefixed by level and direction: see `Naming`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm.layouts.attributes import ActivationAttributes, Attribute, Configuration, choice, positive_number
from lstm.layouts.layout import Layout
from lstm.layouts.naming import Naming
from lstm.layouts.pieces import Piece, each_gate
from lstm.parameters import CellClip

# torch.nn.LSTM: state_dict() names
TORCH = Layout(
    name="torch",
    pieces=(
        Piece("weight_ih_l{level}{direction}", ("i f g o", "x")),
        Piece("weight_hh_l{level}{direction}", ("i f g o", "h")),
        Piece("bias_ih_l{level}{direction}", ("i f g o",), optional=True),
        Piece("bias_hh_l{level}{direction}", ("i f g o",), optional=True, copy=1),
        Piece("weight_hr_l{level}{direction}", ("projected", "unit"), optional=True),
    ),
    naming=Naming(level="{}", only_level="0", forward_of_two="", reverse="_reverse"),
    holds=frozenset({"levels", "bidirectional"}),
    uniform=True,
    axes="TBD",
    state_axes="NBH",
)

# keras.layers.LSTM; one activation serves the candidate and the output
KERAS = Layout(
    name="keras",
    pieces=(
        Piece("{level}{direction}kernel", ("x", "i f g o")),
        Piece("{level}{direction}recurrent_kernel", ("h", "i f g o")),
        Piece("{level}{direction}bias", ("i f g o",), optional=True),
    ),
    naming=Naming(forward_of_two="forward_layer/", reverse="backward_layer/"),
    activations=ActivationAttributes(
        ("recurrent_activation", "activation", "activation"),
        {
            "sigmoid": "sigmoid",
            "tanh": "tanh",
            "linear": "identity",
            "relu": "relu",
            "softsign": "softsign",
            "hard_sigmoid": f"hard_sigmoid({1 / 6})",
        },
    ),
    axes="BTD",
)

_FLAX_ACTIVATIONS = ActivationAttributes(
    ("gate_fn", "activation_fn", "activation_fn"),
    {
        "sigmoid": "sigmoid",
        "tanh": "tanh",
        "identity": "identity",
        "relu": "relu",
        "soft_sign": "softsign",
        "hard_sigmoid": f"hard_sigmoid({1 / 6})",
    },
)

# flax.nnx.OptimizedLSTMCell
FLAX_NNX_OPTIMIZED = Layout(
    name="flax-nnx-optimized",
    pieces=(
        Piece("{level}{direction}dense_i/kernel", ("x", "i f g o")),
        Piece("{level}{direction}dense_h/kernel", ("h", "i f g o")),
        Piece("{level}{direction}dense_h/bias", ("i f g o",)),
    ),
    naming=Naming(forward_of_two="forward_rnn/cell/", reverse="backward_rnn/cell/"),  # as `Bidirectional` has them
    activations=_FLAX_ACTIVATIONS,
    axes="BTD",
)

# flax.nnx.LSTMCell: the gate f's input matrix is ``if_``, since ``if`` is no attribute's name
FLAX_NNX = dataclasses.replace(
    FLAX_NNX_OPTIMIZED,
    name="flax-nnx",
    pieces=(
        *each_gate("{level}{direction}i{gate}/kernel", "x", "unit", spelled={"f": "f_"}),
        *each_gate("{level}{direction}h{gate}/kernel", "h", "unit"),
        *each_gate("{level}{direction}h{gate}/bias", "unit"),
    ),
)

# flax.linen.LSTMCell and OptimizedLSTMCell, whose parameters are the same; read under nnx's names too
FLAX = dataclasses.replace(
    FLAX_NNX,
    name="flax",
    pieces=(*each_gate("{level}{direction}i{gate}/kernel", "x", "unit"), *FLAX_NNX.pieces[4:]),
    spellings=(FLAX_NNX.pieces, FLAX_NNX_OPTIMIZED.pieces),
)

# equinox.nn.LSTMCell
EQUINOX = Layout(
    name="equinox",
    pieces=(
        Piece("{level}{direction}weight_ih", ("i f g o", "x")),
        Piece("{level}{direction}weight_hh", ("i f g o", "h")),
        Piece("{level}{direction}bias", ("i f g o",), optional=True),
    ),
    axes="TBD",
)

# haiku.LSTM: adds 1 to the forget gate's pre-activation at every call
HAIKU = Layout(
    name="haiku",
    pieces=(
        Piece("{level}{direction}linear/w", ("x h", "i g f o")),
        Piece("{level}{direction}linear/b", ("i g f o",)),
    ),
    forget_offset=1.0,
    axes="TBD",
)


class CanonicalLayout(Layout):
    """The project's own: can hold every variant."""

    @property
    def attributes(self) -> dict[str, Attribute]:
        return super().attributes | {
            "clip": Attribute("the bound at which the cell state is clipped", positive_number, None),
            "clip_derivative": Attribute("true or straight_through", choice("true", "straight_through"), "true"),
        }

    def is_coupled(self, arrays: Mapping[Piece, np.ndarray | None], given: Mapping[str, Any]) -> bool:
        """Three gate blocks in place of four? (Arrays that are no matrices are refused later.)"""
        shapes = {piece.sources[0]: array.shape for piece, array in arrays.items() if array is not None and array.ndim == 2}
        return "h" in shapes and shapes["h"][1] == 3 * shapes.get("projection", shapes["h"])[0]

    def read_configuration(self, given: Mapping[str, Any]) -> Configuration:
        clip = None if given["clip"] is None else CellClip(given["clip"], given["clip_derivative"])
        return dataclasses.replace(super().read_configuration(given), clip=clip)

    def write_configuration(self, configuration: Configuration) -> dict[str, Any]:
        clip = configuration.clip
        written = super().write_configuration(dataclasses.replace(configuration, clip=None))
        return written if clip is None else written | {"clip": clip.bound, "clip_derivative": clip.derivative}


CANONICAL = CanonicalLayout(
    name="canonical",
    pieces=(
        Piece("layers.{level}.{direction}w_x", ("x", "i f g o")),
        Piece("layers.{level}.{direction}w_h", ("h", "i f g o")),
        Piece("layers.{level}.{direction}b", ("i f g o",)),
        Piece("layers.{level}.{direction}peepholes", ("i f o", "unit"), holds="peephole", optional=True),
        Piece("layers.{level}.{direction}projection", ("unit", "projected"), optional=True),
    ),
    naming=Naming(level="{}", only_level="0", forward_of_two="forward.", reverse="reverse."),
    holds=frozenset({"levels", "bidirectional", "reverse", "coupled"}),
    activations=ActivationAttributes(("gate_activation", "candidate_activation", "output_activation")),
    axes="TBD",
)
