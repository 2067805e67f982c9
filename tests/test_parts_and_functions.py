"""Parts put into values, windows, dimensions of any size cut and padded, and what PyTorch writes otherwise."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import sparbor
from sparbor.errors import ArgumentError
from tests.deploying import Function, assert_deploys


def items(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _overwritten(x: Tensor, layer: nn.Module) -> Tensor:
    y = layer(x).clone()
    y[:, 1:3] = 0
    y[:, -1] = 1.5
    y[..., ::3] = x[..., ::3]
    y[..., 1:2] *= 2
    return y


def _sampled(x: Tensor, places: Tensor) -> Tensor:
    return functional.grid_sample(x, places[:, :, None].expand(-1, -1, 2, -1), align_corners=False)


def _turned(x: Tensor, layer: nn.Module) -> Tensor:
    """Rows and columns of the last two dimensions by lists that are apart."""
    return layer(x)[:, [0, 2], :, [3, -1]]


OF_ONE_SIZE = {
    "overwritten": (_overwritten, items(2, 4, 5, 8)),
    "joined with nothing": (lambda x, layer: torch.cat([layer(x), x[..., 8:]], -1), items(2, 4, 8)),
    "windows that overlap": (lambda x, layer: layer(x).unfold(-1, 4, 2), items(2, 4, 5, 8)),
    "windows that overlap by no whole pieces": (lambda x, layer: layer(x).unfold(1, 3, 2), items(2, 8, 5, 8)),
    "windows of images": (lambda x, layer: functional.unfold(layer(x), 3, padding=1, stride=2), items(2, 3, 7, 8)),
    "folded windows": (
        lambda x, layer: functional.fold(functional.unfold(layer(x), 3, 1, 1, 2), (6, 8), 3, 1, 1, 2),
        items(2, 3, 6, 8),
    ),
    "diagonals": (lambda x, layer: torch.diagonal(layer(x), 1, 1, -1), items(2, 6, 3, 8)),
    "indices that are apart": (_turned, items(2, 3, 4, 8)),
    "einsum": (lambda x, layer: torch.einsum("bhid,bhjd->bhij", layer(x), x), items(2, 3, 4, 8)),
    "samples of a grid": (lambda x, layer: _sampled(layer(x), torch.tanh(x[:, 0, :, :2] * 2)), items(2, 3, 8, 8)),
    "distances": (lambda x, layer: functional.pairwise_distance(layer(x), x), items(2, 3, 4, 8)),
}
WITH_PLACES = {
    "the largest": lambda x: torch.cat(_both(torch.topk(x, 3, -1)), -1),
    "the smallest": lambda x: torch.cat(_both(torch.topk(x, 2, 1, largest=False)), 1),
    "in order": lambda x: torch.cat(_both(torch.sort(x, 1)), 1),
    "in order, equal ones too": lambda x: torch.cat(
        _both(torch.sort((2 * x).round(), stable=True, descending=True)), 1
    ),
    "ranks": lambda x: x.argsort(-1).argsort(-1).float(),
    "put at places": lambda x: x.scatter(-1, x.argsort(-1)[..., :3], x[..., :3] + 5),
    "one number at places": lambda x: torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0),
    "added at places": lambda x: x.scatter_add(-1, (x > 0).long() * 2, x),
}
OF_ANY_SIZE = {
    "from the middle on": lambda x, layer: layer(x)[:, x.shape[1] // 2 :],
    "a table's last rows": lambda x, layer: layer(x) + torch.arange(792.0).reshape(99, 8)[50 - x.shape[1] : 50].sin(),
    "at most five behind": lambda x, layer: layer(x[:, -min(5, x.shape[1]) :]),
    "an index in the middle": lambda x, layer: layer(x)[:, x.shape[1] // 2],
    "the second of two": lambda x, layer: layer(x).chunk(2, 1)[1],
    "overwritten from the second on": lambda x, layer: _from_the_second(layer(x).clone()),
    "moved": lambda x, layer: layer(x).roll(2, 1),
    "turned round": lambda x, layer: layer(x).flip(1),
    "in pieces": lambda x, layer: layer(x).unfold(1, 2, 2),
    "reflected": lambda x, layer: layer(_padded(x, "reflect")),
    "repeated at the edges": lambda x, layer: layer(_padded(x, "replicate")),
    "repeated all round": lambda x, layer: layer(_padded(x, "circular")),
}
FUNCTIONS = {
    "log2": lambda x: torch.log2(x.abs()),
    "log10": lambda x: torch.log10(x.abs()),
    "exp2": torch.exp2,
    "expm1": lambda x: torch.expm1(x * 1e-3),
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tan": torch.tan,
    "erfc": torch.erfc,
    "trunc": lambda x: torch.trunc(x * 5),
    "isinf": lambda x: x.masked_fill(torch.isinf((x > 0).float() / 0), 3.0),
    "bucketize": lambda x: torch.bucketize(x, torch.linspace(-1, 1, 5)).float(),
    "bucketize on the right": lambda x: torch.bucketize(x.round(), torch.arange(-1.0, 2), right=True).float(),
    "nan_to_num": lambda x: torch.nan_to_num((x - x.clamp(min=0)) / x.clamp(min=0)),
}


def _both(found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return found[0], found[1].float()


def _from_the_second(y: Tensor) -> Tensor:
    y[:, 1:] = 0.5
    return y


def _padded(x: Tensor, mode: str) -> Tensor:
    return functional.pad(x.transpose(1, 2), (2, 1), mode=mode).transpose(1, 2)


@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_of_one_size(name: str) -> None:
    function, x = OF_ONE_SIZE[name]
    torch.manual_seed(0)
    assert_deploys(Function(function, nn.Linear(8, 8)), x)


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_along_a_dimension_of_any_size(name: str) -> None:
    torch.manual_seed(0)
    model = Function(OF_ANY_SIZE[name], nn.Linear(8, 8)).eval()
    runtime = sparbor.deploy(
        model, items(2, 6, 8), weights="exact", dynamic_shapes={"input": {0: "batch", 1: "tokens"}}
    )
    for length in (4, 6, 10):
        x = items(3, length, 8)
        with torch.no_grad():
            assert torch.allclose(runtime(x), model(x), atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_a_number(name: str) -> None:
    torch.manual_seed(0)
    assert_deploys(Function(lambda x, layer: FUNCTIONS[name](layer(x)), nn.Linear(8, 8)), items(4, 8))


@pytest.mark.parametrize("name", WITH_PLACES)
def test_order_and_places(name: str) -> None:
    torch.manual_seed(0)
    model = Function(lambda x, layer: WITH_PLACES[name](layer(x)), nn.Linear(8, 8)).eval()
    runtime = assert_deploys(model, items(3, 6, 8))
    with torch.no_grad():
        assert torch.allclose(runtime(items(2, 9, 8)), model(items(2, 9, 8)), atol=1e-5), "another length"


def test_a_bilinear_layer() -> None:
    torch.manual_seed(0)
    both = Function(lambda x, layer, linear: layer(linear(x), x), nn.Bilinear(5, 8, 3), nn.Linear(8, 5))
    assert_deploys(both, items(2, 4, 8))


class Rotary(nn.Module):
    """Positions as angles by which pairs of numbers are turned, written with complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        angles = torch.outer(torch.arange(64.0), 0.1 ** torch.arange(4))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(self.layer(x).reshape(*x.shape[:-1], -1, 2))
        turned = pairs * self.turns[: x.shape[1]].unsqueeze(0)
        there = torch.view_as_real(turned).flatten(2)
        back = torch.view_as_real(turned.conj() * torch.polar(x[..., :4].abs(), x[..., 4:])).flatten(2)
        return torch.cat([there, back, (turned + pairs).abs(), turned.real * 2, turned.imag], -1)


