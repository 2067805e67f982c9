"""A benchmark's JSON: ``{"environment": {...}, "command": "...", "rows": [...]}``, written as the rows come."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from sparbor import environment


class ResultsFile:
    """Rows of measurements. An existing file is continued if it is of the same commit, software and machine."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.environment = environment.describe()
        self.rows: list[dict[str, Any]] = []
        if path and path.exists():
            earlier = json.loads(path.read_text())
            if earlier["environment"] != self.environment:
                sys.exit(f"{path} was measured in another environment: move it away, or choose another --json FILE")
            self.rows = earlier["rows"]

    def has(self, **key: Any) -> bool:
        """Whether a row with these values is there."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, *rows: dict[str, Any]) -> None:
        """Append rows and save all of them."""
        self.rows += rows
        if self.path is None:
            return
        command = shlex.join(["python", *sys.argv])
        text = json.dumps({"environment": self.environment, "command": command, "rows": self.rows}, indent=1)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(text + "\n")
        os.replace(unfinished, self.path)
