"""A model is traced where it stands and left as it was: a copy would take its memory, and all that it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Whatever is done within to attributes of the model's modules, and to the lists and dicts there, is undone after.

    Tensors are not copied: what changes the numbers of one is not undone.
    """
    noted = [(module, _noted(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in noted:
            _put_back(vars(module), attributes)


def _noted(attributes: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each attribute as it is, and what it contains if that can change."""
    return {name: (value, _contents(value)) for name, value in attributes.items()}


def _contents(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list, set)) else None


def _put_back(attributes: dict[str, Any], noted: Mapping[str, tuple[Any, Any]]) -> None:
    attributes.clear()
    for name, (value, contents) in noted.items():
        attributes[name] = value
        if contents is None or _is_same(value, contents):
            continue
        value.clear()
        value.extend(contents) if isinstance(value, list) else value.update(contents)


def _is_same(value: Any, contents: Any) -> bool:
    """Whether a container holds the very objects that it held, which need not be comparable."""
    if isinstance(value, dict):
        return list(value) == list(contents) and all(value[key] is contents[key] for key in contents)
    if isinstance(value, list):
        return len(value) == len(contents) and all(map(lambda one, other: one is other, value, contents))
    return bool(value == contents)