def test_rotary_positions_of_complex_numbers() -> None:
    torch.manual_seed(0)
    model = Rotary().eval()
    runtime = assert_deploys(model, items(2, 5, 8))
    with torch.no_grad():
        assert torch.allclose(runtime(items(3, 9, 8)), model(items(3, 9, 8)), atol=1e-5)


def test_what_the_engine_cannot_do_with_complex_numbers_is_said() -> None:
    def exponential(x: Tensor, layer: nn.Module) -> Tensor:
        return torch.view_as_real(torch.exp(torch.view_as_complex(layer(x).reshape(-1, 4, 2))))

    with pytest.raises(ArgumentError, match="computes with complex numbers, which the engine does by"):
        sparbor.deploy(Function(exponential, nn.Linear(8, 8)), items(2, 8))


def test_a_weight_that_a_batch_norm_standardises() -> None:
    """A batch norm of the batch is refused, but of a constant it is computed once."""

    def standardised(x: Tensor, layer: nn.Linear) -> Tensor:
        weight = functional.batch_norm(layer.weight.t()[:, :, None], None, None, training=True)
        return functional.linear(x, weight[:, :, 0].t(), layer.bias)

    torch.manual_seed(0)
    assert_deploys(Function(standardised, nn.Linear(8, 8)), items(2, 8))
    with pytest.raises(ArgumentError, match="without running statistics"):
        sparbor.deploy(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, track_running_stats=False)), items(2, 8))


def test_layers_of_transformers_are_not_hidden_in_one_operation() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    assert_deploys(nn.TransformerEncoder(layer, 2).eval(), items(2, 3, 8))
    assert torch.backends.mha.get_fastpath_enabled(), "as it was"
