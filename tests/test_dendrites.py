"""Grown dendrites as modules: what they compute, in PyTorch and on the engine, unwrapped, copied and counted."""

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparbor
from bench.job.measure import parameter_counts
from sparbor import PAINeuronModule, Unstructured
from sparbor.errors import StateError
from sparbor.nn.dendrites import Dendrite, Dendrites, GrownLayer, regrow, ungrown_parameters, why_not_growable

torch.set_num_threads(1)

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(40, 33), (3, 40)),
    "linear over positions, no bias": (lambda: nn.Linear(40, 33, bias=False), (3, 5, 40)),
    "conv1d": (lambda: nn.Conv1d(6, 20, 3, stride=2, padding=1), (3, 6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 20, (3, 2), dilation=2, padding="same"), (3, 6, 9, 8)),
    "conv2d unbatched": (lambda: nn.Conv2d(6, 20, 3), (6, 9, 8)),
    "grouped conv2d": (lambda: nn.Conv2d(6, 32, 3, groups=2, padding=1, padding_mode="circular"), (3, 6, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 16, 2), (3, 2, 4, 4, 4)),
    "transposed conv1d": (lambda: nn.ConvTranspose1d(6, 20, 3, stride=2, output_padding=1), (3, 6, 5)),
    "transposed conv2d": (lambda: nn.ConvTranspose2d(6, 32, 3, stride=2, groups=2), (3, 6, 5, 4)),
}


def grown(layer: nn.Module, generations: int = 3, count: int = 3) -> PAINeuronModule:
    """A layer with dendrites that are heard, all of it sparse."""
    module = PAINeuronModule(layer, "main", sparsity=0.5)
    random = torch.Generator().manual_seed(1)
    module.dendrites = Dendrites([Dendrite(module, number, random) for number in range(generations)])
    module.dendrites.grow_to(count)
    for part in module.modules():
        if isinstance(part, PAINeuronModule):
            part.sparsity = 0.5
            part.set_mode("d")
        if isinstance(part, Dendrite):
            nn.init.normal_(part.strength, generator=random)
    return module


def computed(module: PAINeuronModule, x: Tensor, count: int) -> Tensor:
    """The formula, with functions of PyTorch."""

    def apply(layer: PAINeuronModule, x: Tensor) -> Tensor:
        plain = copy.deepcopy(cast(nn.Module, layer.main_module))
        plain.weight.data *= layer.mask  # type: ignore[operator, union-attr]
        return plain(x)  # type: ignore[no-any-return]

    y = apply(module, x)
    at = 1 - cast(Tensor, module.weight).dim()  # where the neurons are
    outputs: list[Tensor] = []
    for dendrite in list(module.dendrites)[:count]:
        inner = apply(dendrite.inputs, x)
        if outputs:
            inner = inner + apply(dendrite.earlier, torch.cat(outputs, dim=at))
        outputs.append(inner.tanh())
        y = y + dendrite.strength * outputs[-1]
    return y


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_it_computes_the_formula(kind: str, count: int) -> None:
    build, shape = LAYERS[kind]
    module = grown(build(), count=count)
    x = torch.randn(shape)
    torch.testing.assert_close(module(x), computed(module, x, count))
    assert torch.equal(copy.deepcopy(module)(x), module(x))


def test_a_transposed_convolution_hands_its_output_size_on() -> None:
    module = grown(nn.ConvTranspose2d(6, 20, 3, stride=2))
    assert module(torch.randn(1, 6, 5, 5), output_size=[12, 12]).shape == (1, 20, 12, 12)


def test_what_has_not_grown_has_no_gradient() -> None:
    module = grown(nn.Linear(40, 33), generations=3, count=1)
    module(torch.randn(2, 40)).sum().backward()
    have = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert have == {
        "main_module.weight",
        "main_module.bias",
        "dendrites.0.strength",
        "dendrites.0.inputs.main_module.weight",
        "dendrites.0.inputs.main_module.bias",
    }
    ungrown = ungrown_parameters(module)
    assert {name for name, p in module.named_parameters() if id(p) not in ungrown} == have


