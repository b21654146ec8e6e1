"""``lstm-check demo`` and ``python -m checks``: the JSON contract, exit codes, options, and bad ones on one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import checks
from checks import cli
from checks.commands import demo

READINGS = ["per_timestep.frozen", "per_timestep.shared", "per_timestep.paired", "per_timestep.replayed", "per_timestep.untied"]
NAMES = ["hand_bptt", "autodiff", "full_sequence", "complex_step", *READINGS]
NUMBER = (int, float)
OF_ESTIMATE = {
    "name": str,
    "max_relative_error": float,
    "cell_steps": int,
    "states_held": int,
    "agrees": bool,
    "expected_to_agree": bool,
    "says": str,
}
OF_REPORT = {"network": dict, "estimates": list, "reference": str, "note": str, "answer": str, "verdict": str}


def assert_contract(report, **network):
    """What users' scripts rely on: these keys, these types, these names, in this order."""
    assert {key: type(value) for key, value in report.items()} == OF_REPORT
    assert [estimate["name"] for estimate in report["estimates"]] == NAMES
    for estimate in report["estimates"]:
        assert {key: type(value) for key, value in estimate.items()} == OF_ESTIMATE
    assert report["network"] == {"D": 2, "K": 2, "reduction": "mean"} | network


def test_python_m_checks_demo_writes_json_to_stdout_alone():
    """The question's own network, in a process of its own; the 64-bit mode of JAX is nobody's but the program's."""
    # The compilation cache is the test run's own, see tests/conftest.py
    warnings = ["-W", "error", "-W", "ignore:Error reading persistent compilation cache"]
    command = [sys.executable, *warnings, "-m", "checks", "demo", "--hidden", "3", "--json", "-"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    report = json.loads(run.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert_contract(report, T=4, B=1, H=3, loss="squared_error", dtype="float64", seed=0)
    assert report["verdict"] == "agrees"
    agrees = {estimate["name"]: estimate["agrees"] for estimate in report["estimates"]}
    assert agrees == dict.fromkeys(NAMES, True) | {"per_timestep.frozen": False, "per_timestep.shared": False}
    assert agrees == {estimate["name"]: estimate["expected_to_agree"] for estimate in report["estimates"]}
    steps = {estimate["name"]: estimate["cell_steps"] for estimate in report["estimates"]}
    T, P = 4, 2 * 12 + 3 * 12 + 12 + 3 * 2 + 2
    assert steps["complex_step"] == T * P
    assert steps["full_sequence"] == steps["per_timestep.paired"] == 4 * T * P + 32 * T
    assert steps["per_timestep.shared"] == 4 * T * P
    assert steps["per_timestep.replayed"] == 2 * T * (T + 1) * P + 32 * T
    for question in ("Which approach is the derivative?", "where does 1/T go?", "less noisy?", "less in memory?"):
        assert question in report["answer"]


@pytest.mark.long
def test_one_timestep_leaves_nothing_to_truncate(tmp_path, capsys, monkeypatch):
    """`frozen` is then the gradient, and expected to be; text goes to the terminal, JSON to the file."""
    monkeypatch.setattr(demo, "_noise", lambda problem: "")  # the sweep, most of the time it takes: see the test above
    path = tmp_path / "report.json"
    arguments = ["--timesteps", "1", "--hidden", "2", "--batch", "3", "--loss", "cross_entropy", "--dtype", "float32", "--seed", "5"]
    assert cli.main(["demo", *arguments, "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert_contract(report, T=1, B=3, H=2, loss="cross_entropy", dtype="float32", seed=5)
    (frozen,) = (estimate for estimate in report["estimates"] if estimate["name"] == "per_timestep.frozen")
    assert frozen["agrees"]
    assert frozen["expected_to_agree"]
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("AGREES: ")
    assert "T = 1, B = 3, D = 2, H = 2, K = 2, seed = 5" in out
    assert not jax.config.jax_enable_x64


def test_exit_code_1_when_the_hand_written_gradient_is_wrong(monkeypatch, capsys):
    honest = demo.question_problem

    def wrong(options):
        problem = honest(options)
        scaled = jax.tree.map(lambda leaf: np.asarray(leaf) * (1 + 1e-6), problem.gradients(problem.parameters))
        return dataclasses.replace(problem, gradients=lambda _: scaled)

    monkeypatch.setattr(demo, "question_problem", wrong)
    monkeypatch.setattr(demo, "answer", lambda *_: "")
    monkeypatch.setattr(demo, "cross_validate", lambda problem, **options: checks.cross_validate(problem, readings=(), **options))
    assert cli.main(["demo", "--timesteps", "2", "--hidden", "2", "--json", "-"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "disagrees"
    assert [e["name"] for e in report["estimates"] if not e["agrees"]] == ["hand_bptt"]


@pytest.fixture
def asked(monkeypatch):
    """The options that the demo is run with; it does not run."""
    received = []

    def note(options):
        received.append(options)
        return checks.Report(problem={}, rows=(), reference="", verdict=checks.Verdict.AGREES)

    monkeypatch.setattr(demo, "demo", note)
    monkeypatch.setattr(checks.Report, "__str__", lambda _: "shown")
    return received


def test_options_and_their_defaults(asked):
    assert cli.main(["demo"]) == 0
    assert asked.pop() == demo.DemoOptions(timesteps=4, hidden=8, batch=1, loss="squared_error", dtype="float64", seed=0)
    options = "--timesteps 7 --hidden 5 --batch 2 --loss cross_entropy --dtype float32 --seed 3"
    assert cli.main(["demo", *options.split()]) == 0
    assert asked == [demo.DemoOptions(timesteps=7, hidden=5, batch=2, loss="cross_entropy", dtype="float32", seed=3)]


SEE = " (see lstm-check demo --help)\n"
CANNOT = "lstm-check demo: --json: cannot write"
INTEGER = "expected an integer of at least"


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "lstm-check: the following arguments are required: COMMAND (see lstm-check --help)\n"),
        (["--fast"], "lstm-check: the following arguments are required: COMMAND (see lstm-check --help)\n"),
        (["demo", "--fast"], "lstm-check: unrecognized arguments: --fast (see lstm-check --help)\n"),
        (["demo", "4"], "lstm-check: unrecognized arguments: 4 (see lstm-check --help)\n"),
        (["demo", "--timesteps"], f"lstm-check demo: argument --timesteps: expected one argument{SEE}"),
        (["demo", "--timesteps", "0"], f"lstm-check demo: argument --timesteps: {INTEGER} 1; got 0{SEE}"),
        (["demo", "--timesteps", "1.5"], f"lstm-check demo: argument --timesteps: invalid integer value: '1.5'{SEE}"),
        (["demo", "--hidden", "-3"], f"lstm-check demo: argument --hidden: {INTEGER} 1; got -3{SEE}"),
        (["demo", "--batch", ""], f"lstm-check demo: argument --batch: invalid integer value: ''{SEE}"),
        (["demo", "--seed", "-1"], f"lstm-check demo: argument --seed: {INTEGER} 0; got -1{SEE}"),
        (["demo", "--json"], f"lstm-check demo: argument --json: expected one argument{SEE}"),
        (["demo", "--json", "/nowhere/all.json"], f"{CANNOT} /nowhere/all.json: No such file or directory\n"),
        (["demo", "--json", "/"], f"{CANNOT} /: Is a directory\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_cost_one_line(arguments, message, capsys):
    assert exit_code(arguments) == 2
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("arguments", "option", "other"),
    [
        (["verify", "x.npz", "--reduction", "sum"], "--reduction", "--loss NAME"),
        (["verify", "x.npz", "--clip-derivative", "true"], "--clip-derivative", "--clip BOUND"),
        (["verify", "x.npz", "--resume", "kept"], "--resume", "--exhaustive"),
        (["export", "--out", "x.npz", "--reduction", "mean"], "--reduction", "--loss NAME"),
        (["export", "--out", "x.npz", "--outputs", "3"], "--outputs", "--loss NAME"),
    ],
)
def test_an_option_without_effect_is_refused(arguments, option, other, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert exit_code([*arguments, "--layout", "torch"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lstm-check {arguments[0]}: {option}: expected beside {other}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "choices"), [("--loss", ["squared_error", "cross_entropy"]), ("--dtype", ["float64", "float32"])])
def test_bad_choices_cost_one_line_that_names_the_good_ones(option, choices, capsys):
    assert exit_code(["demo", option, "half"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"lstm-check demo: argument {option}: invalid choice: 'half' (choose from ")
    assert all(choice in err for choice in choices)


def test_files_are_written_although_nobody_reads_the_text(tmp_path):
    """As `lstm-check … | head -1` leaves a closed pipe behind."""
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", "checks", "export", "--out", str(tmp_path / "v.npz"), "--layout", "torch", "--json", str(path)]
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(write)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(path.read_text())


def test_a_full_disk_behind_stdout_is_one_line(tmp_path):
    command = [sys.executable, "-m", "checks", "export", "--out", str(tmp_path / "v.npz"), "--layout", "torch"]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (2, "lstm-check export: stdout: cannot write: No space left on device\n")


def test_a_closed_stdout_is_nobodys_fault(tmp_path):
    command = f"{sys.executable} -m checks export --out {tmp_path / 'v.npz'} --layout torch >&-"
    run = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "v.npz").exists()


def exit_code(arguments: list[str]) -> int:
    """Of the program: argparse leaves by SystemExit."""
    try:
        return cli.main(arguments)
    except SystemExit as left:
        return left.code


def test_interrupted_is_one_line(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("checks.cli._check_paths", interrupt)
    assert cli.main(["verify", "mine.npz", "--layout", "torch", "--exhaustive", "--resume", "kept.npz"]) == 130
    assert capsys.readouterr().err == "lstm-check verify: interrupted; kept.npz keeps what is finished\n"
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "lstm-check demo: interrupted\n"
