"""Where a gradient is wrong: arrays, gates, units, timesteps, and how each wrong block looks beside the right one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from checks.diagnosis.observation import TINY, Block, Observation, dot

FEW = 3  # units, sources, timesteps or sequences that are worth listing one by one
GATES = 4
SHOWN = 8  # arrays that get a sentence of their own


@dataclasses.dataclass(frozen=True)
class BlockFinding:
    """One block. ``scale`` is the best factor from the right block to the candidate's, ``cosine`` of the angle between them."""

    name: str
    gate: str
    timestep: int
    right: bool
    wrong: int
    entries: int
    cosine: float
    scale: float
    exactly_scaled: bool  # the candidate's block is `scale` times the right one, to rounding

    def to_json(self) -> dict[str, Any]:
        shown = dataclasses.asdict(self)
        return {key: value for key, value in shown.items() if not (key == "gate" and not value) and not (key == "timestep" and value < 0)}


@dataclasses.dataclass(frozen=True)
class Localisation:
    """What is known without naming a mistake: the blocks, and sentences about them."""

    blocks: tuple[BlockFinding, ...]
    right: tuple[str, ...]  # sentences: what can be trusted,
    arrays: tuple[str, ...]  # how the wrong arrays look,
    time: tuple[str, ...]  # and at which timestep it starts
    first_timestep: int | None = None  # walking back from T - 1, where the inputs' gradient first departs

    def to_json(self) -> dict[str, Any]:
        return {
            "blocks": [block.to_json() for block in self.blocks],
            "first_wrong_timestep": self.first_timestep,
            "sentences": [*self.right, *self.arrays, *self.time],
        }


def localise(observation: Observation) -> Localisation:
    findings = tuple(_finding(observation, block) for block in observation.blocks)
    first, about_time = _walk_back(observation)
    wrong = [name for name, where in observation.slices.items() if observation.wrong[where].any()]
    listed = [name for name in wrong if name != observation.arrangement.inputs]
    about = [*_everything(observation, findings), *(_about_array(observation, name, findings) for name in listed[:SHOWN])]
    if len(listed) > SHOWN:
        about.append(f"{len(listed) - SHOWN} more arrays are wrong.")
    return Localisation(findings, tuple(_right(findings)), tuple(about), tuple(about_time), first)


def _finding(o: Observation, block: Block) -> BlockFinding:
    got, expected, room = o.got[block.entries], o.expected[block.entries], o.allowed[block.entries]
    sizes = np.sqrt(dot(got, got)), np.sqrt(dot(expected, expected))
    product = dot(got, expected)
    scale = product / max(dot(expected, expected), TINY)
    wrong = int((np.abs(got - expected) > room).sum())
    exactly = bool(wrong) and bool((np.abs(got - scale * expected) <= room * max(1.0, abs(scale))).all())
    cosine = product / max(float(sizes[0] * sizes[1]), TINY)
    return BlockFinding(block.name, block.gate, block.timestep, not wrong, wrong, len(got), cosine, scale, exactly)


def _right(findings: Iterable[BlockFinding]) -> list[str]:
    """One sentence on what can be trusted."""
    by_array: dict[str, list[BlockFinding]] = {}
    for finding in findings:
        by_array.setdefault(finding.name, []).append(finding)
    whole = [name for name, blocks in by_array.items() if all(block.right for block in blocks)]
    parts = []
    for name, blocks in by_array.items():
        gates = [block.gate for block in blocks if block.right and block.gate]
        if gates and name not in whole:
            parts.append(f"gate{'s' if len(gates) > 1 else ''} {listed(gates)} of {name}")
    return [f"Right: {listed([*whole, *parts])}."] if whole or parts else ["Right: none of the arrays given."]


def _everything(o: Observation, findings: Iterable[BlockFinding]) -> list[str]:
    """One factor on every wrong block."""
    wrong = [finding for finding in findings if not finding.right]
    if len({finding.name for finding in wrong}) < 2 or not all(finding.exactly_scaled for finding in wrong):
        return []
    scales = np.array([finding.scale for finding in wrong])
    if np.ptp(scales) > 1e-3 * np.abs(scales).max():
        return []
    names = list(dict.fromkeys(finding.name for finding in wrong))
    which = "every wrong block" if len(names) > FEW else f"what is wrong in {listed(names)}"
    return [f"{which[0].upper()}{which[1:]} is {np.median(scales):.6g} times what it should be, to rounding."]


