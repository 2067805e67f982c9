"""sentence-transformers on the engine: a module for its pipelines, and the export of a whole `SentenceTransformer`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparbor.engine.runtime import Runtime, load
from sparbor.errors import ArgumentError, SparborError, StateError
from sparbor.extras import brought_by
from sparbor.files import fill_directory

with brought_by("sentence-transformers", "sparbor.sentence_transformers"):
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule, Transformer
    from torch import Tensor, nn

from sparbor.pretrained.loading import load_pretrained
from sparbor.pretrained.saving import MASKS
from sparbor.serving.token_model import IDS, MASK, TYPES, deployed, most_tokens, run

ENGINE = "engine.safetensors"  # the deployed model; no name that transformers takes for weights
_THEIRS = "sentence_bert_config.json"  # what sentence-transformers says of a model's tokens
_SAMPLES = (
    "The cat sat quietly on the warm windowsill and watched the rain.",
    "How many people live in the capital of Portugal?",
    "Preheat the oven to 200 degrees and bake the bread for forty minutes.",
    "Shares fell sharply on Tuesday after the company cut its forecast for the year.",
    "a small piece of land surrounded by water",
    "Thank you!",
    "To reset the password, open the settings, choose the account and follow the link that is sent to you by mail.",
    "It was not a good film.",
)


class Encoder(InputModule):  # type: ignore[misc, unused-ignore]
    """A text encoder on the engine, as the first module of a `SentenceTransformer`: it makes the `token_embeddings`.

    Use it as `SentenceTransformer(modules=[encoder, Pooling(encoder.get_embedding_dimension()), Normalize()])`. Texts
    that are longer than `max_seq_length` tokens are cut there, as that library does. Texts of a batch are computed one
    by one, each as long as it is, so that padding costs nothing. Saving the `SentenceTransformer` saves the deployed
    model with it; `SentenceTransformer(path, trust_remote_code=True)` loads it again, because that library asks for
    this word wherever a directory names a class of another package.

    Args:
        model: a directory, or the name of a model on a hub, or the PyTorch model itself: a text encoder of Hugging
            Face, dense or dendritic. A directory may be what `sparbor.save_pretrained` wrote, what a
            `SentenceTransformer` with this module was saved to, which is loaded as it was deployed, or any other of
            Hugging Face.
        tokenizer: that of the model; a directory has its own.
        weights: how the engine stores them, as in :func:`sparbor.deploy`.
        calibration: texts such as will come, for layers that 8 bits cost too much (:func:`sparbor.deploy`).
        max_seq_length: how many tokens of a text are read; as the directory says, or as the model's positions allow.
        threads: how many one call may use, from 1 to 256.

    Raises:
        ArgumentError: the engine cannot run the model, or an argument is out of range.
        StateError: there is no such model, or the directory is damaged.
    """

    config_file_name = "sparbor_encoder.json"
    config_keys = ["max_seq_length", "most_tokens"]  # noqa: RUF012 (as its base class has it)
    save_in_root = True

    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module,
        tokenizer: Any = None,
        *,
        weights: str = "int8",
        calibration: Sequence[str] | None = None,
        max_seq_length: int | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        said: dict[str, int] = {}
        source: nn.Module | Runtime
        if isinstance(model, (str, os.PathLike)):
            try:
                said, source = _what_it_says(os.fspath(model)), _from(model, threads)
                tokenizer = transformers.AutoTokenizer.from_pretrained(model) if tokenizer is None else tokenizer
            except (OSError, ValueError) as error:
                if isinstance(error, SparborError):
                    raise
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise StateError(f"{os.fspath(model)!r} is no model with its tokenizer ({reason})") from error
        elif isinstance(model, nn.Module):
            source = model
        else:
            raise ArgumentError(f"model is a {type(model).__name__}: pass a directory or a model of Hugging Face")
        if tokenizer is None:
            raise ArgumentError("tokenizer is missing: pass the model's, or the directory that has both")
        self.tokenizer: Any = tokenizer
        self.most_tokens = said.get("most_tokens") or most_tokens(source, tokenizer)
        if max_seq_length is None:
            read = int(getattr(tokenizer, "model_max_length", self.most_tokens))
            max_seq_length = said.get("max_seq_length", min(self.most_tokens, read))
        self.max_seq_length = max_seq_length
        if isinstance(source, nn.Module):
            encoder = getattr(source, "base_model", source)  # without the head of a classifier or of a language model
            settings: dict[str, Any] = {"weights": weights, "threads": threads, "calibration": calibration}
            source = deployed(encoder, tokenizer, most=max_seq_length, **settings)
        _check_encoder(source)
        self.runtime = source

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text are read; what is longer is cut."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, tokens: int) -> None:
        if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= self.most_tokens:
            raise ArgumentError(
                f"max_seq_length={tokens!r}: it must be a whole number from 1 to {self.most_tokens}, as many tokens as"
                " the model has positions for"
            )
        self._max_seq_length = tokens

    def get_embedding_dimension(self) -> int:
        """How many numbers a token's embedding has."""
        return int(self.runtime.outputs[0].shape[-1])

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, processing_kwargs: Any = None, **_: Any
    ) -> dict[str, Any]:
        """Tokens of texts, or of pairs of texts, padded to the longest; the prompt stands before each text."""
        if processing_kwargs:
            raise ArgumentError("processing_kwargs is given, which this module does not take: set its max_seq_length")
        features: dict[str, Any] = dict(self._tokens([_text(each, prompt or "") for each in inputs]))
        if prompt:
            special = self.tokenizer.num_special_tokens_to_add() > 1  # the one behind the prompt is not of it
            features["prompt_length"] = self._tokens([prompt])[IDS].shape[1] - special
        return features

    def _tokens(self, texts: list[Any]) -> Any:
        settings: dict[str, Any] = {"padding": True, "truncation": True, "return_tensors": "pt"}
        return self.tokenizer(texts, max_length=self.max_seq_length, **settings)

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The features with `token_embeddings`; those of padding are zeros."""
        tokens: Tensor = features[IDS]
        given = {name: features[name] for name in (IDS, MASK, TYPES) if name in features}
        return {**features, "token_embeddings": run(self.runtime, given).to(tokens.device)}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """The deployed model, the tokenizer and the settings, in a folder that is there."""
        self.runtime.save(Path(output_path, ENGINE))
        self.tokenizer.save_pretrained(output_path)
        self.save_config(output_path)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Encoder:
        """What `save` saved, in a directory or on a hub; `model_kwargs` may have `threads`."""
        own = {"threads": 1, **(settings.get("model_kwargs") or {})}
        if unknown := set(own) - {"threads"}:
            raise ArgumentError(f"model_kwargs has {', '.join(sorted(unknown))}: the engine takes threads alone")
        where = (subfolder, token, cache_folder, revision, local_files_only)
        folder = cls.load_dir_path(model_name_or_path, *where)  # downloaded, if it is no folder of this machine
        if folder is None or not Path(folder, ENGINE).is_file():
            raise StateError(f"{model_name_or_path!r} has no {ENGINE}: save the SentenceTransformer again")
        return cls(folder, **own)


def _text(given: Any, prompt: str) -> Any:
    """A text behind the prompt, or a pair of which the first one is."""
    if isinstance(given, str):
        return prompt + given
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(isinstance(each, str) for each in given):
        return prompt + given[0], given[1]
    raise ArgumentError(f"an input is a {type(given).__name__}: pass texts, or pairs of texts")


def _check_encoder(runtime: Runtime) -> None:
    """It takes tokens with a mask, and makes as many vectors: a model file may be anybody's."""
    names = [port.name for port in runtime.inputs]
    shapes = [port.shape for port in runtime.outputs]
    made = len(shapes) == 1 and len(shapes[0]) == 3 and isinstance(shapes[0][2], int)
    if names not in ([IDS, MASK], [IDS, MASK, TYPES]) or not made:
        raise StateError(f"the model is no encoder of texts, but {runtime.signature()}: make it by Encoder(...)")


