"""A model that remembers: what some of its outputs are goes into its next call."""

from __future__ import annotations

import threading
from typing import Any

from sparbor import native
from sparbor.engine.arguments import NOT_ENOUGH_MEMORY, by_port, cannot_run, checked_inputs, common_kind
from sparbor.engine.runtime import Runtime, answers
from sparbor.errors import ArgumentError


class Session:
    """Calls of one runtime that follow each other; made by `Session(runtime)`.

    The model's file names its states, pairs of an output and an input: what the output is after a call, the input is in
    the next. A session is called as its runtime is, without those inputs, and returns the other outputs. States are
    zeros at first, and lie in memory of the session's own, where calls renew them. Several sessions of one runtime know
    nothing of each other; calls of one session take turns. After a call that is refused the states are what they were;
    if it had overwritten some by then, later calls are refused until `reset`.

    Args:
        runtime: a model with states.

    Raises:
        ArgumentError: the model has no states; a call is not as the runtime's must be, or for another number of items
            than the states are of, which `reset` makes possible.
    """

    def __init__(self, runtime: Runtime) -> None:
        if not runtime.states:
            raise ArgumentError("runtime has no states: call it directly, it remembers nothing from call to call")
        self.runtime = runtime
        inputs, outputs = ({pair[which] for pair in runtime.states} for which in (0, 1))
        self.inputs = [port for number, port in enumerate(runtime.inputs) if number not in inputs]
        self.outputs = [port for number, port in enumerate(runtime.outputs) if number not in outputs]
        self._given = [number for number in range(len(runtime.inputs)) if number not in inputs]
        self._session = native.Session(runtime)
        self._turn = threading.Lock()

    def __call__(self, /, *given: Any, **by_name: Any) -> Any:
        """As the runtime, but for the states."""
        inputs = by_port(self.inputs, given, by_name)
        arrays, sizes = checked_inputs(inputs, self.inputs, None)
        tensors = common_kind(inputs)
        everything: list[Any] = [None] * len(self.runtime.inputs)
        for number, array in zip(self._given, arrays, strict=True):
            everything[number] = array
        try:
            with self._turn:
                computed = self._session.run(self.runtime, everything)
        except native.RefusedError as error:
            raise cannot_run(sizes, "; ".join(error.args)) from None
        except MemoryError:
            raise ArgumentError(NOT_ENOUGH_MEMORY) from None
        # A tuple, since there is an output that is no state beside one that is: those are None.
        return answers([each for each in computed if each is not None], self.outputs, tensors)

    def reset(self) -> None:
        """The states are zeros again, of any number of items."""
        with self._turn:
            self._session.reset()
