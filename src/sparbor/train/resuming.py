"""Whether a perforator's state is of the run that goes on with it."""

from typing import Any

from sparbor.errors import StateError
from sparbor.recipe.recipe import Recipe

STATE_VERSION = 2


def check_same_run(state: Any, own: dict[str, Any]) -> None:
    """Refuse a ``state`` of another version, model, recipe, length or world size than the run of ``own``."""
    if not isinstance(state, dict):
        raise StateError(f"the perforator's state is a {type(state).__name__}: pass what state_dict() gave")
    if state.get("version") != STATE_VERSION:
        raise StateError(
            f"perforator state of version {state.get('version')!r}: this release reads version {STATE_VERSION};"
            " resume with the release that wrote it"
        )
    if isinstance(recipe := state.get("recipe"), dict):
        state = {**state, "recipe": Recipe.from_dict(recipe).to_dict()}  # in today's fields, whichever release wrote it
    for part, remedy in (
        ("layers", "load it into the model it was saved from"),
        ("recipe", "pass the recipe it was saved with to sparbor.perforate()"),
        ("total_steps", "pass the total_steps it was saved with to sparbor.perforate()"),
        ("world_size", "start as many processes as it was saved with"),
    ):
        if state.get(part) != own[part]:
            raise StateError(f"the state has other {part} ({_difference(state.get(part), own[part])}): {remedy}")


def _difference(theirs: Any, ours: Any) -> str:
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{theirs!r} where this run has {ours!r}"
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return "; ".join(f"{name}: {theirs.get(name)!r} where this run has {ours.get(name)!r}" for name in names[:3])
