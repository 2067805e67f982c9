"""Runs in the emulated Python: calls the engine's native module for the tests, which run outside.

Requests and answers are pickles on standard input and output; see ``client``.
"""

import itertools
import pickle
import sys

import _native  # type: ignore[import-not-found]
import numpy as np

models = {}
numbers = itertools.count()


def decode(argument, arrays):
    """An argument as the engine takes it; arrays are remembered in ``arrays``, since it may write to them."""
    if isinstance(argument, list):
        return [decode(each, arrays) for each in argument]
    if not (isinstance(argument, tuple) and argument and argument[0] == "array"):
        return argument
    _, memory, offset, shape, strides, dtype = argument
    room = bytes(max(strides, default=0))  # behind the last pixel of planes, where kernels may write
    array = np.ndarray(shape, dtype, bytearray(memory + room), offset, strides)
    arrays.append((array, len(memory)))
    return array


def answer(released, target, name, arguments, options):
    """What the call gave, and the memory of its arrays afterwards."""
    for number in released:
        del models[number]
    arrays = []
    arguments = [decode(each, arrays) for each in arguments]
    options = {key: decode(each, arrays) for key, each in options.items()}
    owner = _native if target is None else models[target]
    result = getattr(owner, name)
    if callable(result):
        result = result(*arguments, **options)
    for number, (array, _) in enumerate(arrays):
        if result is array or (isinstance(result, np.ndarray) and np.shares_memory(result, array)):
            result = ("argument", number)
    if isinstance(result, _native.Model):
        number = next(numbers)
        models[number] = result
        result = number
    return result, [bytes(array.base[:size]) for array, size in arrays]


while True:
    try:
        request = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        reply = ("result", answer(*request))
    except Exception as error:
        reply = ("error", (type(error).__name__, error.args))
    pickle.dump(reply, sys.stdout.buffer)
    sys.stdout.buffer.flush()
