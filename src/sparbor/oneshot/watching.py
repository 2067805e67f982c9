"""What layers are given and answer while a model runs: seen by forward hooks, and the run ends with the last of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.oneshot.batches import Call

Seen = Callable[[nn.Module, Tensor, Tensor], None]


class _Enough(BaseException):
    """Ends a run of the model; no exception that its code may catch."""


class Watch:
    """Tells of each call of some layers, with its input and its output.

    ``calls``: how often each is called in a run of the model; once all of these calls have been seen the run ends. A
    layer whose calls are not known is watched to the end.
    """

    def __init__(self, layers: Iterable[nn.Module], seen: Seen, calls: Mapping[nn.Module, int] | None = None) -> None:
        self.layers = list(layers)
        self._seen = seen
        self._calls = calls
        self._left = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within, calls of the layers are told of."""
        hooks = [layer.register_forward_hook(self._called, with_kwargs=True) for layer in self.layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def run(self, model: nn.Module, number: int, call: Call) -> None:
        """Call the model with the batch of this number; raises ArgumentError if it cannot be called so."""
        self._left = -1 if self._calls is None else sum(self._calls.get(layer, 0) for layer in self.layers) or -1
        try:
            model(*call.args, **call.kwargs)
        except _Enough:
            pass
        except ArgumentError:
            raise
        except Exception as error:  # the model's code raises whatever it likes
            why = (str(error).splitlines() or [""])[0]
            raise ArgumentError(
                f"batches[{number}] does not run through the model, {type(error).__name__}: {why}: each batch must be"
                " what the model is called with"
            ) from error

    def _called(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        self._seen(layer, x, output)
        self._left -= 1
        if self._left == 0:
            raise _Enough
