"""The rivals, one file each. Each file has the names of :class:`Peer`; ``make peers`` installs what they need.

A rival gets the plain model, ordinary PyTorch code with zeros for dropped weights, and prepares it in the way that is
fastest for it. Sparse rivals store the weights that are not zero. Those that offer a product of matrices and no more
take chains of Linear and ReLU only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, version
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from bench import CHECKOUT
from sparbor.timing import sample

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = npt.NDArray[np.float32]
Example: TypeAlias = "Tensor | tuple[Tensor, ...]"  # a batch: a model's one input, or all of them

FILES = (
    "torch_eager",
    "torch_compile",
    "onnxruntime",
    "onnxruntime_int8",
    "openvino",
    "openvino_int8",
    "openvino_int8_sparse",
    "torch_csr",
    "scipy_csr",
    "sparselab",
    "deepsparse",
    "perforatedai",
)


class Ready(Protocol):
    """A model that is prepared to run one input again and again."""

    stored_bytes: int

    def output(self) -> Array:
        """Run once; the result as (batch, outputs)."""

    def sample(self, times: int) -> list[float]:
        """Run ``times`` times; microseconds for each."""

    def close(self) -> None:
        """Give back what it holds."""


class Peer(Protocol):
    """What each file here offers."""

    NAME: str
    PACKAGE: str
    KIND: str  # "dense" or "sparse"
    PRECISION: str

    def available(self) -> str | None:
        """Why it cannot be measured here, or ``None``."""

    def prepare(self, model: nn.Module, example: Example, threads: int) -> Ready:
        """The model, ready to run ``example`` on ``threads`` threads."""


@dataclass(frozen=True)
class Local:
    """Ready in this process: ``call`` is what is timed, ``read`` makes an array of what it returns."""

    call: Callable[[], Any]
    stored_bytes: int
    read: Callable[[Any], Array] = np.asarray

    def output(self) -> Array:
        return np.array(self.read(self.call()))

    def sample(self, times: int) -> list[float]:
        return sample(self.call, times)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Layer:
    """A Linear layer in plain arrays, and whether a ReLU follows."""

    weight: Array
    bias: Array
    relu: bool


def linear_chain(model: nn.Module) -> list[Layer]:
    """The layers of a model that is an ``nn.Sequential`` of Linear and ReLU; of any other model, none."""
    modules: list[Any] = [*model.children(), None]
    kinds = {type(module).__name__ for module in modules[:-1]}
    if type(model).__name__ != "Sequential" or not kinds <= {"Linear", "ReLU"}:
        return []
    return [
        Layer(layer.weight.detach().numpy(), layer.bias.detach().numpy(), type(after).__name__ == "ReLU")
        for layer, after in pairwise(modules)
        if type(layer).__name__ == "Linear"
    ]


def matrices(model: nn.Module) -> list[Layer]:
    """The layers, for a rival that multiplies matrices; a model with others is refused."""
    layers = linear_chain(model)
    if not layers:
        raise ValueError("it multiplies sparse matrices and has no convolutions")
    return layers


def arguments(example: Example) -> tuple[Tensor, ...]:
    """What a model is called with."""
    return example if isinstance(example, tuple) else (example,)


def single(example: Example) -> Tensor:
    """The only input, for a rival that takes no more; a model with several is refused."""
    if isinstance(example, tuple):
        raise ValueError(f"it is given models of one input here, and this one has {len(example)}")
    return example


def has_attention(model: nn.Module) -> bool:
    """Whether it is a transformer, which tools that quantize treat in a way of their own."""
    return any("Attention" in type(module).__name__ for module in model.modules())


def dense_bytes(model: nn.Module) -> int:
    """All parameters as they are."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def find(files: tuple[str, ...] = FILES) -> list[Any]:
    """The modules of the rivals."""
    return [import_module(f"bench.peers.{file}") for file in files]


def versions() -> dict[str, str | None]:
    """Which release of each rival is installed, in this environment or in its own."""
    found = {}
    for peer in find():
        environment = getattr(peer, "ENVIRONMENT", None)
        its_own = CHECKOUT.glob(f"{environment}/lib/python*/site-packages")
        places = [str(path) for path in its_own] if environment else sys.path
        releases = [each.version for each in distributions(name=peer.PACKAGE, path=places)]
        found[peer.PACKAGE] = releases[0] if releases else None
    return found


def missing(*packages: str) -> str | None:
    """Which of ``packages`` this environment does not have, as a reason; ``None`` if it has all."""
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            return f"{package} is not installed (make peers)"
    return None
