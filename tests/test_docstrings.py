"""Every example in a docstring of the package is executed."""

import doctest
import importlib
import pkgutil

import pytest

import sparbor

MODULES = ["sparbor", *(module.name for module in pkgutil.walk_packages(sparbor.__path__, "sparbor."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_where_users_look_first() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    shown = {test.name for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples}
    assert {
        "sparbor.train.perforator.perforate",
        "sparbor.nn.neuron.PAINeuronModule",
        "sparbor.recipe.recipe.Recipe",
    } <= shown
