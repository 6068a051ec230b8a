import json

import pytest

from dcsh_pg.errors import UsageError
from dcsh_pg.imagery.reading import Reading


@pytest.mark.parametrize(
    "reading",
    [
        Reading(),
        Reading(chip_size=128, stride=64, edge="pad", bands=(3, 2, 1), scale=(0.0, 3000.0)),
        Reading(scale="auto", min_valid=0.0),
        Reading(chip_size=64, edge="drop", anchor=True),
        Reading(raw_values=True),
        Reading(by_colour=False),
    ],
)
def test_json_round_trip(reading):
    assert Reading.from_json(json.loads(json.dumps(reading.to_json()))) == reading


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"chip_size": 0}, "--chip-size"),
        ({"stride": 64}, "--stride"),
        ({"chip_size": 64, "stride": 0}, "--stride"),
        ({"edge": "wrap"}, "--edge"),
        ({"bands": ()}, "--bands"),
        ({"bands": (0, 1, 2)}, "--bands"),
        ({"scale": "best"}, "--scale"),
        ({"scale": (5.0, 5.0)}, "--scale"),
        ({"min_valid": 1.5}, "--min-valid"),
        ({"anchor": True, "edge": "drop"}, "--anchor without --chip-size"),
        ({"anchor": True, "chip_size": 64}, "--edge shift"),
    ],
)
def test_invalid_values_name_their_option(fields, option):
    with pytest.raises(UsageError, match=option):
        Reading(**fields)


def test_a_stored_reading_without_anchor_is_read():
    stored = Reading(chip_size=64).to_json()
    del stored["anchor"]
    assert Reading.from_json(stored) == Reading(chip_size=64)


def test_an_older_archive_keeps_its_defaults():
    stored = Reading(chip_size=64).to_json()
    del stored["raw_values"], stored["by_colour"]
    assert Reading.from_json(stored) == Reading(chip_size=64, raw_values=True, by_colour=False)
