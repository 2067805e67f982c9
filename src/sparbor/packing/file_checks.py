"""What a model file says is checked before it is believed."""

from typing import TypeGuard

from sparbor.errors import ModelFileError

_LONGEST_FAULT = 500  # what it quotes may be as long as the file


def require(holds: object, fault: str) -> None:
    """Refuse the file for this fault unless what is asked of it holds."""
    if not holds:
        fault = fault if len(fault) <= _LONGEST_FAULT else f"{fault[:_LONGEST_FAULT]} ..."
        raise ModelFileError(f"{fault}; the file is damaged or was not written by Sparbor")


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is a whole number from 0; JSON's `true` is none."""
    return type(value) is int and value >= 0
