"""A PyTorch ``autograd.Function`` with a hand-written LSTM backward, checked through the torch layout.

    python examples/torch_autograd_function.py [PATH]

It dumps what PyTorch holds under PyTorch's own names and runs the same check as ``lstm-check verify PATH --layout torch``.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from checks.cli import main as lstm_check


class HandWrittenLSTM(torch.autograd.Function):
    """One layer, time-major; gates i, f, g, o. One bias: PyTorch's two, added up by the caller."""

    @staticmethod
    def forward(ctx, x, w_ih, w_hh, bias):
        h = c = x.new_zeros(x.shape[1], w_hh.shape[1])
        tape, outputs = [], []
        for x_t in x:
            i, f, g, o = (x_t @ w_ih.T + h @ w_hh.T + bias).chunk(4, dim=1)
            i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
            tape.append((h, c, i, f, g, o))
            c = f * c + i * g
            h = o * torch.tanh(c)
            outputs.append(h)
        ctx.save_for_backward(x, w_ih, w_hh)
        ctx.tape = tape
        return torch.stack(outputs)

    @staticmethod
    def backward(ctx, d_outputs):
        x, w_ih, w_hh = ctx.saved_tensors
        d_x, d_w_ih, d_w_hh = torch.zeros_like(x), torch.zeros_like(w_ih), torch.zeros_like(w_hh)
        d_bias = x.new_zeros(w_ih.shape[0])
        dh = dc = torch.zeros_like(d_outputs[0])
        for t in reversed(range(len(x))):
            h, c, i, f, g, o = ctx.tape[t]
            tanh_c = torch.tanh(f * c + i * g)
            dh = dh + d_outputs[t]
            dc = dc + dh * o * (1 - tanh_c**2)
            d_gates = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o)]
            dz = torch.cat(d_gates, dim=1)
            d_x[t], d_w_ih, d_w_hh = dz @ w_ih, d_w_ih + dz.T @ x[t], d_w_hh + dz.T @ h
            d_bias = d_bias + dz.sum(dim=0)
            dh, dc = dz @ w_hh, f * dc
        return d_x, d_w_ih, d_w_hh, d_bias


def main(path):
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5)  # float32: the verdict's tolerance is what a correct float32 backward makes
    x = torch.randn(7, 4, 3, requires_grad=True)
    d_outputs = torch.randn(7, 4, 5)
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    outputs = HandWrittenLSTM.apply(x, layer.weight_ih_l0, layer.weight_hh_l0, bias)
    outputs.backward(d_outputs)

    arrays = {"inputs": x, "outputs": outputs, "d_outputs": d_outputs, **dict(layer.named_parameters())}
    gradients = {f"grad.{name}": tensor.grad for name, tensor in [("inputs", x), *layer.named_parameters()]}
    np.savez(path, **{name: tensor.detach().numpy() for name, tensor in (arrays | gradients).items()})
    return lstm_check(["verify", str(path), "--layout", "torch"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        raise SystemExit(main(Path(folder) / "gradients.npz"))
