"""What layers are given and answer while a model runs: forward hooks see it, and end the run with the last of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.oneshot.batches import Batches, Call

Seen = Callable[[nn.Module, Tensor, Tensor], None]


class _Enough(BaseException):
    """Ends a run of the model; no exception that its code may catch."""


class Watcher:
    """Runs a ``model`` on its ``batches``, and tells of the calls of some of its ``layers``.

    Every layer has a hook as long as anything is watched: PyTorch's Transformer layers take another way through their
    parts where one has a hook, and each run is to go the same way.
    """

    def __init__(self, model: nn.Module, batches: Batches) -> None:
        self.model = model
        self.batches = batches
        self._layers: set[nn.Module] = set()
        self._seen: Seen = _nothing
        self._left = -1

    @contextmanager
    def over(self, layers: Iterable[nn.Module]) -> Iterator[None]:
        """Within, these layers can be watched."""
        hooks = [layer.register_forward_hook(self._called, with_kwargs=True) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def run(
        self, number: int, call: Call, layers: Iterable[nn.Module], seen: Seen, calls: Mapping[nn.Module, int]
    ) -> None:
        """Call the model with the batch of this ``number``, and tell of each call of ``layers``, by input and output.

        ``calls``: how often each is called in a run of the model, as far as that is known; once so many calls have been
        seen the run ends. Raises ArgumentError if the model cannot be called so.
        """
        self._layers, self._seen = set(layers), seen
        self._left = sum(calls.get(layer, 0) for layer in self._layers) or -1
        try:
            self.model(*call.args, **call.kwargs)
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
        finally:
            self._layers, self._seen = set(), _nothing

    def _called(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if layer in self._layers:
            self._seen(layer, args[0] if args else next(iter(kwargs.values())), output)
            self._left -= 1
            if self._left == 0:
                raise _Enough


def _nothing(*_: object) -> None:
    """Nobody watches."""
