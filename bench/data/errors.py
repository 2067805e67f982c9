"""What is wrong with data sets."""

from sparbor.errors import SparborError


class DataError(SparborError):
    """A data set that is missing, truncated or not what it claims to be."""
