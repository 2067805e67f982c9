"""Runs in the emulated Python: calls the engine's native module for the tests, which run outside.

Requests and answers are pickles on standard input and output; see ``client``.
"""

import pickle
import sys

import _native  # type: ignore[import-not-found]
import numpy as np

objects = []


def decode(argument, arrays):
    """An argument as the engine takes it; arrays are remembered in ``arrays``, since it may write to them."""
    if not (isinstance(argument, tuple) and argument and argument[0] == "array"):
        return argument
    _, memory, offset, shape, strides, dtype = argument
    array = np.ndarray(shape, dtype, bytearray(memory), offset, strides)
    arrays.append(array)
    return array


def answer(target, name, arguments, options):
    """What the call gave, and the memory of its arrays afterwards."""
    arrays = []
    arguments = [decode(each, arrays) for each in arguments]
    options = {key: decode(each, arrays) for key, each in options.items()}
    owner = _native if target is None else objects[target]
    result = getattr(owner, name)
    if callable(result):
        result = result(*arguments, **options)
    for number, array in enumerate(arrays):
        if result is array or (isinstance(result, np.ndarray) and np.shares_memory(result, array)):
            result = ("argument", number)
    if isinstance(result, _native.Model):
        objects.append(result)
        result = len(objects) - 1
    return result, [bytes(array.base) for array in arrays]


while True:
    try:
        request = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        reply = ("result", answer(*request))
    except Exception as error:
        reply = ("error", (type(error).__name__, str(error)))
    pickle.dump(reply, sys.stdout.buffer)
    sys.stdout.buffer.flush()
