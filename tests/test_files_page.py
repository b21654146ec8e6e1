"""docs/files.md says what the layouts are, and shows the description that is in examples/."""

from __future__ import annotations

import re
from pathlib import Path

from checks.files.draw import ExportOptions, random_case
from lstm.layouts import LAYOUTS, Layout, described_layout, read_description

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
D, H = 7, 11
SIZES = {1: "1", D: "D", H: "H", 4 * H: "4H", D + H: "D + H", 8 * H: "8H", 4 * H * (D + H + 2): "4H (D + H + 2)"}


def row(layout: Layout) -> str:
    """A layout's row in the page's table, from what it writes. Arrays that differ in a gate's letter alone stand together."""
    weights = layout.write(random_case(ExportOptions(layout, inputs=D, hidden=H, batch=2)).layers)
    shapes = {name: ", ".join(SIZES[size] for size in array.shape) for name, array in weights.items()}
    by_gate = "ii/kernel" in weights
    together: dict[tuple[str, str], list[str]] = {}
    for name, shape in shapes.items():
        kind = name[0] + name.partition("/")[2] if by_gate else name
        together.setdefault((kind, shape), []).append(name)
    arrays = "; ".join(f"{', '.join(f'`{name}`' for name in names)} ({shape})" for (_, shape), names in together.items())
    orders = [axis for piece in layout.pieces for axis in piece.axes if len(axis.split()) == 4]
    gates = "one each" if by_gate else orders[0]
    axes = ", ".join(layout.axes)
    return f"| `{layout.name}` | {arrays} | {gates} | ({axes}) | ({', '.join(layout.state_axes)}) |"


def table() -> str:
    head = "| layout | arrays | gates | `inputs` | `h0` |\n|---|---|---|---|---|\n"
    return head + "\n".join(row(layout) for layout in LAYOUTS.values()) + "\n"


def test_the_table_of_layouts_is_what_they_write():
    assert table() in PAGE, f"expected in docs/files.md:\n{table()}"


def test_the_description_shown_is_the_examples():
    shown = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert shown[0] == (ROOT / "examples" / "hand_written.toml").read_text(encoding="utf-8")
    assert read_description(ROOT / "examples" / "hand_written.toml").axes == "DBT"


def test_every_description_shown_is_one():
    import tomllib

    for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        described_layout(tomllib.loads(text))
