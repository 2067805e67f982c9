"""The engine's native module for another processor, in the place of this machine's: its calls run in an emulator.

A pytest plugin: ``make emulate`` loads it, and sets ``SPARBOR_EMULATION`` to the command of a Python in an emulator
whose path has NumPy and the native module. Only the engine runs there; PyTorch, NumPy and the tests, which know what is
right, run here.
"""

import builtins
import ctypes
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

SERVER = Path(__file__).parent / "serve.py"


ATTRIBUTES = (  # of a model
    *("isa", "threads", "workspace_bytes", "item_bytes"),
    *("graph", "input_ports", "output_ports", "size_names", "states", "takes_bytes"),
)


class RefusedError(ValueError):
    """What the engine says of a model that cannot run: the fault and the remedy."""


def install(command: str) -> None:
    """From now on ``import sparbor._native`` gives the emulated one."""
    server = _Server([*command.split(), str(SERVER)])

    def function(name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return partial(server.call, None, name)

    module = types.ModuleType("sparbor._native")
    module.__dict__.update(
        RefusedError=RefusedError, Model=type("Model", (_Model,), {"server": server}), __getattr__=function
    )
    sys.modules["sparbor._native"] = module


class _Server:
    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.released: list[int] = []  # models that are needed no more: said with the next call

    def call(self, target: int | None, name: str, *arguments: Any, **options: Any) -> Any:
        """The answer; arrays are written to as the engine has written to theirs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        arrays: list[tuple[Any, np.ndarray]] = []
        sent = [_encode(each, arrays) for each in _without_openmp(arguments)]
        released, self.released = self.released, []
        request = (released, target, name, sent, {key: _encode(each, arrays) for key, each in options.items()})
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        kind, answer = pickle.load(self._process.stdout)
        if kind == "error":
            name, given = answer
            raise (RefusedError if name == "RefusedError" else getattr(builtins, name, RuntimeError))(*given)
        result, memories = answer
        for (_, array), memory in zip(arrays, memories, strict=True):
            if array.flags.writeable:
                _memory(array)[:] = np.frombuffer(memory, np.uint8)
        if isinstance(result, tuple) and result[:1] == ("argument",):
            return arrays[result[1]][0]
        as_tensor = isinstance(result, np.ndarray) and any(isinstance(given, torch.Tensor) for given, _ in arrays)
        return torch.from_numpy(result) if as_tensor else result


class _Model:
    """What stands here for a model there; subclasses have a server."""

    server: _Server

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._number = self.server.call(None, "Model", *arguments, **options)

    def __del__(self) -> None:
        if "_number" in vars(self):
            self.server.released.append(self._number)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return self.server.call(self._number, name)
        return partial(self.server.call, self._number, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.server.call(self._number, "__call__", *arguments, **options)


def _without_openmp(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """PyTorch's OpenMP runtime, which a (kernel set, threads, address) names, is not there."""
    first = arguments[0] if arguments else None
    if isinstance(first, tuple) and len(first) == 3 and isinstance(first[0], str):
        return ((*first[:2], 0), *arguments[1:])
    return arguments


def _encode(argument: Any, arrays: list[tuple[Any, np.ndarray]]) -> Any:
    if isinstance(argument, list):
        return [_encode(each, arrays) for each in argument]
    if not isinstance(argument, (np.ndarray, torch.Tensor)):
        return argument
    array = argument.detach().numpy() if isinstance(argument, torch.Tensor) else argument
    arrays.append((argument, array))
    memory = _memory(array)
    offset = array.ctypes.data - memory.ctypes.data if array.size else 0
    return ("array", memory.tobytes(), offset, array.shape, array.strides, array.dtype.str)


def _memory(array: np.ndarray) -> np.ndarray:
    """All bytes from the first to the last of its numbers."""
    if not array.size:
        return np.empty(0, np.uint8)
    low, high = np.lib.array_utils.byte_bounds(array)
    return np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low))


install(os.environ["SPARBOR_EMULATION"])
