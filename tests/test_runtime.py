import copy
import pickle
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import sparbor
from sparbor import native
from sparbor.engine.runtime import Runtime, kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.packing.filters import pack_filters
from sparbor.packing.slots import Encoding
from sparbor.program.model_file import save, to_bytes
from sparbor.program.program import Activation, Axis, Operation, Program
from sparbor.program.windows import AverageWindow, Window
from tests.kernel_sets import KERNEL_SETS
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
        (np.zeros((2, 70)), None, r'x is float64: this model takes float32, pass x.astype\("float32"\)'),
        (
            np.zeros((2, 70), np.int64),
            None,
            r"x is int64, .*token ids.*embedding.*ByteInput\(mean, std\) to run on raw pixel",
        ),
        (torch.zeros(2, 70, dtype=torch.int32), None, r"x is torch.int32, .*only other numbers are for x.float\(\)"),
        (torch.zeros(2, 70, dtype=torch.bool), None, "x is torch.bool, .*token ids"),
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
        (
            np.zeros((2, 70), np.float32),
            np.zeros((2, 24)),
            r'out is float64: answers are float32, pass one made by numpy.empty\(\(2, 24\), "float32"\)',
        ),
        (torch.zeros(2, 70), torch.zeros(2, 24).half(), r"out is torch.float16: .*made by torch.empty\(\(2, 24\)\)"),
        (np.zeros((2, 70), np.float32), read_only, "out is not writeable"),
        (
            np.zeros((2, 70), np.float32),
            np.zeros((24, 2), np.float32).T,
            "out is not contiguous: pass one made by numpy",
        ),
        (np.zeros((2, 70), np.float32), torch.zeros(2, 24), "pass two of a kind"),
        (torch.zeros(2, 70), np.zeros((2, 24), np.float32), "pass two of a kind"),
        (np.zeros((2, 70), np.float32), "y", "out is a str"),
    ],
)
def test_bad_arguments_are_named(runtime, x, out, text):
    with pytest.raises(ArgumentError, match=text):
        runtime(x, out=out)


def misaligned(array: np.ndarray) -> np.ndarray:
    """The same numbers, from an odd address on, as a message from a network may hold them."""
    moved = np.frombuffer(bytearray(b"." + array.tobytes()), array.dtype, offset=1).reshape(array.shape)
    assert moved.flags.c_contiguous
    assert not moved.flags.aligned
    return moved


