"""The command line, ``lstm-check`` and ``python -m checks``: argparse only.

Exit code 0: everything agrees as it should; 1: a gradient disagrees; 2: the input is bad, one line on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NoReturn

from checks.commands.arguments import add_json, add_pictures, positive, seed
from checks.commands.bugs_arguments import add_bugs_command
from checks.commands.files import add_file_commands
from checks.commands.processes import is_first
from checks.terminal import show
from lstm import LOSSES, BadInput


class _Parser(argparse.ArgumentParser):
    """Argument errors are one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    main_parser = _Parser(prog="lstm-check", description="Is this gradient of an LSTM right, and if not, where is it wrong?")
    main_parser.add_argument("--version", action="version", version=f"lstm-check {importlib.metadata.version('lstm-check')}")
    commands = main_parser.add_subparsers(dest="command", required=True, parser_class=_Parser, metavar="COMMAND")
    _add_demo(commands)
    _add_sweep(commands)
    add_file_commands(commands)
    add_bugs_command(commands)
    return main_parser


def _add_demo(commands: Any) -> None:
    words = "check the 4-timestep network of the original question every way, and answer the question"
    demo = commands.add_parser("demo", help=words, description=words[0].upper() + words[1:] + ".")
    demo.add_argument("--timesteps", type=positive, default=4, metavar="T")
    demo.add_argument("--hidden", type=positive, default=8, metavar="H", help="cell size")
    demo.add_argument("--batch", type=positive, default=1, metavar="B")
    demo.add_argument("--loss", choices=tuple(LOSSES), default="squared_error")
    demo.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    demo.add_argument("--seed", type=seed, default=0, help="of the random weights")
    add_json(demo)
    add_pictures(demo)
    demo.set_defaults(run=_run_demo)


def _run_demo(arguments: argparse.Namespace) -> Any:
    from checks.commands.demo import DemoOptions, demo
    from checks.progress import Progress

    chosen = {name: getattr(arguments, name) for name in ("timesteps", "hidden", "batch", "loss", "dtype", "seed")}
    told = {"progress": Progress(what="estimates")} if sys.stderr.isatty() else {}
    return demo(DemoOptions(**chosen), **told)


def _add_sweep(commands: Any) -> None:
    words = "error against step size, of both approaches in every reading, in float32 and float64, at several T"
    sweep = commands.add_parser("sweep", help=words, description=words[0].upper() + words[1:] + ".")
    sweep.add_argument("--timesteps", type=positive, nargs="+", default=[4, 16], metavar="T", help="one or more (default 4 16)")
    sweep.add_argument("--hidden", type=positive, default=8, metavar="H", help="cell size")
    sweep.add_argument("--batch", type=positive, default=1, metavar="B")
    sweep.add_argument("--loss", choices=tuple(LOSSES), default="squared_error")
    both = ["float32", "float64"]
    sweep.add_argument("--dtype", choices=both, nargs="+", default=both, help="one or both (default both)")
    sweep.add_argument("--seed", type=seed, default=0, help="of the random weights")
    add_json(sweep)
    add_pictures(sweep)
    sweep.set_defaults(run=_run_sweep)


def _run_sweep(arguments: argparse.Namespace) -> Any:
    from checks.commands.sweep import SweepOptions, run_sweep
    from checks.progress import Progress

    timesteps, dtypes = (tuple(dict.fromkeys(given)) for given in (arguments.timesteps, arguments.dtype))
    chosen = {name: getattr(arguments, name) for name in ("hidden", "batch", "loss", "seed")}
    return run_sweep(SweepOptions(timesteps, dtypes, **chosen), progress=Progress(what="curves"))


def _check_paths(arguments: argparse.Namespace) -> None:
    """A path that cannot be written, or that would overwrite another file of the command, is refused before anything runs."""
    used = [getattr(arguments, name, None) for name in ("file", "out", "layout_file", "resume")]
    for flag in OUTPUTS:
        path = getattr(arguments, flag, None)
        if path is None or (flag == "json" and path == "-"):
            continue
        if path == "-":
            raise BadInput(f"--{flag}: expected a path; only --json goes to stdout")
        existed = os.path.exists(path)
        if not existed or os.path.isfile(path) or os.path.isdir(path):  # opening a device or a pipe to see would already be using it
            _open(flag, path, "ab").close()
            if not existed:
                os.remove(path)
            if os.path.realpath(path) in [os.path.realpath(other) for other in used if other is not None and "\0" not in other]:
                raise BadInput(f"--{flag}: expected a file of its own; got {path}, which the command uses already")
        used.append(path)


def _open(flag: str, path: str, mode: str) -> IO[bytes]:
    try:
        return open(path, mode)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"--{flag}: cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def _read_to_the_end_or_not() -> Iterator[None]:
    """Somebody may read the first lines and leave, as head does; the files that were asked for are written all the same."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would fail again at exit
        if not isinstance(error, BrokenPipeError):  # a full disk
            raise BadInput(f"stdout: cannot write: {error.strerror}") from None


def _show(report: Any, arguments: argparse.Namespace) -> None:
    """Text on stdout, unless the JSON goes there; and whatever files were asked for. Of several processes the first reports."""
    if not is_first():
        return
    if arguments.json != "-":
        with _read_to_the_end_or_not():
            show(report)
            sys.stdout.flush()
    for flag, written in OUTPUTS.items():
        path = getattr(arguments, flag, None)
        if path is None:
            continue
        content = written(report, path)
        if flag == "json" and path == "-":
            with _read_to_the_end_or_not():
                sys.stdout.write(content.decode())
                sys.stdout.flush()
            continue
        try:
            with _open(flag, path, "wb") as file:
                file.write(content)
        except OSError as error:  # a full disk
            raise BadInput(f"--{flag}: cannot write {path}: {error.strerror}") from None


def _json(report: Any, path: str) -> bytes:
    return (json.dumps(report.to_json(), indent=2) + "\n").encode()


def _html(report: Any, path: str) -> bytes:
    from checks.html import page_of

    return page_of(report).encode()


def _plot(report: Any, path: str) -> bytes:
    from checks.html import pictures_of
    from checks.pictures.files import picture

    return picture(pictures_of(report), path)


OUTPUTS: dict[str, Callable[[Any, str], bytes]] = {"json": _json, "html": _html, "plot": _plot}  # by the option's name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    if sys.stdout is None:  # closed by whoever started the program
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  for the rest of the process
    arguments = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], Any] = arguments.run
    try:
        _check_paths(arguments)
        report = run(arguments)
        _show(report, arguments)
    except BadInput as error:
        print(f"lstm-check {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = getattr(arguments, "resume", None)
        print(f"lstm-check {arguments.command}: interrupted" + (f"; {kept} keeps what is finished" if kept else ""), file=sys.stderr)
        return 130  # as shells have it
    except MemoryError as error:
        print(f"lstm-check {arguments.command}: expected a problem that fits into memory; {error}", file=sys.stderr)
        return 2
    return report.verdict.exit_code
