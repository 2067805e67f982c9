"""Neurons in another order: training sees it, the model computes what it did, and a deployed copy is packed by it."""

import copy
import logging

import pytest
import torch
from torch import Tensor, nn

import sparbor
from bench.job.models import TASKS
from sparbor.errors import ArgumentError
from sparbor.lower.call import call_of
from sparbor.lower.chains import chains
from sparbor.lower.permuted_copy import permuted
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import Slots
from sparbor.recipe.recipe import Recipe
from sparbor.topology.units import slot_counts
from sparbor.train.permute_neurons import NOT_YET, permute_neurons
from tests.networks import NETWORKS, VGG
from tests.test_chains import Activated

torch.set_num_threads(1)


def wrapped(model: nn.Module, sparsity: float = 0.8) -> nn.Module:
    torch.optim.SGD(model.parameters(), lr=0.1)
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), lr=0.0), Recipe(sparsity=sparsity), total_steps=30)
    return model


def transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(4, 32, 3),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 20, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(20, 3, 1),
    )


def activated() -> nn.Sequential:
    """A batch norm with an activation within, and a depthwise convolution."""
    norm = Activated(32)
    norm.act = nn.LeakyReLU()
    depthwise = nn.ConvTranspose2d(32, 32, 3, groups=32)
    return nn.Sequential(nn.Conv2d(4, 32, 1), norm, depthwise, nn.BatchNorm2d(32), nn.Conv2d(32, 16, 1))


