"""The code of docs/trainers.md, and the loop without a trainer that its trainings are compared with."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import sparbor
from sparbor import Perforator, Recipe, Schedule

PAGE = Path(__file__).resolve().parent.parent / "docs" / "trainers.md"
STEPS, ACCUMULATED, CLIPPED_AT = 20, 2, 0.05
RECIPE = Recipe(sparsity=0.8, schedule=Schedule(interval=3))


def code_of(heading: str) -> list[str]:
    """The Python of one section of the page, block by block."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


def run(block: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a block in the working directory, with the names of those before it; the names that there are then."""
    if names is None:
        names = {"__name__": "page"}
        torch.manual_seed(0)
    exec(compile(block, PAGE.name, "exec"), names)
    return names


def batches() -> DataLoader[Any]:
    """Twenty, in the same order each time they are gone through."""
    random = torch.Generator().manual_seed(1)
    x, y = torch.randn(160, 64, generator=random), torch.randint(16, (160,), generator=random)
    return DataLoader(TensorDataset(x, y), batch_size=8)


def net() -> nn.Sequential:
    """That of the page, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))


def plain_training() -> tuple[nn.Module, Perforator, list[float]]:
    """A plain loop that accumulates and clips; also the density after each step."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    densities: list[float] = []
    while len(densities) < STEPS:
        for number, (x, y) in enumerate(batches(), 1):
            (F.cross_entropy(model(x), y) / ACCUMULATED).backward()
            if number % ACCUMULATED == 0:
                assert active_norm(perforator, model) > CLIPPED_AT
                nn.utils.clip_grad_norm_(model.parameters(), CLIPPED_AT)
                optimizer.step()
                optimizer.zero_grad()
                densities.append(perforator.density())
    return model, perforator, densities


def active_norm(perforator: Perforator, model: nn.Module) -> float:
    """The norm of all gradients but those of dropped weights."""
    masks = {id(module.weight): module.mask for module in perforator.modules.values()}
    gradients = [
        parameter.grad * masks.get(id(parameter), 1) for parameter in model.parameters() if parameter.grad is not None
    ]
    return float(nn.utils.get_total_norm(gradients))


def assert_same_parameters(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> None:
    """To the last bit."""
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def assert_finished(perforator: Perforator, steps: int, density: float) -> None:
    """All steps counted, the density reached, dropped weights exactly zero."""
    assert perforator.steps == steps
    assert abs(perforator.density() - density) < 0.01
    for module in perforator.modules.values():
        assert module.mode == "d"
        assert (module.weight[~module.mask] == 0).all()
        assert (module.weight[module.mask] != 0).any()
