"""A small exhaustive check as a program of its own, to be started on several devices, in several processes, or killed.

    python exhaustive_run.py RESULT.npz [--resume FILE] [--coordinator HOST:PORT --process-id I]
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROCESSES = 2
MEMORY = 60_000  # bytes: some dozens of units
H = 8  # one step is enough for the gates; the peepholes, being few, are moved by two


def problem(*, peepholes=True):
    """With peepholes, compiled and spread over devices; without, so little work that NumPy does it."""
    import dataclasses

    import jax

    import checks
    import lstm

    rng = np.random.default_rng(11)
    with jax.enable_x64(True):
        network = lstm.init_network(3, input_size=3, hidden_size=H)
    if peepholes:
        layer = dataclasses.replace(network.layers[0], peepholes=rng.normal(size=(3, H)))
        network = dataclasses.replace(network, layers=(layer,))
    return checks.Problem.from_network(network, rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2, H)))


def estimate(*, peepholes=True, **options):
    """-> value and error estimate, (2, P)."""
    import checks
    from checks.estimate import flatten

    found = checks.exhaustive(problem(peepholes=peepholes), memory=MEMORY, **options)
    return np.stack([flatten(found.value), flatten(found.error_estimate)])


def start(result, *arguments, environment=None):
    command = [sys.executable, __file__, str(result), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def survive(kills, seed, folder):
    """Kill a run so many times at random moments, and let it end. -> what it found, and the file that it kept."""
    moments = random.Random(seed)
    kept, result = Path(folder) / "kept.npz", Path(folder) / "result.npz"
    for _ in range(kills):
        process = start(result, "--resume", kept, "--slowly")
        time.sleep(moments.uniform(2.0, 6.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(result, "--resume", kept))
    return np.load(result)["found"], kept.read_bytes()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("result")
    parser.add_argument("--resume")
    parser.add_argument("--slowly", action="store_true", help="a tenth of a second for each unit, so that a kill finds it at work")
    parser.add_argument("--coordinator")
    parser.add_argument("--process-id", type=int)
    given = parser.parse_args()
    import jax

    from checks.exhaustive import saved

    if given.coordinator is not None:
        jax.distributed.initialize(given.coordinator, PROCESSES, given.process_id)
    saved.SECONDS = 0.0
    progress = (lambda *_: time.sleep(0.1)) if given.slowly else False
    found = estimate(resume=given.resume, progress=progress)
    np.savez(given.result, found=found, plain=estimate(peepholes=False), devices=jax.device_count())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--survive"]:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            found, expected = survive(int(sys.argv[2]), time.time_ns(), one), survive(0, 0, other)
        same = np.array_equal(found[0], expected[0]), found[1] == expected[1]
        print(f"killed {sys.argv[2]} times: same result {same[0]}, same file {same[1]}")
        sys.exit(not all(same))
    main()
