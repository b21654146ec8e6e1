"""For every test: the `rng` fixture, one store of compiled programs, and the switch that makes skipped tests fail.

Most of the suite's time is XLA compiling. So that no program is compiled twice, in two workers or in the processes that tests
start, they share JAX's own compilation cache, in a folder that lives as long as the session.

JAX's global modes stay as users have them, 64-bit mode off included: `lstm` and `checks` enter it themselves
where float64 arrays reach them, and tests that compute in float64 with jax.numpy enter it by
``with jax.enable_x64(True):``.

Environment:

    LSTM_CHECK_NO_SKIPS=1   any skipped or xfailed test fails the session, and the list is printed
    LSTM_CHECK_SEED=N       the seed of `rng`, to repeat a failure or to draw afresh
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib

import numpy as np
import pytest


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator whose seed a failing test prints. Each test has its own, the same in every run."""
    given = os.environ.get("LSTM_CHECK_SEED")
    seed = zlib.crc32(request.node.nodeid.encode()) if given is None else int(given)
    print(f"rng is seeded by {seed}; to repeat: LSTM_CHECK_SEED={seed} pytest")
    return np.random.default_rng(seed)


class NoSkips:
    """Fails the session if a test, or a whole module, was skipped or xfailed.

    Under pytest-xdist the workers' reports reach the controller's hooks, so it alone has this plugin.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note("skipped", report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):  # passed or not
            self.found.append(f"xfail {report.nodeid}: {report.wasxfail or 'no reason given'}")
        elif report.skipped:
            self._note("skipped", report)

    def _note(self, what: str, report: pytest.CollectReport | pytest.TestReport) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        self.found.append(f"{what} {report.nodeid}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.found and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("LSTM_CHECK_NO_SKIPS=1: these were not run, or not expected to pass", red=True)
            for line in self.found:
                terminalreporter.line(line)


CACHE = "JAX_COMPILATION_CACHE_DIR"


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist, which has its controller's environment
        return
    if CACHE not in os.environ:  # read when JAX is imported, which is later
        folder = tempfile.mkdtemp(prefix="lstm-check-compiled-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        everything = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        os.environ.update({CACHE: folder, **everything})
    if os.environ.get("LSTM_CHECK_NO_SKIPS") == "1":
        config.pluginmanager.register(NoSkips(), "no_skips")
