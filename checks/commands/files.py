"""The commands about files of arrays: ``verify``, ``export`` and ``layout``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from checks.commands.arguments import (
    activations_of,
    add_axes,
    add_json,
    add_layout,
    add_loss,
    add_pictures,
    add_variant,
    attributes_of,
    clip_of,
    expected_beside,
    layout_of,
    positive,
    reduction_of,
    seed,
)
from checks.commands.processes import add_processes, join
from checks.verdict import Verdict

PRECISIONS = ("float64", "float32", "tf32", "float16", "bfloat16")


def add_file_commands(commands: Any) -> None:
    _add_verify(commands)
    _add_export(commands)
    _add_layout_command(commands)


def _command(commands: Any, name: str, words: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")


def _add_verify(commands: Any) -> None:
    verify = _command(commands, "verify", "check the gradients in a file, made by any program, against the oracle's")
    verify.add_argument("file", metavar="FILE", help=".npz, .safetensors or .json")
    add_layout(verify)
    add_axes(verify)
    add_loss(verify, "the cost, where the file has targets")
    add_variant(verify)
    words = "judge as if computed in this precision (default: the coarsest in the file)"
    verify.add_argument("--precision", choices=PRECISIONS, help=words)
    verify.add_argument("--exhaustive", action="store_true", help="confirm the oracle by differences in every entry")
    verify.add_argument("--resume", metavar="PATH", help="with --exhaustive: keeps what is finished, for when it is killed")
    add_processes(verify)
    verify.add_argument("--seed", type=seed, default=0, help="of the sample of entries that confirms the oracle")
    verify.add_argument("--diagnose", action="store_true", help="name the bug in a large network too, which may take minutes")
    add_json(verify)
    add_pictures(verify)
    verify.set_defaults(run=_run_verify)


def _run_verify(arguments: argparse.Namespace) -> Any:
    from checks.progress import Progress
    from checks.verify import verify

    exhaustive: Any = {"resume": arguments.resume, "progress": True} if arguments.exhaustive else False
    if not arguments.exhaustive:
        expected_beside(arguments, "resume", "--exhaustive, whose work it keeps")
    join(arguments)
    asked: dict[str, Any] = {name: getattr(arguments, name) for name in ("seed", "precision", "diagnose")} | {"exhaustive": exhaustive}
    if sys.stderr.isatty() and not exhaustive:  # which tells by itself how far it is
        asked["progress"] = Progress(what="passes over the network")
    return verify(arguments.file, reading_of(arguments), **asked)


def reading_of(arguments: argparse.Namespace) -> Any:
    """How ``verify`` was told to read its file."""
    from checks.files.candidate import Reading

    return Reading(
        layout=layout_of(arguments),
        axes=arguments.axes,
        attributes=attributes_of(arguments),
        activations=activations_of(arguments),
        clip=clip_of(arguments),
        loss=arguments.loss,
        reduction=reduction_of(arguments),
    )


def _add_export(commands: Any) -> None:
    export = _command(commands, "export", "write golden vectors: a random network, data, and every gradient")
    export.add_argument("--out", required=True, metavar="FILE", help=".npz, .safetensors or .json")
    add_layout(export, attributes=False)
    add_axes(export)
    for flag, default, words in (
        ("timesteps", 7, "T"), ("batch", 3, "B"), ("inputs", 4, "D, input features"), ("hidden", 5, "H, cell size"),
        ("layers", 1, "how many"),
    ):  # fmt: skip
        export.add_argument(f"--{flag}", type=positive, default=default, metavar="N", help=f"{words} (default {default})")
    export.add_argument("--bidirectional", action="store_true", help="two directions")
    export.add_argument("--reverse", action="store_true", help="one direction, from the last timestep to the first")
    export.add_argument("--projection", type=positive, metavar="R", help="a projection to R features")
    export.add_argument("--peepholes", action="store_true")
    export.add_argument("--coupled", action="store_true", help="f = 1 - i")
    add_variant(export)
    export.add_argument("--lengths", action="store_true", help="sequences of different lengths")
    for flag, words in (("dropout", "on the inputs of every layer"), ("recurrent-dropout", "on h before its matrix product"),
                        ("zoneout", "of h and c")):  # fmt: skip
        export.add_argument(f"--{flag}", action="store_true", help=f"{words}, with masks drawn at random")
    add_loss(export, "a cost with a readout, in place of upstream gradients")
    export.add_argument("--outputs", type=positive, metavar="K", help="predictions of the readout (default 2)")
    export.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    export.add_argument("--seed", type=seed, default=0, help="of the random numbers")
    add_json(export)
    export.set_defaults(run=_run_export)


def _run_export(arguments: argparse.Namespace) -> Any:
    from checks.files.draw import ExportOptions
    from checks.files.export import export

    given: dict[str, Any] = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(ExportOptions)}
    given |= {"layout": layout_of(arguments), "clip": clip_of(arguments), "layout_file": arguments.layout_file}
    given |= {"reduction": reduction_of(arguments)}
    if arguments.loss is None:
        expected_beside(arguments, "outputs", "--loss NAME: without a cost there is no readout")
    if arguments.outputs is None:
        del given["outputs"]
    del given["activations"]
    activations = activations_of(arguments)
    if activations is not None:
        given["activations"] = activations
    return export(arguments.out, ExportOptions(**given))


def _add_layout_command(commands: Any) -> None:
    layout = _command(commands, "layout", "print what a layout takes the arrays of a file to be")
    layout.add_argument("file", metavar="FILE", help=".npz, .safetensors or .json")
    add_layout(layout)
    add_json(layout)
    layout.set_defaults(run=_run_layout)


@dataclasses.dataclass(frozen=True)
class Explained:
    """A layout's reading of a file, in lines of text."""

    layout: str
    text: str
    verdict: Verdict = Verdict.AGREES

    def to_json(self) -> dict[str, Any]:
        return {"layout": self.layout, "reading": self.text.splitlines()}

    def __str__(self) -> str:
        return self.text


def _run_layout(arguments: argparse.Namespace) -> Explained:
    from checks.files.array_file import read_arrays
    from checks.files.candidate_reading import weights_of

    layout = layout_of(arguments)
    weights = weights_of(read_arrays(arguments.file), layout)
    return Explained(layout.name, layout.explain(weights, attributes_of(arguments)))
