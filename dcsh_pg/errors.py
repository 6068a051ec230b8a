"""One family of errors: a message that names the thing, a hint that names the fix, an exit code.

Library calls raise these; the command line prints ``message`` and ``hint`` on stderr and leaves
with ``exit_code``.  docs/operations.md carries the table of exit codes; a test holds the two
together.
"""

from __future__ import annotations


def storable(text: str) -> str:
    """Text without what UTF-8 or PostgreSQL cannot hold: lone surrogates and NUL become escapes.

    A file name that is not UTF-8, 'b\xfcro.tif' say, arrives with lone surrogates.
    """
    text = text.replace("\0", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogateescape" if _is_file_name(text) else "backslashreplace")
        return raw.decode("utf-8", "backslashreplace")
    return text


def _is_file_name(text: str) -> bool:
    """Whether all lone surrogates stand for bytes, as in names that the file system gave."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in text)


class DcshError(Exception):
    """Root of the family.

    Attributes:
        message: one line that names the file, option or object at fault.
        hint: one line that names the fix, or None.
        exit_code: what the command line leaves with.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None):
        self.message = storable(message)
        self.hint = hint if hint is None else storable(hint)
        super().__init__(self.message)

    def alone(self) -> DcshError:
        """The same error without those behind it, which may not be fit for another process."""
        return type(self)(self.message, hint=self.hint)


class UsageError(DcshError):
    """An option or argument that cannot mean anything."""

    exit_code = 2


class ServerError(DcshError):
    """The PostgreSQL server cannot be reached, or lacks what dcsh-pg stands on."""

    exit_code = 3


class SchemaError(DcshError):
    """The schema in the database is missing, older or newer than this dcsh-pg."""

    exit_code = 4


class PartialSuccess(DcshError):
    """The run ended and what could be done is stored, but some scenes failed."""

    exit_code = 5


class InputError(DcshError):
    """A file that cannot be read, or is not what it should be."""

    exit_code = 6


class ModelError(DcshError):
    """A model file that is not ours, or does not fit the archive or the imagery."""

    exit_code = 7


class OutputError(DcshError):
    """A result that cannot be written where it was asked for."""

    exit_code = 8


class TrainingError(DcshError):
    """A training run that cannot give usable codes (collapsed bits, loss not finite)."""

    exit_code = 9


class NotFound(DcshError):
    """An archive, chip or place that is not there."""

    exit_code = 10


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect (128 + SIGINT)."""