def _about_array(o: Observation, name: str, findings: Iterable[BlockFinding]) -> str:
    wrong = [finding for finding in findings if finding.name == name and not finding.right]
    bad = o.wrong[o.slices[name]].reshape(o.shapes[name])
    text = f"{name}: {'all' if bad.all() else int(bad.sum())} of {bad.size} entries {'is' if bad.sum() == 1 else 'are'} wrong"
    pattern = _pattern(o, name, bad)
    return f"{text}, {pattern}; {_how(wrong)}." if pattern else f"{text}; {_how(wrong)}."


def _how(blocks: list[BlockFinding]) -> str:
    """The wrong blocks beside the right ones."""
    gates = [f" {block.gate}" if block.gate else "" for block in blocks]
    if all(block.exactly_scaled for block in blocks):
        scales = [block.scale for block in blocks]
        if np.ptp(scales) <= 1e-3 * np.abs(scales).max():
            which = f"gate{'s' if len(blocks) > 1 else ''}{listed(gates)}" if any(gates) and len(blocks) < GATES else "it"
            return f"{which} {'are' if which.startswith('gates') else 'is'} {np.median(scales):.6g} times what it should be, to rounding"
    cosines = ",".join(f"{gate} {block.cosine:.3f}" for gate, block in zip(gates, blocks, strict=True))
    sizes = ",".join(f"{gate} {block.scale:.3g}" for gate, block in zip(gates, blocks, strict=True))
    return f"cosine with the right one{cosines}; times its size along it{sizes}"


def _pattern(o: Observation, name: str, bad: np.ndarray) -> str:
    """The few units, sources or indices that hold all the wrong entries; empty if they are spread."""
    if bad.sum() == 1:
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        return f"at {o.arrangement.place(name, index)}"
    marks = o.arrangement.gates.get(name)
    found = []
    axis = None if marks is None else _gate_axis(marks)
    for each in range(bad.ndim):
        others = tuple(other for other in range(bad.ndim) if other != each)
        hit = np.flatnonzero(bad.any(axis=others))
        if each == axis:
            units = _units(marks, axis)
            of_all = len(np.unique(units))
            chosen = np.unique(units[hit])
            if len(chosen) <= FEW and len(chosen) < of_all:
                found.append(f"all in unit{'s' if len(chosen) > 1 else ''} {listed(map(str, chosen))}")
        elif len(hit) <= FEW and len(hit) < bad.shape[each]:
            found.append(f"all at {'/'.join(map(str, hit))} along axis {each}")
    return ", ".join(found)


def _gate_axis(marks: np.ndarray) -> int | None:
    """The axis along which the gate changes."""
    varying = [axis for axis in range(marks.ndim) if marks.shape[axis] > 1 and (np.diff(marks, axis=axis) != 0).any()]
    return varying[0] if len(varying) == 1 else None


def _units(marks: Any, axis: int) -> np.ndarray:
    """For each index along the axis: how many before it belong to the same gate."""
    along = np.moveaxis(marks, axis, 0).reshape(marks.shape[axis], -1)[:, 0]
    return np.array([int((along[:k] == gate).sum()) for k, gate in enumerate(along)])


def _walk_back(o: Observation) -> tuple[int | None, list[str]]:
    """From T - 1 to 0 through the inputs' gradient: each timestep's depends on no earlier one's backward pass."""
    name = o.arrangement.inputs
    if name not in o.slices:
        return None, []
    order = o.arrangement.order
    bad = np.transpose(o.wrong[o.slices[name]].reshape(o.shapes[name]), [order.index(letter) for letter in "TBD"])
    steps = np.flatnonzero(bad.any(axis=(1, 2)))
    if not len(steps):
        return None, []
    first, last = int(steps[-1]), len(bad) - 1
    sequences = np.flatnonzero(bad.any(axis=(0, 2)))
    text = f"Walking back from t = {last}, the gradient of {name} "
    text += "is wrong from the start" if first == last else f"is right down to t = {first + 1} and first departs at t = {first}"
    within = [t for t in range(first) if not bad[t].any()]
    if len(steps) == 1:
        text += ", and at no earlier timestep" if first else ""
    elif within:
        text += f"; {len(within)} of the {first} earlier timesteps are right again"
    text += "."
    if len(sequences) <= FEW and len(sequences) < bad.shape[1]:
        text += f" Only sequence{'s' if len(sequences) > 1 else ''} {listed(map(str, sequences))} of {bad.shape[1]} differ."
    return first, [text]


def listed(words: Iterable[str]) -> str:
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


