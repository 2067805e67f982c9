"""`deploy(weights="int8")`: which layers get 8 bits, and how far answers move, on every kernel set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sparbor
from bench.inference import models
from sparbor import Recipe, Schedule
from sparbor.cli.program import main
from sparbor.engine.runtime import kernel_sets
from sparbor.program.model_file import to_bytes
from sparbor.recipe.pattern import Pattern, Quads, Slots, Unstructured
from tests.deploying import relative_error


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(200, 96), nn.ReLU(), nn.Linear(96, 64), nn.GELU(), nn.Linear(64, 48))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1152, 64))


def encoder() -> nn.Module:
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2, enable_nested_tensor=False
    )


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.lstm(x)[0]
        return answer


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "perceptron": (perceptron, (200,), ["int8"] * 3),
    "convolutional": (convolutional, (2, 14, 14), ["16 bits", "int8"]),
    "encoder": (encoder, (9, 64), ["int8"] * 8),
    "recurrent": (Recurrent, (11, 64), ["int8"] * 2),
}


def trained(build: Callable[[], nn.Module], x: Tensor, pattern: Pattern) -> nn.Module:
    """Sparse, at 80 %, after three steps."""
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    recipe = Recipe(sparsity=0.8, pattern=pattern, schedule=Schedule(warmup=0, ramp_end=0, interval=1))
    sparbor.perforate(model, optimizer, recipe, total_steps=3)
    for _ in range(3):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.parametrize(
    "pattern", [Quads(), Slots(), Slots(branch=64), Unstructured()], ids=["quads", "slots", "long slots", "no slots"]
)
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_nearly_those_of_the_model(
    name: str, pattern: Pattern, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, shape, stored = MODELS[name]
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))
    model = trained(build, x, pattern)
    with torch.no_grad():
        wanted = model(x)
    runtime = sparbor.deploy(model, x[:2], weights="int8")
    assert [layer.weights if layer.weights == "int8" else "16 bits" for layer in runtime.describe()] == stored
    runtime.save(tmp_path / "model.safetensors")
    assert torch.equal(sparbor.load(tmp_path / "model.safetensors")(x), runtime(x))
    for isa in kernel_sets():
        monkeypatch.setenv("SPARBOR_ISA", isa)
        assert 1e-5 < relative_error(sparbor.load(tmp_path / "model.safetensors")(x), wanted) < 0.03


def test_each_row_is_rounded_by_itself() -> None:
    """So a row's answer is the same whatever stands beside it, in bits."""
    x = torch.randn(13, 200, generator=torch.Generator().manual_seed(1))
    runtime = sparbor.deploy(trained(perceptron, x, Slots()), x, weights="int8")
    together = runtime(x * torch.logspace(-3, 3, 13)[:, None])
    alone = [runtime(row[None] * 10.0**power) for row, power in zip(x, torch.linspace(-3, 3, 13).tolist(), strict=True)]
    assert relative_error(torch.cat(alone), together) < 1e-5
    assert torch.equal(torch.cat([runtime(row[None]) for row in x]), runtime(x))


def test_a_dense_model_has_8_bits_too() -> None:
    torch.manual_seed(0)
    model, x = perceptron().eval(), torch.randn(7, 200)
    runtime = sparbor.deploy(model, x, weights="int8")
    assert [(layer.kind, layer.weights) for layer in runtime.describe()] == [("dense", "int8")] * 3
    with torch.no_grad():
        assert 1e-4 < relative_error(runtime(x), model(x)) < 0.02


def test_sums_that_may_not_fit_have_16_bits() -> None:
    wide = nn.Linear(70_000, 8)
    nn.init.ones_(wide.weight)
    (layer,) = sparbor.deploy(wide, torch.rand(1, 70_000), weights="int8").describe()
    assert layer.weights == "halves"
    assert "with a fan-in of 70000, a neuron's 8-bit weights add up to 8,890,000" in layer.why


@pytest.mark.parametrize("calibrated", [False, True], ids=["rows", "calibrated"])
@pytest.mark.parametrize("masks", ["quads", "varying"])
@pytest.mark.parametrize("name", ["seed-mlp", "seed-cnn"])
def test_8_bits_take_no_more_bytes_than_16_or_inspect_says_so(
    name: str, masks: str, calibrated: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masks of quads fill quads; those of slots do not, and are padded."""
    model, x = models.dendritic(name, 0.9, masks), models.example(name, 2)
    words = sparbor.deploy(model, x)
    runtime = sparbor.deploy(model, x, weights="int8", calibration=[x] if calibrated else None)
    eight, sixteen = ({layer.name: layer.bytes for layer in each.describe()} for each in (runtime, words))
    larger = [layer for layer in eight if eight[layer] > sixteen[layer]]
    assert bool(larger) == (masks == "varying")
    runtime.save(tmp_path / "model.safetensors")
    assert masks == "varying" or len(to_bytes(runtime.program)) < len(to_bytes(words.program))
    main(["inspect", str(tmp_path / "model.safetensors")])
    said = [line for line in capsys.readouterr().out.splitlines() if "16 bits would take" in line]
    assert [line.split()[0] for line in said] == larger
    for line, layer in zip(said, larger, strict=True):
        assert f"16 bits would take {sixteen[layer]:,} bytes" in line
