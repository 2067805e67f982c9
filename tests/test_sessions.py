"""What a session keeps: states are renewed where they lie, and are what they were after a call that was refused."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime
from sparbor.engine.session import Session
from sparbor.errors import ArgumentError
from sparbor.program.program import Activation, Axes, Axis, Operation, Order, Program, ValueType
from tests.operators import floats, isa, same  # noqa: F401
from tests.test_values import f32, program

ROOM = 16
CACHE = f32("batch", 3, ROOM, 20)
NEW = f32("batch", 3, "sequence", 20)
PLACES = ValueType("i64", ("sequence",))


def remembering() -> Program:
    """New rows come into a cache at places that are given; what it holds is summed."""
    return program(
        [NEW, PLACES, CACHE, CACHE, f32("batch", 3, 1, 20)],
        "new0 at1 cache2",
        "sum4 next3",
        Operation("put", (2, 0, 1), 3, settings=Axis(2)),
        Operation("reduce_sum", (3,), 4, settings=Axes((2,))),
        states=(("cache", "next"),),
    )


@pytest.mark.usefixtures("isa")
def test_a_cache_that_is_written_row_by_row() -> None:
    """Sizes that grow need more memory, and the states stay; another session of the runtime has its own."""
    runtime = Runtime(remembering())
    one, other = Session(runtime), Session(runtime)
    kept = {one: np.zeros((2, 3, ROOM, 20), np.float32), other: np.zeros((5, 3, ROOM, 20), np.float32)}
    for length in (1, 1, 3, 16, 2, 7, 1):
        for session, cache in kept.items():
            new, at = floats(len(cache), 3, length, 20), np.random.default_rng(length).permutation(ROOM)[:length]
            cache[:, :, at] = new
            same(session(new=new, at=at), cache.sum(2, keepdims=True), 1e-5)
    with pytest.raises(ArgumentError, match=r"session's 'cache' has shape \(2, 3, 16, 20\), and this call needs"):
        one(new=floats(3, 3, 1, 20), at=np.array([0]))
    one.reset()
    same(one(new=new[:3].copy(), at=at), new[:3], 1e-5)


@pytest.mark.usefixtures("isa")
def test_a_full_cache_refuses_the_call_and_stays() -> None:
    session = Session(Runtime(remembering()))
    new = floats(2, 3, 4, 20)
    before = session(new=new, at=np.arange(4))
    text = r"the state 'cache' is full: index 16 at \(1,\) is not one of the 16 of dimension 2, 0 to 15; reset"
    for _ in range(3):
        with pytest.raises(ArgumentError, match=text) as caught:
            session(new=floats(2, 3, 2, 20), at=np.array([15, 16]))
        assert len(str(caught.value).splitlines()) == 1
    same(session(new=new, at=np.arange(4)), before, 0)


@pytest.mark.usefixtures("isa")
def test_a_state_that_a_refused_call_has_overwritten_is_not_gone_on_with() -> None:
    """After the cache has been written, something else of the call is refused."""
    values = [NEW, PLACES, CACHE, CACHE, f32(8), ValueType("i64", (1,)), f32(1)]
    made = program(
        values,
        "new0 at1 cache2 x4 which5",
        "y6 next3",
        Operation("put", (2, 0, 1), 3, settings=Axis(2)),
        Operation("take", (4, 5), 6, settings=Axis(0)),
        states=(("cache", "next"),),
    )
    session, x, zero = Session(Runtime(made)), floats(8), np.zeros(1, np.int64)
    given = {"new": floats(1, 3, 1, 20), "at": zero, "x": x}
    with pytest.raises(ArgumentError, match="index 8"):
        session(**given, which=zero + 8)  # the first call: there was nothing to lose
    same(session(**given, which=zero), x[:1], 0)
    with pytest.raises(ArgumentError, match="index 8"):
        session(**given, which=zero + 8)
    for _ in range(2):
        with pytest.raises(ArgumentError, match="has overwritten some of the session's states; reset the session"):
            session(**given, which=zero)
    session.reset()
    same(session(**given, which=zero + 3), x[3:4], 0)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.usefixtures("isa")
def test_states_that_become_each_other_or_another_look_at_one(batch: int) -> None:
    """Swapped; turned; given as they are; and one that is both an output and the next state."""
    square = f32("batch", 5, 5)
    made = program(
        [square] * 7,
        "x0 a1 b2 turned3 same4",
        "y5 sum6 from_b2 from_a1 turned_again5 same4",
        Operation("permute", (3,), 5, settings=Order((0, 2, 1))),
        Operation("add", (0, 1), 6),
        states=(("a", "from_b"), ("b", "sum"), ("turned", "turned_again"), ("same", "same")),
    )
    runtime = Runtime(made)
    session = Session(runtime)
    states = {name: np.zeros((batch, 5, 5), np.float32) for name in ("a", "b", "turned", "same")}
    for turn in range(5):
        x = floats(batch, 5, 5)
        wanted = runtime(x=x, **states)
        found = session(x)
        assert found.keys() == {"y", "from_a"}
        for name, answer in found.items():
            same(answer, wanted[name], 0)
        states = {name: wanted[output] for name, output in made.states}
        assert np.abs(states["b"]).max() > 0
        assert turn == 0 or np.abs(states["a"]).max() > 0


@pytest.mark.usefixtures("isa")
def test_a_recurrence_in_place_reads_the_state_before_it_writes_it() -> None:
    """The next state is computed where the state lies, or not if something else still reads that."""
    row = f32("batch", 40)
    for last in ((3, 1), (2, 3)):
        made = program(
            [row] * 5,
            "x0 h1",
            "y4 next3",
            Operation("add", (0, 1), 2),
            Operation("activation", (2,), 3, activation=Activation("tanh")),
            Operation("subtract", last, 4),
            states=(("h", "next"),),
        )
        session, h = Session(Runtime(made)), np.zeros((3, 40), np.float32)
        for _ in range(4):
            x = floats(3, 40)
            values = [x, h, x + h, np.tanh(x + h)]
            same(session(x), values[last[0]] - values[last[1]], 1e-5)
            h = values[3]


def test_nothing_is_copied_of_a_state_that_is_renewed_in_place() -> None:
    """The memory of a call has room for one cache, and no copy."""
    runtime = Runtime(remembering())
    one = 3 * ROOM * 20 * 4
    assert one <= runtime.item_bytes < 2 * one


def test_memory_of_sessions_goes_back_to_their_runtime() -> None:
    runtime = Runtime(remembering())
    new, at = floats(2, 3, 1, 20), np.array([0])
    sessions = [Session(runtime) for _ in range(5)]
    for session in sessions:
        session(new=new, at=at)
    most = runtime.workspace_bytes
    for _ in range(3):
        for session in sessions:
            session.reset()
            same(session(new=new, at=at), new, 0)
        assert runtime.workspace_bytes == most
    del session, sessions
    gc.collect()
    sessions = [Session(runtime) for _ in range(5)]
    for session in sessions:
        same(session(new=new, at=at), new, 0)
    assert runtime.workspace_bytes == most


def test_sessions_of_several_threads() -> None:
    runtime, wrong = Runtime(remembering(), threads=2), list[str]()

    def work(seed: int) -> None:
        session, cache = Session(runtime), np.zeros((1, 3, ROOM, 20), np.float32)
        random = np.random.default_rng(seed)
        for turn in range(200):
            new, at = random.standard_normal((1, 3, 1, 20), dtype=np.float32), np.array([turn % ROOM])
            cache[:, :, at] = new
            if not np.allclose(session(new=new, at=at), cache.sum(2, keepdims=True), atol=1e-4):
                wrong.append(f"{seed}: {turn}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_session_of_another_model() -> None:
    runtime, other = Runtime(remembering()), Runtime(remembering())
    session = Session(runtime)
    new, at = floats(1, 3, 1, 20), np.array([0])
    same(session(new=new, at=at), new, 0)
    session.runtime = other
    with pytest.raises(ArgumentError, match="the session is of another model; make one of this model"):
        session(new=new, at=at)
    session.runtime = runtime
    same(session(new=new, at=at), new, 0)


def test_a_state_that_is_missing_is_called_one() -> None:
    runtime = Runtime(remembering())
    new, at = floats(1, 3, 1, 20), np.array([0])
    with pytest.raises(ArgumentError, match=r"cache is missing: .* it is a state, which sparbor.Session\(runtime\)"):
        runtime(new=new, at=at)
    same(runtime(new=new, at=at, cache=np.zeros((1, 3, ROOM, 20), np.float32))["sum"], new, 0)
