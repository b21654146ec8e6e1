"""An LSTM whose backward pass is derived by hand, equation by equation, in docs/derivation.md.

No automatic differentiation anywhere in this package.
"""

from lstm.api import (
    backward as backward,
    backward_with_internals as backward_with_internals,
    forward as forward,
    layer as layer,
    step as step,
)
from lstm.gradients import (
    gradient_function as gradient_function,
    loss_and_all_gradients as loss_and_all_gradients,
    loss_and_gradients as loss_and_gradients,
)
from lstm.losses import LOSSES as LOSSES, Loss as Loss
from lstm.parameters import (
    GATES as GATES,
    Activations as Activations,
    Bidirectional as Bidirectional,
    CellClip as CellClip,
    CostGradients as CostGradients,
    Gradients as Gradients,
    Layer as Layer,
    Masks as Masks,
    Network as Network,
    Readout as Readout,
    Reversed as Reversed,
    State as State,
    init_network as init_network,
)
from lstm.sequence import Internals as Internals
from lstm.validation import BadInput as BadInput
