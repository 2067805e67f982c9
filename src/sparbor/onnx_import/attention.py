"""Attention as one node, which ONNX has from operator set 23 on; what earlier files spell out, lowering finds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value
from sparbor.onnx_import.values import as_tensor, tensors


def _attention(node: Node, q: Value, k: Value, v: Value, mask: Value | None = None, *past: Value | None) -> Tensor:
    """Of (batch, heads, tokens, features), or of (batch, tokens, heads x features)."""
    node.only(1)
    if any(each is not None for each in past):
        node.refuse("has keys and values of earlier calls, or the lengths of sequences")
    if node.get("softcap", 0.0):
        node.refuse("bounds its scores (softcap)")
    query, key, value = tensors(q, k, v)
    is_flat = query.dim() == 3
    if is_flat:
        query = _with_heads(query, node.get("q_num_heads"))
        key, value = (_with_heads(each, node.get("kv_num_heads")) for each in (key, value))
    hidden = None if mask is None else as_tensor(mask)
    causal = bool(node.get("is_causal", 0))
    if causal and hidden is not None:
        hidden, causal = _causal(hidden, query, key), False
    shared = key.shape[1] != query.shape[1]
    scale = node.get("scale")
    y = F.scaled_dot_product_attention(query, key, value, hidden, 0.0, causal, scale=scale, enable_gqa=shared)
    return y.transpose(1, 2).flatten(2) if is_flat else y


def _with_heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def _causal(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """The mask, where a query does not look ahead."""
    ahead = torch.arange(key.shape[2]) > torch.arange(query.shape[2]).unsqueeze(1)
    if mask.dtype == torch.bool:
        return mask & ~ahead
    return torch.where(ahead, torch.full_like(mask[..., :1, :1], float("-inf")), mask)


OPERATORS: Mapping[str, Operator] = {"Attention": _attention}