def test_making_them_draws_no_random_numbers_of_the_users() -> None:
    module = PAINeuronModule(nn.Conv2d(6, 20, 3), "main")
    before = torch.get_rng_state()
    made = [Dendrite(module, 1, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    weights = [dendrite.inputs.weight for dendrite in made]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].abs().max() <= 54**-0.5
    assert made[0].earlier.weight.abs().max() <= 20**-0.5


def test_they_are_of_the_layers_type() -> None:
    module = grown(nn.Linear(40, 33, dtype=torch.float64))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}


def test_state_dicts_carry_how_many_have_grown() -> None:
    module, other = grown(nn.Linear(40, 33), count=2), grown(nn.Linear(40, 33), count=0)
    other.load_state_dict(module.state_dict())
    x = torch.randn(4, 40)
    assert torch.equal(other(x), module(x))
    assert other.dendrites.count == 2
    with pytest.raises(StateError, match=r"the state dict is damaged: 7 generations of dendrites have grown of 3"):
        other.load_state_dict({**module.state_dict(), "dendrites.grown": torch.tensor(7)})


@pytest.mark.parametrize("kind", ["linear", "conv2d", "transposed conv2d"])
@pytest.mark.parametrize("count", [0, 2])
def test_unwrapping_keeps_the_dendrites(kind: str, count: int) -> None:
    build, shape = LAYERS[kind]
    model = nn.Sequential(grown(build(), count=count), nn.ReLU())
    x = torch.randn(shape)
    expected, main = model(x), model[0].main_module
    plain = sparbor.unwrap(model)
    assert torch.equal(plain(x), expected)
    assert not any(isinstance(part, PAINeuronModule) for part in plain.modules())
    assert not any(parameter._backward_hooks for parameter in plain.parameters())
    if count == 0:
        assert model[0] is main, "and what has not grown leaves no trace"
        return
    assert isinstance(model[0], GrownLayer)
    assert model[0].weight is main.weight
    assert len(cast(Dendrites, model[0].dendrites)) == count
    again = regrow(nn.Sequential(build(), nn.ReLU()), plain.state_dict())
    again.load_state_dict(plain.state_dict())
    assert torch.equal(again(x), expected)
    with pytest.raises(AttributeError):
        _ = model[0].colour


def test_unwrapping_goes_by_what_grew_and_not_by_names() -> None:
    """A user's own module may be called dendrites."""
    inner = nn.ModuleDict({"dendrites": nn.ModuleList([PAINeuronModule(nn.Linear(4, 4), "mine")])})
    sparbor.unwrap(nn.Sequential(inner))
    assert isinstance(inner["dendrites"][0], nn.Linear)  # type: ignore[index]