def _from(path: str | os.PathLike[str], threads: int) -> nn.Module | Runtime:
    """What is in the directory: a deployed encoder, a dendritic model, or a dense one."""
    folder = Path(path)
    if (folder / ENGINE).is_file():
        return load(folder / ENGINE, threads)
    if (folder / MASKS).is_file():
        return load_pretrained(folder)
    loaded: nn.Module = transformers.AutoModel.from_pretrained(path, trust_remote_code=False)
    return loaded.float()


def _what_it_says(model: str) -> dict[str, int]:
    """What the directory says of its tokens, in this module's file or in sentence-transformers'; checked."""
    files = (Encoder.load_file_path(model, name) for name in (Encoder.config_file_name, _THEIRS))
    if (file := next(filter(None, files), None)) is None:
        return {}
    path = Path(file)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        numbers = {name: said[name] for name in Encoder.config_keys if said.get(name) is not None}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise StateError(f"{str(path)!r} cannot be read ({error}): save the model again") from None
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 2**31:
            raise StateError(f"{str(path)!r} has {name} {number!r}: it must be from 1 on; save the model again")
    if said.get("do_lower_case") is True:
        raise ArgumentError(
            f"{str(path)!r} says that texts are put in small letters, which the tokenizer alone does not: use"
            " export_sparbor_model(SentenceTransformer(path), directory)"
        )
    return numbers


