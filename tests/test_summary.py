"""What print(perforator) says of a model's layers."""

import re
from typing import Any

import pytest
import torch
from torch import nn

import sparbor
from sparbor import Recipe
from sparbor.recipe.budget import Budget

torch.set_num_threads(1)

OTHER = "no: not a Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d or MultiheadAttention layer"


def lines(
    model: nn.Module, recipe: Recipe, steps: int = 0, batch: torch.Tensor | None = None, **options: Any
) -> list[str]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=10, **options)
    if batch is not None:
        model(batch)
    for _ in range(steps):
        optimizer.step()
    return str(perforator).splitlines()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(256, 64), nn.BatchNorm1d(64), nn.Linear(64, 2))


def test_each_layer_with_the_density_that_it_aims_at() -> None:
    recipe = Recipe(sparsity=0.5, distribution="uniform")
    assert lines(network(), recipe)[:4] == [
        "layer  kind         parameters  aims at  density  dendritic",
        "0      Linear           16,448     50 %    100 %  yes",
        f"1      BatchNorm1d         128                    {OTHER}",
        "2      Linear              130     50 %    100 %  yes",
    ]


def test_after_training_the_density_that_it_has() -> None:
    assert [
        line.split()[4:8] for line in lines(network(), Recipe(sparsity=0.5, distribution="uniform"), 10)[1:4:2]
    ] == [
        ["%", "50", "%", "yes"],
        ["%", "50", "%", "yes"],
    ]


def test_a_layer_that_keeps_all_of_its_weights_says_so() -> None:
    said = lines(network(), Recipe(sparsity=0.8))
    assert said[1] == "0      Linear           16,448   19.4 %    100 %  yes"
    assert said[3] == "2      Linear              130    100 %    100 %  yes, but it keeps all of its weights (erk)"
    said = lines(network(), Recipe(sparsity=0.0))
    assert said[1].endswith("100 %    100 %  yes, but it keeps all of its weights (sparsity=0)")


def test_what_layers_share_is_said_of_all() -> None:
    said = lines(network(), Recipe(sparsity=0.8, distribution="global"))
    assert said[1] == "0      Linear           16,448   shared    100 %  yes"
    assert (
        said[4] == "the layers keep 20 % of their weights together: how dense each becomes is decided while they train"
    )
    model = network()
    recipe = sparbor.calibrated(Recipe(budget=Budget(multiply_adds=2000)), model, torch.randn(1, 256))
    said = lines(model, recipe)
    assert said[1] == "0      Linear           16,448   shared    100 %  yes"
    assert said[4] == "the layers share Budget(multiply_adds=2000): how dense each becomes is decided while they train"


class Branches(nn.Module):
    """Its forward cannot be traced."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x) if x.sum() > 0 else x
        return x


@pytest.mark.parametrize(
    ("layers", "who"), [(1, "layers.0"), (3, "each of layers.0, layers.1 and layers.2"), (70, "each of 70 layers")]
)
def test_what_is_said_of_many_layers_is_said_once(layers: int, who: str) -> None:
    said = lines(Branches(layers), Recipe(sparsity=0.9), batch=torch.zeros(2, 16), storage="compact")
    assert re.sub(r"line \d+ of", "line 9 of", said[1 + layers]) == (
        f"the neurons of {who} stay in order: torch.export cannot trace the model's code (what it does depends on the"
        " values of a tensor (line 9 of test_summary.py, in forward)), so what reads these neurons is not known"
    )
    assert said[2 + layers :] == [
        f"the weights of {who} stay masked: it has only 256",
    ]


def test_layers_that_end_dense_are_named_with_the_reason() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.BatchNorm2d(32),
        nn.Conv2d(32, 32, 3, groups=32),
        nn.Conv2d(32, 32, 1),
        nn.Flatten(),
        nn.Linear(32 * 16, 64),
        nn.Linear(64, 16),
    )
    recipe = Recipe(sparsity=0.1, distribution="uniform", exclude=("6",))
    said = [line for line in lines(model, recipe) if "will be stored dense" in line]
    assert said[::2] == [
        "2 will be stored dense: 1 outputs in each convolution group, a slot needs 16",
        "6 will be stored dense: excluded by the recipe",
    ]
    assert re.fullmatch(
        r"5 will be stored dense: this machine runs it faster so above \d+ % of its weights, and it aims at more",
        said[1],
    )
    known = lines(sparbor.unwrap(model), recipe, batch=torch.zeros(2, 3, 8, 8))
    faster = [line.partition(" will be")[0] for line in known if "faster" in line]
    assert set(re.findall(r"\d", "".join(faster))) == {"0", "3", "5"}, "the sizes of planes are known now"


def test_layers_that_keep_all_weights_end_dense() -> None:
    said = lines(network(), Recipe(sparsity=0.8))
    assert "2 will be stored dense: it keeps all of its weights (erk)" in said
    assert not any(line.startswith("1 ") and "stored" in line for line in said), "a batch norm has no synapses"
