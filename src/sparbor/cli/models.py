"""PyTorch models that users name: what a function in a Python file returns, or a directory of Hugging Face's."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.errors import ArgumentError, StateError, first_line
from sparbor.extras import brought_by

if TYPE_CHECKING:
    from torch import nn

PYTHON = ".py:"
KINDS = "FILE.py:NAME, a function there that returns {returned}; or a directory of Hugging Face's"


def is_function(model: str) -> bool:
    """Whether a function in a Python file is named, and no file or directory."""
    return PYTHON in model or model.endswith(PYTHON[:-1])


def file_of(model: str) -> Path:
    """The file or the directory that it is read from."""
    return Path(_parts(model)[0] if is_function(model) else model)


def _parts(function: str) -> tuple[str, str]:
    """The Python file and the function's name, which may have been left out."""
    file, _, name = (function if PYTHON in function else f"{function}:").rpartition(":")
    return file, name


def made_by(function: str, returned: str) -> tuple[nn.Module, Any]:
    """A model and what goes with it, as a function returns both, ``FILE.py:NAME``.

    The file is executed, and finds what lies beside it.

    Raises:
        ArgumentError: there is no such file or function, one of them raises an error, or something else than was
            ``returned`` is returned.
    """
    from torch import nn

    file, name = _parts(function)
    made = _called(Path(file), name)
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        raise ArgumentError(f"{function} returned a {type(made).__name__}: it must return {returned}")
    return made


def _called(path: Path, name: str) -> Any:
    if not os.path.isfile(path):
        raise ArgumentError(f"{str(path)!r} is no file: name a Python file and a function in it, FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with _faults_of(path):
            spec.loader.exec_module(module)
        make = getattr(module, name, None)
        if not callable(make):
            raise ArgumentError(f"{str(path)!r} has no function {name!r}: name one, FILE.py:NAME")
        with _faults_of(path):
            return make()
    finally:
        sys.path.pop(0)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Within, what the user's file raises, or that it ends the program, is a wrong argument."""
    try:
        yield
    except (Exception, SystemExit) as error:
        calls = traceback.extract_tb(error.__traceback__)
        lines = [f" in line {call.lineno}" for call in calls if call.filename == str(path.resolve())]
        what = f"{type(error).__name__}{(lines or [''])[-1]}: {first_line(error)}"
        raise ArgumentError(f"{str(path)!r} ends with {what}; mend it, or name another file") from error


def of_directory(directory: Path, what: str) -> nn.Module:
    """The model of a directory, with masks if `sparbor.save_pretrained` wrote it.

    Raises:
        ArgumentError: it is no directory of Hugging Face's.
        StateError: it is damaged.
        PackageMissingError: transformers is not installed.
    """
    if not os.path.isfile(directory / "config.json"):
        raise ArgumentError(
            f"{str(directory)!r} has no config.json, so it is no directory of Hugging Face's: name one, or a function"
            " that makes the model, FILE.py:NAME"
        )
    with brought_by("hugging-face", f"{what} of a directory"):
        from sparbor.pretrained.loading import hugging_face_model, load_pretrained
        from sparbor.pretrained.saving import MASKS
    _without_bars()
    if (directory / MASKS).is_file():
        return load_pretrained(directory).eval()
    try:
        return hugging_face_model(directory).eval()
    except StateError as error:
        way_out = "on the command line, name a function that makes the model, FILE.py:NAME"
        raise StateError(f"{str(directory)!r}: {error}; {way_out}") from None


def _without_bars() -> None:
    """What a command says is about the whole of its work: bars of parts would stand before its one line of an error."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
