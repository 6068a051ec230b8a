"""The errors of dcsh-pg: a message that names the object at fault, a hint with the fix, an exit code.

Library calls raise these; the command line prints ``message`` and ``hint`` on stderr and exits
with ``exit_code``.  docs/operations.md has the table of exit codes; a test compares them.
"""

from __future__ import annotations


def storable(text: str) -> str:
    """Text that UTF-8 and PostgreSQL can store: lone surrogates and NUL become escapes.

    A file name that is not UTF-8, such as 'b\xfcro.tif', arrives with lone surrogates.
    """
    text = text.replace("\0", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogateescape" if _is_file_name(text) else "backslashreplace")
        return raw.decode("utf-8", "backslashreplace")
    return text


def _is_file_name(text: str) -> bool:
    """Whether all lone surrogates stand for bytes, as in names from the file system."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in text)


class DcshError(Exception):
    """The base class.

    Attributes:
        message: one line that names the file, option or object at fault.
        hint: one line that names the fix, or None.
        exit_code: of the command line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None):
        self.message = storable(message)
        self.hint = hint if hint is None else storable(hint)
        super().__init__(self.message)

    def alone(self) -> DcshError:
        """The same error without its cause, which may not be picklable."""
        return type(self)(self.message, hint=self.hint)


class UsageError(DcshError):
    """An option or argument is invalid."""

    exit_code = 2


class ServerError(DcshError):
    """The PostgreSQL server cannot be reached, or lacks what dcsh-pg needs."""

    exit_code = 3


class SchemaError(DcshError):
    """The schema in the database is missing, or older or newer than this dcsh-pg."""

    exit_code = 4


class PartialSuccess(DcshError):
    """The run ended and its results are stored, but some scenes failed."""

    exit_code = 5


class InputError(DcshError):
    """A file cannot be read or has the wrong content."""

    exit_code = 6


class ModelError(DcshError):
    """A model file is not a dcsh-pg model, or does not match the archive or the imagery."""

    exit_code = 7


class OutputError(DcshError):
    """A result cannot be written to its destination."""

    exit_code = 8


class TrainingError(DcshError):
    """A training run cannot produce usable codes (collapsed bits, a loss that is not finite)."""

    exit_code = 9


class NotFound(DcshError):
    """An archive, chip or place does not exist."""

    exit_code = 10


class NotReproduced(DcshError):
    """A search that was replayed gave other hits."""

    exit_code = 11


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect (128 + SIGINT)."""
