"""What a layer asks of the dendrites that have grown on it."""

from typing import Any, Protocol

from torch import Tensor, nn


class GrownDendrites(Protocol):
    """A layer's dendrites, of which the first ``count`` generations compute; :mod:`sparbor.nn.dendrites` has them."""

    count: int

    def __call__(self, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the layer gives, ``y``, with what its dendrites make of the same input."""

    def permute_neurons(self, neurons: Tensor | None, inputs: Tensor | None) -> None:
        """Take the order in which the pattern sees the layer's neurons and inputs."""

    def grow_to(self, count: int) -> None:
        """Let the first ``count`` generations compute."""

    def unwrap(self, layer: nn.Module) -> nn.Module:
        """The plain ``layer`` with plain dendrites, if any have grown."""
