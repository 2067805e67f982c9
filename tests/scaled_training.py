"""Training that several ranks share and one process can repeat, in double precision.

Gradients that are summed in another order differ by parts in 10^16, which Adam does not make larger than the tolerance
here, and which exchanges two weights in a ranking about once in 10^8 of them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.optim import Optimizer

import sparbor
from sparbor import Recipe, Schedule

torch.set_num_threads(1)

STEPS = 16
BATCH = 8
TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}
RECIPE = Recipe(sparsity=0.8, schedule=Schedule(warmup=0.2, ramp_end=0.5, interval=2, drop_fraction=0.3))


class Residual(nn.Module):
    """Layers whose neurons have to stay in order; 40 neurons, so that shards end within groups of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(24, 40), nn.Linear(40, 40), nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        """The class scores."""
        hidden = torch.tanh(self.fc1(x))
        scores: Tensor = self.fc3(hidden + torch.tanh(self.fc2(hidden)))
        return scores


def convolutional() -> nn.Module:
    """A network whose neurons are permuted."""
    return nn.Sequential(
        *(nn.Unflatten(1, (3, 8)), nn.Conv1d(3, 32, 3, padding=1), nn.Tanh(), nn.Flatten()),
        *(nn.Linear(32 * 8, 32), nn.Tanh(), nn.Linear(32, 10)),
    )


def network(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double()


def batch(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return (
        torch.randn(BATCH, 24, generator=generator, dtype=torch.float64),
        torch.randint(10, (BATCH,), generator=generator),
    )


def sgd(model: nn.Module) -> Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def adamw(model: nn.Module) -> Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


def train(
    model: nn.Module, optimizer: Optimizer, rank: int = 0, ranks: int = 1, *, first: int = 0, last: int = STEPS
) -> None:
    """Each rank takes its part of every batch."""
    for number in range(first, last):
        x, y = batch(number)
        F.cross_entropy(model(x[rank::ranks]), y[rank::ranks]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state with the names and values that it has in one process."""
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    return {name: value.clone() for name, value in state.items()}


def shard(model: nn.Module) -> nn.Module:
    """One unit for a layer within the model and one for all others."""
    fully_shard(model.get_submodule("fc2"))
    return fully_shard(model)


def alone(make: Callable[[], nn.Module], optimizing: Callable[..., Optimizer], recipe: Recipe) -> dict[str, Tensor]:
    """What one process comes to."""
    model = network(make)
    optimizer = optimizing(model)
    sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    train(model, optimizer)
    return dict(model.state_dict())


def assert_equal_training(states: list[dict[str, Tensor]], expected: dict[str, Tensor]) -> None:
    """Ranks are equal to the last bit; with one process masks and orders are equal, and weights but for rounding."""
    for state in states:
        assert list(state) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, **(TOLERANCE if value.is_floating_point() else {}))
            assert torch.equal(state[name], states[0][name]), name
