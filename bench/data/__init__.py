"""The data sets, and where they come from.

A place that the user names (`data_dir`, or the variable SPARBOR_DATA) is used as it is, and it is the only place
looked at. Otherwise the official data comes from the user cache, which is filled from the first source that works.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from bench.data import cifar10, mnist
from bench.data.dataset import Dataset, Provider
from bench.data.errors import DataError
from sparbor.errors import ArgumentError

__all__ = ["DATASETS", "Dataset", "load"]

DATASETS: Mapping[str, Provider] = {"mnist": mnist, "cifar10": cifar10}


def load(name: str, data_dir: Path | str | None = None) -> Dataset:
    """The data set `name`, from `data_dir`, else from SPARBOR_DATA, else from the cache, which is filled if need be.

    Raises:
        ArgumentError: there is no data set of that name.
        DataError: a named place lacks the files or they are damaged; or no source could be reached.
    """
    if name not in DATASETS:
        raise ArgumentError(f"unknown dataset {name!r}; choose from: {', '.join(DATASETS)}")
    if data_dir is not None:
        return _load_named(name, Path(data_dir), given_as="data_dir (--data-dir)")
    if os.environ.get("SPARBOR_DATA"):
        return _load_named(name, Path(os.environ["SPARBOR_DATA"]), given_as="SPARBOR_DATA")
    return DATASETS[name].read_cached()


def _load_named(name: str, place: Path, given_as: str) -> Dataset:
    place = Path(os.path.expanduser(place))
    provider = DATASETS[name]
    if found := provider.find(place):
        return found.read()
    remedy = f"put {provider.REMEDY} there, or leave {given_as} out to have the data downloaded"
    if other := _find_other(name, place):
        remedy = f"{other}, or {remedy}"
    raise DataError(f"{given_as} {place} {provider.what_is_missing(place)}; {remedy}")


def _find_other(name: str, place: Path) -> str | None:
    """What to say where `place` holds another data set than `name`."""
    for other, provider in DATASETS.items():
        if other != name and (found := provider.find(place)):
            return f"it looks like {provider.TITLE} ({found.what}): pass --dataset {other}"
    return None
