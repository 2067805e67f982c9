"""Convolutional networks, deployed from ordinary PyTorch code; the model itself is the oracle."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import sparbor
from bench.inference.convnets import BasicBlock, ResNet18
from bench.job.models import cifar10_cnn
from sparbor.errors import ArgumentError
from sparbor.packing.filters import real_rows
from sparbor.packing.slots import SparseLayer
from tests.deploying import Function, assert_deploys, relative_error
from tests.kernel_sets import KERNEL_SETS
from tests.networks import NETWORKS, Normalising, autoencoder, settled

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def perforate(model: nn.Module, sparsity: float = 0.9) -> nn.Module:
    """Every layer that can be, sparse in slots by magnitude."""
    for name, child in list(model.named_children()):
        perforate(child, sparsity)
        groups = getattr(child, "groups", 1)
        outputs = getattr(child, "out_channels", 16)
        if isinstance(child, LAYERS) and (groups == 1 or outputs >= 16 * groups):
            module = sparbor.PAINeuronModule(child, name, sparsity=sparsity)
            module.set_mode("d")
            setattr(model, name, module)
    return model


def kinds(runtime: sparbor.Runtime) -> list[str]:
    return [operation.kind for operation in runtime.program.operations]


DENSE = ["cifar10-cnn", "mobilenetv2", "autoencoder", "sequences"]  # each kind of layer once


@pytest.mark.parametrize(("name", "sparse"), [*((name, True) for name in NETWORKS), *((name, False) for name in DENSE)])
def test_networks_deploy_as_they_are_written(name, sparse, tmp_path):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    model = settled(make())
    if sparse:
        perforate(model)
    x = torch.randn(3, *shape)
    runtime = assert_deploys(model, x)
    runtime.save(tmp_path / "model.safetensors")
    loaded = sparbor.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded(x), runtime(x))
    assert loaded.describe() == runtime.describe()
    active = {module.name: int(module.mask.sum()) for module in model.modules() if hasattr(module, "mask")}
    for report in runtime.describe():
        if report.name.rpartition(".")[2] in active and report.kind == "sparse":
            assert report.density < 0.5


def test_the_cifar10_cnn_is_eight_operations():
    torch.manual_seed(0)
    model = perforate(cifar10_cnn())
    runtime = assert_deploys(model, torch.randn(2, 3, 32, 32))
    one = ["convolution", "max_pool"]
    assert kinds(runtime) == [*one, *one, "reshape", "linear", "linear"]
    assert [each.kind for each in runtime.describe()] == ["sparse"] * 4
    for report, name in zip(runtime.describe(), ("conv1", "conv2", "fc1", "fc2"), strict=True):
        layer = model.get_submodule(name)
        assert (report.name, report.active) == (name, int(layer.mask.sum()))
        assert (report.outputs, report.fan_in) == (len(layer.weight), layer.weight[0].numel())


def test_batch_norms_and_activations_join_the_operation_before_them():
    torch.manual_seed(0)
    blocks = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), BasicBlock(16, 32, 2), BasicBlock(32, 32)
    )
    runtime = assert_deploys(settled(blocks), torch.randn(2, 3, 16, 16))
    assert Counter(kinds(runtime)) == {"convolution": 6, "add": 2}
    sums = [each for each in runtime.program.operations if each.kind == "add"]
    assert all(each.activation.name == "relu" for each in sums)
    assert kinds(assert_deploys(settled(autoencoder()), torch.randn(2, 1, 28, 28))) == ["convolution"] * 4


def test_a_models_own_normalisation_is_one_scale_and_shift():
    torch.manual_seed(0)
    runtime = assert_deploys(Normalising(), torch.rand(2, 3, 16, 16))
    assert kinds(runtime)[:2] == ["scale_shift", "convolution"]


def test_sixteen_bits_do_for_a_deep_network():
    """21 layers of 16-bit synapses: the errors do not add up in one direction, and stay below 1.5 %."""
    torch.manual_seed(0)
    model = settled(perforate(ResNet18(10, small_images=False, width=16)))
    x = torch.randn(4, 3, 64, 64)
    runtime = sparbor.deploy(model, x)
    assert {each.weights for each in runtime.describe()} == {"word16"}
    assert relative_error(runtime(x), model(x).detach()) <= 0.015


def test_sparse_and_dense_by_what_is_faster(monkeypatch):
    torch.manual_seed(0)
    wide, depthwise = nn.Conv2d(32, 48, 3), nn.Conv2d(32, 32, 3, groups=32)
    cases = [
        (wide, 0.15, "sparse"),
        (wide, 0.95, "dense"),
        (depthwise, 0.3, "dense"),
        (nn.Conv2d(32, 48, 3, padding=1), 0.31, "dense"),
        (nn.Conv2d(32, 48, 3, padding=1), 0.15, "sparse"),
        (nn.Conv2d(32, 48, 3, padding=1, dilation=2), 0.15, "sparse"),
        (nn.Conv2d(32, 48, 3, padding=1, stride=2), 0.15, "sparse"),
    ]
    for isa in KERNEL_SETS:
        monkeypatch.setenv("SPARBOR_ISA", isa)
        for layer, density, kind in cases:
            model = Masked(layer, torch.rand(layer.weight.shape) < density)
            (report,) = assert_deploys(model, torch.randn(1, 32, 9, 9)).describe()
            assert (report.runs, report.active) == (kind, int(model.keep.sum())), isa
            assert (report.outputs, report.fan_in) == (len(layer.weight), layer.weight[0].numel())


def test_a_dense_convolution_of_halves():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(8, 24, 3), nn.ReLU()), torch.randn(2, 8, 9, 9)
    runtime = sparbor.deploy(model, x)
    (report,) = runtime.describe()
    assert (report.kind, report.weights, report.bytes) == ("dense", "halves", 24 * 72 * 2 + 24 * 8)
    assert relative_error(runtime(x), model(x).detach()) <= 2**-11


@st.composite
def convolutions(draw):
    """A layer, transposed or not, of one or two dimensions, and the shape of an item for it."""
    dimensions, transposed = draw(st.sampled_from([1, 2])), draw(st.booleans())
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 20))
    numbers = st.tuples(*[st.integers(1, 3)] * dimensions)
    kernel = draw(st.tuples(*[st.integers(1, 4)] * dimensions))
    stride, dilation = draw(numbers), draw(numbers)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, 3)) for _ in range(dimensions))
    options = {"stride": stride, "dilation": dilation, "groups": groups, "bias": draw(st.booleans())}
    if transposed:
        most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
        options["output_padding"] = tuple(draw(st.integers(0, size)) for size in most)
        least = [(2 * p - r) // s + 2 for p, r, s in zip(padding, reach, stride, strict=True)]
        maker = [nn.ConvTranspose1d, nn.ConvTranspose2d][dimensions - 1]
    else:
        least = [r + 1 - 2 * p for r, p in zip(reach, padding, strict=True)]
        maker = [nn.Conv1d, nn.Conv2d][dimensions - 1]
        if stride == (1,) * dimensions and draw(st.booleans()):
            padding = draw(st.sampled_from(["same", "valid"]))
            least = [r + 1 for r in reach]
    size = tuple(max(1, small) + draw(st.integers(0, 12)) for small in least)
    return maker(inputs, outputs, kernel, padding=padding, **options), (inputs, *size)


@given(convolutions(), st.sampled_from([1.0, 0.5, 0.1]), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_any_convolution_is_right(configuration, density, seed):
    layer, shape = configuration
    torch.manual_seed(seed)
    with torch.no_grad():
        layer.weight.normal_().mul_(torch.rand(layer.weight.shape) < density)
    x = torch.randn(2, *shape)
    runtime = sparbor.deploy(layer, x, weights="exact")
    with torch.no_grad():
        torch.testing.assert_close(runtime(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Conv2d(12, 40, 3, groups=2), nn.ConvTranspose2d(12, 40, 3, 2, groups=2)])
def test_masks_of_grouped_convolutions_keep_their_places(layer):
    torch.manual_seed(0)
    keep = torch.rand(layer.weight.shape) < 0.1
    model = Function(lambda x, masked: masked(x), Masked(layer, keep))
    x = torch.randn(2, 12, 9, 9)
    runtime = assert_deploys(model, x)
    packed = runtime.program.layers[runtime.describe()[0].name]
    assert isinstance(packed, SparseLayer)
    assert packed.outputs == 64
    _, mask = packed.unpack()
    assert mask.sum() == packed.active == int(keep.sum())
    assert not mask[~real_rows(40, 2)].any()
    assert (packed.padding & packed.lanes(real_rows(40, 2))).any()


@pytest.mark.parametrize("layer", [nn.Conv2d(64, 40, 3, groups=2), nn.ConvTranspose2d(64, 40, 3, 2, groups=2)])
def test_slot_shaped_masks_of_grouped_convolutions_are_not_padded(layer):
    torch.manual_seed(0)
    module = sparbor.PAINeuronModule(layer, sparsity=0.8)
    module.set_mode("d")
    runtime = assert_deploys(module, torch.randn(2, 64, 9, 9))
    packed = next(iter(runtime.program.layers.values()))
    assert packed.active == int(module.mask.sum())
    assert not (packed.padding & packed.lanes(real_rows(40, 2))).any()


class Masked(nn.Module):
    """A layer whose weight is multiplied by a mask as it runs."""

    def __init__(self, layer, keep):
        super().__init__()
        self.layer = layer
        self.register_buffer("keep", keep)

    def forward(self, x):
        return torch.func.functional_call(self.layer, {"weight": self.layer.weight * self.keep}, (x,))


def conv(outputs: int = 8, kernel: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(8, outputs, kernel, padding=kernel // 2, **options)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, a, b: F.relu(a(x) + b(x)), ["convolution", "convolution", "add"]),
        (lambda x, a, b: torch.cat([a(x), x, b(x)], 1), ["convolution", "convolution", "concat"]),
        (lambda x, a, b: torch.cat([x, x], -3), ["concat"]),
        (lambda x, a, b: F.max_pool2d(a(x), 3, 2, 1, ceil_mode=True), ["convolution", "max_pool"]),
        (lambda x, a, b: F.avg_pool2d(a(x), 3, 2, 1, ceil_mode=True), ["convolution", "average_pool"]),
        (lambda x, a, b: F.avg_pool2d(x, (3, 2), 2, 1, count_include_pad=False), ["average_pool"]),
        (lambda x, a, b: F.avg_pool2d(x, 3, divisor_override=2), ["average_pool"]),
        (lambda x, a, b: F.max_pool2d(x, 2, 1, dilation=3), ["max_pool"]),
        (lambda x, a, b: F.adaptive_avg_pool2d(x, (3, 5)), ["adaptive_average_pool"]),
        (lambda x, a, b: F.adaptive_avg_pool2d(a(x), (9, 11)), ["convolution"]),
        (lambda x, a, b: F.adaptive_max_pool2d(x, (4, None)), ["adaptive_max_pool"]),
        (lambda x, a, b: a(x).mean((2, 3)), ["convolution", "adaptive_average_pool", "reshape"]),
        (lambda x, a, b: x.mean([-1, -2], keepdim=True), ["adaptive_average_pool"]),
        (lambda x, a, b: x.flatten(2).amax(-1), ["reshape", "adaptive_max_pool", "reshape"]),
        (lambda x, a, b: F.layer_norm(x, (9, 11)), ["reshape", "layer_norm", "reshape"]),
        (lambda x, a, b: F.linear(x, torch.eye(11)).softmax(-1), ["linear", "softmax"]),
        (lambda x, a, b: a(x).flatten(1).relu(), ["convolution", "reshape"]),
        (lambda x, a, b: x.flatten(1).view(-1, 8, 9, 11).relu(), ["activation"]),
        (lambda x, a, b: a(F.pad(x, (1, 2, 0, 3))), ["convolution"]),
        (lambda x, a, b: torch.cat([a(x), F.pad(x, (0, 0, 0, 0))], 1), ["convolution", "concat"]),
        (lambda x, a, b: F.hardswish(a(x) * 2 - 1), ["convolution"]),
        (lambda x, a, b: 1 - x / torch.arange(1.0, 9).view(8, 1, 1), ["scale_shift"]),
        (lambda x, a, b: -(x + torch.arange(11.0)), ["scale_shift", "scale_shift"]),
        (lambda x, a, b: x * torch.arange(8 * 99.0).view(1, 8, 9, 11), ["reshape", "scale_shift", "reshape"]),
        (lambda x, a, b: a(x) - b(x), ["convolution", "convolution", "subtract"]),
        (lambda x, a, b: torch.add(x, a(x), alpha=0.5), ["convolution", "add"]),
        (lambda x, a, b: (lambda y: y.relu_() + y)(a(x)), ["convolution", "add"]),
    ],
)
def test_operations_between_convolutions(function, expected):
    torch.manual_seed(0)
    model = Function(function, conv(), conv(bias=False))
    assert kinds(assert_deploys(model, torch.randn(3, 8, 9, 11))) == expected


@given(st.lists(st.sampled_from(["conv", "depthwise", "norm", "pool", "add", "concat", "relu"]), max_size=8), st.data())
@settings(deadline=None, max_examples=15)
def test_random_graphs_with_residuals_and_concatenation(steps, data):
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    layers = nn.ModuleList(
        conv() if step == "conv" else conv(groups=8) if step == "depthwise" else nn.BatchNorm2d(8) for step in steps
    )
    sources = [data.draw(st.integers(0, number)) for number in range(len(steps))]
    narrow = nn.Conv2d(16, 8, 1)

    def run(x, *_):
        values = [x]
        for step, layer, source in zip(steps, layers, sources, strict=True):
            x, other = values[-1], values[source]
            if step in ("conv", "depthwise", "norm"):
                x = layer(other)
            elif step == "pool":
                x = F.max_pool2d(x, 3, 1, 1)
            elif step == "add":
                x = x + other
            elif step == "concat":
                x = narrow(torch.cat([x, other], 1))
            else:
                x = F.relu(other)
            values.append(x)
        return values[-1] + values[0]

    assert_deploys(Function(run, *layers, narrow).eval(), torch.randn(2, 8, 6, 7), 1e-4)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Function(lambda x, a: F.conv2d(x, a(x)), conv()), "is a convolution with a computed weight"),
        (Function(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)), "such as indices"),
        (nn.Sequential(nn.Flatten(2), nn.MaxPool2d(2)), r"pools what has shape \('batch', 8, 99\)"),
        (nn.ConvTranspose3d(8, 4, 3), r"items of shape \(8, 9, 11\)"),
        (nn.Conv2d(4, 8, 3), r"items of shape \(8, 9, 11\): .*to have 4 channels, but got 8"),
    ],
)
def test_what_the_engine_has_not_is_named(model, text):
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(model, torch.randn(2, 8, 9, 11))
