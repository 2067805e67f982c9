"""Whose order of neurons is free: what lies between a layer and its readers, and every reason against it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparbor.benchmark.models import TASKS
from sparbor.lowering.chains import chains
from sparbor.modules.neuron import PAINeuronModule
from tests.networks import DenseNet


def dendritic(module: nn.Module) -> PAINeuronModule:
    return PAINeuronModule(module)


class Model(nn.Module):
    """Two layers, and what stands between them."""

    def __init__(self, first: nn.Module, second: nn.Module, between: object = None) -> None:
        super().__init__()
        self.first, self.second, self.between = dendritic(first), second, between

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(self.between(x) if self.between else x)  # type: ignore[operator]


def linear() -> nn.Linear:
    return nn.Linear(32, 32)


def convolution(groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(32, 32, 3, groups=groups)


FREE = {
    "linear": Model(linear(), dendritic(linear()), nn.GELU()),
    "a plain reader": Model(linear(), linear(), nn.Sequential(nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout())),
    "functions": Model(linear(), linear(), lambda x: F.dropout(torch.tanh(F.leaky_relu(x)).sigmoid(), 0.1)),
    "convolutions": Model(convolution(), dendritic(convolution()), nn.Sequential(nn.BatchNorm2d(32), nn.MaxPool2d(2))),
    "pools": Model(convolution(), convolution(), lambda x: F.avg_pool2d(F.max_pool2d(x, 3, 1), 2)),
    "flatten": Model(convolution(), nn.Linear(128, 9), nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())),
    "torch.flatten": Model(convolution(), nn.Linear(128, 9), lambda x: torch.flatten(x, 1)),
    "view by size": Model(convolution(), nn.Linear(128, 9), lambda x: x.view(x.size(0), -1)),
    "reshape by shape": Model(convolution(), nn.Linear(128, 9), lambda x: x.reshape(x.shape[0], -1)),
    "transposed": Model(nn.ConvTranspose2d(8, 32, 3), dendritic(nn.ConvTranspose2d(32, 8, 3)), nn.SiLU()),
    "flatten after linear": Model(linear(), linear(), nn.Flatten()),
}


@pytest.mark.parametrize("name", FREE)
def test_what_may_stand_between(name: str) -> None:
    model = FREE[name]
    found = chains(model)
    chain = found.found[0]
    assert chain.layer is model.first
    assert chain.readers == (model.second,)
    assert [type(norm) for norm in chain.norms] == [m.__class__ for m in model.modules() if "Norm" in str(type(m))]


def test_chains_come_in_the_order_of_the_graph() -> None:
    model = TASKS["cifar10"].build()
    for name in ("fc2", "conv2", "fc1", "conv1"):
        setattr(model, name, dendritic(model.get_submodule(name)))
    found = chains(model)
    assert [chain.layer for chain in found.found] == [model.conv1, model.conv2, model.fc1]
    assert found.reasons == {"fc2": "it is the model's output"}


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = dendritic(convolution()), dendritic(nn.Conv2d(32, 32, 3, padding=1))
        self.last = nn.Conv2d(32, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.last(F.relu(x + self.conv2(x)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = dendritic(linear()), linear()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(self.hidden(x)))


class ReadsWeights(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x)) + F.linear(x, self.last.weight)


class Branches(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x)) if x.sum() > 0 else x


class Unused(Twice):
    def forward(self, x: Tensor) -> Tensor:
        self.hidden(x)
        return self.last(x)


class Gain(nn.Linear):
    """Does more with its neurons than a Linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.arange(32)


def tied() -> nn.Sequential:
    model = nn.Sequential(dendritic(linear()), nn.ReLU(), linear(), nn.ReLU(), linear())
    model[4].weight = model[2].weight
    return model


STUCK = {
    "skip connection": (Skip(), "conv1", "add reads it together with other values"),
    "output": (nn.Sequential(dendritic(linear()), nn.ReLU()), "0", "it is the model's output"),
    "softmax": (Model(linear(), linear(), nn.Softmax(-1)), "first", "between reads it"),
    "layer norm": (Model(linear(), linear(), nn.LayerNorm(32)), "first", "between reads it"),
    "pool over features": (Model(linear(), nn.Linear(16, 2), nn.MaxPool1d(2)), "first", "between reads it"),
    "slice": (Model(linear(), nn.Linear(16, 2), lambda x: x[:, :16]), "first", "getitem reads it"),
    "other view": (Model(convolution(), nn.Linear(32, 2), lambda x: x.view(-1, 32)), "first", "view reads it"),
    "last axis": (Model(convolution(), linear()), "first", "second does not read one neuron after the other"),
    "depthwise reader": (
        Model(convolution(), dendritic(convolution(groups=2))),
        "first",
        "second, a grouped convolution, reads it",
    ),
    "grouped": (Model(convolution(groups=2), convolution()), "first", "a grouped convolution"),
    "flat norm": (
        Model(convolution(), nn.Linear(128, 2), nn.Sequential(nn.Flatten(), nn.BatchNorm1d(128))),
        "first",
        "between_1 norms other features than its neurons",
    ),
    "subclass": (Model(Gain(32, 32), linear()), "first", "it is a Gain"),
    "subclass reads": (Model(linear(), Gain(32, 32)), "first", "linear reads it together with other values"),
    "tied reader": (tied(), "0", "_2 shares a parameter with another layer"),
    "computed weight": (
        Model(linear(), nn.utils.parametrizations.weight_norm(linear())),
        "first",
        "second is a ParametrizedLinear",
    ),
    "flatten to the second axis": (Model(convolution(), linear(), lambda x: x.flatten(end_dim=1)), "first", "flatten"),
    "called twice": (Twice(), "hidden", "it is called more than once"),
    "read by hand": (ReadsWeights(), "hidden", "the model reads its parameters itself"),
    "inside another": (
        nn.Sequential(nn.TransformerEncoderLayer(32, 4, 64), linear()),
        "0.linear1",
        "another module calls it",
    ),
    "unused": (Unused(), "hidden", "nothing reads it"),
    "control flow": (Branches(), "hidden", "torch.fx cannot trace the model's code"),
    "dense connections": (DenseNet(), "stem", "cat reads it"),
}
STUCK["inside another"][0][0].linear1 = dendritic(STUCK["inside another"][0][0].linear1)  # type: ignore[index, union-attr]
STUCK["dense connections"][0].stem = dendritic(STUCK["dense connections"][0].stem)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STUCK)
def test_what_holds_the_order(name: str) -> None:
    model, layer, reason = STUCK[name]
    found = chains(model)
    assert found.reasons[layer].startswith(reason)
    assert model.get_submodule(layer) not in [chain.layer for chain in found.found]


class Remembers(Twice):
    """Keeps a table that it makes on its first call, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.table is None:
            self.table = torch.arange(x.shape[1]) / 64
        return self.last(self.hidden(x + self.table))


def test_tracing_leaves_nothing_on_the_model() -> None:
    model = Remembers()
    chains(model)
    assert model.table is None
    assert model.calls == 0
    assert isinstance(model(torch.randn(2, 32)), Tensor)


class NamedSize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.size = dendritic(linear()), linear()

    def forward(self, x: Tensor) -> Tensor:
        return self.size(self.first(x))


def test_a_layer_may_be_called_size() -> None:
    model = NamedSize()
    (chain,) = chains(model).found
    assert chain.readers == (model.size,)
