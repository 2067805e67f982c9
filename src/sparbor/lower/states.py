"""What a deployed model remembers from call to call: outputs that are inputs then, and buffers that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sparbor.errors import ArgumentError

if TYPE_CHECKING:
    from sparbor.lower.unpacked import UnpackedProgram


def state_names(buffers: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """What the inputs are called that a model's changing buffers are, and which buffer each is."""
    known, names = set(taken), dict[str, str]()
    for buffer in buffers:
        name = buffer.replace(".", "_")
        while name in known:
            name += "_state"
        known.add(name)
        names[name] = buffer
    return names


def next_of(name: str) -> str:
    """What the output is called that a buffer is after a call."""
    return f"next_{name}"


@contextmanager
def unchanged_buffers(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What a model's buffers are, which calls within may change; afterwards they are that again."""
    noted = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    numbers = {id(buffer): start for _, _, buffer, start in noted if start is not None}
    try:
        yield {name: numbers[id(buffer)] for name, buffer in model.named_buffers(remove_duplicate=False)}
    finally:
        for module, name, buffer, start in noted:
            module._buffers[name] = buffer
            if buffer is not None and start is not None and not buffer.equal(start):
                buffer.copy_(start)


def start_of(states: Mapping[str, str], buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the states are that buffers are, as a session begins; raises ArgumentError if that is not zeros."""
    for buffer in states.values():
        if buffers[buffer].count_nonzero():
            raise ArgumentError(
                f"the model changes its buffer {buffer!r} as it runs, so that it is a state, and it is not zeros, as"
                f" states are when a session begins: reset it, as by model.get_buffer({buffer!r}).zero_()"
            )
    return {name: buffers[buffer] for name, buffer in states.items()}


def with_states(program: UnpackedProgram, given: Any) -> UnpackedProgram:
    """The program with the states that a user names as well; raises ArgumentError if they cannot be."""
    if given is None:
        return program
    if not isinstance(given, Mapping):
        raise ArgumentError(f"states is a {type(given).__name__}: pass a dictionary, as {{'h': 'next_h'}}")
    inputs, outputs = (
        {port.name: program.values[port.value] for port in ports} for ports in (program.inputs, program.outputs)
    )
    own, taken = dict(program.states), set[str]()
    for name, output in given.items():
        for which, ports, what in ((name, inputs, "input"), (output, outputs, "output")):
            if which not in ports:
                raise ArgumentError(f"states has {which!r}, which is no {what}: those are {', '.join(ports)}")
        if name in own or output in taken or output in own.values():
            raise ArgumentError(f"states has {name!r}: {output!r}, and one of them is of another state already")
        taken.add(output)
        if inputs[name] != outputs[output]:
            before, after = (
                f"{each.type} of shape ({', '.join(map(str, each.shape))})" for each in (inputs[name], outputs[output])
            )
            raise ArgumentError(f"states[{name!r}] is {output!r}, which is {after}, and the input {before}")
    states = (*program.states, *((str(name), str(output)) for name, output in given.items()))
    if len(states) >= min(len(inputs), len(outputs)):
        raise ArgumentError("all inputs or all outputs are states: nothing is left to be given or to be returned")
    return replace(program, states=states)
