"""Exhaustive differences on several devices, in several processes, and killed: always the same bits."""

from __future__ import annotations

import io
import os
import socket

import exhaustive_run
import numpy as np
import pytest

import lstm
from checks import cli
from checks.exhaustive import saved
from checks.progress import Progress

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def undisturbed():
    return exhaustive_run.estimate()


def found_by(result):
    with np.load(result) as file:
        return file["found"], int(file["devices"])


class Stop(Exception):
    pass


def stop_halfway(seen):
    """A report of progress that notes it, and ends the run in the middle."""

    def report(finished, total):
        seen.append(finished)
        if finished > total / 2:
            raise Stop

    return report


def test_four_devices_find_the_same_bits(undisturbed, tmp_path):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    exhaustive_run.finish(exhaustive_run.start(tmp_path / "four.npz", environment=environment))
    found, devices = found_by(tmp_path / "four.npz")
    assert devices == 4
    np.testing.assert_array_equal(found, undisturbed)
    with np.load(tmp_path / "four.npz") as file:  # so little work that no device but this machine's cores does it
        np.testing.assert_array_equal(file["plain"], exhaustive_run.estimate(peepholes=False))


def test_two_processes_find_the_same_bits(undisturbed, tmp_path, monkeypatch):
    """Over the loopback address; each has a device, and each ends with everything. The first alone keeps the file, and goes on from it."""
    monkeypatch.setattr(saved, "SECONDS", 0.0)
    with pytest.raises(Stop):
        exhaustive_run.estimate(resume=tmp_path / "kept.npz", progress=stop_halfway([]))
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{any_free.getsockname()[1]}"
    begun = [
        exhaustive_run.start(tmp_path / f"{n}.npz", "--coordinator", address, "--process-id", n, *resume)
        for n, resume in enumerate([("--resume", tmp_path / "kept.npz"), ()])
    ]
    for number, process in enumerate(begun):
        exhaustive_run.finish(process)
        found, devices = found_by(tmp_path / f"{number}.npz")
        assert devices == 2
        np.testing.assert_array_equal(found, undisturbed)
    np.testing.assert_array_equal(exhaustive_run.estimate(resume=tmp_path / "kept.npz"), undisturbed)


def test_killed_and_resumed_ends_with_the_same_file(undisturbed, tmp_path):
    """`python tests/exhaustive_run.py --survive 10` kills ten times."""
    exhaustive_run.estimate(resume=tmp_path / "undisturbed.npz")
    found, kept = exhaustive_run.survive(1, 5, tmp_path)
    np.testing.assert_array_equal(found, undisturbed)
    assert kept == (tmp_path / "undisturbed.npz").read_bytes()


def test_finished_units_are_not_run_again(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "SECONDS", 0.0)
    seen = []
    with pytest.raises(Stop):
        exhaustive_run.estimate(resume=tmp_path / "kept.npz", progress=stop_halfway(seen))
    first = list(seen)
    seen.clear()
    found = exhaustive_run.estimate(resume=tmp_path / "kept.npz", progress=lambda finished, total: seen.append(finished))
    assert first[-1] < seen[0]
    assert len(first) + len(seen) >= 10
    np.testing.assert_array_equal(found, undisturbed)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.npz"]  # nothing half-written is left


def test_a_wrong_number_in_the_file_would_be_seen(undisturbed, tmp_path):
    """What was kept is used: the result follows it."""
    exhaustive_run.estimate(resume=tmp_path / "kept.npz")
    with np.load(tmp_path / "kept.npz") as file:
        arrays = dict(file)
    arrays["unit 0"] = 2 * arrays["unit 0"]
    np.savez(tmp_path / "kept.npz", **arrays)
    assert (exhaustive_run.estimate(resume=tmp_path / "kept.npz") != undisturbed).any()


def test_another_problems_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", about=np.array("0" * 64))
    with pytest.raises(lstm.BadInput, match=r"^resume: expected a file of the same problem, step and memory; .*other.npz is of another$"):
        exhaustive_run.estimate(resume=tmp_path / "other.npz")
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(lstm.BadInput, match=r"^resume: expected a file that an earlier run left; got something else in .*text$"):
        exhaustive_run.estimate(resume=tmp_path / "text")
    with pytest.raises(lstm.BadInput, match=r"^resume: cannot write .*: No such file or directory$"):
        exhaustive_run.estimate(resume=tmp_path / "no folder" / "kept.npz")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, times):
    """What a progress line shows that is told of 100 more copies at each of these times."""
    clock = iter([0.0, *times])
    progress = Progress(stream, clock=lambda: next(clock))
    for number in range(len(times)):
        progress(100 * (number + 1), 100 * len(times))
    return stream.getvalue()


def test_a_short_run_shows_nothing():
    assert shown(Terminal(), [0.1, 0.5, 1.0, 1.9]) == ""
    assert shown(io.StringIO(), [0.1, 0.5, 1.0, 1.9]) == ""


def test_a_long_run_shows_rate_and_time_left():
    """The first report sets the clock: what was compiled or resumed before counts for no rate."""
    lines = shown(io.StringIO(), [1.0, 2.0, 11.0, 12.0, 22.0, 23.0]).splitlines()
    assert lines[0] == "[###############...............] 300 of 600 perturbed networks, 20 a second, 15 s left"
    assert lines[-1] == "[##############################] 600 of 600 perturbed networks, 23 a second"
    assert len(lines) == 3
    on_terminal = shown(Terminal(), [1.0, 2.0, 11.0, 12.0, 22.0, 23.0])
    assert on_terminal.count("\r") == 4
    assert on_terminal.endswith("\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--process-id", "3"], "--coordinator: expected HOST:PORT beside --processes and --process-id; got none"),
        (["--coordinator", "nohost", "--processes", "2", "--process-id", "0"], "--coordinator: expected HOST:PORT; got nohost"),
        (["--coordinator", "h:1", "--processes", "2", "--process-id", "2"], "--process-id: expected an integer from 0 to 1; got 2"),
    ],
)
def test_processes_that_cannot_meet_are_refused(options, message, capsys):
    assert cli.main(["verify", "unread.npz", "--layout", "torch", "--exhaustive", *options]) == 2
    assert capsys.readouterr().err == f"lstm-check verify: {message}\n"


def test_resume_is_of_the_exhaustive_check(capsys):
    assert cli.main(["verify", "unread.npz", "--layout", "torch", "--resume", "kept.npz"]) == 2
    assert capsys.readouterr().err == "lstm-check verify: --resume: expected beside --exhaustive, whose work it keeps\n"
