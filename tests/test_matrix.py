"""The matrix of a weight, with convolutions computed by PyTorch as the oracle."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparbor.topology.matrix import from_matrix, outputs_first, to_matrix

GROUPS = [1, 2, 3]


@pytest.mark.parametrize("groups", GROUPS)
def test_a_convolutions_matrix_multiplies_the_unfolded_image(groups: int) -> None:
    layer = nn.Conv2d(6, 12, 3, groups=groups, bias=False)
    x = torch.randn(1, 6, 5, 5)
    product = product_by_group(to_matrix(layer.weight, groups), F.unfold(x, 3)[0], groups, 3)
    assert torch.allclose(layer(x)[0], product, atol=1e-6)


@pytest.mark.parametrize("groups", GROUPS)
def test_a_transposed_convolutions_matrix_is_that_of_the_convolution_it_is(groups: int) -> None:
    """Stride 1: a convolution of the padded image."""
    layer = nn.ConvTranspose2d(6, 12, 3, groups=groups, bias=False)
    x = torch.randn(1, 6, 5, 5)
    matrix = to_matrix(layer.weight, groups, transposed=True)
    assert matrix.shape == (12, 6 // groups * 9)
    kernels = matrix.reshape(outputs_first(layer.weight.shape, groups, transposed=True))
    assert torch.allclose(layer(x), F.conv2d(x, kernels, padding=2, groups=groups), atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 2), (6, 4, 1, 2, 3)])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("transposed", [False, True])
def test_there_and_back(shape: tuple[int, ...], groups: int, transposed: bool) -> None:
    weight = torch.randn(shape)
    matrix = to_matrix(weight, groups, transposed)
    outputs, *fan_in = outputs_first(shape, groups, transposed)
    assert matrix.shape == (outputs, torch.Size(fan_in).numel())
    assert torch.equal(from_matrix(matrix, shape, groups, transposed), weight)


def product_by_group(matrix: Tensor, columns: Tensor, groups: int, size: int) -> Tensor:
    parts = zip(matrix.chunk(groups), columns.chunk(groups), strict=True)
    return torch.cat([rows @ part for rows, part in parts]).unflatten(1, (size, size))
