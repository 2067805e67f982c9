"""Rounding in which the errors of a neuron cancel, whatever its weights are rounded to.

A neuron's output is off by Σ error × input. Inputs are often of one sign, as after ReLU, or alike, as the pixels under
a small filter: what they have in common meets the sum of the errors. So weights that err as the sum does flip to the
other side of what they were, those first that add least to the squared errors for what they take off the sum, for as
long as it shrinks (SQuant, Guo et al., 2022, does so with integers).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]


def flips(
    errors: Floats, neuron: Integers, steps: Callable[[Integers], tuple[Floats, npt.NDArray[np.bool_]]]
) -> Integers:
    """Which of the rounded weights are better on the other side.

    Args:
        errors: of each, rounded to the nearest, by how much it is too large.
        neuron: each one's neuron, from 0, in ascending order.
        steps: of the weights that err as their neuron's sum does, how far the other side is from this one, and
            whether it may be taken.
    """
    excess = np.bincount(neuron, errors)
    chosen = np.flatnonzero(errors * excess[neuron] > 0)
    step, may_flip = steps(chosen)
    chosen, step = chosen[may_flip], step[may_flip]
    error = np.abs(errors[chosen])

    # Flipping takes `step` off the sum and adds step × cost to the squared errors. One key sorts faster than two.
    cost = (step - 2 * error).astype(np.float64)
    order = np.argsort(neuron[chosen] + cost / (1 + cost.max(initial=0)), kind="stable")
    chosen, step = chosen[order], step[order].astype(np.float64)
    of = neuron[chosen]
    before = np.cumsum(step) - step
    before -= before[np.searchsorted(of, of)]
    return chosen[before + step / 2 < np.abs(excess[of])]
