"""``--json PATH``: a path that cannot be written is refused before anything runs, and no other file is overwritten or left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from checks import cli
from checks.commands import demo, files
from lstm import BadInput

COMMANDS = {
    "demo": ["demo"],
    "verify": ["verify", "v.npz", "--layout", "torch"],
    "export": ["export", "--layout", "torch", "--out", "w.npz"],
    "layout": ["layout", "v.npz", "--layout", "torch"],
}


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every command in an empty folder, and none may run."""

    def ran(*_: object) -> None:
        pytest.fail("the command ran before its --json path was looked at")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "demo", ran)
    for name in ("_run_verify", "_run_export", "_run_layout"):
        monkeypatch.setattr(files, name, ran)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("none/all.json", "No such file or directory"),
        (".", "Is a directory"),
        ("", "No such file or directory"),
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_first(command, path, reason, capsys):
    assert cli.main([*COMMANDS[command], "--json", path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lstm-check {command}: --json: cannot write ")
    assert err.endswith(f": {reason}\n")
    assert os.listdir() == []


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(("command", "path"), [("verify", "./v.npz"), ("export", "w.npz"), ("layout", "v.npz")])
def test_the_commands_own_files_are_not_overwritten(command, path, capsys):
    assert cli.main([*COMMANDS[command], "--json", path]) == 2
    assert capsys.readouterr().err == (
        f"lstm-check {command}: --json: expected a file of its own; got {path}, which the command uses already\n"
    )


def test_a_command_that_fails_leaves_the_report_as_it_was(monkeypatch, tmp_path, capsys):
    def fails(_: object) -> None:
        raise BadInput("weights: expected better ones")

    monkeypatch.setattr(demo, "demo", fails)
    old = tmp_path / "old.json"
    old.write_text("{}")
    for path in (old, tmp_path / "new.json"):
        assert cli.main(["demo", "--json", str(path)]) == 2
        assert capsys.readouterr().err == "lstm-check demo: weights: expected better ones\n"
    assert old.read_text() == "{}"
    assert os.listdir(tmp_path) == ["old.json"]


@pytest.mark.long
def test_a_longer_old_report_is_replaced_whole(tmp_path, capsys):
    path = tmp_path / "all.json"
    path.write_text("x" * 100_000)
    assert cli.main(["demo", "--timesteps", "2", "--hidden", "1", "--json", str(path)]) == 0
    assert json.loads(path.read_text())["verdict"] == "agrees"


def test_a_full_disk_is_one_line(capsys):
    """/dev/full, Linux's device that has no room."""
    assert cli.main(["demo", "--timesteps", "2", "--hidden", "1", "--json", "/dev/full"]) == 2
    assert capsys.readouterr().err == "lstm-check demo: --json: cannot write /dev/full: No space left on device\n"
