"""From the names and shapes of a file's arrays to the layers that they are of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lstm.layouts.capacity import Capacity
from lstm.layouts.codes import LayerSizes
from lstm.layouts.naming import Naming, Slot, check_names, slots_of
from lstm.layouts.pieces import Piece
from lstm.layouts.sizes import Solver
from lstm.validation import BadInput


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finder(Capacity):
    """A layout's names and shapes, read backwards."""

    naming: Naming = dataclasses.field(default_factory=Naming)
    spellings: tuple[tuple[Piece, ...], ...] = ()  # other names for the same arrays, which reading knows too

    def weight_names(self, keys: Iterable[str]) -> list[str]:
        """Those of a file's keys that are names of this layout's weights."""
        keys = list(keys)
        pieces = self.spelling(keys)
        possible = {slot.name(piece) for slot in self._named(keys, pieces) for piece in pieces}
        return [key for key in keys if key in possible]

    def spelling(self, keys: Iterable[str]) -> tuple[Piece, ...]:
        """The pieces under the names that most of these keys are."""
        keys = set(keys)

        def recognised(pieces: tuple[Piece, ...]) -> int:
            return len(keys & {slot.name(piece) for slot in self._named(keys, pieces) for piece in pieces})

        return max((self.pieces, *self.spellings), key=recognised)

    def find(self, arrays: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> tuple[list[Slot], tuple[Piece, ...]]:
        """The slots that the arrays fill, and the spelling of their names; every name is accounted for."""
        pieces = self.spelling(arrays)
        slots = self._unstacked(self._named(arrays, pieces), pieces, arrays, given)
        required = [slot.name(piece) for slot in slots for piece in pieces if not piece.optional]
        for slot in slots:  # peepholes, where each gate's are an array of their own: all or none
            peepholes = [slot.name(piece) for piece in pieces if piece.sources == ("peephole",)]
            required += peepholes if any(name in arrays for name in peepholes) else []
        check_names(self.name, arrays, required, [slot.name(piece) for slot in slots for piece in pieces], self._names_above(slots, pieces))
        return slots, pieces

    def _names_above(self, slots: Sequence[Slot], pieces: Sequence[Piece]) -> list[str]:
        """What one more level's arrays would be called: the names that a file with a gap between its levels meant."""
        text = self.naming.numbered(slots[-1].level + 1)
        return [dataclasses.replace(slot, level_text=text).name(piece) for slot in slots for piece in pieces]

    def solve(
        self, slots: Sequence[Slot], pieces: Sequence[Piece], arrays: Mapping[str, np.ndarray], given: Mapping[str, Any]
    ) -> list[LayerSizes]:
        """Each layer's sizes, from its arrays' shapes."""
        counts = {"L": len({slot.level for slot in slots}), "directions": len({slot.direction for slot in slots})}
        known = {letter: (count, "the arrays") for letter, count in counts.items()}
        solved: list[LayerSizes] = []
        for slot in slots:
            below = sum(sizes.R for other, sizes in zip(slots, solved, strict=False) if other.level == slot.level - 1)
            inputs = {"D": (below, f"the outputs of level {slot.level - 1}")} if below else {}
            solver, sizes = self._solve_layer(slot, pieces, arrays, given, known | inputs)
            solved.append(sizes)
            if self.uniform:
                known |= {letter: solver.known[letter] for letter in "HR" if letter in solver.known}
        return solved

    def _solve_layer(
        self,
        slot: Slot,
        pieces: Sequence[Piece],
        arrays: Mapping[str, np.ndarray],
        given: Mapping[str, Any],
        known: dict[str, tuple[int, str]],
    ) -> tuple[Solver, LayerSizes]:
        coupled = self.is_coupled({piece: arrays.get(slot.name(piece)) for piece in pieces}, given)
        here = {slot.name(piece): piece for piece in self.pieces_of(pieces, coupled) if slot.name(piece) in arrays}
        projected = any(piece.sources == ("projection",) for piece in here.values())
        solver = Solver(known)
        solver.solve({name: (arrays[name].shape, piece.sizes(projected)) for name, piece in here.items()})
        peepholes = any("peephole" in piece.sources for piece in here.values())
        recurrent = solver["R" if projected else "H"]
        return solver, LayerSizes(solver["D"], solver["H"], recurrent, coupled, peepholes, projected)

    def slots_for(self, layers: Any) -> list[Slot]:
        """The slots of canonical layers, named as the layout's own."""
        found = slots_of(layers)
        kinds = [[direction for level, direction, _ in found if level == number] for number in range(found[-1][0] + 1)]
        return self.naming.slots(kinds)

    def stacked_directions(self, name: str, count: int, given: Mapping[str, Any]) -> list[str]:
        """The directions along an array's axis for them, of which there are ``count``."""
        if count > 2:
            raise BadInput(f"{name}: expected 1 or 2 directions along its axis for them; got {count}")
        return ["forward", "reverse"][:count]

    def _named(self, keys: Iterable[str], pieces: Sequence[Piece]) -> list[Slot]:
        return self.naming.find(keys, pieces, "reverse" in self.holds, self.uniform)

    def _unstacked(
        self, slots: list[Slot], pieces: Sequence[Piece], arrays: Mapping[str, np.ndarray], given: Mapping[str, Any]
    ) -> list[Slot]:
        """The slots, each as often as the arrays' axes for layers and directions say."""
        counts: dict[str, tuple[int, str]] = {}
        for piece in pieces:
            array = arrays.get(slots[0].name(piece))
            if array is not None and array.ndim == len(piece.axes):
                counts |= {axis: (array.shape[piece.axes.index(axis)], slots[0].name(piece)) for axis in piece.stacks if axis not in counts}
        if "layers" in counts:
            slots = [dataclasses.replace(slot, level=level) for level in range(counts["layers"][0]) for slot in slots]
        if "directions" in counts:
            count, name = counts["directions"]
            directions = self.stacked_directions(name, count, given)
            slots = [dataclasses.replace(slot, direction=direction) for slot in slots for direction in directions]
        return slots
