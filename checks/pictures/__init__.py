"""Pictures as plain shapes: drawn once, written as SVG for a page or a file, or as PNG."""

from checks.pictures.scene import Scene as Scene, stacked as stacked