MODELS = {
    "mlp": (lambda: TASKS["mnist"].build(), (3, 28, 28)),
    "cnn": (lambda: TASKS["cifar10"].build(), (3, 3, 32, 32)),
    "vgg": (lambda: VGG([32, "M", 48], batch_norm=True), (3, 3, 32, 32)),
    "transposed": (transposed, (2, 4, 5, 5)),
    "mobilenetv2": (NETWORKS["mobilenetv2"][0], (2, *NETWORKS["mobilenetv2"][1])),
    "activated": (activated, (2, 4, 6, 6)),
    "attention": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu"), 2, enable_nested_tensor=False
        ),
        (2, 5, 32),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_permuted_copy_computes_the_same_with_the_same_masks(name: str) -> None:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model, x = wrapped(build()).eval(), torch.randn(shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (*module.parameters(), module.running_mean, module.running_var):
                values.data.uniform_(0.5, 2)
    found = chains(model, (x,)).found
    assert found
    permute_neurons(found)
    for layer in model.modules():
        if isinstance(layer, PAINeuronModule):
            layer.set_mode("d")
    before = copy.deepcopy(model.state_dict())
    moved = permuted(model, call_of(model, x))
    assert moved is not model
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    torch.testing.assert_close(moved(x), model(x), rtol=1e-4, atol=1e-5)
    for old, new in zip(layers_of(model), layers_of(moved), strict=True):
        assert old.active_weights() == new.active_weights()
        natural = new.to_matrix(new.mask)[new.neuron_order.argsort()][:, new.input_order.argsort()]
        assert torch.equal(natural, old.to_matrix(old.mask)), "the copy's weights lie as patterns see the original's"
        assert slots_needed(natural) == slots_needed(old.to_matrix(old.mask))


def layers_of(model: nn.Module) -> list[PAINeuronModule]:
    return [module for module in model.modules() if isinstance(module, PAINeuronModule)]


def slots_needed(matrix: Tensor) -> int:
    return int(slot_counts(matrix, Slots()).sum())


def test_a_model_in_its_own_order_is_not_copied() -> None:
    model = wrapped(TASKS["mnist"].build())
    assert permuted(model, call_of(model, torch.randn(1, 28, 28))) is model


def trained(model: nn.Module) -> nn.Module:
    """Past the switch to dendrite mode, its neurons in another order."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    sparbor.perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=12)
    for _ in range(12):
        model(torch.randn(8, 64)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_a_weight_that_is_put_in_anew_is_named_and_nothing_else_is_said(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A copy of the model would mask it, where the model itself does not; deploying says what is wrong."""
    torch.manual_seed(0)
    model = trained(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16)))
    layer = layers_of(model)[1]
    layer.main_module.weight = nn.Parameter(torch.randn(16, 32))
    with pytest.raises(ArgumentError, match=r"^layer '2': \d+ weights that its mask drops are not zero[^\n]*$"):
        sparbor.deploy(model, torch.randn(1, 64))
    layer.apply_mask()
    x = torch.randn(5, 64)
    torch.testing.assert_close(sparbor.deploy(model, x, weights="exact")(x), model(x), rtol=1e-4, atol=1e-5)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_training_permutes_neurons_at_the_switch_and_deploying_packs_full_slots() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    perforator = sparbor.perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=30)
    first = model[0]
    assert isinstance(first, PAINeuronModule)
    x, y = torch.randn(64, 96), torch.randn(64, 16)
    permuted_after = []
    for _ in range(30):
        (model(x) - y).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        permuted_after.append(first.is_permuted())
    assert permuted_after == [False] * 2 + [True] * 28
    for layer in perforator.modules.values():
        assert slots_needed(layer.to_matrix(layer.mask)) * 16 == layer.active_weights()
    assert slots_needed(first.mask) * 16 > first.active_weights(), "in their own order neurons of a group differ"
    runtime = sparbor.deploy(model, x[:1], weights="exact")
    assert [layer.active for layer in runtime.describe()] == [m.active_weights() for m in perforator.modules.values()]
    natural = copy.deepcopy(model)
    for layer in layers_of(natural):
        layer.permute_neurons(torch.arange(len(layer.neuron_order)), torch.arange(len(layer.input_order)))
    longer = sparbor.deploy(natural, x[:1], weights="exact")
    assert sum(layer.bytes for layer in runtime.describe()) < sum(layer.bytes for layer in longer.describe())
    torch.testing.assert_close(runtime(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_layer_that_a_sum_reads_stays_in_order_and_the_table_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.outer(self.inner(x).relu())

    model = Residual()
    with caplog.at_level(logging.INFO, "sparbor"):
        perforator = sparbor.perforate(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=30)
        assert str(perforator).splitlines()[-1] == NOT_YET
        assert (perforator.orders.found, perforator.orders.reasons) == ([], {})
        model(torch.zeros(2, 32))
        str(perforator)
    line = "the neurons of outer stay in order: add reads it together with other values"
    assert line in str(perforator).splitlines()
    assert line in caplog.text
    assert [chain.layer for chain in perforator.orders.found] == [perforator.modules["inner"]]


def test_the_order_travels_with_the_state_dict() -> None:
    model = wrapped(TASKS["mnist"].build())
    permute_neurons(chains(model, (torch.zeros(3, 1, 28, 28),)).found)
    other = wrapped(TASKS["mnist"].build())
    other.load_state_dict(model.state_dict())
    for here, there in zip(layers_of(model), layers_of(other), strict=True):
        assert torch.equal(here.neuron_order, there.neuron_order)
        assert torch.equal(here.input_order, there.input_order)
    assert layers_of(other)[1].is_permuted()


def test_where_tracing_cannot_see_what_a_hook_does_neurons_stay(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    model[1].register_forward_hook(lambda module, inputs, output: output * torch.arange(32))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    sparbor.perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=12)
    x = torch.randn(8, 64)
    for _ in range(12):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    with caplog.at_level(logging.WARNING, "sparbor"):
        assert permuted(model.eval(), call_of(model, x)) is model
    assert caplog.messages == [
        "neurons are deployed in their own order, which takes more slots: in another one the model answers "
        "otherwise, as where a hook treats neurons one by one"
    ]


def test_a_copy_from_before_the_switch_gets_the_order_with_the_masks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    perforator = sparbor.perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=12)
    average = copy.deepcopy(model)
    for _ in range(12):
        model(torch.randn(64, 96)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for mean, now in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 0.5)
    perforator.mask_copy(average)
    x = torch.randn(5, 96)
    runtime = sparbor.deploy(average, x[:1], weights="exact")
    assert [layer.bytes for layer in runtime.describe()] == [
        layer.bytes for layer in sparbor.deploy(model, x[:1], weights="exact").describe()
    ]
    torch.testing.assert_close(runtime(x), average(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [torch.arange(31), torch.zeros(32, dtype=torch.long)])
def test_what_is_not_an_order_is_refused(order: Tensor) -> None:
    layer = PAINeuronModule(nn.Linear(8, 32), "hidden")
    with pytest.raises(
        ArgumentError, match=r"an order of layer 'hidden' has shape .*: it must hold each of the numbers 0 to 31 once"
    ):
        layer.permute_neurons(neurons=order)
