from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.errors import UsageError
from dcsh_pg.imagery.metadata.dates import DatePattern, from_name, from_tags, parse_date


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
        ("flight_20210714-103025.tif", utc(2021, 7, 14, 10, 30, 25)),
        ("flight_20210714-1030.tif", utc(2021, 7, 14)),
        ("flight_2021-07-14-10-30-25.tif", utc(2021, 7, 14, 10, 30, 25)),
        ("mosaic_20210701-20210714.tif", utc(2021, 7, 1)),
        ("GE01_20210714103025_1030010.ntf", utc(2021, 7, 14, 10, 30, 25)),
        ("GE01_20210714993025.tif", None),
        ("WV03_21JUL14103025-M1BS-0001.TIF", utc(2021, 7, 14, 10, 30, 25)),
        ("21JUL14WV031200021JUL14103025-M1BS.tif", utc(2021, 7, 14)),
        ("WV03_21JUL14_P001.tif", utc(2021, 7, 14)),
        ("site_21JUL14.tif", None),
        ("site_14JUL2021.tif", utc(2021, 7, 14)),
        ("site 14-jul-2021.tif", utc(2021, 7, 14)),
        ("MOD09GA.A2021195.h08v05.061.2021197034512.hdf", utc(2021, 7, 14)),
        ("MOD021KM.A2021195.1030.061.hdf", utc(2021, 7, 14, 10, 30)),
        ("VNP.A2021366.tif", None),
        ("DATA2021195.tif", None),
        ("ortho_14.07.2021.tif", utc(2021, 7, 14)),
        ("ortho_14.13.2021.tif", None),
        ("v1.14.07.2021_20200101.tif", utc(2021, 7, 14)),
    ],
)
def test_dates_in_file_names_are_parsed(name, date):
    assert from_name(name) == date


@settings(deadline=None)
@given(st.datetimes(datetime(1950, 1, 1), datetime(2024, 12, 31)))
def test_every_day_of_a_year_is_parsed_in_both_notations(moment):
    day = utc(moment.year, moment.month, moment.day)
    assert from_name(f"a_{moment:%Y%m%d}_b") == day
    assert from_name(f"a_{moment:%Y-%m-%d}_b") == day
    second = moment.replace(microsecond=0, tzinfo=timezone.utc)
    for form in ("%Y%m%d%H%M%S", "%Y%m%d-%H%M%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%d_%H-%M-%S"):
        assert from_name(f"a_{moment:{form}}_b") == second
    assert from_name(f"x.A{moment:%Y%j.%H%M}.061.hdf") == second.replace(second=0)
    assert from_name(f"ortho_{moment:%d.%m.%Y}.tif") == day
    if moment.year >= 2000:
        assert from_name(f"WV03_{moment:%y%b%d%H%M%S}-M1BS") == second
    assert parse_date(f"{moment:%Y:%m:%d %H:%M:%S}") == second
    assert parse_date(second.isoformat()) == second


def test_time_zone_offsets_are_converted_to_utc():
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
def test_date_patterns_find_the_date(pattern, name, date):
    assert DatePattern(pattern).find(name) == date


@pytest.mark.parametrize("pattern", ["scene", "(?P<date>", "%Q", r"(?P<year>\d+)"])
def test_date_patterns_without_a_date_are_refused(pattern):
    with pytest.raises(UsageError, match="--date-pattern"):
        DatePattern(pattern)
