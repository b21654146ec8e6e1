"""The picture of a report: ``python docs/figures/report.py``. Needs Chromium.

A gradient with the bug of docs/how-to/numpy.md, in a file as anybody would dump it, judged by ``lstm-check verify --html``, and the
page as it opens on a screen of 1280 x 800.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from checks import cli
from checks.catalogue import BUGS, Case
from checks.catalogue.mutants import gradients
from checks.files.array_file import write_arrays
from checks.files.draw import ExportOptions, random_case
from checks.files.export import golden_vectors
from lstm.layouts import LAYOUTS

BUG = "dc-carry-without-f"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURE = pathlib.Path(__file__).with_name("report.png")


def candidate() -> dict[str, np.ndarray]:
    """The arrays of a program whose backward pass has the bug."""
    options = ExportOptions(LAYOUTS["torch"], timesteps=12, batch=3, inputs=5, hidden=8, seed=1)
    drawn = random_case(options)
    case = Case.of_upstream(drawn.layers, drawn.inputs, drawn.d_outputs, drawn.d_final_state, initial_state=drawn.initial_state)
    (bug,) = (each for each in BUGS if each.name == BUG)
    wrong: Any = gradients(case, [bug])
    arrays = golden_vectors(drawn, options)
    layout = options.layout
    h0, c0 = layout.write_states(wrong.initial_state)
    arrays |= {f"grad.{name}": array for name, array in layout.write_gradients(wrong.layers, layout.write(drawn.layers)).items()}
    arrays |= {"grad.inputs": wrong.inputs, "grad.h0": h0, "grad.c0": c0}
    return {name: array for name, array in arrays.items() if not name.startswith("internal.")}


def main() -> int:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        print(f"{PICTURE.name}: left as it is, since there is no Chromium", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        file, page = (pathlib.Path(folder) / name for name in ("mine.npz", "report.html"))
        write_arrays(file, candidate(), {})
        cli.main(["verify", str(file), "--layout", "torch", "--html", str(page)])
        page.write_text(page.read_text(encoding="utf-8").replace(f"{folder}/", ""), encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,800"]
        subprocess.run([browser, *flags, f"--screenshot={PICTURE}", page.as_uri()], check=True, capture_output=True, timeout=120)
    print(f"docs/figures/{PICTURE.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
