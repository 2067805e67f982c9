"""The runtimes that the benchmark compares: how each stores a trained model, and how it loads and runs the file.

Nothing heavy is imported before a runtime is asked for: a process in which memory is measured imports its own only.
"""

import copy
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

Image = NDArray[np.float32]
Prepare = Callable[[Path, str, Image], Callable[[], object]]


@dataclass(frozen=True)
class Contestant:
    """One runtime, on one thread.

    ``store(model, task, images, file)`` writes a plain or dendritic model, for which ``images`` are some of its
    training set. ``imports()`` imports all that running needs and gives ``prepare(file, task, image)``, which loads the
    file and gives a call that runs the image.
    """

    packages: tuple[str, ...]
    store: Callable[["nn.Module", str, "Tensor", Path], None]
    imports: Callable[[], Prepare]

    @property
    def missing(self) -> list[str]:
        """Packages without which it cannot take part."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]


def _plain(model: "nn.Module") -> "nn.Module":
    """What a user of another runtime has: the weights with their zeros, and no masks."""
    from sparbor.nn.dendrites import unwrap

    return unwrap(copy.deepcopy(model))


def _store_torch(model: "nn.Module", task: str, images: "Tensor", file: Path) -> None:
    from safetensors.torch import save

    file.write_bytes(save(_plain(model).state_dict()))


def _import_torch() -> Prepare:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_model

    from bench.job.models import TASKS
    from sparbor.nn.dendrites import regrow

    torch.set_num_threads(1)

    def prepare(file: Path, task: str, image: Image) -> Callable[[], object]:
        model = TASKS[task].build().eval().requires_grad_(False)
        with safe_open(file, "pt") as stored:
            grown = {name: stored.get_tensor(name) for name in stored.keys() if name.endswith(".grown")}  # noqa: SIM118
        load_model(regrow(model, grown), file)
        x = torch.from_numpy(image)
        return lambda: model(x)

    return prepare


def _store_words(model: "nn.Module", task: str, images: "Tensor", file: Path) -> None:
    from bench.job.models import TASKS
    from sparbor.lower.deploy import deploy

    deploy(model, images[:1], byte_input=TASKS[task].byte_input).save(file)


def _store_int8(model: "nn.Module", task: str, images: "Tensor", file: Path) -> None:
    from bench.job.models import TASKS
    from sparbor.lower.deploy import deploy

    deploy(model, images[:1], weights="int8", calibration=[images], byte_input=TASKS[task].byte_input).save(file)


def _import_engine() -> Prepare:
    from sparbor.engine.runtime import load

    def prepare(file: Path, task: str, image: Image) -> Callable[[], object]:
        runtime = load(file)
        result = np.empty((len(image), *runtime.output_shape), np.float32)
        return lambda: runtime(image, out=result)

    return prepare


def _store_onnx(model: "nn.Module", task: str, images: "Tensor", file: Path) -> None:
    import torch

    with warnings.catch_warnings():
        # The exporter that replaces this one needs another package, for the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(_plain(model), (images[:1],), str(file), dynamo=False, input_names=["x"], output_names=["y"])


def _import_onnxruntime() -> Prepare:
    import onnxruntime

    def prepare(file: Path, task: str, image: Image) -> Callable[[], object]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        result = np.empty(session.get_outputs()[0].shape, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(image))
        binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(result))
        return lambda: session.run_with_iobinding(binding)

    return prepare


OPTIONAL = ("onnxruntime",)  # a rival that fails is reported as not measured, with the reason
ENGINES = {"word16": "sparbor", "int8": "sparbor_int8"}  # by how their weights are stored
CONTESTANTS = {
    "torch": Contestant((), _store_torch, _import_torch),
    "sparbor": Contestant((), _store_words, _import_engine),
    "sparbor_int8": Contestant((), _store_int8, _import_engine),
    "onnxruntime": Contestant(("onnx", "onnxruntime"), _store_onnx, _import_onnxruntime),
}
