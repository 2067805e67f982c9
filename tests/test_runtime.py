import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import torch

import sparbor
from sparbor.errors import ArgumentError
from sparbor.packing import Precision
from sparbor.program import Activation, Operation, Program
from sparbor.runtime import Runtime, choose_kernel_set, kernel_sets, plan_buffers
from tests.layers import mlp, relative_error


def batch_of(size: int, features: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((size, features)).astype(np.float32)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(mlp([70, 40, 24]))


def in_fresh_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**environment}, timeout=120
    )


def test_a_saved_model_computes_the_same(tmp_path, runtime):
    runtime.save(tmp_path / "model.safetensors")
    loaded = sparbor.load(tmp_path / "model.safetensors", threads=2)
    x = batch_of(5, 70)
    np.testing.assert_array_equal(loaded(x), runtime(x))
    assert loaded.describe() == runtime.describe()


def test_any_batch_runs_and_items_do_not_meet(runtime):
    x = batch_of(33, 70)
    alone = np.concatenate([runtime(each[None]) for each in x])
    for size in (33, 1, 7, 32):
        assert relative_error(runtime(x[:size]), alone[:size]) < 1e-6


def test_the_result_is_of_the_kind_of_the_input(runtime):
    x = batch_of(3, 70)
    assert type(runtime(x)) is np.ndarray
    tensor = runtime(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), runtime(x))
    out = torch.full((3, 24), torch.nan)
    assert runtime(torch.from_numpy(x).requires_grad_(), out=out) is out
    np.testing.assert_array_equal(out.numpy(), runtime(x))
    array = np.full((3, 24), np.nan, np.float32)
    assert runtime(x, out=array) is array
    assert runtime(x, array) is array
    assert runtime(x=x, out=array) is array
    np.testing.assert_array_equal(array, runtime(x, out=None))


def test_out_may_be_the_input():
    runtime = Runtime(mlp([40, 40]))
    x = batch_of(3, 40)
    wanted = runtime(x)
    runtime(x, out=x)
    np.testing.assert_array_equal(x, wanted)


read_only = np.zeros((2, 24), np.float32)
read_only.flags.writeable = False


@pytest.mark.parametrize(
    ("x", "out", "text"),
    [
        (np.zeros((2, 71), np.float32), None, r"x has shape \(2, 71\): this model's is \(batch, 70\)"),
        (np.zeros(70, np.float32), None, r"x has shape \(70,\)"),
        (np.zeros((2, 1, 70), np.float32), None, "x has shape"),
        (np.zeros((2, 70)), None, r'x is float64.*astype\("float32"\)'),
        (np.zeros((2, 70), ">f4"), None, "x is >f4"),
        (torch.zeros(2, 70, dtype=torch.float64), None, r"x is torch.float64.*x.float\(\)"),
        (torch.zeros(2, 70, dtype=torch.bfloat16), None, r"x is torch.bfloat16.*x.float\(\)"),
        (torch.zeros(2, 70, device="meta"), None, r"x is on meta.*x.cpu\(\)"),
        (torch.zeros(2, 70).to_sparse(), None, "torch.sparse_coo"),
        (torch.zeros(70, 2).T, None, r"x is not contiguous: pass x.contiguous\(\)"),
        (np.zeros((70, 2), np.float32).T, None, "np.ascontiguousarray"),
        (np.zeros((2, 140), np.float32)[:, ::2], None, "not contiguous"),
        (np.zeros((0, 70), np.float32), None, "empty batch"),
        ([[0.0] * 70], None, "x is a list"),
        (None, None, "x is a NoneType"),
        (np.zeros((2, 70), np.float32), np.zeros((3, 24), np.float32), "out has 3 items and x 2"),
        (np.zeros((2, 70), np.float32), np.zeros((2, 23), np.float32), "out has shape"),
        (np.zeros((2, 70), np.float32), np.zeros((2, 24)), "out is float64"),
        (np.zeros((2, 70), np.float32), read_only, "out is read-only"),
        (np.zeros((2, 70), np.float32), torch.zeros(2, 24), "pass two of a kind"),
        (torch.zeros(2, 70), np.zeros((2, 24), np.float32), "pass two of a kind"),
        (np.zeros((2, 70), np.float32), "y", "out is a str"),
    ],
)
def test_bad_arguments_are_named(runtime, x, out, text):
    with pytest.raises(ArgumentError, match=text):
        runtime(x, out=out)


def test_wrong_signatures(runtime):
    x = batch_of(1, 70)
    wrong = [((), {}), ((x, x, x), {}), ((x,), {"into": x}), ((x,), {"out": None, "y": 1})]
    for arguments, keywords in wrong:
        with pytest.raises(TypeError):
            runtime(*arguments, **keywords)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", 10**6])
def test_bad_thread_counts(threads):
    with pytest.raises(ArgumentError, match="threads="):
        Runtime(mlp([8, 8]), threads)


