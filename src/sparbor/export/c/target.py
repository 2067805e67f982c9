"""``sparbor export FILE --to c``: a program as files that any C99 compiler takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sparbor.errors import OutputError
from sparbor.export.c.files import FIRST_LINE, sources
from sparbor.export.c.identifiers import check_name
from sparbor.files import reason_of, write_files
from sparbor.program.program import Program


@dataclass(frozen=True)
class CExport:
    """What was written. `flash_bytes` are constants, code not counted; `ram_bytes` are the static buffers."""

    files: tuple[Path, ...]
    flash_bytes: int
    ram_bytes: int

    def __str__(self) -> str:
        names = ", ".join(file.name for file in self.files)
        return (
            f"{self.files[0].parent}: {names}\n"
            f"flash {self.flash_bytes:,} bytes of constants, and the code (`make size` shows it); "
            f"RAM {self.ram_bytes:,} bytes, and the caller's input and output"
        )


def export_c(program: Program, out: str | os.PathLike[str], name: str = "model", force: bool = False) -> CExport:
    """Write a program (of a runtime: ``runtime.program``) as C99 into a directory, which is made if it is not there.

    Args:
        program: what to export.
        out: the directory for NAME.c, NAME.h, main.c and a Makefile.
        name: a C identifier, which the functions' names begin with.
        force: write into a directory that has files, and replace those of an earlier export. Others stay.

    Raises:
        ArgumentError: `name` cannot be used, or the program has an operation that the C target lacks.
        OutputError: the directory has files and `force` is not given, a file of the same name is not of an earlier
            export, or it could not be written. Nothing is changed then.
    """
    written = sources(program, check_name(name))
    directory = Path(out)
    _check_directory(directory, tuple(written.contents), force)
    write_files(directory, {file: content.encode("ascii") for file, content in written.contents.items()})
    return CExport(tuple(directory / file for file in written.contents), written.flash, written.ram)


def _check_directory(directory: Path, files: tuple[str, ...], force: bool) -> None:
    try:
        there = sorted(entry.name for entry in directory.iterdir()) if os.path.lexists(directory) else []
    except (OSError, ValueError) as error:
        raise OutputError(
            f"out={str(directory)!r} is not a directory to write to ({reason_of(error)}): name another"
        ) from error
    if there and not force:
        raise OutputError(
            f"out={str(directory)!r} has files already, such as {there[0]}: name another directory, or pass --force to "
            "write beside them and replace an earlier export"
        )
    for file in set(files) & set(there):
        if not _is_ours(directory / file):
            raise OutputError(
                f"{str(directory / file)!r} is there and not of an earlier export: it is not replaced; move it away or "
                "name another directory"
            )


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return FIRST_LINE.encode() in file.readline(200)
    except OSError:
        return False
