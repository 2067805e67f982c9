"""What print(perforator) says of a model's layers."""

import re
from typing import Any

import pytest
import torch
from torch import nn

import sparbor
from sparbor import Recipe
from sparbor.recipe.budget import Budget
from sparbor.train.summary import LayerRow

torch.set_num_threads(1)

HEADER = "layer  kind         parameters  dendritic    now  in the end  why"


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


def test_each_layer_with_its_density_now_and_in_the_end() -> None:
    recipe = Recipe(sparsity=0.9, distribution="uniform")
    assert lines(network(), recipe)[:5] == [
        HEADER,
        "0      Linear           16,448  yes        100 %        10 %",
        "1      BatchNorm1d         128  no         dense       dense  it has no matrix of weights",
        "2      Linear              130  yes        100 %        10 %",
        "2 of 3 layers are dendritic, with 16,578 of 16,706 parameters (99.2 %)",
    ]


def test_the_rows_are_data_too() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=10)
    first, norm, last = perforator.rows()
    assert (first.dendritic, first.density, first.dense_at_last, first.why) == (True, 1.0, False, "")
    assert first.final_density == pytest.approx(0.194, abs=1e-3)
    assert norm == LayerRow("1", "BatchNorm1d", 128, False, None, None, True, "it has no matrix of weights")
    why = "stored dense: it keeps all of its weights (erk)"
    assert last == LayerRow("2", "Linear", 130, True, 1.0, 1.0, True, why)
    for _ in range(10):
        optimizer.step()
    assert perforator.rows()[0].density == pytest.approx(0.194, abs=1e-3)


def test_after_training_the_density_that_it_has() -> None:
    said = lines(network(), Recipe(sparsity=0.8, distribution="uniform"), 10)
    assert said[1].endswith("yes          20 %        20 %")
    assert said[3].endswith("yes        20.3 %        20 %"), "as near as whole weights allow"


def test_a_layer_that_keeps_all_of_its_weights_says_so() -> None:
    said = lines(network(), Recipe(sparsity=0.8))
    assert said[1] == "0      Linear           16,448  yes        100 %      19.4 %"
    assert said[3].endswith("100 %       100 %  stored dense: it keeps all of its weights (erk)")
    said = lines(network(), Recipe(sparsity=0.0))
    assert said[1].endswith("100 %       100 %  stored dense: it keeps all of its weights (sparsity=0)")


def test_what_layers_share_is_said_of_all() -> None:
    said = lines(network(), Recipe(sparsity=0.8, distribution="global"))
    assert said[1] == "0      Linear           16,448  yes        100 %      shared"
    assert (
        said[5] == "the layers keep 20 % of their weights together: how dense each becomes is decided while they train"
    )
    model = network()
    recipe = sparbor.calibrated(Recipe(budget=Budget(multiply_adds=2000)), model, torch.randn(1, 256))
    said = lines(model, recipe)
    assert said[1] == "0      Linear           16,448  yes        100 %      shared"
    assert said[5] == "the layers share Budget(multiply_adds=2000): how dense each becomes is decided while they train"


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
    assert re.sub(r"line \d+ of", "line 9 of", said[2 + layers]) == (
        f"the neurons of {who} stay in order: torch.export cannot trace the model's code (what it does depends on the"
        " values of a tensor (line 9 of test_summary.py, in forward)), so what reads these neurons is not known"
    )
    assert said[3 + layers :] == [
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
    said = lines(model, recipe)
    assert said[3].endswith("no         dense       dense  1 outputs in each convolution group, a slot needs 16")
    assert said[6].endswith("no         dense       dense  excluded by the recipe")
    assert re.search(r"100 %        90 %  stored dense: this machine runs it faster so above \d+ %$", said[5])
    known = lines(sparbor.unwrap(model), recipe, batch=torch.zeros(2, 3, 8, 8))
    faster = {line.split()[0] for line in known if "faster" in line}
    assert faster == {"0", "3", "5"}, "the sizes of planes are known now"


def test_every_layer_of_a_large_network_has_one_line() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16)) for _ in range(200)))
    said = lines(model, Recipe(sparsity=0.5, distribution="uniform"))
    assert [line.split()[0] for line in said[1:401]] == [f"{at}.{part}" for at in range(200) for part in range(2)]
    assert said[401].startswith("200 of 400 layers are dendritic")
    assert max(map(len, said)) < 120


def test_a_layer_says_whose_mask_it_has() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    model[1].weight = model[0].weight
    said = lines(model, Recipe(sparsity=0.9), 10)
    assert said[2] == "1      Linear          64  yes        10.2 %        10 %  it has the weight and the mask of 0"
