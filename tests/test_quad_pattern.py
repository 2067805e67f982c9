"""Masks of quads on whole layers: where they lie in a convolution's weight, and that they pack without padding."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import sparbor
from sparbor import PAINeuronModule, Quads, Recipe, Schedule
from sparbor.lower.call import call_of
from sparbor.lower.chains import chains
from sparbor.lower.permuted_copy import permuted
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.reading_order import ReadingOrder
from sparbor.train.permute_neurons import permute_neurons

torch.set_num_threads(1)

CONVOLUTIONS = {
    "1x1": lambda: nn.Conv2d(96, 32, 1),
    "3x3": lambda: nn.Conv2d(24, 40, 3),
    "a fan-in below four": lambda: nn.Conv1d(3, 32, 1),
    "along a line": lambda: nn.Conv1d(30, 32, 5),
    "in space": lambda: nn.Conv3d(9, 32, (2, 3, 4)),
    "dilated": lambda: nn.Conv2d(70, 32, 3, dilation=2),
    "dilated along the columns alone": lambda: nn.Conv2d(24, 32, 3, dilation=(2, 1)),
    "grouped": lambda: nn.Conv2d(48, 64, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(24, 32, 3),
    "transposed, grouped": lambda: nn.ConvTranspose2d(48, 64, 3, groups=2),
}
DILATED = {"dilated"}  # along kernel rows


def branches(row: Tensor) -> Tensor:
    """How many synapses each neuron (the rows) has on each branch of this row of inputs, where that is no rest."""
    rest = torch.tensor([part.shape[1] % 4 and part.sum(1).eq(part.shape[1]).all() for part in row.split(64, 1)])
    counts = torch.stack([part.sum(1) for part in row.split(64, 1)], 1)
    assert ((counts % 4 == 0) | rest).all(), "a multiple of four, or all there are"
    return counts


def assert_quads(mask: Tensor, groups: int = 1, dilated: bool = False) -> None:
    """Of a convolution's mask, outputs first: all neurons of a block have equally many synapses on each branch."""
    kernels = mask.reshape(*mask.shape[:2], -1, mask.shape[-1])  # a row of the kernel in each step of the third axis
    for neurons in (block for part in kernels.chunk(groups) for block in part.split(16)):
        rows = [neurons[:, :, number].transpose(1, 2) for number in range(neurons.shape[2])]  # column, then channel
        lines = [line for row in rows for line in (row.unbind(1) if dilated else [row.flatten(1)])]
        for line in lines:
            counts = branches(line)
            assert (counts == counts[0]).all()


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolutions_quads_lie_on_what_is_read_from_one_place(name: str) -> None:
    torch.manual_seed(0)
    module = PAINeuronModule(CONVOLUTIONS[name](), name, sparsity=0.8, pattern=Quads())
    module.set_mode("d")
    mask = module.mask
    if name.startswith("transposed"):
        mask = torch.cat([part.transpose(0, 1).flip(2, 3) for part in mask.chunk(module.groups)])
    assert_quads(mask, module.groups, name in DILATED)
    assert abs(module.active_weights() - 0.2 * mask.numel()) <= 32
    assert torch.equal(module.from_matrix(module.to_matrix(module.mask)), module.mask)


def padding(layer: QuadLayer) -> int:
    return int(layer.padding.sum())


@pytest.mark.parametrize("fan_in", [3, 64, 100, 784])
def test_a_linear_layers_mask_is_packed_without_padding(fan_in: int) -> None:
    torch.manual_seed(0)
    module = PAINeuronModule(nn.Linear(fan_in, 48), "hidden", sparsity=0.9, pattern=Quads())
    module.set_mode("d")
    layer = pack_quads(module.weight.detach().numpy(), module.mask.numpy())
    rest = 64 - 64 % 4 if fan_in % 4 == 0 else 16 * 3  # a quad of the last branch may hold fewer inputs than four
    assert padding(layer) == 0 if fan_in % 4 == 0 else padding(layer) <= rest * 3
    assert layer.unpack()[1].sum() == module.active_weights()


@pytest.mark.parametrize(("channels", "size", "dilation"), [(32, 3, 1), (64, 1, 1), (24, 3, 1), (64, 3, 2)])
def test_a_convolutions_mask_is_packed_without_padding(channels: int, size: int, dilation: int) -> None:
    torch.manual_seed(0)
    module = PAINeuronModule(nn.Conv2d(channels, 48, size, dilation=dilation), "c", sparsity=0.9, pattern=Quads())
    module.set_mode("d")
    order = ReadingOrder(channels, (size, size), (dilation, dilation))
    layer = pack_quads(order.matrix(module.weight.detach().numpy()), order.matrix(module.mask.numpy()))
    assert padding(layer) == 0
    assert layer.layout.slots * 64 == module.active_weights()


