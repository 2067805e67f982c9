"""The models whose latency is measured, with weights, masks and batch norms that look like trained ones."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from bench.inference import convnets, encoders
from bench.inference.masks import equal_mask, uneven
from bench.inference.mlps import mlp
from bench.job.models import cifar10_cnn
from bench.peers import Example
from sparbor import PAINeuronModule, Quads, Slots, unwrap
from sparbor.allocation.shares import shares
from sparbor.nn.layers import weight_names, why_not_wrappable
from sparbor.recipe.pattern import Pattern
from sparbor.recipe.recipe import Distribution
from sparbor.topology.rewire import magnitude_mask


@dataclass(frozen=True)
class Spec:
    """How a model is made, what one input looks like, and how a sparsity is divided among its layers.

    The input is noise of a shape or, of a model that has a vocabulary, a text of so many tokens. A layer's outputs have
    about `power` times the power of its inputs: 2 where a ReLU halves that again.
    """

    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    distribution: Distribution = "uniform"
    power: float = 2
    tokens: bool = False


MASKS: dict[str, Pattern] = {"varying": Slots(), "quads": Quads(), "equal": Slots()}
MODELS = {
    "seed-mlp": Spec(partial(mlp, 784, 256, 256, 10), (784,)),
    "mlp-2048x4": Spec(partial(mlp, *[2048] * 5, ends_with_relu=True), (2048,)),
    "mlp-4096x4": Spec(partial(mlp, *[4096] * 5, ends_with_relu=True), (4096,)),
    "vit-b-mlp": Spec(partial(mlp, 3072, 768), (3072,)),
    "seed-cnn": Spec(cifar10_cnn, (3, 32, 32)),
    "seed-cnn-erk": Spec(cifar10_cnn, (3, 32, 32), "erk"),
    "vgg11-cifar": Spec(convnets.vgg11_cifar, (3, 32, 32)),
    "resnet18-cifar": Spec(partial(convnets.ResNet18, 10, small_images=True), (3, 32, 32)),
    "resnet18-imagenet": Spec(partial(convnets.ResNet18, 1000, small_images=False), (3, 224, 224)),
    "resnet50-imagenet": Spec(partial(convnets.ResNet50, 1000, small_images=False), (3, 224, 224)),
    "mobilenetv2": Spec(partial(convnets.MobileNetV2, 1000), (3, 224, 224)),
    "efficientnet-b0": Spec(partial(convnets.EfficientNetB0, 1000), (3, 224, 224), power=1),
    "vit-tiny": Spec(encoders.vit_tiny, (3, 224, 224), power=1),
    **{f"minilm-{length}": Spec(encoders.minilm, (length,), power=1, tokens=True) for length in (8, 16, 32, 128)},
    # For the tests of these scripts.
    "tiny": Spec(partial(mlp, 64, 48, 10), (64,)),
    "tiny-cnn": Spec(convnets.tiny, (3, 9, 9)),
    "tiny-encoder": Spec(encoders.tiny, (5,), power=1, tokens=True),
}
OF_NOISE = tuple(name for name, spec in MODELS.items() if not spec.tokens)


def dense(model: str) -> nn.Module:
    """The model with fresh weights."""
    return MODELS[model].build()


def example(model: str, batch: int) -> Example:
    """A batch of inputs: texts, or noise as if normalised."""
    shape = MODELS[model].input_shape
    if MODELS[model].tokens:
        (length,) = shape
        return encoders.tokens(length, batch)
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))


def dendritic(model: str, sparsity: float, masks: str) -> nn.Module:
    """The model in dendrite mode; layers that the pattern refuses (of one channel a group, say) stay as they are.

    ``masks="varying"`` is what training makes: the slots of the largest magnitude, wherever they are; ``"quads"`` is
    that of quads, the units of 8-bit layers, and leaves layers of fewer than 64 inputs dense. ``"equal"`` has the same
    number on every branch, as near to the sparsity as a whole number comes.
    """
    torch.manual_seed(0)
    network, spec = dense(model), MODELS[model]
    make_sparse(network, sparsity, masks, spec.distribution, spec.power)
    settle_batch_norms(network, spec.input_shape)
    return network.eval()


def make_sparse(
    network: nn.Module, sparsity: float, masks: str, distribution: Distribution = "uniform", power: float = 2
) -> None:
    """Put the network's layers into dendrite mode, with such weights and masks, and outputs of such power."""
    wrapped = _wrap(network, MASKS[masks])
    shapes = [layer.outputs_first for layer in wrapped]
    for layer, share in zip(wrapped, shares(distribution, shapes, 1 - sparsity), strict=True):
        weight = uneven(*layer.weight_matrix().shape)
        if masks == "equal":
            mask = equal_mask(weight, 1 - share.density)
        else:
            # Neurons of fewer inputs than a branch: in most blocks no quad would be left, and the signal would die.
            narrow = isinstance(layer.pattern, Quads) and weight.shape[1] < layer.pattern.branch
            density = 1.0 if narrow else share.density
            mask = magnitude_mask(weight, layer.pattern, density, layer.groups, layer.input_row)
        # The kept weights alone carry the signal: scaled so that activations neither fade nor explode.
        scale = (power / (weight.square() * mask).sum(dim=1).mean()).sqrt()
        with torch.no_grad():
            layer.weight.copy_(layer.from_matrix(weight * scale))
        layer.set_mask(layer.from_matrix(mask))


def plain(network: nn.Module) -> nn.Module:
    """A copy without masks, zeros in their place: what every rival gets."""
    return unwrap(deepcopy(network)).eval().requires_grad_(False)


def _wrap(network: nn.Module, pattern: Pattern) -> list[PAINeuronModule]:
    """A module around each layer that can have one; around a recurrent layer one for each of its weights."""
    wrapped = []
    for name, layer in list(network.named_modules()):
        if why_not_wrappable(layer, pattern) is not None:
            continue
        for weight in weight_names(layer):
            layer = PAINeuronModule(layer, name, pattern=pattern, weight_name=weight)
            wrapped.append(layer)
        network.set_submodule(name, layer)
    return wrapped


@torch.no_grad()
def settle_batch_norms(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Scales and shifts that are no ones and zeros, and the mean and variance that some batches really have."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0, 0.2)
        norm.momentum = None  # an average of all batches
    network.train()
    for _ in range(3):
        network(torch.randn(4, *input_shape))
    for norm in norms:  # of a neuron that sees next to nothing, rounding would be made as large as a signal
        variance = norm.running_var
        assert variance is not None  # as norms have it that average their batches
        variance.clamp_(min=float(variance.mean()) / 100)
