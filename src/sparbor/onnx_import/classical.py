"""Operators of ai.onnx.ml that scikit-learn's linear models, networks and scalers are written with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.onnx_import.node import Node, Operator, Value, listed
from sparbor.onnx_import.values import as_tensor


def _row(node: Node, name: str, otherwise: float = 0.0) -> Tensor:
    return torch.tensor(listed(node.get(name, [otherwise])), dtype=torch.float32)


def _scaler(node: Node, x: Value) -> Tensor:
    return (as_tensor(x).float() - _row(node, "offset")) * _row(node, "scale", 1.0)


def _normalizer(node: Node, x: Value) -> Tensor:
    given, norm = as_tensor(x).float(), node.get("norm", "MAX")
    if norm == "MAX":
        return given / given.amax(-1, keepdim=True)
    return F.normalize(given, 1.0 if norm == "L1" else 2.0, -1)


def _binarizer(node: Node, x: Value) -> Tensor:
    given = as_tensor(x)
    return (given > float(node.get("threshold", 0.0))).to(given.dtype)


def _imputer(node: Node, x: Value) -> Tensor:
    given, missing = as_tensor(x), node.get("replaced_value_float", 0.0)
    if given.dtype != torch.float32:
        node.refuse("fills in whole numbers")
    there = torch.isnan(given) if np.isnan(missing) else given == missing
    return torch.where(there, _row(node, "imputed_value_floats"), given)


def _features(_: Node, *given: Value) -> Tensor:
    return torch.cat([as_tensor(each).float() for each in given], -1)


def _chosen_features(_: Node, x: Value, places: Value) -> Tensor:
    given, wanted = as_tensor(x), as_tensor(places).long().reshape(-1)
    return (given.unsqueeze(0) if given.dim() == 1 else given)[..., wanted]


def _scores(node: Node, x: Value, outputs: int) -> Tensor:
    weights = _row(node, "coefficients").reshape(outputs, -1)
    bias = _row(node, "intercepts") if node.get("intercepts") else None
    return F.linear(as_tensor(x).float(), weights, bias)


def _regressor(node: Node, x: Value) -> Tensor:
    return _transformed(node, _scores(node, x, node.get("targets", 1)))


def _classifier(node: Node, x: Value) -> tuple[Tensor | None, Tensor]:
    """Labels, unless they are text, and a score for each class."""
    names, texts = listed(node.get("classlabels_ints", [])), list(node.get("classlabels_strings", []))
    count = len(names or texts)
    columns = len(listed(node.get("coefficients"))) // as_tensor(x).shape[-1]
    scores = _scores(node, x, columns)
    if columns != count:
        node.refuse(f"has {columns} scores for {count} classes")
    place, probabilities = scores.argmax(-1), _transformed(node, scores)
    return (torch.tensor(names, dtype=torch.int64)[place] if names else None), probabilities


def _transformed(node: Node, scores: Tensor) -> Tensor:
    match node.get("post_transform", "NONE"):
        case "NONE":
            return scores
        case "SOFTMAX":
            return F.softmax(scores, -1)
        case "LOGISTIC":
            return torch.sigmoid(scores)
        case other:
            return node.refuse(f"has the post_transform {other!r}")


def _plain(_: Node, probabilities: Value) -> Tensor:
    """A list of dictionaries, a number for each class, as one array: the classes are its columns."""
    return as_tensor(probabilities)


_FAMILY: dict[str, Any] = {
    "ArrayFeatureExtractor": _chosen_features,
    "Binarizer": _binarizer,
    "FeatureVectorizer": _features,
    "Imputer": _imputer,
    "LinearClassifier": _classifier,
    "LinearRegressor": _regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
    "ZipMap": _plain,
}
OPERATORS: Mapping[str, Operator] = {f"ai.onnx.ml.{name}": operator for name, operator in _FAMILY.items()}
