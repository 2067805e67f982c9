"""Operators that the engine does not have, and that PyTorch can write with others: einsum, for one, with products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch._ops import OpOverload

from sparbor.ops.arguments import overload_name
from sparbor.ops.table import is_known

# What would come apart into one operation for each step of a sequence, and what is no operation on tensors.
_WHOLE = ("lstm", "gru", "rnn_tanh", "rnn_relu", "sym_size", "sym_stride", "item")


# What PyTorch can write with others, but does not by itself.
_ASKED_FOR = (torch.ops.aten.grid_sampler_2d, torch.ops.aten.upsample_trilinear3d, torch.ops.aten.hypot)


@cache
def _table() -> dict[OpOverload, Callable[..., Any]]:
    usual: Mapping[Any, Any] = torch.export.default_decompositions()
    return {
        operator: function
        for operator, function in (*usual.items(), *get_decompositions(_ASKED_FOR).items())
        if isinstance(operator, OpOverload)
        and not is_known(overload_name(operator))
        and overload_name(operator).partition(".")[0] not in _WHOLE
    }


def written_otherwise() -> dict[Any, Callable[..., Any]]:
    """By operator, what PyTorch writes it with. Those that the engine has, such as linear and softmax, stay whole."""
    return dict(_table())
