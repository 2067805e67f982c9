"""Whose order of neurons is free: what lies between a layer and its readers, and every reason against it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.job.models import TASKS
from sparbor.lower.chains import chains
from sparbor.nn.neuron import PAINeuronModule
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


def convolution(groups: int = 1, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(32, 32, kernel, groups=groups)


class Activated(nn.BatchNorm2d):
    """A batch norm with an activation within, as timm's BatchNormAct2d."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def new_gelu(x: Tensor) -> Tensor:
    """As GPT-2 writes it, in many operators."""
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))))


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
    "split without dividing": Model(linear(), linear(), lambda x: x.view(-1, 1, 32)),
    "activation in a batch norm": Model(convolution(), convolution(), Activated(32)),
    "batch statistics": Model(convolution(), convolution(), nn.BatchNorm2d(32, track_running_stats=False)),
    "depthwise": Model(
        nn.Conv2d(8, 32, 1),
        dendritic(nn.Conv2d(32, 8, 1)),
        nn.Sequential(nn.BatchNorm2d(32), nn.ReLU6(True), nn.Conv2d(32, 32, 3, 2, groups=32), nn.BatchNorm2d(32)),
    ),
    "depthwise, transposed": Model(convolution(), convolution(), nn.ConvTranspose2d(32, 32, 3, 2, groups=32)),
    "mean over planes": Model(convolution(), nn.Linear(32, 9), lambda x: x.mean((2, 3))),
    "mean over planes that stay": Model(convolution(), convolution(1, 1), lambda x: x.mean((-1, -2), keepdim=True)),
    "zeros around planes": Model(convolution(), convolution(), lambda x: F.pad(x, (1, 1, 1, 1))),
    "in place": Model(linear(), linear(), lambda x: x.add_(1).relu_()),
    "an activation of many operators": Model(linear(), linear(), new_gelu),
    "a gate of its own": Model(linear(), linear(), lambda x: x * torch.sigmoid(1.702 * x)),
    "halves meanwhile": Model(linear(), linear(), lambda x: F.relu(x.double()).float()),
}
for kind in (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid),
    *(nn.LogSigmoid, nn.Tanh, nn.Tanhshrink, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softsign),
    *(nn.Softshrink, nn.Hardshrink, nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout),
):
    FREE[kind.__name__] = Model(linear(), linear(), kind())
for kind in (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.ZeroPad1d):
    FREE[kind.__name__] = Model(nn.Conv1d(8, 32, 1), nn.Conv1d(32, 8, 1), kind(2))  # type: ignore[call-arg, arg-type]
for kind in (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d):
    FREE[kind.__name__] = Model(nn.Conv3d(8, 32, 1), nn.Conv3d(32, 8, 1), kind(2))

SIDES = {"torch.flatten": 4, "view by size": 4, "reshape by shape": 4, "flat norm": 4, "last axis": 34}
SIDES |= {"flatten to the second axis": 34, "dense connections": 16, "other view": 4}


def input_of(model: nn.Module, name: str = "") -> Tensor:
    """Something that the model's first layer takes."""
    layer = next(each for each in model.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd))
    if isinstance(layer, nn.Linear):
        return torch.randn(4, layer.in_features)
    return torch.randn(4, layer.in_channels, *[SIDES.get(name, 12)] * (layer.weight.dim() - 2))


@pytest.mark.parametrize("name", FREE)
def test_what_may_stand_between(name: str) -> None:
    model = FREE[name]
    found = chains(model, (input_of(model, name),))
    chain = found.found[0]
    assert chain.layer is model.first
    assert chain.readers == (model.second,)
    between = model.between.modules() if isinstance(model.between, nn.Module) else ()
    assert list(chain.along) == [
        each for each in between if isinstance(each, nn.modules.batchnorm._BatchNorm | nn.Conv2d | nn.ConvTranspose2d)
    ]


def test_chains_come_in_the_order_of_the_graph() -> None:
    model = TASKS["cifar10"].build()
    for name in ("fc2", "conv2", "fc1", "conv1"):
        setattr(model, name, dendritic(model.get_submodule(name)))
    found = chains(model, (torch.zeros(2, 3, 32, 32),))
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


FREE["a subclass that reads"] = Model(linear(), Gain(32, 32))


def tied() -> nn.Sequential:
    model = nn.Sequential(dendritic(linear()), nn.ReLU(), linear(), nn.ReLU(), linear())
    model[4].weight = model[2].weight
    return model


STUCK = {
    "skip connection": (Skip(), "conv1", "add reads it together with other values"),
    "output": (nn.Sequential(dendritic(linear()), nn.ReLU()), "0", "it is the model's output"),
    "softmax": (Model(linear(), linear(), nn.Softmax(-1)), "first", "softmax reads it"),
    "layer norm": (Model(linear(), linear(), nn.LayerNorm(32)), "first", "layer_norm reads it"),
    "pool over features": (Model(linear(), nn.Linear(16, 2), nn.MaxPool1d(2)), "first", "max_pool1d reads it"),
    "slice": (Model(linear(), nn.Linear(16, 2), lambda x: x[:, :16]), "first", "slice reads it"),
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
        "between.1 norms other features than its neurons",
    ),
    "subclass": (Model(Gain(32, 32), linear()), "first", "mul reads it together with other values"),
    "tied reader": (tied(), "0", "4 shares a parameter with another layer"),
    "computed weight": (
        Model(linear(), nn.utils.parametrizations.weight_norm(linear())),
        "first",
        "the weight of second is computed from other parameters",
    ),
    "flatten to the second axis": (
        Model(convolution(), linear(), lambda x: x.flatten(end_dim=1)),
        "first",
        "view reads it",
    ),
    "called twice": (Twice(), "hidden", "it is called more than once"),
    "read by hand": (ReadsWeights(), "hidden", "last is called more than once"),
    "unused": (Unused(), "hidden", "nothing reads it"),
    "control flow": (Branches(), "hidden", "torch.export cannot trace the model's code"),
    "dense connections": (DenseNet(), "stem", "cat reads it"),
}
STUCK["dense connections"][0].stem = dendritic(STUCK["dense connections"][0].stem)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STUCK)
def test_what_holds_the_order(name: str) -> None:
    model, layer, reason = STUCK[name]
    found = chains(model, (input_of(model, name),))
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
    chains(model, (torch.zeros(2, 32),))
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
    (chain,) = chains(model, (torch.zeros(2, 32),)).found
    assert chain.readers == (model.size,)
