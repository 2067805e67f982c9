"""What is said of a model that is deployed denser than it was to become."""

import warnings

from torch import nn

from sparbor.allocation.aims import standing
from sparbor.nn.dendrites import dendritic_layers


def warn_if_unfinished(model: nn.Module) -> None:
    """Warn the caller of ``deploy``: of layers whose schedule has not run, and of others that are denser than they aim.

    Others are copies and averages, which have the masks of the moment when they were made, and layers wrapped by hand.
    """
    layers = dendritic_layers(model)
    controllers = {id(layer.controller): layer.controller for layer in layers if layer.controller is not None}
    said = [controller.unfinished() for controller in controllers.values()]
    alone = [layer for layer in layers if layer.controller is None]
    if alone and (now := standing(alone)).too_dense:
        said.append(
            f"the model's dendritic layers keep {now}: give a copy or an average of a perforated model its masks by"
            " perforator.mask_copy(copy), and call set_mode('d') on layers that were wrapped by hand"
        )
    for words in filter(None, said):
        warnings.warn(words, UserWarning, stacklevel=3)
