"""Framework conventions and canonical parameters, both ways: weights, gradients, states and axes.

NumPy arrays in, NumPy arrays out. Each layout is an instance of `Layout` in `LAYOUTS`; `read_description` makes one from a small
file that says how somebody's own code lays its arrays out.
"""

from lstm.layouts.cudnn import CUDNN
from lstm.layouts.described import described_layout as described_layout, read_description as read_description
from lstm.layouts.frameworks import CANONICAL, EQUINOX, FLAX, FLAX_NNX, FLAX_NNX_OPTIMIZED, HAIKU, KERAS, TORCH
from lstm.layouts.layout import Layout as Layout
from lstm.layouts.onnx import ONNX, ONNX_BATCH_MAJOR

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        TORCH,
        KERAS,
        FLAX,
        FLAX_NNX,
        FLAX_NNX_OPTIMIZED,
        EQUINOX,
        HAIKU,
        ONNX,
        ONNX_BATCH_MAJOR,
        CUDNN,
        CANONICAL,
    )
}
