"""The switch LSTM_CHECK_NO_SKIPS, with skips of every kind planted, in one process and under pytest-xdist; and `rng`."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

PLANTED = {
    "skip_called": "def test_it():\n    pytest.skip('planted')\n",
    "skip_marked": "@pytest.mark.skip(reason='planted')\ndef test_it(): pass\n",
    "skipif_marked": "@pytest.mark.skipif(True, reason='planted')\ndef test_it(): pass\n",
    "fixture_skips": "@pytest.fixture\ndef it():\n    pytest.skip('planted')\ndef test_it(it): pass\n",
    "module_skips": "pytest.importorskip('no_such_module', reason='planted')\ndef test_it(): pass\n",
    "xfailed": "@pytest.mark.xfail(reason='planted')\ndef test_it(): assert False\n",
    "xfail_called": "def test_it():\n    pytest.xfail('planted')\n",
    "xpassed": "@pytest.mark.xfail(reason='planted')\ndef test_it(): pass\n",
}
SOUND = {"sound": "def test_it(): pass\n"}
RANDOM = {"random": "def test_it(rng): assert rng.integers(10**9) == -1\n"}


def run_pytest(folder: pathlib.Path, tests: dict[str, str], workers: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, on ``test_<name>.py`` files beside a copy of our conftest.py."""
    shutil.copy(pathlib.Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, source in tests.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n\n{source}")
    ours = ("PYTEST_", "LSTM_CHECK_")  # what the session that runs this test was told, it was told alone
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    inherited["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins of no use here take most of the time
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", str(workers), "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, env=inherited | environment, capture_output=True, text=True, timeout=120)


def assert_fails_and_lists(run: subprocess.CompletedProcess[str], kinds: list[str]) -> None:
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    listed = run.stdout.split("LSTM_CHECK_NO_SKIPS=1")[1]
    for kind in kinds:
        lines = [line for line in listed.splitlines() if f"test_{kind}.py" in line]
        assert len(lines) == 1, listed
        assert lines[0].startswith("xfail" if kind.startswith("x") else "skipped")
        assert lines[0].endswith("planted")
    assert "sound" not in listed


@pytest.mark.parametrize("kind", PLANTED)
def test_one_skip_of_any_kind_fails_the_session(tmp_path: pathlib.Path, kind: str) -> None:
    run = run_pytest(tmp_path, {kind: PLANTED[kind]} | SOUND, workers=0, LSTM_CHECK_NO_SKIPS="1")
    assert_fails_and_lists(run, [kind])


def test_skips_on_xdist_workers_fail_the_session(tmp_path: pathlib.Path) -> None:
    run = run_pytest(tmp_path, PLANTED | SOUND, workers=2, LSTM_CHECK_NO_SKIPS="1")
    assert_fails_and_lists(run, list(PLANTED))


@pytest.mark.parametrize("workers", [0, 2])
def test_without_the_switch_skips_pass(tmp_path: pathlib.Path, workers: int) -> None:
    run = run_pytest(tmp_path, PLANTED | SOUND, workers)
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_with_the_switch_a_sound_suite_passes(tmp_path: pathlib.Path, workers: int) -> None:
    run = run_pytest(tmp_path, SOUND, workers, LSTM_CHECK_NO_SKIPS="1")
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
    assert "LSTM_CHECK_NO_SKIPS" not in run.stdout


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_random_test_prints_the_seed_that_repeats_it(tmp_path: pathlib.Path, workers: int) -> None:
    run = run_pytest(tmp_path, RANDOM, workers)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    seed = run.stdout.split("LSTM_CHECK_SEED=")[1].split()[0]
    again = run_pytest(tmp_path, RANDOM, workers, LSTM_CHECK_SEED=seed)
    assert drawn(again) == drawn(run)
    elsewhere = run_pytest(tmp_path, RANDOM, workers, LSTM_CHECK_SEED=str(int(seed) + 1))
    assert drawn(elsewhere) != drawn(run)


def drawn(run: subprocess.CompletedProcess[str]) -> str:
    """The line with the number in ``assert 123 == -1``."""
    return next(line for line in run.stdout.splitlines() if line.startswith("E ") and "== -1" in line)
