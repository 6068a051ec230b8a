"""Searches with keywords, and hits that show themselves."""

import json
import re
from dataclasses import replace
from datetime import date, datetime

import pytest
from PIL import Image
from shapely.geometry import box, mapping, shape

from dcsh_pg import Archive, Filter
from dcsh_pg.archive.found import Hits
from dcsh_pg.errors import ServerError, UsageError


@pytest.fixture
def archive(database, model_file, scenes):
    made = Archive.create("a", model_file, chip_size=128, dsn=database)
    made.ingest([str(scenes)])
    with made:
        yield made


def test_an_area_may_have_any_form(archive, tmp_path):
    area = shape(archive.similar_to(1, k=1)[0].footprint).buffer(0.001).envelope
    wanted = archive.similar_to(5, filter=Filter(area=area))
    assert wanted and wanted != archive.similar_to(5)
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps(mapping(area)))
    bounds = ",".join(map(str, area.bounds))
    forms = [area, area.wkt, file.read_text(), mapping(area), file, str(file), bounds, area.bounds]
    for form in forms:
        assert archive.similar_to(5, area=form) == wanted
    for wrong in ("nowhere", {"type": "Polygon"}, [1, 2, 3], {"a": object()}):
        with pytest.raises(UsageError, match="area"):
            archive.similar_to(5, area=wrong)


def test_a_time_may_have_any_form(archive):
    years = sorted({hit.acquired.year for hit in archive.similar_to(5, k=1000) if hit.acquired})
    first = years[1]
    wanted = archive.similar_to(5, k=1000, filter=Filter(since=datetime(first, 1, 1)))
    assert wanted and wanted != archive.similar_to(5, k=1000)
    for form in (first, str(first), f"{first}-01", f"{first}-01-01T00:00Z", date(first, 1, 1)):
        assert archive.similar_to(5, k=1000, since=form) == wanted
    with pytest.raises(UsageError, match="until: not a time: 'soon'"):
        archive.similar_to(5, until="soon")


def test_keywords_replace_conditions_of_the_filter(archive):
    near = archive.similar_to(5, max_distance=20)
    assert near == archive.similar_to(5, filter=Filter(max_distance=20))
    assert near == archive.similar_to(5, max_distance=20, filter=Filter(max_distance=0))
    scenes = [near[0].scene_id]
    assert {hit.scene_id for hit in archive.similar_to(5, scenes=scenes)} == set(scenes)


def test_a_code_may_be_bytes_hexadecimal_or_bits(archive):
    [(bits, text)] = archive.connection.execute(
        "SELECT code::text, encode(substr(bit_send(code), 5), 'hex') FROM dcsh.a WHERE id = 7"
    )
    wanted = archive.similar(bytes.fromhex(text), k=5)
    assert wanted[0].distance == 0
    assert archive.similar(text, k=5) == archive.similar(bits, k=5) == wanted
    lon, lat = shape(wanted[0].footprint).centroid.coords[0]
    assert archive.similar_at(lon, lat, k=3).query.chip == archive.query_place(lon, lat).chip


def test_hits_and_archives_say_what_they_are(archive, capsys):
    hits = archive.similar_to(5, k=25)
    lines = repr(hits).splitlines()
    assert lines[0].startswith("25 hits in archive 'a', distance ") and lines[-1] == "..."
    assert f"chip {hits[0].id}" in lines[1] and len(lines) == 22
    assert isinstance(hits[:3], Hits) and repr(hits[:1]).startswith("1 hit in")
    assert repr(hits[:0]) == "0 hits in archive 'a'"
    assert repr(archive) == "<Archive 'a': 64 bits, model random>"
    hits.show()
    assert "distance" in capsys.readouterr().out


def test_html_has_pictures_and_escapes_what_others_wrote(archive):
    hits = archive.search(archive.query_chip(5), k=3)
    html = hits._repr_html_()
    assert html.count('src="data:image/jpeg;base64,') == 4
    evil = "<script>alert('x')</script>"
    named = replace(hits[0], uri=f'/gone/"{evil}.tif')
    html = Hits([named] * 14, archive, replace(hits.query, caption=evil))._repr_html_()
    assert "<script" not in html and "&lt;script&gt;" in html and "and 2 more" in html
    assert html.count("data:image/jpeg") == 1  # The query; files that are gone show the reason.
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,[\w+/=]*")', html)


def test_hits_become_frames_and_files(archive, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    hits = archive.similar_to(5, k=4)
    frame = hits.to_geopandas()
    assert isinstance(frame, geopandas.GeoDataFrame) and list(frame.index) == [h.id for h in hits]
    plain = hits.to_pandas()
    assert "geometry" not in plain and type(plain).__name__ == "DataFrame"
    hits.write(tmp_path / "hits.png", title="hits")
    assert Image.open(tmp_path / "hits.png").format == "PNG"
    some = archive.similar_to(5, k=4, area="-180,-90,180,90")[:2]
    some.write(tmp_path / "hits.map.svg")
    assert "search area" in (tmp_path / "hits.map.svg").read_text()


def test_an_archive_closes_its_connection_at_the_end(archive, database):
    with Archive.open("a", dsn=database) as opened:
        assert opened.similar_to(1, k=1)
    with pytest.raises(ServerError, match="closed"):
        opened.similar_to(1, k=1)
    found = archive.similar_to(1, area=box(-180, -90, 180, 90))
    assert found == archive.similar_to(1)
