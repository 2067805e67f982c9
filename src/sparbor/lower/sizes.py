"""Sizes that are known when a model runs: PyTorch's symbols for them, by the names that a program gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy
import torch
from torch.utils._sympy.functions import CleanDiv, FloorDiv, Max, Min, Mod, PythonMod

from sparbor.program.program import Dimension

BATCH = "batch"  # the size that the first dimension of inputs has


class UnnamedSizeError(Exception):
    """A size that no program can say, because it is not computed of named sizes by what programs compute with."""


class Sizes:
    """The names of a graph's symbols, and what is computed of them."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}

    def name(self, size: int | torch.SymInt, wanted: str, otherwise: str) -> Dimension:
        """The dimension of an input, which gets the wanted name if it has none; the other one if that is taken."""
        expression = _expression(size)
        if isinstance(expression, sympy.Integer):
            return int(expression)
        if not isinstance(expression, sympy.Symbol):
            raise UnnamedSizeError(f"an input has the size {expression}")
        if expression not in self._names:
            self._names[expression] = otherwise if wanted in self._names.values() else wanted
        return self._names[expression]

    def of(self, size: int | torch.SymInt) -> Dimension:
        """The size as programs have it."""
        return self._of(_expression(size))

    def _of(self, expression: Any) -> Dimension:
        if isinstance(expression, sympy.Integer):
            return int(expression)
        if expression in self._names:
            return self._names[expression]
        for kind, read in self._READ.items():
            if isinstance(expression, kind):
                return read(self, expression)
        raise UnnamedSizeError(f"a size is {expression}")

    def _sum(self, expression: Any) -> Dimension:
        """What is added, less what is taken away."""
        negative = [each for each in expression.args if each.as_coeff_Mul()[0] < 0]
        positive = [each for each in expression.args if each not in negative]
        if not positive:
            raise UnnamedSizeError(f"a size is {expression}")
        result = self._joined("+", positive)
        return ("-", result, self._joined("+", [-each for each in negative])) if negative else result

    def _joined(self, operation: str, parts: list[Any]) -> Dimension:
        numbers_last = sorted(parts, key=lambda each: isinstance(each, sympy.Integer))  # as operators write them
        first, *others = (self._of(each) for each in numbers_last)
        result: Dimension = first
        for each in others:
            result = (operation, result, each)
        return result

    def _product(self, expression: Any) -> Dimension:
        return self._joined("*", list(expression.args))

    def _power(self, expression: Any) -> Dimension:
        base, exponent = expression.args
        if not isinstance(exponent, sympy.Integer) or not 1 <= exponent <= 8:
            raise UnnamedSizeError(f"a size is {expression}")
        return self._joined("*", [base] * int(exponent))

    def _quotient(self, expression: Any) -> Dimension:
        return ("//", self._of(expression.args[0]), self._of(expression.args[1]))

    def _remainder(self, expression: Any) -> Dimension:
        left, right = map(self._of, expression.args)
        return ("-", left, ("*", right, ("//", left, right)))

    def _least(self, expression: Any) -> Dimension:
        result, *others = map(self._of, expression.args)
        for each in others:
            more = _is_more(result, each)
            result = ("-", ("+", result, ("*", more, each)), ("*", more, result))
        return result

    def _most(self, expression: Any) -> Dimension:
        result, *others = map(self._of, expression.args)
        for each in others:
            more = _is_more(each, result)
            result = ("-", ("+", result, ("*", more, each)), ("*", more, result))
        return result

    _READ: Mapping[type, Callable[[Sizes, Any], Dimension]] = {
        sympy.Add: _sum,
        sympy.Mul: _product,
        sympy.Pow: _power,
        FloorDiv: _quotient,
        CleanDiv: _quotient,
        Mod: _remainder,
        PythonMod: _remainder,
        Min: _least,
        Max: _most,
    }


def _is_more(one: Dimension, other: Dimension) -> Dimension:
    """1 if one size is more than another one, else 0: by division, which is all that there is."""
    times = ("//", one, ("+", other, 1))
    return ("//", ("*", 2, times), ("+", times, 1))


def _expression(size: int | torch.SymInt) -> Any:
    return sympy.Integer(size) if isinstance(size, int) else sympy.sympify(size.node.expr)
