"""A benchmark's JSON: ``{"environment": {...}, "command": "...", "rows": [...]}``, written as the rows come."""

import json
import shlex
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.job import environment
from sparbor.files import write_file


def command_line() -> str:
    """The one that runs; where its data lies on this machine is nobody's business."""
    words = list(sys.argv)
    for index, word in enumerate(words[:-1]):
        if word in ("--data-dir", "--scratch", "--model", "--wordnet", "--tweets"):
            words[index + 1] = "DIR"
    return shlex.join(["python", *words])


class ResultsFile:
    """Rows of measurements. An existing file is continued if it is of the same commit, software and machine.

    ``software`` is what the environment names beside its own; ``notes`` are further parts of the file, beside the rows.
    """

    def __init__(self, path: Path | None, software: dict[str, Any] | None = None) -> None:
        self.path = path
        self.environment = {**environment.describe(), **(software or {})}
        self.rows: list[dict[str, Any]] = []
        self.notes: dict[str, list[dict[str, Any]]] = {}
        if path and path.exists():
            earlier = json.loads(path.read_text())
            if earlier["environment"] != self.environment:
                sys.exit(f"{path} was measured in another environment: move it away, or choose another --json FILE")
            self.rows = earlier["rows"]
            self.notes = {key: earlier[key] for key in earlier if key not in ("environment", "command", "rows")}

    def has(self, **key: Any) -> bool:
        """Whether a row with these values is there."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def note(self, part: str, *entries: dict[str, Any]) -> None:
        """Keep ``entries`` in a part of their own, each once; they are saved with the next rows."""
        kept = self.notes.setdefault(part, [])
        kept += [entry for entry in entries if entry not in kept]

    def forget(self, key: dict[str, Any]) -> None:
        """Drop the rows and notes that have these values."""
        self.rows = [row for row in self.rows if not key.items() <= row.items()]
        for part, entries in self.notes.items():
            self.notes[part] = [entry for entry in entries if not key.items() <= entry.items()]

    def add(self, *rows: dict[str, Any]) -> None:
        """Append rows and save all of them."""
        self.rows += rows
        if self.path is None:
            return
        contents = {"environment": self.environment, "command": command_line(), **self.notes, "rows": self.rows}
        write_file(self.path, (json.dumps(contents, indent=1) + "\n").encode())


def digest(*parts: Any) -> str:
    """A short name for plain data."""
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class PooledFile:
    """``{"environments": {name: {...}}, "command": "...", "rows": [...]}``: results that no machine has a part in.

    Accuracy is such a result. An existing file is continued over sessions, commits and machines; each row names its
    ``commit`` and its ``environment``, which also has the ``software``.
    """

    def __init__(self, path: Path | None, software: dict[str, Any] | None = None) -> None:
        self.path, self._software = path, software or {}
        self.environments: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        if path and not path.parent.is_dir():
            sys.exit(f"{path.parent} is not a folder: make it, or choose another --json FILE")
        if path and path.exists():
            earlier = json.loads(path.read_text())
            if "environments" not in earlier:
                sys.exit(f"{path} is not a file of this study: move it away, or choose another --json FILE")
            self.environments, self.rows = earlier["environments"], earlier["rows"]

    def has(self, key: dict[str, Any]) -> bool:
        """Whether a row with these values is there."""
        return any(key.items() <= row.items() for row in self.rows)

    def put(self, row: dict[str, Any], key: dict[str, Any]) -> None:
        """Keep a new row, in the place of earlier ones with the values of ``key``, and save all of them."""
        here = {**environment.describe(), **self._software}
        commit = here.pop("commit")
        name = digest(here)
        self.environments[name] = here
        self.rows = [other for other in self.rows if not key.items() <= other.items()]
        self.rows.append({**row, "commit": commit, "environment": name})
        if self.path is not None:
            contents = {"environments": self.environments, "command": command_line(), "rows": self.rows}
            write_file(self.path, (json.dumps(contents, indent=1) + "\n").encode())


def environments_of(contents: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Where the rows of a results file were measured, each environment with its commits; of one kind or the other."""
    if "environment" in contents:
        yield contents["environment"]
        return
    for name, about in contents["environments"].items():
        commits = dict.fromkeys(row["commit"] for row in contents["rows"] if row["environment"] == name)
        yield from ({**about, "commit": commit} for commit in commits)
