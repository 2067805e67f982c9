"""What a model file says is checked before it is believed."""

from sparbor.errors import ModelFileError


def require(holds: object, fault: str) -> None:
    """Refuse the file for this fault unless what is asked of it holds."""
    if not holds:
        raise ModelFileError(f"{fault}; the file is damaged or was not written by Sparbor")
