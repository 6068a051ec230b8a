"""Files for GIS programs, each read by another library than the one that wrote it, or by GDAL."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import shapely
from shapely.geometry import shape

from dcsh_pg import results
from dcsh_pg.errors import OutputError
from dcsh_pg.results.record import HIT_COLUMNS, Table

pyogrio = pytest.importorskip("pyogrio")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

GDAL_READS = [".geojson", ".geojsonl", ".csv", ".fgb", ".gpkg"]


def gdal(path):
    """Rows of a layer as dicts, by its rank; each with its geometry."""
    meta, _, geometry, columns = pyogrio.raw.read(path, datetime_as_string=True)
    rows = [dict(zip(meta["fields"], row, strict=True)) for row in zip(*columns, strict=True)]
    for row, wkb in zip(rows, geometry, strict=True):
        row["geometry"] = None if wkb is None else shapely.from_wkb(wkb)
    return meta, sorted(rows, key=lambda row: int(row["rank"]))


def same(footprint, geometry) -> bool:
    return geometry is None if footprint is None else shape(footprint).equals(geometry)


@pytest.mark.parametrize("suffix", GDAL_READS)
@pytest.mark.parametrize("chosen", [slice(0, 4), slice(0, 5), slice(4, 5)])
def test_gdal_reads_the_same_hits(hits, suffix, chosen, tmp_path):
    hits = hits[chosen]
    path = tmp_path / f"hits{suffix}"
    results.write(hits, path)
    meta, rows = gdal(path)
    assert suffix == ".csv" or meta["crs"] == "EPSG:4326"
    assert [int(row["id"]) for row in rows] == [hit.id for hit in hits]
    assert [int(row["distance"]) for row in rows] == [hit.distance for hit in hits]
    assert [float(row["valid_fraction"]) for row in rows] == [hit.valid_fraction for hit in hits]
    assert [row["uri"] for row in rows] == [hit.uri for hit in hits]
    assert all(same(hit.footprint, row["geometry"]) for hit, row in zip(hits, rows, strict=True))
    for hit, row in zip(hits, rows, strict=True):
        reported = (row["acquired"] or "").replace("/", "-").replace(" ", "T")
        assert reported.startswith("2021-07-04T16:02:00" if hit.acquired else "")
        assert row.get("class") in (hit.properties.get("class"), None if hit.properties else "")


@pytest.mark.parametrize("suffix", [".fgb", ".gpkg"])
def test_layers_of_no_hits_have_the_columns(suffix, tmp_path):
    path = tmp_path / f"none{suffix}"
    results.write([], path)
    info = pyogrio.read_info(path)
    assert (info["crs"], info["geometry_type"]) == ("EPSG:4326", "Polygon")
    assert len(pyogrio.raw.read(path)[2]) == 0
    assert list(info["fields"]) == list(HIT_COLUMNS)
    assert dict(zip(info["fields"], info["dtypes"], strict=True)) == {
        name: {int: "int64", str: "object", float: "float64"}.get(type_, "datetime64[ms]")
        for name, type_ in HIT_COLUMNS.items()
    }


def test_layer_bears_the_name_of_its_file_and_a_property_may_be_called_fid(make_hit, tmp_path):
    hits = [make_hit(0, properties={"fid": "x", "cloud": None}), make_hit(1)]
    results.write(hits, tmp_path / "ponds.gpkg")
    assert pyogrio.list_layers(tmp_path / "ponds.gpkg")[:, 0].tolist() == ["ponds"]
    _, rows = gdal(tmp_path / "ponds.gpkg")
    assert [row["scene:fid"] for row in rows] == ["x", None]


def test_columns_whose_names_differ_in_case_are_kept(make_hit, tmp_path):
    hits = [make_hit(0, properties={"Class": "a", "class": "b", "ID": "c", "class_2": "d"})]
    for suffix in (".gpkg", ".fgb", ".parquet"):
        results.write(hits, tmp_path / f"hits{suffix}")
    _, [row] = gdal(tmp_path / "hits.gpkg")
    assert (row["id"], sorted(v for v in row.values() if v in list("abcd"))) == (100, list("abcd"))


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_a_folder_that_looks_like_an_address_is_a_folder(hits, tmp_path, monkeypatch, suffix):
    """pyarrow writes to s3:/bucket, if it is given the path."""
    monkeypatch.chdir(tmp_path)
    Path("s3:/bucket").mkdir(parents=True)
    results.write(hits, Path(f"s3://bucket/hits{suffix}"))
    assert Path(f"s3:/bucket/hits{suffix}").stat().st_size > 0


def test_flatgeobuf_has_an_index_where_every_hit_has_a_place(hits, tmp_path):
    for name, chosen in (("placed", hits[:4]), ("some", hits)):
        results.write(chosen, tmp_path / f"{name}.fgb")
    box = (-117.189, 32.701, -117.181, 32.709)
    found = pyogrio.raw.read(tmp_path / "placed.fgb", bbox=box, columns=["id"])[3][0]
    assert list(found) == [101]
    indexed = [
        pyogrio.read_info(tmp_path / f"{name}.fgb")["capabilities"]["fast_spatial_filter"]
        for name in ("placed", "some")
    ]
    assert indexed == [True, False]


def test_lines_of_geojson_are_features(hits, tmp_path):
    results.write(hits, tmp_path / "hits.geojsonl")
    lines = (tmp_path / "hits.geojsonl").read_text(encoding="utf-8")
    collection = json.loads(results.dumps(hits, "geojson"))
    assert lines == results.dumps(hits, "geojsonseq")
    assert [json.loads(line) for line in lines.splitlines()] == collection["features"]


def test_geojson_turns_the_rings_of_every_part(make_hit):
    clockwise = shapely.MultiPolygon([shapely.box(n, 0, n + 0.5, 1).reverse() for n in (0, 1)])
    text = results.dumps([make_hit(0, footprint=clockwise)], "geojsonseq")
    turned = shape(json.loads(text)["geometry"])
    assert turned.equals(clockwise) and all(p.exterior.is_ccw for p in turned.geoms)


@pytest.mark.parametrize("chosen", [slice(0, 4), slice(0, 5), slice(4, 5), slice(0, 0)])
def test_geoparquet_keeps_its_specification(hits, chosen, tmp_path):
    hits = hits[chosen]
    results.write(hits, tmp_path / "hits.parquet")
    table = parquet.read_table(tmp_path / "hits.parquet")
    placed = [shape(hit.footprint) for hit in hits if hit.footprint]

    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == (["Polygon"] if placed else [])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    assert column["crs"]["type"] == "GeographicCRS"
    assert column["covering"] == {
        "bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
    }
    assert column.get("bbox") == (list(shapely.total_bounds(placed)) if placed else None)

    group = parquet.read_metadata(tmp_path / "hits.parquet").row_group(0)
    filtered = [group.column(n) for n in range(group.num_columns)]
    filtered = [part for part in filtered if part.path_in_schema.startswith("bbox.")]
    assert not any("RLE_DICTIONARY" in part.encodings for part in filtered)

    rows = table.to_pylist()
    assert [row["id"] for row in rows] == [hit.id for hit in hits]
    assert [row["acquired"] for row in rows] == [r["acquired"] for r in Table.of_hits(hits).records]
    for hit, row in zip(hits, rows, strict=True):
        covering = (
            row["bbox"]["xmin"],
            row["bbox"]["ymin"],
            row["bbox"]["xmax"],
            row["bbox"]["ymax"],
        )
        if hit.footprint is None:
            assert row["geometry"] is None and covering == (None,) * 4
        else:
            # x is the longitude, whatever the order of axes in the CRS.
            geometry = shapely.from_wkb(row["geometry"])
            assert same(hit.footprint, geometry) and covering == geometry.bounds


def test_types_of_columns_do_not_depend_on_the_rows(hits, tmp_path):
    for name, chosen in (("all", hits[:4]), ("none", [])):
        results.write(chosen, tmp_path / f"{name}.parquet")
    full, none = (parquet.read_schema(tmp_path / f"{name}.parquet") for name in ("all", "none"))
    assert [none.field(name).type for name in HIT_COLUMNS] == [
        full.field(name).type for name in HIT_COLUMNS
    ]


def test_geodataframe_of_hits(hits):
    frame = results.to_geopandas(hits)
    assert frame.crs.to_epsg() == 4326
    assert list(frame.index) == [hit.id for hit in hits] and frame.index.name == "id"
    assert list(frame["distance"]) == [hit.distance for hit in hits]
    assert frame["acquired"].iloc[0].isoformat() == "2021-07-04T16:02:00+00:00"
    assert frame.geometry.isna().tolist() == [False] * 4 + [True]
    assert results.to_geopandas([]).columns.tolist() == [*frame.columns.drop("class")]


@pytest.mark.parametrize(("suffix", "library"), [(".fgb", "pyogrio"), (".map.svg", "matplotlib")])
def test_missing_library_is_reported_with_its_extra(hits, suffix, library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    for use in (results.check_output, lambda path: results.write(hits, path)):
        with pytest.raises(
            OutputError, match=rf"hits{suffix}: {library} is not installed"
        ) as error:
            use(tmp_path / f"hits{suffix}")
        assert "dcsh-pg[" in error.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", results.outputs.suffixes())
def test_what_fails_leaves_the_old_file_alone(make_hit, suffix, tmp_path):
    path = tmp_path / f"hits{suffix}"
    path.write_text("old")
    with pytest.raises((TypeError, ValueError)):
        results.write(
            [make_hit(0, properties={"odd": object()}, distance="far")], path,
            read_chip=lambda hit: object(),
        )  # fmt: skip
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"