def test_input_that_is_misaligned_or_read_only_is_taken(runtime):
    x = batch_of(3, 70)
    wanted = runtime(x)
    np.testing.assert_array_equal(runtime(misaligned(x)), wanted)
    np.testing.assert_array_equal(runtime(torch.from_numpy(misaligned(x))), wanted)
    constant = np.frombuffer(b"." + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    assert not constant.flags.writeable
    np.testing.assert_array_equal(runtime(constant), wanted)
    x.flags.writeable = False
    np.testing.assert_array_equal(runtime(x), wanted)


def test_remedies_work(runtime):
    """Of arrays that are not taken: what the error says to pass is taken."""
    x = batch_of(3, 70)
    wanted = runtime(x)
    for given in (x[:, ::-1], misaligned(x)[:, ::-1], np.asfortranarray(x)):
        with pytest.raises(ArgumentError, match="x is not contiguous"):
            runtime(given)
        np.testing.assert_array_equal(runtime(np.ascontiguousarray(given)), runtime(given.copy("C")))
    swapped = x.astype(">f4")
    with pytest.raises(ArgumentError, match=r'x is >f4: this model takes float32, pass x.astype\("float32"\)'):
        runtime(swapped)
    np.testing.assert_array_equal(runtime(swapped.astype("float32")), wanted)
    out = misaligned(np.zeros((3, 24), np.float32))
    with pytest.raises(
        ArgumentError, match=r'out is not aligned: pass one made by numpy.empty\(\(3, 24\), "float32"\)$'
    ):
        runtime(x, out=out)
    np.testing.assert_array_equal(runtime(x, out=np.empty((3, 24), "float32")), wanted)


def test_copies_and_pickles_answer_alike(runtime):
    x, threaded = batch_of(5, 70), Runtime(runtime.program, 2)
    for made in (copy.copy(threaded), copy.deepcopy(threaded), pickle.loads(pickle.dumps(threaded))):
        assert type(made) is Runtime
        assert made.threads == 2
        assert made.describe() == runtime.describe()
        np.testing.assert_array_equal(made(x), runtime(x))
    mine, copies = copy.deepcopy([runtime, runtime])
    assert mine is copies


def test_a_pickle_is_read_without_torch(runtime, tmp_path):
    x = batch_of(2, 70)
    (tmp_path / "pickle").write_bytes(pickle.dumps((runtime, x, runtime(x))))
    code = f"""
import pickle, sys
runtime, x, wanted = pickle.load(open({str(tmp_path / "pickle")!r}, "rb"))
assert (pickle.loads(pickle.dumps(runtime))(x) == wanted).all()
assert "torch" not in sys.modules
"""
    done = in_fresh_python(code)
    assert done.returncode == 0, done.stderr


def test_a_pickle_is_checked_as_a_file_is(runtime):
    make, (content, threads) = runtime.__reduce__()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        with pytest.raises(ModelFileError, match=r"^the pickled runtime: [^\n]*$"):
            make(damaged, threads)
    with pytest.raises(ModelFileError, match=r"the pickled runtime: one item needs.*damaged"):
        make(to_bytes(hungry()), 1)


def test_wrong_signatures(runtime):
    x = batch_of(1, 70)
    wrong = [
        ((), {}, "input is missing: this model takes input"),
        ((x, x, x), {}, "3 inputs are given without a name: this model takes input"),
        ((x,), {"into": x}, "into is no input: this model takes input"),
        ((x,), {"out": None, "y": 1}, "y is no input"),
        ((x,), {"input": x}, "input is given twice, by its position and by its name: pass it once"),
    ]
    for arguments, keywords, text in wrong:
        with pytest.raises(ArgumentError, match=text):
            runtime(*arguments, **keywords)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", 10**6])
def test_bad_thread_counts(threads):
    with pytest.raises(ArgumentError, match="threads="):
        Runtime(mlp([8, 8]), threads)


COUNTING_MALLOC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

static size_t count;
size_t allocations(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }

#define COUNTED(name, parameters, arguments)                              \\
    void *name parameters {                                               \\
        static void *(*next) parameters;                                  \\
        if (!next) next = (void *(*) parameters)dlsym(RTLD_NEXT, #name);  \\
        __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);                  \\
        return next arguments;                                            \\
    }
COUNTED(malloc, (size_t size), (size))
COUNTED(realloc, (void *old, size_t size), (old, size))
COUNTED(aligned_alloc, (size_t alignment, size_t size), (alignment, size))
"""

CALLS_COUNTED = """
import ctypes, itertools, sys
import numpy as np
from sparbor.engine.runtime import Runtime, kernel_sets
from tests.layers import mlp

allocations = ctypes.CDLL(sys.argv[1]).allocations
allocations.restype = ctypes.c_size_t
runtime = Runtime(mlp([300, 1024, 50], 0.5), int(sys.argv[2]))
for size in (1, 16):
    x, out = np.ones((size, 300), np.float32), np.empty((size, 50), np.float32)
    def calls(count):
        before = allocations()
        for _ in itertools.repeat(None, count):
            runtime(x, out=out)
        return allocations() - before
    calls(2)
    print(calls(1000))
"""


@pytest.fixture(scope="session")
def counting_malloc(tmp_path_factory):
    """A library to preload that counts what the process allocates."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("counting allocations needs Linux and a C compiler named cc")
    folder = tmp_path_factory.mktemp("malloc")
    (folder / "malloc.c").write_text(COUNTING_MALLOC)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", "malloc.so", "malloc.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    return str(folder / "malloc.so")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", KERNEL_SETS)
def test_a_call_with_out_allocates_nothing_after_the_first(counting_malloc, isa, threads):
    done = subprocess.run(
        [sys.executable, "-c", CALLS_COUNTED, counting_malloc, str(threads)],
        capture_output=True,
        text=True,
        env={"LD_PRELOAD": counting_malloc, "SPARBOR_ISA": isa},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    counts = [int(line) for line in done.stdout.split()]
    assert len(counts) == 2
    assert max(counts) < 50  # the interpreter's own, now and then; a step that allocates makes 1000


def test_workspaces_are_as_many_as_calls_at_once_and_not_as_threads(runtime):
    x = batch_of(9, 70)
    runtime(x)
    kept = runtime.workspace_bytes
    for _ in range(20):
        worker = threading.Thread(target=runtime, args=(x,))
        worker.start()
        worker.join()
    runtime(x[:1])
    assert runtime.workspace_bytes == kept
    runtime(batch_of(90, 70))
    alone = Runtime(runtime.program)
    alone(batch_of(90, 70))
    assert runtime.workspace_bytes == alone.workspace_bytes  # in place of the small one, not beside it


def test_a_batch_too_large_for_memory_is_named_and_the_runtime_lives_on():
    code = """
import resource, numpy as np
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.engine.runtime import Runtime
from tests.layers import mlp
runtime = Runtime(mlp([4, 4096, 4]))
x = np.ones((1, 4), np.float32)
wanted = runtime(x)
large, out = np.ones((2**20, 4), np.float32), np.empty((2**20, 4), np.float32)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
def refused(*arguments):
    try:
        runtime(*arguments)
    except ArgumentError as error:
        print(error)
    for _ in range(3):
        assert np.array_equal(runtime(x), wanted)
resource.setrlimit(resource.RLIMIT_AS, (held + 2**23, held + 2**23))  # the outputs alone have 2**24
refused(large, out)
refused(large)
refused(large, out)
"""
    done = in_fresh_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("x has 1,048,576 items, for which") == 3


def test_a_batch_beyond_the_machines_memory_is_refused_before_it_is_touched():
    """An address space of a terabyte costs nothing; the workspace for it would be written to."""
    runtime = Runtime(mlp([1, 4096, 1]))
    x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (2**38, 1), (4, 4))  # never read
    with pytest.raises(ArgumentError, match="x has 274,877,906,944 items, for which"):
        runtime(x, out=x)
    assert np.isfinite(runtime(batch_of(1, 1))).all()


def test_threads_that_the_system_does_not_start_are_counted():
    code = """
import resource
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.engine.runtime import Runtime
from tests.layers import mlp
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, held + 2**28))
try:
    Runtime(mlp([8, 8]), 256)
except ArgumentError as error:
    print(error)
"""
    done = in_fresh_python(code)
    assert done.returncode == 0, done.stderr
    assert re.match(r"threads=256: the system could start only \d+; use fewer", done.stdout)


def hungry() -> Program:
    """Rows of one number are padded to 32, and many values live at once: 3 KB that ask for 150 GB."""
    rows, relu = 2**26, Activation("relu")
    operations = [Operation("activation", (0,), value, None, relu) for value in range(1, 20)]
    operations += [Operation("add", (1 if left == 2 else left + 17, left), left + 18) for left in range(2, 20)]
    return Program.of_items(((rows, 1),) * 38, 0, 37, tuple(operations))


def test_a_workspace_that_the_weights_do_not_answer_for_is_refused(tmp_path):
    program = hungry()
    with pytest.raises(ArgumentError, match=r"one item needs 1[0-9]{2},[0-9,]+ bytes of workspace"):
        Runtime(program)
    save(program, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"model.safetensors: one item needs.*damaged"):
        sparbor.load(tmp_path / "model.safetensors")


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
from sparbor.engine.runtime import Runtime
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
    code = "import sparbor.engine.runtime, sys; sparbor.load; assert 'torch' not in sys.modules"
    assert in_fresh_python(code).returncode == 0


def test_the_bindings_use_the_limited_api():
    """From Python 3.12 on the engine is built against it, which has none of these macros; a build would fail there."""
    sources = list((Path(__file__).parent.parent / "native" / "python").glob("*.cpp"))
    assert sources
    for source in sources:
        assert not re.findall(r"\bPy[A-Z][a-z]+_(?:GET|SET)_[A-Z]+", source.read_text()), source.name


@pytest.mark.parametrize(
    "use", ["sparbor.load('x')", "sparbor.Runtime(program)", "sparbor.engine.runtime.kernel_sets()"]
)
def test_without_the_native_module_the_error_says_how_to_build_it(use):
    """Whoever only asks for names, or trains, does not meet it."""
    code = f"""
import sys
sys.modules["sparbor._native"] = None
import sparbor
from sparbor import *
from tests.layers import mlp
assert hasattr(sparbor, "Runtime")
program = mlp([8, 8])
{use}
"""
    done = in_fresh_python(code)
    assert "EngineMissingError" in done.stderr.splitlines()[-1]
    for remedy in ("make setup", "pip install -e .", "pip install --force-reinstall"):
        assert remedy in done.stderr.splitlines()[-1]


def test_a_kernel_set_can_be_forced_and_fails_loudly(monkeypatch):
    for isa in kernel_sets():
        monkeypatch.setenv("SPARBOR_ISA", isa)
        assert native.choose_kernel_set() == isa
        assert Runtime(mlp([8, 8])).isa == isa
    monkeypatch.setenv("SPARBOR_ISA", "neon512")
    with pytest.raises(ArgumentError, match=f"SPARBOR_ISA=neon512.*{', '.join(kernel_sets())}"):
        Runtime(mlp([8, 8]))
    monkeypatch.delenv("SPARBOR_ISA")
    assert native.choose_kernel_set() == kernel_sets()[0]
    assert kernel_sets()[-1] == "portable"


def test_the_description_adds_up():
    runtime = Runtime(mlp([784, 256, 10]))
    first, second = runtime.describe()
    assert (first.name, first.outputs, first.fan_in, first.kind, first.weights) == (
        "fc0",
        256,
        784,
        "sparse",
        "word16",
    )
    assert first.active == runtime.program.layers["fc0"].unpack()[1].sum()
    assert first.bytes + second.bytes == runtime.program.weight_bytes
    assert 0.05 < first.density < 0.2
    assert Runtime(mlp([8, 8], encoding=Encoding.EXACT)).describe()[0].weights == "exact"
    assert Runtime(mlp([8, 8], encoding=None)).describe()[0].kind == "dense"
    assert runtime.isa in repr(runtime)


def bytes_of(rows: int, features: int) -> int:
    """Of an item's rows, which begin at whole branches."""
    return 4 * rows * -(-features // 32) * 32


def test_buffers_are_shared_by_values_that_do_not_live_together():
    assert Runtime(mlp([8] * 10)).item_bytes == 2 * bytes_of(1, 8)
    relu = Activation("relu")
    operations = (
        Operation("activation", (0,), 1, None, relu),
        Operation("activation", (1,), 2, None, relu),
        Operation("add", (0, 2), 3),
    )
    assert Runtime(Program.of_items(((8,),) * 4, 0, 3, operations)).item_bytes == 2 * bytes_of(1, 8)


def test_what_reads_its_input_while_it_writes_has_a_buffer_of_its_own():
    """Planes are read more than once."""
    window, relu = Window((3, 3), padding=(1, 1, 1, 1), groups=4), Activation("relu")
    filters = {"conv": pack_filters(np.ones((4, 9), np.float32))}
    average = AverageWindow((3, 3), padding=(1, 1, 1, 1), groups=4)
    for operation in (
        Operation("convolution", (1,), 2, "conv", relu, window),
        Operation("max_pool", (1,), 2, settings=window),
        Operation("average_pool", (1,), 2, settings=average),
        Operation("adaptive_max_pool", (1,), 2),
        Operation("concat", (1,), 2, settings=Axis(1)),
    ):
        operations = (Operation("activation", (0,), 1, None, relu), operation)
        runtime = Runtime(Program.of_items(((4, 6, 6),) * 3, 0, 2, operations, filters))
        assert runtime.item_bytes == 2 * bytes_of(4, 36), operation.kind


@pytest.mark.parametrize(("left", "right"), [(1, 2), (2, 1), (1, 1)])
def test_a_sum_may_lie_where_either_of_its_terms_ends(left, right):
    one, two = (AverageWindow((1, 1), groups=4, divisor=divisor) for divisor in (1, 2))
    operations = (
        Operation("average_pool", (0,), 1, settings=one),
        Operation("average_pool", (0,), 2, settings=two),
        Operation("add", (left, right), 3),
        Operation("add", (2, 3), 4),
    )
    runtime = Runtime(Program.of_items(((4, 6, 6),) * 5, 0, 4, operations))
    assert runtime.item_bytes == 3 * bytes_of(4, 36)
    x = batch_of(3, 144).reshape(3, 4, 6, 6)
    terms = {1: x, 2: x / 2}
    np.testing.assert_allclose(runtime(x), terms[2] + terms[left] + terms[right], rtol=1e-6)


def test_a_reshape_that_moves_nothing_costs_nothing():
    """An image of one channel is one row already; of two it is not."""
    for channels, wanted in ((1, bytes_of(1, 36)), (2, bytes_of(2, 36) + bytes_of(1, 72))):
        shapes = ((channels, 6, 6), (36 * channels,), (36 * channels,))
        operations = (Operation("reshape", (0,), 1), Operation("activation", (1,), 2, None, Activation("tanh")))
        runtime = Runtime(Program.of_items(shapes, 0, 2, operations))
        assert runtime.item_bytes == wanted
        x = batch_of(3, 36 * channels)
        np.testing.assert_allclose(runtime(x.reshape(3, channels, 6, 6)), np.tanh(x), rtol=1e-5, atol=1e-6)


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
        program = Program.of_items(((37,),) * 12, 0, last, tuple(operations))
        np.testing.assert_array_equal(Runtime(program)(wanted[0]), wanted[last])
