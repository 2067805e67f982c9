"""The runtimes that serve a fine-tuned sentence model: how each stores it, and how it loads and asks the file.

Nothing heavy is imported before a runtime is asked for: a process in which memory is measured imports its own only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn

Ids = npt.NDArray[np.int64]
Answers = npt.NDArray[np.float32]
Batch: TypeAlias = "tuple[Tensor, Tensor]"
Call = Callable[[Ids, Ids], Answers]
Load = Callable[[Path], Call]

FREE = {0: "texts", 1: "tokens"}  # dimensions of any size


@dataclass(frozen=True)
class Runtime:
    """One runtime, on one thread, for any number of texts of any length.

    ``store(model, calibration, file)`` writes a dense model; ``None`` for the engine, whose files the study deploys.
    ``imports()`` imports all that running needs and gives ``load(file)``, which gives a call that takes token ids and
    an attention mask. ``suffixes`` are those of all files that are stored.
    """

    store: Callable[[nn.Module, Sequence[Batch], Path], None] | None
    imports: Callable[[], Load]
    suffixes: tuple[str, ...]

    def file_in(self, folder: Path, name: str) -> Path:
        """The file of a model of this name."""
        return (folder / name).with_suffix(self.suffixes[0])

    def stored_bytes(self, file: Path) -> int:
        """Of all of its files."""
        return sum(file.with_suffix(suffix).stat().st_size for suffix in self.suffixes)


def _store_torch(model: nn.Module, calibration: Sequence[Batch], file: Path) -> None:
    import torch

    torch.save(model, file)


def _import_torch() -> Load:
    import torch
    from transformers.models.bert import modeling_bert  # noqa: F401  # what the file has a model of

    torch.set_num_threads(1)

    def load(file: Path) -> Call:
        model = torch.load(file, weights_only=False)  # whole, as it was written a moment ago

        def call(ids: Ids, seen: Ids) -> Answers:
            with torch.inference_mode():
                answer: Answers = model(torch.from_numpy(ids), torch.from_numpy(seen)).numpy()
            return answer

        return call

    return load


def _store_onnx(model: nn.Module, calibration: Sequence[Batch], file: Path) -> None:
    from bench.peers import onnx_file

    onnx_file.write(model, calibration[0], file, free=FREE)


def _store_onnx_int8(model: nn.Module, calibration: Sequence[Batch], file: Path) -> None:
    from bench.peers.onnxruntime_int8 import quantize_weights

    exact = file.with_suffix(".exact")
    _store_onnx(model, calibration, exact)
    quantize_weights(exact, file)
    exact.unlink()


def _import_onnxruntime() -> Load:
    import onnxruntime  # noqa: F401  # its memory is not the model's

    from bench.peers.onnxruntime import opened

    def load(file: Path) -> Call:
        session = opened(file, 1)

        def call(ids: Ids, seen: Ids) -> Answers:
            answer: Answers = session.run(None, {"x0": ids, "x1": seen})[0]
            return answer

        return call

    return load


def _store_openvino_int8(model: nn.Module, calibration: Sequence[Batch], file: Path) -> None:
    import openvino

    from bench.peers.openvino_int8 import quantized_graph

    exact = file.with_suffix(".onnx")
    _store_onnx(model, calibration, exact)
    graph = quantized_graph(openvino.Core().read_model(exact), calibration, transformer=True)
    openvino.save_model(graph, file)
    exact.unlink()


def _import_openvino() -> Load:
    import openvino

    from bench.peers.openvino import compiled

    def load(file: Path) -> Call:
        request = compiled(openvino.Core().read_model(file), 1, {}).create_infer_request()

        def call(ids: Ids, seen: Ids) -> Answers:
            answer: Answers = request.infer({"x0": ids, "x1": seen})[0]
            return answer

        return call

    return load


def _import_engine() -> Load:
    from sparbor.engine import runtime

    def load(file: Path) -> Call:
        model = runtime.load(file)
        return lambda ids, seen: np.asarray(model(ids, seen))

    return load


ENGINE = "sparbor"
RUNTIMES = {
    "torch-eager": Runtime(_store_torch, _import_torch, (".pt",)),
    "onnxruntime": Runtime(_store_onnx, _import_onnxruntime, (".onnx",)),
    "onnxruntime-int8": Runtime(_store_onnx_int8, _import_onnxruntime, (".onnx",)),
    "openvino-int8": Runtime(_store_openvino_int8, _import_openvino, (".xml", ".bin")),
    ENGINE: Runtime(None, _import_engine, (".safetensors",)),
}
