"""The README's code runs, and its picture of the demo is what the demo prints."""

import re
from pathlib import Path

import pytest

from checks.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_every_python_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("AGREES") == 2
    assert "DISAGREES" not in printed


@pytest.mark.long
def test_the_demo_picture_is_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """Words, layout and cell steps to the letter; the errors, which are rounding and may move, left out."""
    picture = next(block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) if "hand_bptt" in block)
    picture = picture[: picture.index("Which approach")]
    assert main(["demo"]) == 0
    printed = capsys.readouterr().out
    assert without_errors(printed).startswith(without_errors(picture))


def without_errors(text: str) -> str:
    return re.sub(r"\d\.\de[+-]\d\d", "#.#e##", text)
