"""How often a layer uses each of its weights in one call: at each position of a sequence or a plane."""

from typing import cast

from torch import Tensor, nn

from sparbor.nn.layers import is_conv1d


def positions(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    """Of all items of a batch together, for a linear, convolutional or recurrent layer that made y of x.

    A weight is used once for each output of its neuron, in a transposed convolution once for each input, in a recurrent
    layer once for each item of a sequence. What is multiplied with padding counts.

    >>> import torch
    >>> layer, x = nn.Conv2d(3, 16, 3), torch.zeros(2, 3, 6, 6)
    >>> positions(layer, x, layer(x))
    32
    """
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        return x.data.numel() // layer.input_size  # of a packed sequence, too
    if is_conv1d(layer):
        return y.numel() // cast(int, layer.nf)
    if getattr(layer, "transposed", False):
        return x.numel() // cast(int, layer.in_channels)
    return y.numel() // cast(int, layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)
