"""The sparse operations of every kernel set against PyTorch's dense ones on the masked weight."""

import pytest
import torch
from torch import Tensor, nn

from sparbor.nn.storage import positions_of
from sparbor.synapses import batch_layout
from sparbor.synapses.lists import ConvParams, Size, Synapses
from sparbor.synapses.ops import linear_with_dense_gradient, sparse_conv2d
from tests.kernel_sets import KERNEL_SETS

PARAMS = [
    ConvParams(),
    ConvParams((3, 3), (1, 1)),
    ConvParams((3, 2), (0, 1), (2, 1), groups=2),
    ConvParams((1, 5), (0, 2), groups=4),
]


@pytest.fixture(params=KERNEL_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


class Case:
    """Random numbers for one layer, of which ``weights`` are the synapses'."""

    def __init__(
        self, params: ConvParams, x: tuple[int, ...], outputs: int, density: float, dtype: torch.dtype
    ) -> None:
        torch.manual_seed(0)
        shape = (outputs, x[1] // params.groups, *params.kernel)
        self.params = params
        self.mask = torch.rand(shape) < density
        self.x = torch.randn(x, dtype=dtype, requires_grad=True)
        self.dense = torch.randn(shape, dtype=dtype, requires_grad=True)
        self.bias = torch.randn(outputs, dtype=dtype, requires_grad=True)
        self.weights = self.dense.detach()[self.mask].requires_grad_()
        self.synapses = Synapses(positions_of(self.mask), self.mask.shape, params)

    def sparse(self) -> Tensor:
        return sparse_conv2d(self.x, self.weights, self.bias, self.synapses)

    def oracle(self) -> Tensor:
        params = self.params
        return nn.functional.conv2d(
            self.x,
            self.dense * self.mask,
            self.bias,
            padding=params.padding,
            dilation=params.dilation,
            groups=params.groups,
        )


@pytest.fixture(autouse=True)
def poisoned_memory() -> None:
    """What is kept for transposed chunks holds NaN, so that nothing passes that was not written."""
    for purpose in ("inputs", "slopes"):
        for dtype in (torch.float32, torch.float64):
            setattr(batch_layout._kept, purpose, torch.full((1 << 20,), torch.nan, dtype=dtype))


def relative(ours: Tensor, right: Tensor) -> float:
    if right.numel() == 0:
        return 0.0
    return ((ours - right).abs().max() / right.abs().max().clamp_min(1e-30)).item()


@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.parametrize("batch", [1, 5, 16, 37, 130])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_outputs_and_gradients(
    isa: str, params: ConvParams, batch: int, density: float, dtype: torch.dtype, tolerance: float
) -> None:
    size = (1, 1) if params.kernel == (1, 1) else (6, 7)
    case = Case(params, (batch, 12, *size), 20, density, dtype)
    y, right = case.sparse(), case.oracle()
    assert relative(y, right) < tolerance
    dy = torch.randn_like(right)
    dx, weights, bias = torch.autograd.grad(y, (case.x, case.weights, case.bias), dy)
    right_dx, dense, right_bias = torch.autograd.grad(right, (case.x, case.dense, case.bias), dy)
    assert relative(dx, right_dx) < tolerance
    assert relative(weights, dense[case.mask]) < tolerance
    assert relative(bias, right_bias) < tolerance


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("size", "padding"), [((1, 1), (1, 1)), ((3, 3), (0, 0)), ((1, 4), (1, 0)), ((3, 1), (0, 1))])
@pytest.mark.parametrize("batch", [16, 40])
def test_planes_of_one_pixel_before_or_after(
    isa: str, size: tuple[int, int], padding: tuple[int, int], batch: int, channels_last: bool
) -> None:
    case = Case(ConvParams((3, 3), padding), (batch, 12, *size), 20, 0.3, torch.float32)
    if channels_last:
        case.x = case.x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y, right = case.sparse(), case.oracle()
    assert relative(y, right) < 1e-5
    dy = torch.randn_like(right)
    ours = torch.autograd.grad(y, (case.x, case.weights), dy)
    dx, dense = torch.autograd.grad(right, (case.x, case.dense), dy)
    assert relative(ours[0], dx) < 1e-5
    assert relative(ours[1], dense[case.mask]) < 1e-5


def test_arrays_that_do_not_fit_are_refused() -> None:
    case = Case(ConvParams(), (16, 12, 1, 1), 20, 0.3, torch.float32)
    with pytest.raises(ValueError, match="there must be a weight for each synapse"):
        sparse_conv2d(case.x, case.weights[:-1], None, case.synapses)
    with pytest.raises(TypeError):
        sparse_conv2d(case.x, case.weights.double(), None, case.synapses)


def test_second_derivatives_of_a_layer_that_is_used_twice() -> None:
    case = Case(ConvParams(), (16, 12, 1, 1), 12, 0.4, torch.float64)

    def twice() -> Tensor:
        inner = sparse_conv2d(case.x, case.weights, case.bias, case.synapses).tanh()
        return sparse_conv2d(inner, case.weights, case.bias, case.synapses).square().sum()

    once = torch.autograd.grad(twice(), (case.x, case.weights))
    again = torch.autograd.grad(twice(), (case.x, case.weights), create_graph=True)
    for right, ours in zip(once, again, strict=True):
        torch.testing.assert_close(ours, right)


@pytest.mark.parametrize("batch", [1, 5, 37, 130, 300])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_rows_with_the_gradient_of_the_dense_weight(isa: str, batch: int, density: float) -> None:
    case = Case(ConvParams(), (batch, 40, 1, 1), 24, density, torch.float32)
    x = case.x.detach().flatten(1).requires_grad_()
    weight = (case.dense.detach() * case.mask).flatten(1).requires_grad_()
    dy = torch.randn(batch, 24)
    wanted = (x, weight, case.bias)
    ours = linear_with_dense_gradient(x, weight, case.bias, case.synapses)
    right = nn.functional.linear(x, weight, case.bias)
    assert relative(ours, right) < 1e-5
    gradients = zip(torch.autograd.grad(ours, wanted, dy), torch.autograd.grad(right, wanted, dy), strict=True)
    for found, expected in gradients:  # of the weight those of dropped ones too
        assert relative(found, expected) < 1e-5 if expected.any() else not found.any()


def test_second_derivatives_of_rows() -> None:
    case = Case(ConvParams(), (5, 6, 1, 1), 4, 0.4, torch.float64)
    x, weight = case.x.detach().flatten(1), (case.dense.detach() * case.mask).flatten(1)
    once = torch.autograd.grad
    for call in (nn.functional.linear, lambda *args: linear_with_dense_gradient(*args, case.synapses)):
        inputs = [each.clone().requires_grad_() for each in (x, weight, case.bias.detach())]
        (slope,) = once(call(*inputs).square().sum(), inputs[0], create_graph=True)
        found = [each.detach() for each in once(slope.square().sum(), inputs)]
        if call is nn.functional.linear:
            right = found
    for each, expected in zip(found, right, strict=True):
        torch.testing.assert_close(each, expected)


def test_gradcheck() -> None:
    case = Case(PARAMS[1], (3, 4, 5, 5), 6, 0.4, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, w, b: sparse_conv2d(x, w, b, case.synapses), (case.x, case.weights, case.bias)
    )


@pytest.mark.parametrize("params", PARAMS[:3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_second_derivatives(params: ConvParams, channels_last: bool) -> None:
    case = Case(params, (2, 4, 5, 5), 6, 0.4, torch.float64)
    if channels_last:
        case.x = case.x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x, w, b: sparse_conv2d(x, w, b, case.synapses).square(), (case.x, case.weights, case.bias)
    )


@pytest.mark.parametrize("params", PARAMS[:2])
def test_opcheck(params: ConvParams) -> None:
    case = Case(params, (4, 4, 3, 3), 6, 0.4, torch.float32)
    lists = case.synapses.lists(Size(3, 3))
    topology = (lists.bounds, lists.inputs, lists.back_bounds, lists.back_inputs, lists.positions)
    place = (list(params.padding), list(params.reach), False)
    torch.library.opcheck(torch.ops.sparbor.sparse_conv2d.default, (case.x, case.weights, case.bias, *topology, *place))


@pytest.mark.parametrize("params", PARAMS[:3])
@pytest.mark.parametrize("batch", [5, 16, 37, 130])
def test_channels_last(isa: str, params: ConvParams, batch: int) -> None:
    case = Case(params, (batch, 12, 6, 7), 20, 0.3, torch.float32)
    case.x = case.x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y, right = case.sparse(), case.oracle()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert relative(y, right) < 1e-5
    for dy in (torch.randn_like(right), torch.randn_like(right).contiguous()):
        ours = torch.autograd.grad(y, (case.x, case.weights), dy, retain_graph=True)
        dx, dense = torch.autograd.grad(right, (case.x, case.dense), dy, retain_graph=True)
        assert relative(ours[0], dx) < 1e-5
        assert relative(ours[1], dense[case.mask]) < 1e-5


def test_inputs_that_lie_anyhow_and_no_bias() -> None:
    case = Case(PARAMS[1], (20, 8, 6, 6), 16, 0.3, torch.float32)
    right = sparse_conv2d(case.x, case.weights, None, case.synapses)
    turned = case.x.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert torch.equal(sparse_conv2d(turned, case.weights, None, case.synapses), right)
    assert relative(right, case.oracle() - case.bias[:, None, None]) < 1e-5


@pytest.mark.parametrize("shape", [(150, 600, 1, 1), (64, 16, 12, 12)])
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, ...]) -> None:
    params = ConvParams() if shape[2] == 1 else PARAMS[1]
    case = Case(params, shape, 64, 0.3, torch.float32)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            y = case.sparse()
            dx, weights = torch.autograd.grad(y, (case.x, case.weights), torch.ones_like(y))
            results.append((y, dx, weights))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(ours, first) for ours, first in zip(result, results[0], strict=True))


def test_empty_batch() -> None:
    case = Case(ConvParams(), (0, 12, 1, 1), 20, 0.3, torch.float32)
    y = case.sparse()
    assert y.shape == (0, 20, 1, 1)
    dx, weights = torch.autograd.grad(y, (case.x, case.weights), torch.ones_like(y))
    assert dx.shape == (0, 12, 1, 1)
    assert not weights.any()
