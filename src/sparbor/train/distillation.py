"""A loss that lets a sparse model learn from the dense one that it was: from its scores and its hidden states."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.recipe.checks import is_number

Hidden = Literal["mse", "cosine"]
HIDDEN: tuple[Hidden, ...] = ("mse", "cosine")
IGNORED = -100  # the label of what is to be left out, as torch and Hugging Face have it


def distillation_loss(
    student: Any,
    teacher: Any,
    *,
    temperature: float = 2.0,
    labels: Tensor | None = None,
    weight: float = 0.5,
    hidden: Hidden | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """How far a ``student``'s answer to a batch is from its ``teacher``'s: one number to minimise.

    From *logits* ``s`` and ``t`` of shape ``(..., classes)`` (Hinton et al. 2015, "Distilling the Knowledge in a Neural
    Network"), with the temperature ``T``, the mean over everything but the classes of
    ``T^2 * KL(softmax(t / T) || softmax(s / T))``. With ``labels`` it becomes
    ``weight * that + (1 - weight) * cross_entropy(s, labels)``.

    From *hidden states*, pairs of tensors ``(..., features)``, the mean over all pairs of the mean squared difference
    (``hidden="mse"``; Romero et al. 2015, "FitNets") or of ``1 - cosine`` over the features (``hidden="cosine"``; Sanh
    et al. 2019, "DistilBERT").

    What is given decides: tensors are logits; lists or tuples of tensors are hidden states, ``"mse"`` by default; an
    answer of a Hugging Face model has ``.logits``, and its ``.hidden_states`` are compared too where ``hidden`` says
    how. For another weight of either part, call it twice and add. No gradient goes to the teacher.

    Args:
        student: its answer to a batch.
        teacher: the other's answer to the same batch, of the same sort and shapes.
        temperature: the higher, the more small scores count.
        labels: of classes, of the shape of the logits without their last dimension; -100 leaves a place out.
        weight: of the teacher's scores where there are labels too, in [0, 1].
        hidden: how hidden states are compared.
        mask: for what has a place for each token, 1 for those that count: a tokenizer's ``attention_mask``.

    Raises:
        ArgumentError: the teacher's answer is of another sort or shape, or a setting is out of its range.

    >>> student = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
    >>> distillation_loss(student, student.detach()).item()
    0.0
    >>> loss = distillation_loss(student, torch.tensor([[0.0, 2.0, 0.0]]), labels=torch.tensor([1]))
    >>> loss.backward()
    >>> (student.grad < 0).tolist()  # the class that teacher and label name is to have a higher score
    [[False, True, False]]
    >>> round(distillation_loss([torch.zeros(2, 5, 8)], [torch.ones(2, 5, 8)]).item(), 3)
    1.0
    """
    if not is_number(temperature) or temperature <= 0:
        raise ArgumentError(f"temperature={temperature!r}: must be a number above 0, such as 2.0")
    if not is_number(weight) or not 0 <= weight <= 1:
        raise ArgumentError(f"weight={weight!r}: must lie between 0 and 1, the share of the teacher's scores")
    if hidden is not None and hidden not in HIDDEN:
        raise ArgumentError(f"hidden={hidden!r}: must be one of {', '.join(map(repr, HIDDEN))}, or None")
    parts = []
    ours, theirs = _logits(student, "student"), _logits(teacher, "teacher")
    if (ours is None) != (theirs is None):
        which = "student" if ours is None else "teacher"
        raise ArgumentError(f"the {which}'s answer has no logits and the other's has: pass the same part of both")
    if ours is not None and theirs is not None:
        parts.append(_from_logits(ours, theirs, temperature, labels, weight, mask))
    elif labels is not None:
        raise ArgumentError("labels are given with hidden states alone: pass logits as well, or leave labels out")
    if hidden is not None or not parts:
        mine, its = _hidden_states(student, "student"), _hidden_states(teacher, "teacher")
        parts.append(_from_hidden(mine, its, hidden or "mse", mask))
    return torch.stack(parts).sum()


def _logits(answer: Any, whose: str) -> Tensor | None:
    """The scores of an answer that has such, in floats: halves are too coarse for small differences."""
    if isinstance(answer, (list, tuple)):
        return None
    logits = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
    if logits is None and getattr(answer, "hidden_states", None) is not None:
        return None
    if not isinstance(logits, Tensor):
        raise ArgumentError(
            f"{whose} is a {type(answer).__name__}: must be a tensor of logits, a list of hidden states, or a model's"
            " answer with .logits or .hidden_states"
        )
    return logits.float()


def _hidden_states(answer: Any, whose: str) -> Sequence[Tensor]:
    states = answer if isinstance(answer, (list, tuple)) else getattr(answer, "hidden_states", None)
    if not isinstance(states, (list, tuple)) or not states or not all(isinstance(each, Tensor) for each in states):
        raise ArgumentError(
            f"the {whose}'s answer has no hidden states: call a Hugging Face model with output_hidden_states=True, or"
            " pass lists of tensors"
        )
    return states


def _from_logits(
    ours: Tensor, theirs: Tensor, temperature: float, labels: Tensor | None, weight: float, mask: Tensor | None
) -> Tensor:
    _check_alike("logits", ours, theirs)
    if ours.dim() == 0 or ours.shape[-1] < 2:
        raise ArgumentError(
            f"logits of shape {tuple(ours.shape)}: must have two classes at least; compare single numbers as hidden"
            " states, by distillation_loss([student], [teacher])"
        )
    soft = F.kl_div(
        F.log_softmax(ours / temperature, -1), F.log_softmax(theirs.detach() / temperature, -1), reduction="none",
        log_target=True,
    ).sum(-1)  # fmt: skip
    counted = _counted(soft, mask)
    if labels is not None:
        _check_labels(labels, ours)
        counted = counted & (labels != IGNORED)
    distilled = temperature**2 * _mean(soft, counted)
    if labels is None:
        return distilled
    hard = F.cross_entropy(ours.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return weight * distilled + (1 - weight) * _mean(hard.view(soft.shape), counted)


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    if labels.shape != logits.shape[:-1]:
        raise ArgumentError(
            f"labels of shape {tuple(labels.shape)}: logits of shape {tuple(logits.shape)} need"
            f" {tuple(logits.shape[:-1])}, a class for each row"
        )
    if labels.dtype != torch.int64:
        raise ArgumentError(f"labels are {labels.dtype}: must be the numbers of classes, labels.long()")
    classes, named = logits.shape[-1], labels[labels != IGNORED]
    if named.is_cuda:  # it would have to be waited for
        return
    for wrong in named[(named < 0) | (named >= classes)].tolist():
        raise ArgumentError(
            f"labels hold {wrong}: logits of {classes} classes take 0 to {classes - 1}, and {IGNORED} for a place that"
            " is left out"
        )


def _from_hidden(ours: Sequence[Tensor], theirs: Sequence[Tensor], how: Hidden, mask: Tensor | None) -> Tensor:
    if len(ours) != len(theirs):
        raise ArgumentError(
            f"the student has {len(ours)} hidden states and the teacher {len(theirs)}: pass lists of those to be"
            " compared, such as distillation_loss(student.hidden_states, teacher.hidden_states[::2])"
        )
    losses = []
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        _check_alike(f"hidden state {number}", our, their)
        our, their = our.float(), their.detach().float()
        far = (our - their).square().mean(-1) if how == "mse" else 1 - F.cosine_similarity(our, their, dim=-1)
        losses.append(_mean(far, _counted(far, mask)))
    return torch.stack(losses).mean()


def _check_alike(what: str, ours: Tensor, theirs: Tensor) -> None:
    if ours.shape != theirs.shape:
        raise ArgumentError(
            f"{what}: the student's has shape {tuple(ours.shape)}, the teacher's {tuple(theirs.shape)}; both must"
            " answer the same batch, and a teacher of other sizes needs a layer that makes its numbers as many"
        )


def _counted(values: Tensor, mask: Tensor | None) -> Tensor:
    """Which of the values count: those under the mask, where there is one for each, else all."""
    if mask is None or values.dim() < mask.dim():  # an answer for each sentence has no tokens
        return torch.ones_like(values, dtype=torch.bool)
    if mask.shape != values.shape:
        raise ArgumentError(f"mask of shape {tuple(mask.shape)}: must have {tuple(values.shape)}, one for each token")
    return mask.to(values.device, torch.bool)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of those that count; 0 if none does."""
    return (values * counted).sum() / counted.sum().clamp(min=1)
