"""Second-order pruning against textbook formulas and least squares in float64."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sparbor import NM, Quads, Slots, Unstructured
from sparbor.errors import ArgumentError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.oneshot.moments import Inputs, Targets, problem
from sparbor.oneshot.rows import rows_of
from sparbor.oneshot.second_order import chosen, inverse_factor, prune, refit, spans, sweep
from sparbor.recipe.pattern import Pattern
from sparbor.topology.matrix import to_matrix
from sparbor.topology.units import slot_counts

torch.set_num_threads(1)


def correlated(rows: int, inputs: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=random) * torch.logspace(0, -1.5, inputs)
    return torch.randn(rows, inputs, generator=random) @ mix + torch.randn(inputs, generator=random)


def posed(x: Tensor, y: Tensor, weight: Tensor, *, centered: bool = False) -> object:
    inputs = Inputs.of(1, x.shape[1], x.device, centered=centered)
    targets = Targets.of(1, y.shape[1], x.shape[1], x.device)
    for some, answers in zip(x.split(100), y.split(100), strict=True):
        rows = inputs.about_origin(some[None])
        inputs.add(rows)
        targets.add(rows, answers[None])
    if centered:
        inputs.center([targets])
    return problem(weight[None], inputs, targets)


def test_the_factor_is_that_of_the_inverse() -> None:
    x = correlated(200, 24)
    factor, added, damping = inverse_factor((x.T @ x)[None].double(), 0.05)
    hessian = (x.T @ x).double() + added * torch.eye(24)
    assert damping == 0.05
    assert torch.equal(factor[0], factor[0].triu())
    torch.testing.assert_close(factor[0].T @ factor[0], hessian.inverse(), rtol=1e-5, atol=1e-8)


def test_a_singular_hessian_is_damped_until_it_is_not_and_says_how_much() -> None:
    x = correlated(200, 8).repeat(1, 2)  # each input twice
    factor, _, damping = inverse_factor((x.T @ x)[None], 0.0)
    assert damping > 0
    assert torch.isfinite(factor).all()
    _, _, damping = inverse_factor(torch.zeros(1, 8, 8), 0.01)
    assert damping == 0.01
    with pytest.raises(ArgumentError, match="too large for float32"):
        inverse_factor(-1e9 * torch.eye(4)[None], 0.01)


def test_dropping_one_weight_is_the_textbooks_step() -> None:
    x, weight = correlated(300, 12), torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    inverse = (x.T @ x).double().inverse()
    factor, *_ = inverse_factor((x.T @ x)[None], 0.0)
    keep = torch.ones(5, 12, dtype=torch.bool)
    keep[:, 0] = False  # with one input a span there is no choice: the first one goes
    new, mask = sweep(weight, factor[0].float(), keep, [(at, at + 1) for at in range(12)])
    step = weight[:, :1].double() / inverse[0, 0] * inverse[0]
    torch.testing.assert_close(new.double(), weight.double() - step, rtol=1e-3, atol=1e-4)
    assert torch.equal(mask, keep)


def test_the_least_saliency_is_dropped_on_a_span() -> None:
    x, weight = correlated(300, 8), torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    factor, *_ = inverse_factor((x.T @ x)[None], 0.0)
    counts = torch.arange(8).expand(6, 8) < 7  # one of eight is to go
    _, mask = sweep(weight, factor[0].float(), counts, [(0, 8)])
    # Within a span the scores are those of the inputs that come later, of which the first has all of them.
    later = torch.stack([(x.T @ x).double()[at:, at:].inverse()[0, 0] for at in range(8)])
    assert torch.equal(~mask, (weight.double().square() / later).argsort(1).argsort(1) == 0)


@pytest.mark.parametrize("centered", [False, True])
def test_kept_weights_are_the_least_squares_solution(centered: bool) -> None:
    random = torch.Generator().manual_seed(2)
    # With some noise of their own inputs are not so alike that float32 tells them apart no more.
    x, weight = correlated(400, 64) + torch.randn(400, 64, generator=random), torch.randn(32, 64, generator=random)
    y = correlated(400, 64, seed=1) @ weight.T * 0.1 + x @ weight.T  # what the dense model answered to other rows
    task = posed(x, y, weight, centered=centered)
    pruned = prune(task, Quads(), 0.5, None, 0.0)
    mask = pruned.mask[0]
    error = 0.0
    for neuron in range(32):
        used = x[:, mask[neuron]].double()
        used = torch.cat([used, torch.ones(400, 1)], 1) if centered else used
        error += float((used @ torch.linalg.lstsq(used, y[:, neuron].double()).solution - y[:, neuron]).square().sum())
    energy = (y - y.mean(0) if centered else y).square().sum()
    assert task.error(pruned.weight) == pytest.approx((error / float(energy)) ** 0.5, rel=1e-3)
    left = y - x @ pruned.weight[0].T - (task.bias(pruned.weight) if centered else 0)
    assert float(left.square().sum()) == pytest.approx(error, rel=2e-3)  # the gradient of what is kept is zero
    assert (pruned.weight[0][~mask] == 0).all()


def test_inputs_that_differ_little_from_large_numbers_are_told_apart() -> None:
    x, weight = correlated(300, 32), torch.randn(16, 32, generator=torch.Generator().manual_seed(2))
    near, far = (posed(each, x @ weight.T, weight, centered=True) for each in (x, x + 4096.0))
    one, other = (prune(task, Slots(), 0.5, None, 0.01) for task in (near, far))
    assert other.damping == 0.01
    assert far.error(other.weight) == pytest.approx(near.error(one.weight), rel=0.05)
    left = x @ weight.T - (x.double() + 4096.0) @ other.weight[0].double().T - far.bias(other.weight)
    assert left.square().sum().sqrt() / far.energy**0.5 == pytest.approx(near.error(one.weight), rel=0.05)


def test_the_refit_has_no_gradient_left() -> None:
    x, weight = correlated(300, 40), torch.randn(8, 40, generator=torch.Generator().manual_seed(3))
    mask = torch.rand(1, 8, 40, generator=torch.Generator().manual_seed(4)) < 0.4
    gram, added = (x.T @ x)[None].double(), torch.tensor([2.0], dtype=torch.float64)
    wanted = weight[None].double() @ gram
    fitted = refit(weight[None].double() * mask, mask, gram, wanted, added)
    gradient = (fitted @ gram + 2 * fitted - wanted) * mask
    assert gradient.abs().max() < 1e-3 * wanted.abs().max()


@pytest.mark.parametrize("pattern", [Slots(), Quads(), Unstructured(), NM(2, 4)], ids=lambda each: type(each).__name__)
def test_it_beats_magnitude_and_wanda_and_its_masks_obey_the_pattern(pattern: Pattern) -> None:
    x, weight = correlated(600, 96), torch.randn(48, 96, generator=torch.Generator().manual_seed(5))
    task = posed(x, x @ weight.T, weight)
    pruned = prune(task, pattern, 0.5, None, 0.01)
    mask = pruned.mask[0]
    assert int(mask.sum()) == 48 * 96 // 2
    if isinstance(pattern, (Slots, Quads)):
        assert int(slot_counts(mask, pattern).sum()) * 16 * pattern.synapses == int(mask.sum())  # nothing is padded
    if isinstance(pattern, NM):
        assert (mask.view(48, -1, 4).sum(-1) == 2).all()
    for scores in (weight.square(), weight.square() * x.square().sum(0)):
        other = chosen(scores[None], pattern, 0.5, None)
        assert task.error(pruned.weight) < 0.7 * task.error(task.weight * other)


def test_spans_begin_anew_with_each_row_of_inputs() -> None:
    assert spans(Quads(branch=64), 200, 100) == [(0, 64), (64, 100), (100, 164), (164, 200)]
    assert [stop for _, stop in spans(Unstructured(), 130, None)] == [64, 128, 130]


LAYERS = {
    "linear": (nn.Linear(6, 5), (7, 3, 6)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2), (2, 4, 11)),
    "grouped": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), (3, 4, 8, 7)),
    "same": (nn.Conv2d(3, 4, 4, padding="same"), (2, 3, 6, 7)),
    "reflect": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (2, 3, 6, 7)),
    "conv3d": (nn.Conv3d(2, 4, 2, stride=2), (2, 2, 5, 4, 6)),
    "one item": (nn.Conv1d(4, 6, 3), (4, 9)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (2, 4, 5, 6)),
    "transposed, grouped": (nn.ConvTranspose1d(4, 6, 3, stride=3, padding=2, dilation=2, groups=2), (2, 4, 8)),
    "transposed, cut": (nn.ConvTranspose1d(2, 4, 2, padding=3), (2, 2, 9)),
}


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel lengths")
@pytest.mark.parametrize("kind", LAYERS)
def test_rows_times_the_matrix_are_the_answers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, shape = LAYERS[kind]
    monkeypatch.setattr("sparbor.oneshot.rows.CHUNK", 1)  # each item by itself
    x = torch.randn(shape)
    y = layer(x)
    groups = getattr(layer, "groups", 1)
    matrix = to_matrix(layer.weight.detach(), groups, getattr(layer, "transposed", False))
    parts = list(rows_of(layer, x, y, None))
    assert len(parts) == (shape[0] if isinstance(layer, _ConvNd) and kind != "one item" else 1)
    for rows, answers in parts:
        bias = layer.bias.detach().view(groups, 1, -1)
        torch.testing.assert_close(rows @ matrix.reshape(groups, -1, rows.shape[-1]).mT + bias, answers)
    assert sum(answers.numel() for _, answers in parts) == y.numel()


def test_masked_tokens_are_no_rows() -> None:
    layer, x, counted = nn.Linear(4, 3), torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]])
    for given in (x, x.flatten(0, 1)):
        ((rows, answers),) = rows_of(layer, given, layer(given), counted)
        torch.testing.assert_close(rows[0], x[counted])
        torch.testing.assert_close(answers[0], layer(x[counted]).detach())
    ((rows, _),) = rows_of(layer, x[:, 0], layer(x[:, 0]), counted)  # one row for each item, such as a pooler's
    assert rows.shape == (1, 2, 4)


def test_a_pattern_that_sees_channels_last_gets_its_inputs_so() -> None:
    from sparbor.allocation.survey import LayerEligibility
    from sparbor.oneshot.targets import SparseLayer

    for layer, order in itertools.product((nn.Conv2d(32, 16, 3), nn.ConvTranspose2d(32, 16, 3)), (None, True)):
        module = PAINeuronModule(layer, pattern=Quads())
        if order:
            module.permute_neurons(torch.randperm(16), torch.randperm(32 * 9))
        columns = SparseLayer(LayerEligibility("0", "Conv2d", 1), module, [layer]).columns()
        matrix = to_matrix(layer.weight.detach(), 1, layer.transposed)
        torch.testing.assert_close(module.weight_matrix(), matrix[module.neuron_order][:, columns])
