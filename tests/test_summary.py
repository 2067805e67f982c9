"""What print(perforator) says of a model's layers."""

from typing import Any

import pytest
import torch
from torch import nn

import sparbor
from sparbor import Recipe
from sparbor.recipe.budget import Budget

torch.set_num_threads(1)

OTHER = "no: not a Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d or MultiheadAttention layer"


def lines(model: nn.Module, recipe: Recipe, steps: int = 0, **options: Any) -> list[str]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=10, **options)
    for _ in range(steps):
        optimizer.step()
    return str(perforator).splitlines()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(256, 64), nn.BatchNorm1d(64), nn.Linear(64, 2))


def test_each_layer_with_the_density_that_it_aims_at() -> None:
    recipe = Recipe(sparsity=0.5, distribution="uniform")
    assert lines(network(), recipe)[:-1] == [
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
    said = lines(Branches(layers), Recipe(sparsity=0.5), storage="compact")
    assert said[1 + layers :] == [
        f"the neurons of {who} stay in order: torch.fx cannot trace the model's code, so which layers read these"
        " neurons is not known",
        f"the weights of {who} stay masked: it has only 256",
    ]
