"""``python -m benchmarks NAME [options]``: each name is a module of this package with ``main(arguments) -> exit code``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

BENCHMARKS = {
    "bptt": "hand-written BPTT against automatic differentiation of a scan and against PyTorch",
    "exhaustive": "every weight by differences: ours, copies under vmap, a NumPy loop, torch.autograd.gradcheck",
    "schemes": "approach 1 and the five readings of approach 2: error against cost and step size",
    "scaling": "the exhaustive check's time against weights, timesteps and cell size",
    "plots": "every figure of the documentation, and the tables of docs/performance.md from docs/data",
    "memory": "peak memory and time of BPTT, plain and in segments that are run again",
    "accuracy": "every way to a gradient, frameworks included, against the certified one",
    "rounding": "what rounding does to correct BPTT in low precision, against what the tolerances allow",
    "diagnosis": "how often a wrong gradient is given the right name, and how often a wrong one",
    "verify": "the seconds and the memory of lstm-check verify on an ordinary and on a large file",
    "study": "random correct and wrong gradients, and what verify says of them",
}


def main(arguments: Sequence[str]) -> int:
    listing = "\n".join(f"  {name:12s}{what}" for name, what in BENCHMARKS.items())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: python -m benchmarks NAME [options]\n\n{listing}\n\npython -m benchmarks NAME --help lists its options")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in BENCHMARKS:
        print(f"benchmarks: expected one of {', '.join(BENCHMARKS)}; got {name!r}", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{name}").main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
