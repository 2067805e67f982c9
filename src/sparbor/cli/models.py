"""PyTorch models that users name: what a function in a Python file returns, or a directory of Hugging Face's."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.errors import ArgumentError, SparborError, StateError, first_line
from sparbor.extras import brought_by

if TYPE_CHECKING:
    from torch import nn

PYTHON = ".py:"
KINDS = "FILE.py:NAME, a function there that returns {returned}; or a directory of Hugging Face's"


def is_function(model: str) -> bool:
    """Whether a function in a Python file is named, and no file or directory."""
    return PYTHON in model


def made_by(function: str, returned: str) -> tuple[nn.Module, Any]:
    """A model and what goes with it, as a function returns both, ``FILE.py:NAME``.

    The file is executed, and finds what lies beside it.

    Raises:
        ArgumentError: there is no such file or function, or it returns something else than was ``returned``.
    """
    from torch import nn

    file, _, name = function.rpartition(":")
    made = _called(Path(file), name)
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        raise ArgumentError(f"{function} returned a {type(made).__name__}: it must return {returned}")
    return made


def _called(path: Path, name: str) -> Any:
    if not path.is_file():
        raise ArgumentError(f"{str(path)!r} is no file: name a Python file and a function in it, FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
        make = getattr(module, name, None)
        if not callable(make):
            raise ArgumentError(f"{path} has no function {name!r}: name one, FILE.py:NAME")
        return make()
    except SparborError:
        raise
    except Exception as error:  # the user's own code may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ArgumentError(
            f"{path}:{name} raised {type(error).__name__} ({first_line(error)}), {place.filename} line {place.lineno}:"
            " mend the function"
        ) from error
    finally:
        sys.path.pop(0)


def check_directory(directory: Path) -> None:
    """Before anything is read.

    Raises:
        ArgumentError: it is no directory of Hugging Face's.
    """
    if not (directory / "config.json").is_file():
        raise ArgumentError(
            f"{str(directory)!r} has no config.json, so it is no directory of Hugging Face's: name one, or a function"
            " that makes the model, FILE.py:NAME"
        )


def of_directory(directory: Path, what: str) -> nn.Module:
    """The model of a directory, with masks if `sparbor.save_pretrained` wrote it.

    Raises:
        ArgumentError: it is no directory of Hugging Face's.
        StateError: it is damaged.
        PackageMissingError: transformers is not installed.
    """
    check_directory(directory)
    with brought_by("hugging-face", f"{what} of a directory"):
        from sparbor.pretrained.loading import hugging_face_model, load_pretrained
        from sparbor.pretrained.saving import MASKS
    if (directory / MASKS).is_file():
        return load_pretrained(directory).eval()
    try:
        return hugging_face_model(directory).eval()
    except StateError as error:
        way_out = "on the command line, name a function that makes the model, FILE.py:NAME"
        raise StateError(f"{str(directory)!r}: {error}; {way_out}") from None