def test_a_call_with_out_allocates_nothing_after_the_first():
    runtime = Runtime(mlp([300, 400, 50]))
    calls = {size: (batch_of(size, 300), np.empty((size, 50), np.float32)) for size in (1, 16)}
    for x, out in calls.values():
        runtime(x, out=out)
    before = runtime.allocations
    tracemalloc.start()
    for x, out in calls.values():
        runtime(x, out=out)
    tracemalloc.reset_peak()
    settled, _ = tracemalloc.get_traced_memory()
    for _ in range(100):
        for x, out in calls.values():
            runtime(x, out=out)
    current, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert runtime.allocations == before
    assert current - settled < 1000  # the loop's own numbers
    assert peak - settled < 1000


def test_several_threads_share_a_runtime():
    for threads in (1, 2):
        runtime = Runtime(mlp([300, 600, 600, 50], density=0.3), threads)
        batches = [batch_of(size, 300, size) for size in (1, 4, 7, 16)]
        wanted = [runtime(x) for x in batches]
        wrong = []

        def work(number, runtime=runtime, batches=batches, wanted=wanted, wrong=wrong):
            out = np.empty_like(wanted[number])
            for _ in range(200):
                if not np.array_equal(runtime(batches[number], out=out), wanted[number]):
                    wrong.append(number)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(len(batches))]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        assert not wrong


def test_a_forked_process_runs_without_the_parents_workers():
    code = """
import os, numpy as np
from sparbor.runtime import Runtime
from tests.layers import mlp
runtime = Runtime(mlp([512, 2048, 512], 0.5), 2)
x = np.ones((4, 512), np.float32)
y = runtime(x)
child = os.fork()
if not child:
    same = np.array_equal(runtime(x), y)
    del runtime
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = in_fresh_python(code)
    assert done.returncode == 0, done.stderr


def test_the_runtime_does_not_import_torch():
    code = "import sparbor.runtime, sys; sparbor.load; assert 'torch' not in sys.modules"
    assert in_fresh_python(code).returncode == 0


def test_without_the_native_module_the_error_says_how_to_build_it():
    code = "import sys; sys.modules['sparbor._native'] = None; import sparbor; sparbor.load('x')"
    done = in_fresh_python(code)
    assert "EngineMissingError" in done.stderr
    assert "pip install" in done.stderr


def test_a_kernel_set_can_be_forced_and_fails_loudly(monkeypatch):
    for isa in kernel_sets():
        monkeypatch.setenv("SPARBOR_ISA", isa)
        assert choose_kernel_set() == isa
        assert Runtime(mlp([8, 8])).isa == isa
    monkeypatch.setenv("SPARBOR_ISA", "neon512")
    with pytest.raises(ArgumentError, match=f"SPARBOR_ISA=neon512.*{', '.join(kernel_sets())}"):
        Runtime(mlp([8, 8]))
    monkeypatch.delenv("SPARBOR_ISA")
    assert choose_kernel_set() == kernel_sets()[0]
    assert kernel_sets()[-1] == "portable"


def test_the_description_adds_up():
    runtime = Runtime(mlp([784, 256, 10]))
    first, second = runtime.describe()
    assert (first.name, first.outputs, first.fan_in, first.kind, first.precision) == (
        "fc0",
        256,
        784,
        "sparse",
        "f16",
    )
    assert first.active == runtime.program.layers["fc0"].unpack()[1].sum()
    assert first.bytes + second.bytes == runtime.program.weight_bytes
    assert 0.05 < first.density < 0.2
    assert Runtime(mlp([8, 8], precision=Precision.F32)).describe()[0].precision == "f32"
    assert Runtime(mlp([8, 8], precision=None)).describe()[0].kind == "dense"
    assert runtime.isa in repr(runtime)


def test_buffers_are_shared_by_values_that_do_not_live_together():
    assert len(set(plan_buffers(mlp([8] * 10)))) == 2
    relu = Activation("relu")
    operations = (
        Operation("activation", (0,), 1, None, relu),
        Operation("activation", (1,), 2, None, relu),
        Operation("add", (0, 2), 3),
    )
    buffers = plan_buffers(Program(((8,),) * 4, 0, 3, operations))
    assert buffers[1] == buffers[2] != buffers[0]


def test_models_whose_values_live_long_are_right():
    """A random chain of sums over all earlier values, against NumPy."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        operations, wanted = [], [batch_of(3, 37)]
        for output in range(1, 12):
            if rng.random() < 0.5:
                left, right = (int(value) for value in rng.integers(output, size=2))
                operations.append(Operation("add", (left, right), output))
                wanted.append(wanted[left] + wanted[right])
            else:
                source = int(rng.integers(output))
                operations.append(Operation("activation", (source,), output, None, Activation("relu")))
                wanted.append(np.maximum(wanted[source], 0))
        last = int(rng.integers(12))
        program = Program(((37,),) * 12, 0, last, tuple(operations))
        np.testing.assert_array_equal(Runtime(program)(wanted[0]), wanted[last])
