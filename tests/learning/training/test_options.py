import pytest

from dcsh_pg import methods
from dcsh_pg.errors import UsageError
from dcsh_pg.methods import dcsh
from dcsh_pg.plugins import METHODS


def test_values_get_the_type_of_their_option():
    texts = ["epochs=7", "head-lr=1e-2", "batch_norm=no", "scales=1,0.7", "init=itq"]
    assert dcsh.Options.parse(texts) == {
        "epochs": 7,
        "head_lr": 0.01,
        "batch_norm": False,
        "scales": (1.0, 0.7),
        "init": "itq",
    }


@pytest.mark.parametrize(
    "text, reported",
    [
        ("epochs", "has no value"),
        ("epochs=many", "not a whole number"),
        ("alpha=much", "not a number"),
        ("batch_norm=perhaps", "neither true nor false"),
        ("mining=guessed", "not one of nearest, diffused"),
        ("colour=red", "dcsh has no option colour"),
    ],
)
def test_what_makes_no_sense_is_refused(text, reported):
    with pytest.raises(UsageError, match=reported) as raised:
        dcsh.Options.parse([text])
    assert raised.value.hint


@pytest.mark.parametrize("method", METHODS.names())
def test_every_option_of_every_method_can_be_given(method):
    kind = methods.get(method).Options
    for name, value in vars(kind()).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert kind.parse([f"{name}={text}"]) == {name: value}
