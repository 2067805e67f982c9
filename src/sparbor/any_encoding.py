"""Output in whichever encoding the terminal or the pipe has: a character that it lacks is written in others."""

import codecs
import io
import sys

SPELLED = {"µ": "u", "×": "x", "²": "^2", "⁹": "^9", "√": "sqrt ", "‖": "||", "−": "-", "–": "-", "→": "->", "…": "..."}
ERRORS = "sparbor.spelled"


def spell_what_is_missing() -> None:
    """From now on no character that is printed can end the program."""
    codecs.register_error(ERRORS, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """The first character that the encoding lacks, in ASCII: half a surrogate pair by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    return SPELLED.get(character, character.encode("ascii", "backslashreplace").decode()), error.start + 1