class Scaled(nn.Linear):
    """A layer that computes more than the one it inherits from."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * F.linear(x, self.weight, self.bias)


def test_subclasses_do_not_grow() -> None:
    assert why_not_growable(nn.Linear(3, 3)) is None
    assert why_not_growable(Scaled(3, 3)) == (
        "not a Linear, Conv1d/2d/3d or ConvTranspose1d/2d/3d layer itself, but a Scaled"
    )


def test_counts() -> None:
    model = nn.Sequential(grown(nn.Linear(40, 32), generations=3, count=2), nn.Linear(32, 2))
    counts = parameter_counts(model)
    weights = {"main": 1280, "main.dendrites.0.inputs": 1280, "main.dendrites.1.inputs": 1280} | {
        "main.dendrites.1.earlier": 1024
    }
    assert {layer["name"]: layer["weights"] for layer in counts["layers"]} == weights
    assert counts["total_parameters"] == sum(weights.values()) + 3 * 32 + 2 * 32 + 66
    assert counts["active_parameters"] == counts["total_parameters"] - sum(weights.values()) // 2
    assert counts["weight_bytes"] == 4 * counts["total_parameters"]
    assert counts["sparsity"] == 1 - sum(weights.values()) / 2 / 1280


# On the engine.


def network(kind: str, count: int) -> tuple[nn.Module, Tensor]:
    if kind == "mlp":
        layers = [grown(nn.Linear(70, 48), count=count), nn.ReLU(), grown(nn.Linear(48, 10), count=count)]
        return nn.Sequential(*layers), torch.randn(5, 70)
    if kind == "sequence":
        return nn.Sequential(grown(nn.Conv1d(6, 20, 3, stride=2), count=count), nn.GELU()), torch.randn(5, 6, 21)
    if kind == "decoder":
        return nn.Sequential(grown(nn.ConvTranspose2d(6, 20, 3, stride=2), count=count)), torch.randn(5, 6, 5, 5)
    return nn.Sequential(
        grown(nn.Conv2d(3, 32, 3, padding=1), count=count),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        grown(nn.Conv2d(32, 32, 3, groups=2), count=count),
        nn.Flatten(),
        grown(nn.Linear(512, 10), count=count),
    ).eval(), torch.randn(5, 3, 12, 12)


@pytest.mark.parametrize("weights", ["exact", "word16"])
@pytest.mark.parametrize("kind", ["mlp", "sequence", "decoder", "cnn"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_engine_runs_them(kind: str, count: int, weights: str) -> None:
    torch.manual_seed(0)
    model, x = network(kind, count)
    for batch in (1, 5):
        runtime = sparbor.deploy(model, x[:batch], weights=weights)
        for items in (x[:1], x):
            with torch.no_grad():
                expected = model(items)
            off = (runtime(items) - expected).norm() / expected.norm()
            assert off < (1e-5 if weights == "exact" else 0.02)
    described = {layer.name: layer for layer in runtime.describe()}
    layers = [name for name, part in model.named_modules() if isinstance(part, PAINeuronModule)]
    heard = [name for name in layers if "dendrites" not in name or int(name.split(".dendrites.")[1][0]) < count]
    assert set(described) == set(heard)
    for name in heard:
        assert described[name].density == pytest.approx(0.5, abs=0.02)


def test_they_are_packed_sparse_and_their_arithmetic_is_fused() -> None:
    torch.manual_seed(0)
    module = grown(nn.Linear(256, 256), generations=2, count=2)
    for part in module.modules():
        if isinstance(part, PAINeuronModule):
            part.set_mode("n")
            part.sparsity = 0.9
            part.set_mode("d")
    program = sparbor.deploy(nn.Sequential(module, nn.ReLU()), torch.randn(1, 256)).program
    assert {layer.name: layer.kind for layer in sparbor.Runtime(program).describe()} == {
        "0": "sparse",
        "0.dendrites.0.inputs": "sparse",
        "0.dendrites.1.inputs": "sparse",
        "0.dendrites.1.earlier": "sparse",
    }
    done = sorted((each.kind, each.activation.name if each.activation else "") for each in program.operations)
    assert done == [
        ("add", ""),  # of the first generation
        ("add", "relu"),
        ("add", "tanh"),  # of what the second reads
        ("linear", ""),
        ("linear", ""),
        ("linear", ""),
        ("linear", "tanh"),
        ("scale_shift", ""),
        ("scale_shift", ""),
    ]


def test_what_has_not_grown_leaves_no_trace_on_the_engine(tmp_path: Any) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48)
    with_them, without = grown(copy.deepcopy(layer), count=0), PAINeuronModule(layer, "main", sparsity=0.5)
    without.set_mode("d")
    files = []
    for name, module in (("with", with_them), ("without", without)):
        sparbor.deploy(nn.Sequential(module), torch.randn(1, 64)).save(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_unwrapped_models_run_on_the_engine_as_they_did() -> None:
    torch.manual_seed(0)
    model, x = network("cnn", 2)
    runtime = sparbor.deploy(model, x, weights="exact")
    plain = sparbor.deploy(sparbor.unwrap(copy.deepcopy(model)), x, weights="exact")
    assert torch.equal(runtime(x), plain(x))
    assert [layer.name for layer in plain.describe()] == [layer.name for layer in runtime.describe()]


def test_other_patterns() -> None:
    module = PAINeuronModule(nn.Conv2d(8, 8, 3, groups=8), "depthwise", sparsity=0.5, pattern=Unstructured())
    dendrite = Dendrite(module, 1, torch.Generator())
    assert isinstance(dendrite.inputs.pattern, Unstructured)
    assert isinstance(dendrite.earlier.pattern, Unstructured)
