from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.errors import UsageError
from dcsh_pg.imagery.dates import DatePattern, from_name, from_tags, parse_date


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("m_3009743_ne_14_060_20201205_20210212.tif", utc(2020, 12, 5)),
        ("S2A_MSIL1C_20170101T101412_N0204.tif", utc(2017, 1, 1, 10, 14, 12)),
        ("20200101_171530_0f15_3B_AnalyticMS.tif", utc(2020, 1, 1, 17, 15, 30)),
        ("LC08_L1TP_025033_20200229_20200301.tif", utc(2020, 2, 29)),
        ("scene-2021-07-14.png", utc(2021, 7, 14)),
        ("201404_13SED190110_201404_0x1500m_CL_1.tif", None),
        ("tile_99999999.tif", None),
        ("x_20210230.tif", None),
        ("1202107145.tif", None),
    ],
)
def test_dates_in_names(name, date):
    assert from_name(name) == date


@settings(deadline=None)
@given(st.datetimes(datetime(1950, 1, 1), datetime(2024, 12, 31)))
def test_every_day_is_found_in_both_notations(moment):
    day = utc(moment.year, moment.month, moment.day)
    assert from_name(f"a_{moment:%Y%m%d}_b") == day
    assert from_name(f"a_{moment:%Y-%m-%d}_b") == day
    second = moment.replace(microsecond=0, tzinfo=timezone.utc)
    assert parse_date(f"{moment:%Y:%m:%d %H:%M:%S}") == second
    assert parse_date(second.isoformat()) == second


def test_offsets_are_brought_to_utc():
    assert parse_date("2019-01-02T03:04:05+02:00") == utc(2019, 1, 2, 1, 4, 5)
    assert parse_date("2019-01-02T03:04:05.123Z") == utc(2019, 1, 2, 3, 4, 5)
    assert parse_date("yesterday") is None


def test_acquisition_tags_come_before_the_time_of_writing():
    tags = {"TIFFTAG_DATETIME": "2022:01:01 00:00:00", "AcquisitionDateTime": "2020-05-06T07:08:09"}
    assert from_tags(tags) == utc(2020, 5, 6, 7, 8, 9)
    assert from_tags({"TIFFTAG_DATETIME": "0000:00:00 00:00:00"}) is None


@pytest.mark.parametrize(
    ("pattern", "name", "date"),
    [
        ("%d%m%Y", "flight_14072021_3.tif", utc(2021, 7, 14)),
        ("%Y-%j", "a_2021-195_b.tif", utc(2021, 7, 14)),
        (r"_(?P<date>\d{8})_\d+$", "20200101_20210714_7", utc(2021, 7, 14)),
        (r"y(?P<year>\d{4})m(?P<month>\d\d)d(?P<day>\d\d)", "y2021m07d14", utc(2021, 7, 14)),
        ("%Y%m%d", "nothing.tif", None),
    ],
)
def test_patterns(pattern, name, date):
    assert DatePattern(pattern).find(name) == date


@pytest.mark.parametrize("pattern", ["scene", "(?P<date>", "%Q", r"(?P<year>\d+)"])
def test_patterns_that_name_no_date(pattern):
    with pytest.raises(UsageError, match="--date-pattern"):
        DatePattern(pattern)