def test_neurons_in_another_order_keep_their_quads() -> None:
    """The second convolution reads the neurons of the first: in a copy that has them in order, quads are whole."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 64)
    )
    recipe = Recipe(sparsity=0.8, pattern=Quads())
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), lr=0.0), recipe, total_steps=30)
    x = torch.randn(2, 8, 6, 6)
    permute_neurons(chains(model, (x,)).found)
    layers = [layer for layer in model if isinstance(layer, PAINeuronModule)]
    for layer in layers:
        layer.set_mode("d")
    assert layers[0].is_permuted()
    assert layers[1].is_permuted()
    moved = permuted(model, call_of(model, x))
    assert moved is not model
    torch.testing.assert_close(moved(x), model(x), rtol=1e-4, atol=1e-5)
    for layer in moved:
        if isinstance(layer, PAINeuronModule):
            mask = layer.mask if layer.mask.dim() == 4 else layer.mask[:, :, None, None].transpose(1, 3)
            assert_quads(mask)
    with pytest.raises(AssertionError):
        assert_quads(copy.deepcopy(layers[1]).mask)


def test_a_model_is_trained_in_quads_and_deployed_in_bytes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters())
    recipe = Recipe(sparsity=0.8, pattern=Quads(), schedule=Schedule(interval=2))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=40)
    x = torch.randn(32, 200)
    for _ in range(40):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    synapses = sum(layer.active_weights() for layer in perforator.modules.values())
    runtime = sparbor.deploy(model.eval(), x, weights="int8")
    assert sum(layer.active for layer in runtime.describe()) == synapses
    packed = runtime.program.layers.values()
    in_quads = [layer for layer in packed if isinstance(layer, QuadLayer)]
    assert len(in_quads) >= 2  # a layer that has become dense, as small ones do, has none
    assert all(padding(layer) == 0 for layer in in_quads)


class Planes(nn.Module):
    """A convolution of 48 channels whose planes of 3 x 5 a linear layer reads, called by keyword if asked to."""

    def __init__(self, by_keyword: bool) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(8, 48, 3), nn.Linear(48 * 15, 64), nn.Linear(64, 16)
        self.by_keyword = by_keyword

    def forward(self, x: Tensor) -> Tensor:
        planes = torch.relu(self.conv(x)).flatten(1)
        return self.fc2(torch.relu(self.fc1(input=planes) if self.by_keyword else self.fc1(planes)))


@pytest.mark.parametrize("weights", ["exact", "word16", "int8"])
@pytest.mark.parametrize("by_keyword", [False, True])
def test_a_linear_layer_sees_flattened_planes_channels_last(weights: str, by_keyword: bool) -> None:
    torch.manual_seed(0)
    model = Planes(by_keyword)
    optimizer = torch.optim.Adam(model.parameters())
    recipe = Recipe(sparsity=0.8, pattern=Quads(), distribution="uniform", schedule=Schedule(interval=2))
    sparbor.perforate(model, optimizer, recipe, total_steps=40)
    x = torch.randn(32, 8, 5, 7)
    for _ in range(40):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    layer = model.eval().fc1
    assert isinstance(layer, PAINeuronModule)
    channels, pixels = model.conv.neuron_order, layer.input_order.view(15, 48)
    assert torch.equal(pixels, torch.arange(15)[:, None] + 15 * channels), "pixel by pixel, the channels in their order"
    for block in layer.to_matrix(layer.mask).split(16):
        counts = branches(block)
        assert (counts == counts[0]).all()

    runtime = sparbor.deploy(model, x, weights=weights, calibration=[x] if weights == "int8" else None)
    with torch.no_grad():
        expected = model(x)
    error = torch.from_numpy(runtime(x.numpy())).sub(expected).norm() / expected.norm()
    assert error < (1e-5 if weights == "exact" else 0.05)
    packed = runtime.program.layers["fc1"]
    if isinstance(packed, QuadLayer):
        assert padding(packed) == 0
    else:
        assert weights != "int8"


def test_older_masks_of_flattened_planes_stay_as_they_are() -> None:
    """Where a layer does not remember its inputs pixel by pixel, a deployed copy has them neuron by neuron."""
    torch.manual_seed(0)
    model = Planes(False)
    recipe = Recipe(sparsity=0.8, pattern=Quads())
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), lr=0.0), recipe, total_steps=30)
    x = torch.randn(2, 8, 5, 7)
    (chain, _) = chains(model, (x,)).found
    order = torch.randperm(48)
    chain.layer.permute_neurons(neurons=order)
    moved = permuted(model.eval(), call_of(model, x))
    torch.testing.assert_close(moved.conv.weight, model.conv.weight[order])
    torch.testing.assert_close(moved.fc1.weight, model.fc1.weight.view(64, 48, 15)[:, order].flatten(1))
    torch.testing.assert_close(moved(x), model(x), rtol=1e-4, atol=1e-5)
