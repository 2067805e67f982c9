"""PAINeuronModule by itself: modes, counts, state dicts, copies, and masking under any optimizer."""

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn

import sparbor
from sparbor.errors import ArgumentError, StateError
from sparbor.nn import neuron as pmodules
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import NM, Slots, Unstructured
from sparbor.topology.units import slot_counts

torch.set_num_threads(1)

LAYERS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {
    "linear": lambda: (nn.Linear(70, 35), torch.randn(4, 70)),
    "linear without bias": lambda: (nn.Linear(70, 35, bias=False), torch.randn(4, 70)),
    "conv1d": lambda: (nn.Conv1d(5, 20, 3, padding=1, padding_mode="circular"), torch.randn(2, 5, 9)),
    "conv2d": lambda: (nn.Conv2d(6, 40, 3, stride=2), torch.randn(2, 6, 9, 9)),
    "grouped conv2d": lambda: (nn.Conv2d(6, 40, 3, groups=2), torch.randn(2, 6, 9, 9)),
    "conv3d": lambda: (nn.Conv3d(2, 17, 2), torch.randn(1, 2, 4, 4, 4)),
    "transposed conv1d": lambda: (nn.ConvTranspose1d(5, 20, 3, stride=2), torch.randn(2, 5, 9)),
    "transposed conv2d": lambda: (
        nn.ConvTranspose2d(6, 40, 3, 2, padding=1, output_padding=1),
        torch.randn(2, 6, 9, 9),
    ),
    "grouped transposed conv2d": lambda: (nn.ConvTranspose2d(6, 40, 3, groups=2), torch.randn(2, 6, 9, 9)),
    "transposed conv3d": lambda: (nn.ConvTranspose3d(2, 17, 2), torch.randn(1, 2, 4, 4, 4)),
}


def dendritic(layer: nn.Module | None = None, sparsity: float = 0.75) -> PAINeuronModule:
    module = PAINeuronModule(nn.Linear(70, 35) if layer is None else layer, "hidden", sparsity=sparsity)
    module.set_mode("d")
    return module


