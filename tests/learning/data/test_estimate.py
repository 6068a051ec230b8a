import pytest

from dcsh_pg.learning.data import estimate
from dcsh_pg.learning.data.computing import Way
from dcsh_pg.learning.data.estimate import Estimate
from dcsh_pg.progress import Progress


class Noting(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def clock(monkeypatch):
    """A function that lets seconds pass."""
    now = [0.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_some_seconds_of_computing_give_one_estimate(clock):
    progress = Noting()
    counted = Estimate("densenet169", Way("onnxruntime"), 16800, progress)
    clock(2)
    counted.advance(40)
    assert progress.notes == []  # the first runs are slower
    for _ in range(2):
        clock(2)
        counted.advance(60)
    assert progress.notes == [
        "features (densenet169): about 11 min for 16,800 passes, 25 a second by onnxruntime in float32"
    ]


def test_a_short_run_has_no_estimate(clock):
    progress = Noting()
    counted = Estimate("small", Way(precision="bfloat16"), 100, progress)
    clock(4)
    counted.advance(50)
    assert progress.notes == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(61.4, "61 s"), (360, "6 min"), (7800, "2 h 10 min")]
)
def test_durations(seconds, text):
    assert estimate.duration(seconds) == text
