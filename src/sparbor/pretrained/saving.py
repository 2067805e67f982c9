"""A dendritic model in a directory as Hugging Face has it, its masks beside the weights."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_model
from torch import nn

from sparbor.errors import ArgumentError
from sparbor.files import fill_directory
from sparbor.nn.dendrites import unwrap
from sparbor.pretrained.masks import masks_of
from sparbor.pretrained.masks_file import to_bytes
from sparbor.pretrained.model_card import WRITTEN, Metrics, checked_metrics, model_card

WEIGHTS, MASKS, CARD = "model.safetensors", "sparbor.safetensors", "README.md"
_ONE_FILE = "1000TB"  # so that no weights of an earlier save are found before those of this one


def save_pretrained(
    model: nn.Module, directory: str | os.PathLike[str], *, tokenizer: Any = None, metrics: Metrics | None = None
) -> None:
    """Save a dendritic model as its users save models: dense weights that any tool reads, and its masks beside them.

    A model of Hugging Face is saved in the layout of its own `save_pretrained`: `config.json` and `model.safetensors`,
    with zeros for dropped weights and the names that weights have in the plain model, so that
    `AutoModel.from_pretrained(directory)` reads it, and computes the same. Of any other model the weights are saved so,
    by the names in its state dict. Masks, modes, patterns and the orders of neurons and inputs are in
    `sparbor.safetensors`, a bit for each weight, and :func:`load_pretrained` puts them on again. `README.md` is a model
    card: the sparsity of each layer, and what was measured. A hub takes the directory as it is.

    All files are written beside the directory's first, and take their places at once. Files of these names that are
    there are replaced, but a `README.md` only while a line of it says that it was written so; others stay. The model is
    left as it is; a plain copy of it takes as much memory again while it is saved.

    Args:
        model: with masks, from `perforate` or of layers that were wrapped by hand, on any device.
        directory: where to; it is made if need be.
        tokenizer: of Hugging Face, saved beside the model; or anything else with a `save_pretrained`, as a processor.
        metrics: what you have measured, for the model card: texts or numbers by name. Without it the card has none.

    Raises:
        ArgumentError: the model has no masks, or dendrites have grown on it, for which this layout has no place.
        OutputError: the files cannot be written; what was there then stays.

    >>> import tempfile, torch, sparbor
    >>> model = torch.nn.Sequential(sparbor.PAINeuronModule(torch.nn.Linear(64, 32), "hidden", sparsity=0.75))
    >>> model[0].set_mode("d")
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     sparbor.save_pretrained(model, directory, metrics={"test accuracy": 0.98})
    ...     again = sparbor.load_pretrained(directory, model=torch.nn.Sequential(torch.nn.Linear(64, 32)))
    >>> again
    Sequential(
      (0): PAINeuronModule(
        '0', mode='d', sparsity=0.7500
        (main_module): Linear(in_features=64, out_features=32, bias=True)
      )
    )
    """
    model = getattr(model, "_orig_mod", model)  # which torch.compile may have wrapped
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: pass a torch.nn.Module")
    if tokenizer is not None and not hasattr(tokenizer, "save_pretrained"):
        raise ArgumentError(
            f"tokenizer is a {type(tokenizer).__name__}, which has no save_pretrained: pass one that has"
        )
    measured = checked_metrics(metrics)
    masks = masks_of(model)
    if not masks:
        raise ArgumentError(
            "model has no masks: save one that sparbor.perforate has made dendritic and that is not unwrapped yet, or"
            " a dense one as PyTorch or Hugging Face do"
        )
    target = Path(directory)
    hugging_face = is_hugging_face(model)
    plain = unwrap(copy.deepcopy(model))

    def fill(folder: Path) -> None:
        if hugging_face:
            cast(Any, plain).save_pretrained(folder, max_shard_size=_ONE_FILE)
        else:
            save_model(plain, str(folder / WEIGHTS))
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        (folder / MASKS).write_bytes(to_bytes(masks))
        if _is_ours(target / CARD):
            card = model_card(target.resolve().name, masks, measured, hugging_face=hugging_face)
            (folder / CARD).write_text(card, encoding="utf-8")

    fill_directory(target, fill)


def is_hugging_face(model: nn.Module) -> bool:
    """Whether it is a `PreTrainedModel`, as far as that can be known without its package."""
    return any(kind.__name__ == "PreTrainedModel" for kind in type(model).__mro__)


def _is_ours(card: Path) -> bool:
    """Whether the card may be written anew: it is not there, or was not taken over by a person."""
    return not card.exists() or WRITTEN in card.read_text(encoding="utf-8", errors="replace")