@pytest.mark.parametrize("kind", LAYERS)
def test_it_computes_what_the_dense_masked_layer_computes(kind: str) -> None:
    layer, x = LAYERS[kind]()
    dense = copy.deepcopy(layer)
    module = PAINeuronModule(layer, kind, sparsity=0.8)
    assert torch.equal(module(x), dense(x))
    module.set_mode("d")
    with torch.no_grad():
        dense.weight *= module.mask  # type: ignore[operator]
    assert torch.equal(module(x), dense(x))
    module(x).square().sum().backward()
    dense(x).square().sum().backward()
    assert torch.equal(module.weight.grad, dense.weight.grad * module.mask)  # type: ignore[operator, union-attr]
    assert abs(int(module.mask.sum()) - 0.2 * module.mask.numel()) < 16
    if dense.bias is not None:
        assert torch.equal(module.bias.grad, dense.bias.grad)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_neurons_of_a_transposed_convolution_are_its_outputs(groups: int) -> None:
    """Slots lie on the rows of the convolution that it is, outputs first and kernels turned around, within a group."""
    module = dendritic(nn.ConvTranspose2d(6, 40, 3, groups=groups), sparsity=0.8)
    rows = [row for part in module.mask.chunk(groups) for row in part.transpose(0, 1).flip(2, 3).flatten(1)]
    counts = slot_counts(torch.stack(rows), Slots(), groups)
    sizes = torch.tensor([16, 16, 8] if groups == 1 else [16, 4] * 2)
    assert (counts * sizes[:, None]).sum() == module.mask.sum()
    assert counts.shape == (len(sizes), -(-6 // groups * 9 // 32))


def test_a_transposed_convolution_takes_its_output_size() -> None:
    layer = nn.ConvTranspose2d(6, 16, 3, stride=2)
    dense, x = copy.deepcopy(layer), torch.randn(2, 6, 4, 4)
    module = dendritic(layer)
    with torch.no_grad():
        dense.weight *= module.mask
    assert module(x, output_size=(10, 10)).shape == (2, 16, 10, 10)
    assert torch.equal(module(x, output_size=(10, 9)), dense(x, output_size=(10, 9)))


def test_the_words_of_the_reference_job() -> None:
    layer = nn.Linear(64, 32)
    weight = layer.weight
    module = pmodules.PAINeuronModule(layer, "hidden", sparsity=0.75)
    assert module.main_module is layer
    assert module.name == "hidden"
    assert module.mode == "n"
    assert module.get_sparsity() == 0.0
    assert module.active_parameters() == 64 * 32 + 32
    module.set_mode("d")
    assert module.mode == "d"
    assert module.get_sparsity() == 0.75
    assert module.active_weights() == 512
    assert module.active_parameters() == 512 + 32
    assert module.weight is weight
    assert int((weight != 0).sum()) == 512
    assert slot_counts(module.mask, Slots()).sum() * 16 == 512
    module.set_mode("n")
    assert module.mode == "n"
    assert module.mask.all()
    assert module.active_parameters() == 64 * 32 + 32
    assert int((weight != 0).sum()) == 512, "what was dropped starts from zero"
    assert "PAINeuronModule" in repr(module)
    assert "'hidden', mode='n', sparsity=0.0000" in repr(module)


def test_to_stay_in_a_mode_changes_nothing() -> None:
    module = dendritic()
    mask = module.mask.clone()
    with torch.no_grad():
        module.weight.copy_(torch.randn_like(module.weight))
    module.set_mode("d")
    assert torch.equal(module.mask, mask)


def test_the_largest_weights_stay() -> None:
    module = PAINeuronModule(nn.Linear(40, 20), "x", sparsity=0.9, pattern=Unstructured())
    threshold = module.weight.abs().flatten().sort(descending=True).values[79]
    expected = module.weight.detach().abs() >= threshold
    module.set_mode("d")
    assert torch.equal(module.mask, expected)


def test_active_zeros_count_as_active_and_are_told_apart() -> None:
    module = dendritic()
    active = module.active_weights()
    with torch.no_grad():
        module.weight[module.mask.nonzero()[0][0], module.mask.nonzero()[0][1]] = 0
    assert module.active_weights() == active
    assert module.active_zeros() == 1


def test_weights_that_nobody_kept_do_not_come_back_in_neuron_mode() -> None:
    module = dendritic()
    dropped = ~module.mask
    with torch.no_grad():
        module.weight.fill_(3.0)
    module.set_mode("n")
    assert (module.weight[dropped] == 0).all()
    assert (module.weight[~dropped] == 3).all()


def test_a_dropped_infinite_weight_becomes_zero() -> None:
    module = PAINeuronModule(nn.Linear(64, 32), "x")
    with torch.no_grad():
        module.weight[3, 5] = torch.nan
        module.weight[7, 9] = -torch.inf
    mask = torch.ones_like(module.mask)
    mask[3, 5] = mask[7, 9] = False
    module.set_mask(mask)
    assert module.weight[3, 5] == 0
    assert module.weight[7, 9] == 0


def test_attributes_are_handed_through() -> None:
    module = PAINeuronModule(nn.Conv2d(3, 32, 5, stride=2, bias=False), "conv")
    assert (module.in_channels, module.out_channels, module.kernel_size, module.stride) == (3, 32, (5, 5), (2, 2))
    assert module.bias is None
    assert module.weight is module.main_module.weight
    assert isinstance(module.weight, nn.Parameter)
    assert not hasattr(module, "in_features")
    with pytest.raises(AttributeError, match="in_features"):
        _ = module.in_features
    assert [name for name, _ in module.named_parameters()] == ["main_module.weight"]


def test_wrapping_copies_nothing_and_computes_nothing() -> None:
    layer = nn.Linear(8, 8)
    layer.weight.requires_grad_(False)
    parameters, state = list(layer.parameters()), torch.get_rng_state()
    module = PAINeuronModule(layer, "frozen")
    assert all(a is b for a, b in zip(module.parameters(), parameters, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    module.set_mode("d")
    module(torch.randn(2, 8)).sum().backward()


# State dicts.


def test_a_strict_state_dict_carries_mask_and_mode() -> None:
    module = dendritic()
    state = module.state_dict()
    assert set(state) == {
        "mask",
        "dendrite_mode",
        "neuron_order",
        "input_order",
        "main_module.weight",
        "main_module.bias",
    }
    other = PAINeuronModule(nn.Linear(70, 35), "other")
    other.load_state_dict(state, strict=True)
    assert other.mode == "d"
    assert torch.equal(other.mask, module.mask)
    x = torch.randn(3, 70)
    assert torch.equal(other(x), module(x))
    other.load_state_dict(PAINeuronModule(nn.Linear(70, 35), "dense").state_dict())
    assert other.mode == "n"
    assert other.mask.all()
    assert other.weight.all()


def test_a_mask_that_is_loaded_takes_effect_at_once() -> None:
    module, other = dendritic(), dendritic()
    module.apply_mask()  # it now remembers its old mask as numbers
    state = other.state_dict()
    state["main_module.weight"] = torch.ones(35, 70)
    module.load_state_dict(state)
    assert torch.equal(module.weight.detach(), other.mask.float())


def test_state_of_another_shape_is_refused() -> None:
    module = dendritic()
    with pytest.raises(RuntimeError, match=r"size mismatch for mask.*\[35, 71\].*\[35, 70\]"):
        module.load_state_dict(dendritic(nn.Linear(71, 35)).state_dict())
    state = module.state_dict()
    del state["dendrite_mode"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"dendrite_mode"'):
        module.load_state_dict(state)


def test_a_dense_checkpoint_is_refused_before_anything_changes() -> None:
    module = dendritic()
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(StateError, match=r"the state dict holds a dense layer '', the model a dendritic one: load a"):
        module.load_state_dict(nn.Linear(70, 35).state_dict())
    within = nn.Sequential(module)
    with pytest.raises(StateError, match=r"dense layer '0'.* before sparbor\.perforate\(\), or into sparbor\.unwrap"):
        within.load_state_dict(nn.Sequential(nn.Linear(70, 35)).state_dict())
    with pytest.raises(StateError, match="dense layer ''"):
        copy.deepcopy(module).load_state_dict(nn.Linear(70, 35).state_dict())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


# Copies.


def through_pickle(module: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(module))  # type: ignore[no-any-return]


def through_torch(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle, through_torch])
def test_copies_are_independent_and_compute_the_same(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    module = dendritic()
    twin = duplicate(module)
    assert isinstance(twin, PAINeuronModule)
    x = torch.randn(3, 70)
    assert torch.equal(twin(x), module(x))
    assert twin.mode == "d"
    twin(x).sum().backward()
    assert module.weight.grad is None
    assert (twin.weight.grad[~twin.mask] == 0).all()  # type: ignore[index]
    twin.set_mode("n")
    assert module.mode == "d"
    with pytest.raises(StateError, match="dense layer"):
        twin.load_state_dict(nn.Linear(70, 35).state_dict())


def test_a_module_that_is_not_used_any_more_is_freed() -> None:
    module = dendritic()
    module(torch.randn(2, 70)).sum().backward()
    reference = weakref.ref(module)
    del module
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.5),
        lambda p: torch.optim.Rprop(p, 0.1),
    ],
)
def test_dropped_weights_stay_out_of_the_function_under_any_optimizer(
    make: Callable[[object], torch.optim.Optimizer],
) -> None:
    layer = nn.Linear(70, 35)
    module = PAINeuronModule(layer, "x")
    optimizer = make(module.parameters())
    x = torch.randn(8, 70)
    for step in range(10):
        optimizer.zero_grad()
        module(x).square().mean().backward()
        if step > 3:
            assert (layer.weight.grad[~module.mask] == 0).all()  # type: ignore[index]
        optimizer.step()
        if step == 3:
            module.set_mode("d")  # momentum of the dropped weights goes on in the optimizer, which nobody resets
        if step >= 3:
            assert torch.equal(module(x), nn.functional.linear(x, layer.weight * module.mask, layer.bias))
    sparbor.unwrap(module)
    assert (layer.weight[~module.mask] == 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_does_not_reach_dropped_weights(bad: float) -> None:
    module = dendritic()
    optimizer = torch.optim.AdamW(module.parameters(), 0.1)
    for scale in (1.0, bad, 1.0):
        optimizer.zero_grad()
        (module(torch.randn(4, 70)).sum() * scale).backward()
        assert (module.weight.grad[~module.mask] == 0).all()  # type: ignore[index]
        optimizer.step()
    assert module.weight[module.mask].isnan().all()
    assert module.weight[~module.mask].isfinite().all()
    module.apply_mask()
    assert (module.weight[~module.mask] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_finite_weights_and_gradients_are_masked_as_by_a_product(dtype: torch.dtype) -> None:
    """To the bit: signs of zeros stay too."""
    module = dendritic().to(dtype)
    with torch.no_grad():
        module.weight.normal_()
    wanted = module.weight.detach() * module.mask
    module.apply_mask()
    x = torch.randn(4, 70, dtype=dtype)
    module(x).sum().backward()
    gradient = x.sum(0).expand(35, -1) * module.mask
    assert isinstance(module.weight.grad, torch.Tensor)
    for ours, product in ((module.weight.detach(), wanted), (module.weight.grad, gradient)):
        assert torch.equal(ours, product)
        assert torch.equal(ours.signbit(), product.signbit())


def test_masked_gradients_can_be_differentiated_and_come_in_batches() -> None:
    module = dendritic()
    x = torch.randn(4, 70)
    (gradient,) = torch.autograd.grad(module(x).square().sum(), module.weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), module.weight)
    assert gradient.requires_grad
    assert not gradient[~module.mask].any()
    assert not second[~module.mask].any()
    torch.testing.assert_close(second, 2 * (x.T @ (x @ module.mask.float().T)).T * module.mask)
    vectors = torch.randn(3, 4, 35)
    (many,) = torch.autograd.grad(module(x), module.weight, vectors, is_grads_batched=True)
    torch.testing.assert_close(many, (vectors.mT @ x) * module.mask)


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_masks_follow_the_module_to_another_type() -> None:
    module = dendritic()
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.complex64):
        module.to(dtype)
        assert module.mask.dtype == torch.bool
        assert module(torch.randn(2, 70, dtype=dtype)).dtype == dtype
        module.weight.detach().fill_(torch.nan)
        module.apply_mask()
        assert torch.equal(module.weight.isnan(), module.mask)
        assert (module.weight[~module.mask] == 0).all()


# unwrap.


def test_unwrap_gives_the_very_layer_back_with_zeros_in_place() -> None:
    layer = nn.Linear(70, 35)
    model = nn.Sequential(nn.ModuleDict({"a": layer}), nn.ReLU())
    weight, bias = layer.weight, layer.bias
    model[0]["a"] = PAINeuronModule(layer, "a")  # type: ignore[index, operator]
    module = model[0]["a"]  # type: ignore[index]
    module.set_mode("d")
    with torch.no_grad():
        weight.fill_(1.0)  # nobody keeps the dropped ones at zero
    assert sparbor.unwrap(model) is model
    assert model[0]["a"] is layer  # type: ignore[index]
    assert layer.weight is weight
    assert layer.bias is bias
    assert torch.equal(weight.detach(), module.mask.float())
    layer(torch.randn(2, 70)).sum().backward()
    assert (weight.grad[~module.mask] != 0).any(), "no hook is left"  # type: ignore[index]
    assert set(model.state_dict()) == {"0.a.weight", "0.a.bias"}


def test_unwrap_finds_a_module_that_stands_in_two_places() -> None:
    module = dendritic(nn.Linear(8, 8))
    model = nn.Sequential(module, nn.Sequential(nn.ReLU(), module))
    sparbor.unwrap(model)
    assert model[0] is model[1][1]  # type: ignore[index]
    assert not any(isinstance(part, PAINeuronModule) for part in model.modules())


def test_unwrap_of_a_bare_module_and_of_a_plain_model() -> None:
    layer = nn.Linear(8, 8)
    assert sparbor.unwrap(PAINeuronModule(layer, "x")) is layer
    assert sparbor.unwrap(layer) is layer


# Bad input.


@pytest.mark.parametrize(
    ("layer", "options", "text"),
    [
        (
            nn.ReLU(),
            {},
            r"'x' \(ReLU\) cannot become dendritic: not a linear, convolutional, recurrent or attention layer",
        ),
        (nn.Conv2d(32, 32, 3, groups=32), {}, r"'x' \(Conv2d\).*1 outputs in each convolution group, a slot needs 16"),
        (nn.ConvTranspose2d(32, 30, 3, groups=2), {}, r"15 outputs in each convolution group, a slot needs 16"),
        (nn.LazyLinear(4), {}, r"its shape is not known yet; run one batch through the model first"),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), {}, r"computed from other parameters"),
        (nn.Linear(4, 4), {"sparsity": 1.0}, r"sparsity=1\.0: must be at least 0 and below 1"),
        (nn.Linear(4, 4), {"sparsity": -0.1}, r"sparsity=-0\.1: must be at least 0 and below 1"),
        (nn.Linear(4, 4), {"sparsity": float("nan")}, r"sparsity=nan: must be"),
        (nn.Linear(4, 4), {"sparsity": "0.9"}, r"sparsity='0\.9': must be"),
    ],
)
def test_layers_and_sparsities_that_cannot_be(layer: nn.Module, options: dict[str, float], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        PAINeuronModule(layer, "x", **options)  # type: ignore[arg-type]


def test_depthwise_layers_are_fine_for_other_patterns() -> None:
    module = PAINeuronModule(nn.Conv2d(32, 32, 4, groups=32), "x", sparsity=0.75, pattern=NM(1, 4))
    module.set_mode("d")
    assert (module.mask.flatten(1).view(-1, 4).sum(1) == 1).all()


def test_bad_modes_and_masks() -> None:
    module = dendritic()
    with pytest.raises(ArgumentError, match=r"mode='x': must be 'n' \(neuron mode, dense\) or 'd'"):
        module.set_mode("x")  # type: ignore[arg-type]
    before = module.mask.clone()
    with pytest.raises(ArgumentError, match=r"mask of layer 'hidden' is torch.float32 \(35, 70\): must be torch.bool"):
        module.set_mask(torch.ones(35, 70))
    with pytest.raises(ArgumentError, match=r"is torch.bool \(35, 1\): must be torch.bool \(35, 70\)"):
        module.set_mask(torch.ones(35, 1, dtype=torch.bool))
    assert torch.equal(module.mask, before)
