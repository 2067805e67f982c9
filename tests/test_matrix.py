"""The matrix of a weight, with convolutions computed by PyTorch as the oracle."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparbor.topology.matrix import (
    channels_first,
    channels_last,
    from_matrix,
    input_row,
    outputs_first,
    to_matrix,
)

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


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (5, 6, 1, 1), (5, 6, 3, 2), (5, 6, 2, 3, 4)])
def test_channels_last_and_back(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    matrix = channels_last(to_matrix(weight), shape)
    assert torch.equal(matrix, weight.movedim(1, -1).reshape(5, -1))
    assert torch.equal(channels_first(matrix, shape), to_matrix(weight))


def test_channels_last_it_multiplies_the_bytes_of_pixels_where_they_lie() -> None:
    layer = nn.Conv2d(6, 4, (2, 3), bias=False)
    x = torch.randn(1, 6, 5, 5)
    lying = x.permute(0, 2, 3, 1).flatten()  # rows of pixels, of each all channels
    row, length = input_row(tuple(layer.weight.shape)), 5 * 6
    assert row == 3 * 6
    read = torch.cat([lying[:row], lying[length : length + row]])
    product = channels_last(to_matrix(layer.weight), layer.weight.shape) @ read
    torch.testing.assert_close(product, layer(x)[0, :, 0, 0])


@pytest.mark.parametrize(("shape", "dilation", "row"), [((8, 5), 1, 5), ((8, 5, 3), 1, 15), ((8, 5, 3, 7), 2, 5)])
def test_what_is_read_from_one_place(shape: tuple[int, ...], dilation: int, row: int) -> None:
    assert input_row(shape, dilation) == row
