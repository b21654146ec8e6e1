"""Several processes that share the work of one command, on one machine or many, by `jax.distributed`."""

from __future__ import annotations

import argparse
import os

import jax

from checks.commands.arguments import positive, seed
from lstm import BadInput

NAMES = ("coordinator", "processes", "process_id")


def add_processes(command: argparse.ArgumentParser) -> None:
    words = "of the first of several processes that share the work (default JAX_COORDINATOR_ADDRESS, if it is set)"
    command.add_argument("--coordinator", metavar="HOST:PORT", default=os.getenv("JAX_COORDINATOR_ADDRESS"), help=words)
    words = "how many processes there are (default JAX_NUM_PROCESSES, or what the cluster says)"
    command.add_argument("--processes", type=positive, metavar="N", default=os.getenv("JAX_NUM_PROCESSES"), help=words)
    words = "which of them this is, from 0 (default JAX_PROCESS_ID, or what the cluster says)"
    command.add_argument("--process-id", type=seed, metavar="I", default=os.getenv("JAX_PROCESS_ID"), help=words)


def join(arguments: argparse.Namespace) -> None:
    """Meet the other processes, if there are others. Before anything else is asked of JAX."""
    address, count, own = (getattr(arguments, name) for name in NAMES)
    if address is None:
        if count is not None or own is not None:
            raise BadInput("--coordinator: expected HOST:PORT beside --processes and --process-id; got none")
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        raise BadInput(f"--coordinator: expected HOST:PORT; got {address}")
    if count is not None and own is not None and own >= count:
        raise BadInput(f"--process-id: expected an integer from 0 to {count - 1}; got {own}")
    try:
        jax.distributed.initialize(address, count, own)
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"--coordinator: cannot join the processes at {address}: {str(error).splitlines()[0]}") from None


def is_first() -> bool:
    """Is this the process that reports? The only one, or number 0."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0
