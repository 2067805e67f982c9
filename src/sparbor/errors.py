"""Every error Sparbor raises on purpose: one line that says what is wrong, with which value, and what to do."""

from sparbor.printable import printable


def first_line(error: BaseException) -> str:
    """What another library's error says, in short; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:200]


class SparborError(Exception):
    """The base of all errors below; catching it catches them all."""

    def __init__(self, message: object = "", **named: str) -> None:
        super().__init__(printable(str(message)), **named)  # which may quote what a file says


class ArgumentError(SparborError, ValueError):
    """An argument, option or model that cannot be used as given."""


class StateError(SparborError):
    """A state dict or saved file that belongs to another model, recipe or version."""


class TrainingError(SparborError):
    """Training that cannot go on, such as a loss that is not a number."""


class OutputError(SparborError):
    """A result that could not be written."""


class ModelFileError(SparborError):
    """A model file that is damaged, of a newer version, or whose counts or offsets contradict each other."""


class EngineMissingError(SparborError, ImportError):
    """The native engine is not built into this installation."""


class PackageMissingError(SparborError, ModuleNotFoundError):
    """A package that one of Sparbor's extras brings is not installed."""
