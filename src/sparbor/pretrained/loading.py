"""A dendritic model from a directory that `save_pretrained` wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import safetensors
from safetensors.torch import load_file
from torch import Tensor, nn

from sparbor.errors import ArgumentError, StateError
from sparbor.extras import brought_by
from sparbor.nn.neuron import PAINeuronModule
from sparbor.pretrained.masks import LayerMask, check_fit, put_on
from sparbor.pretrained.masks_file import from_bytes
from sparbor.pretrained.saving import MASKS, WEIGHTS


def load_pretrained(directory: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """Load what :func:`save_pretrained` saved: the model with its weights and masks, to deploy or to train on.

    What is returned is the model, or, where a single layer is given, the `PAINeuronModule` around it.

    A model of Hugging Face is made anew, of the class that its `config.json` names. Any other is given, and is loaded
    into in place. Masks are put on as if by hand: the layers are `PAINeuronModule`s, which mask their weights
    themselves, and in any training loop the masks stay as they are. What the directory says of masks and weights is
    checked before it is believed, and nothing of it is run as code; a model that is given is left as it was where a
    directory is refused.

    Args:
        directory: on this machine; one from a hub is downloaded before, by `huggingface_hub.snapshot_download`.
        model: the plain model, its masks not put on yet, for a directory of no model of Hugging Face, or of one whose
            class is your own.

    Raises:
        StateError: there is no such directory, it was not written so or by a later release, a file is damaged, or the
            weights or masks are not those of the model.
        ArgumentError: `model` is no module, or has masks already.
        PackageMissingError: transformers is not installed, and the directory has a model of it.

    >>> import sparbor
    >>> sparbor.load_pretrained("no/such/directory")
    Traceback (most recent call last):
    sparbor.errors.StateError: 'no/such/directory' is no directory: pass the one that sparbor.save_pretrained wrote
    """
    if model is not None and not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: pass a torch.nn.Module, or None for Hugging Face's")
    if model is not None and any(isinstance(module, PAINeuronModule) for module in model.modules()):
        raise ArgumentError(
            "model has masks already: pass the plain model, as it was made or as sparbor.unwrap gives it"
        )
    folder = Path(directory)
    if not folder.is_dir():
        raise StateError(f"{os.fspath(directory)!r} is no directory: pass the one that sparbor.save_pretrained wrote")
    masks = _masks(folder / MASKS)
    try:
        if model is None:
            model = hugging_face_model(folder)
            check_fit(model, masks, model.state_dict())
        else:
            weights = _weights(folder / WEIGHTS)
            _check_weights(model, weights)
            check_fit(model, masks, weights)
            model.load_state_dict(weights, strict=False)  # of weights that layers share there is one
    except StateError as error:
        raise StateError(f"{os.fspath(directory)!r}: {error}") from None
    return put_on(model, masks)


def _masks(path: Path) -> list[LayerMask]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{str(path)!r} cannot be read ({error.strerror}): pass a directory that sparbor.save_pretrained wrote, or"
            " load a dense model as PyTorch or Hugging Face do"
        ) from None
    try:
        return from_bytes(content)
    except StateError as error:
        raise StateError(f"{str(path)!r} cannot be loaded: {error}") from None


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise StateError(f"{path.name} cannot be read ({error}): save the model again") from None


def _check_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """They are those of the model's state dict, of which some may be one and the same."""
    own: dict[str, Any] = model.state_dict()
    there = {own[name].data_ptr() for name in weights if name in own}
    missing = [name for name in own if name not in weights and own[name].data_ptr() not in there]
    unknown = [name for name in weights if name not in own]
    for names, what in ((missing, "are missing"), (unknown, "are not the model's")):
        if names:
            raise StateError(f"weights {what} ({_some(names)}): the directory is that of another model")
    for name, weight in weights.items():
        if weight.shape != own[name].shape:
            shapes = f"{tuple(weight.shape)}, and in the model {tuple(own[name].shape)}"
            raise StateError(f"{name!r} has shape {shapes}: the directory is that of another model")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def hugging_face_model(folder: Path) -> nn.Module:
    """The model of the class that the directory's config names, if that is one of the package's own."""
    if not (folder / "config.json").is_file():
        raise StateError("it has no config.json, so it is no model of Hugging Face: pass the plain model as model=...")
    with brought_by("hugging-face", "sparbor.load_pretrained"):
        import transformers
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        names = config.architectures
        kind = getattr(transformers, names[0], None) if isinstance(names, list) and len(names) == 1 else None
        if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
            raise StateError(
                f"its class, {names!r}, is none of transformers: make the plain model and pass it as model=..."
            )
        loaded = kind.from_pretrained(
            folder, config=config, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, safetensors.SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StateError(f"transformers cannot load it ({first}): save the model again") from error
    model, said = cast(tuple[nn.Module, dict[str, Any]], loaded)
    for names, what in ((said["missing_keys"], "are missing"), (said["unexpected_keys"], "are not the model's")):
        if names:
            raise StateError(
                f"weights {what} ({_some(sorted(map(str, names)))}): the directory is that of another model"
            )
    return model
