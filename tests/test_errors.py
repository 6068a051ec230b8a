"""The exit codes in docs/operations.md are those of the code."""

import re
from pathlib import Path

from dcsh_pg import errors

TABLE = Path(__file__).parents[1] / "docs" / "operations.md"


def family():
    return [errors.DcshError, *errors.DcshError.__subclasses__()]


def test_every_error_has_an_exit_code_of_its_own():
    numbers = [error.exit_code for error in family()]
    assert len(set(numbers)) == len(numbers)


def test_the_documented_table_is_complete():
    reported = dict(re.findall(r"^\| (\d+) \| `?(\w*)`? *\|", TABLE.read_text(), re.M))
    assert reported == {str(error.exit_code): error.__name__ for error in family()} | {
        "0": "",
        str(errors.INTERRUPTED): "",
    }
