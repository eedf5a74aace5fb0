"""A multilayer perceptron without biases, as the theory of the feature norm has it.

Source: Park et al. 2023, arXiv 2310.05316, sections 3.1 and 3.2: five layers on CIFAR-10. Departure: its widths were
not found; all hidden layers are equally wide here, and five layers are read as four hidden ones and the head.
"""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from ..recipes.schema import Network
from .architecture import Architecture, Backbone, ImageShape
from .resnet import ACTIVATIONS

HIDDEN = 4  # the fifth layer is the head


class MLP(Backbone):
    """a(l) = sigma(W(l) a(l-1)), a(0) the flattened image: images (B, C, H, W) -> a(L) (B, width).

    Args:
        settings: `width` is the units of every hidden layer, also `dim`; `activation` is sigma.
        image_shape: (H, W, C) of the images.
        hidden: L, hidden layers.
    """

    def __init__(self, settings: Network, image_shape: ImageShape, hidden: int = HIDDEN) -> None:
        super().__init__()
        inputs, width = prod(image_shape), settings.width
        self.layers = nn.ModuleList(nn.Linear(width if i else inputs, width, bias=False) for i in range(hidden))
        self.act = ACTIVATIONS[settings.activation]
        self.dim = width

    @property
    def matrices(self) -> list[Tensor]:
        """W(l) of every hidden layer, each (units, inputs)."""
        return list(self.layers.parameters())

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(x)[-1][1]

    def hidden(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """z(l) before and a(l) after the rectifier of every hidden layer, each (B, width), in order."""
        a, found = x.flatten(1), []
        for layer in self.layers:
            z = layer(a)
            a = self.act(z)
            found.append((z, a))
        return found


NETWORKS = {
    "mlp5": Architecture(
        MLP,
        width=512,
        least=1,
        options=("activation",),
        source="Park et al. 2023, arXiv 2310.05316, section 3.2; the published width was not found",
    )
}