@dataclass(frozen=True)
class EmbeddingsMoved:
    """How far an export moved embeddings: the cosine between those before and after, of some texts.

    Args:
        texts: of how many.
        mean: the mean cosine; 1 is no move at all.
        least: that of the text whose embedding moved farthest.
    """

    texts: int
    mean: float
    least: float

    def __str__(self) -> str:
        cosines = f"{self.mean:.4f}, at least {self.least:.4f}"
        return f"embeddings of {self.texts} texts: cosine to those of the PyTorch model {cosines}"


def export_sparbor_model(
    model: SentenceTransformer,
    model_name_or_path: str | os.PathLike[str],
    weights: str = "int8",
    calibration: Sequence[str] | None = None,
    threads: int = 1,
) -> EmbeddingsMoved:
    """Save a `SentenceTransformer` with its encoder on the engine, as that library's exports do for other runtimes.

    What is saved loads by `SentenceTransformer(path, trust_remote_code=True)`, with the prompts, the pooling and all
    other modules of the model, which stays as it is. Its encoder may be dense, or dendritic: `sparbor.perforate` and
    `sparbor.sparsify` take `model[0].auto_model`. What is returned says how far embeddings moved: print it.

    Args:
        model: whose first module is sentence-transformers' own `Transformer` with PyTorch's backend.
        model_name_or_path: the directory, which is made if need be; files of the same names are replaced at once.
        weights: how the engine stores them, as in :func:`sparbor.deploy`.
        calibration: texts such as will come. With them layers that lose too much by 8 bits have 16; and by them the
            move is measured. Without it is measured by a few texts of Sparbor's own.
        threads: how many the exported model uses while the move is measured.

    Raises:
        ArgumentError: the model is none of that library's text encoders, or the engine cannot run it.
        OutputError: the directory cannot be written.
    """
    if not isinstance(model, SentenceTransformer):
        raise ArgumentError(f"model is a {type(model).__name__}: pass a SentenceTransformer")
    before = model[0]
    if (
        not isinstance(before, Transformer)
        or before.backend != "torch"
        or before.module_output_name != "token_embeddings"
    ):
        raise ArgumentError(
            f"the model's first module is {type(before).__name__}: it must be sentence-transformers' Transformer with"
            ' backend="torch" that makes token_embeddings'
        )
    texts = list(_SAMPLES if calibration is None else calibration)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ArgumentError("calibration must be a list of texts, at least one")
    settings: dict[str, Any] = {"weights": weights, "threads": threads, "calibration": calibration}
    most = min(before.max_seq_length or 2**31, most_tokens(before.auto_model, before.tokenizer))
    encoder = Encoder(before.auto_model, before.tokenizer, max_seq_length=most, **settings)
    dense = model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
    model[0] = encoder  # for as long as it is saved: so all that the library says of a model is saved with it
    try:
        moved = _moved(dense, model.encode(texts, convert_to_numpy=True, show_progress_bar=False))
        fill_directory(Path(model_name_or_path), lambda folder: model.save(str(folder)))
    finally:
        model[0] = before
    return moved


def _moved(before: Any, after: Any) -> EmbeddingsMoved:
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = (before * after).sum(1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return EmbeddingsMoved(len(cosines), float(cosines.mean()), float(cosines.min()))
