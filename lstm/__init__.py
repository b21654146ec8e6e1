"""An LSTM whose backward pass is derived by hand, equation by equation, in docs/derivation.md.

No automatic differentiation anywhere in this package.
"""

from lstm.api import (
    backward as backward,
    forward as forward,
    layer as layer,
    loss_and_all_gradients as loss_and_all_gradients,
    loss_and_gradients as loss_and_gradients,
    step as step,
)
from lstm.losses import LOSSES as LOSSES, Loss as Loss
from lstm.parameters import (
    GATES as GATES,
    CostGradients as CostGradients,
    Gradients as Gradients,
    Layer as Layer,
    Network as Network,
    Readout as Readout,
    State as State,
    init_network as init_network,
)
from lstm.validation import BadInput as BadInput
