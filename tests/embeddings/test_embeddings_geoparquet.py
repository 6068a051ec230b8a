"""GeoParquet of embeddings -> rows: codes, footprints and times, and hostile files."""

import numpy as np
import psycopg
import pyarrow
import pytest
import shapely
from pyproj import CRS, Transformer

from dcsh_pg import Archive, Hasher
from dcsh_pg.embeddings import Columns, Making, Using, find_embeddings
from dcsh_pg.errors import InputError, ModelError
from dcsh_pg.imagery.metadata.options import SceneOptions

RANDOM = np.random.default_rng(5)
VALUES = RANDOM.standard_normal((300, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(VALUES)


def rows_of(dsn, name):
    with psycopg.connect(dsn) as conn:
        return conn.execute(
            f"""SELECT c.id, s.uri, c.row_off, c.code::text, c.acquired
                FROM dcsh.{name} c JOIN dcsh.scene s ON s.id = c.scene_id ORDER BY c.id"""
        ).fetchall()


def footprints_of(archive):
    return archive.to_geopandas().geometry.normalize().to_list()


def read(path, columns=Columns(), making=Making(), **options):
    using = Using(making, columns=columns, options=SceneOptions(**options))
    [file] = find_embeddings([str(path)], using)
    file.describe()
    return list(file.vectors())


@pytest.mark.parametrize("fixed", [True, False])
def test_rows_have_the_codes_footprints_and_times_of_the_file(
    fixed, any_database, model, write_parquet, tmp_path
):
    days = np.datetime64("2021-07-01") + np.arange(300) % 3
    days = pyarrow.array(np.where(np.arange(300) % 7 == 0, np.datetime64("NaT"), days))
    file = write_parquet(tmp_path / "a.parquet", VALUES, fixed=fixed, extra=[("datetime", days)])
    with Archive.create("vectors", model, dsn=any_database) as archive:
        report = archive.ingest_embeddings([str(file)])
        assert (report.stored, report.chips, report.failed) == (1, 300, 0)
        expected = Hasher(model).hash(VALUES)
        rows = rows_of(any_database, "vectors")
        assert [row[2] for row in rows] == list(range(300))
        bits = np.array([[int(bit) for bit in row[3]] for row in rows], np.uint8)
        assert np.array_equal(np.packbits(bits, axis=1), expected)
        assert [row[4] and row[4].date() for row in rows] == days.to_pylist()
        boxes = shapely.from_wkb(
            pyarrow.parquet.read_table(file)["geometry"].to_numpy(zero_copy_only=False)
        )
        assert footprints_of(archive) == list(shapely.normalize(boxes))
        again = archive.ingest_embeddings([str(file)])
        assert (again.known, again.chips) == (1, 0)
        assert rows_of(any_database, "vectors") == rows


def test_a_vector_finds_what_brute_force_finds(database, model, write_parquet, tmp_path):
    file = write_parquet(tmp_path / "a.parquet", VALUES)
    query = RANDOM.standard_normal(24).astype(np.float32)
    hasher = Hasher(model)
    apart = np.bitwise_count(hasher.hash(VALUES) ^ hasher.hash(query[None])).sum(axis=1)
    nearest = sorted(zip(apart.tolist(), range(1, 301), strict=True))[:10]
    with Archive.create("vectors", model, dsn=database) as archive:
        archive.ingest_embeddings([str(file)])
        found = archive.similar_to_vector(query, k=10)
        assert [(hit.distance, hit.id) for hit in found] == nearest
        with pytest.raises(ModelError, match="24 numbers, these have 3"):
            archive.similar_to_vector([1, 2, 3])
        with pytest.raises(ModelError, match="takes embeddings of 24 numbers, not images"):
            archive.similar_to_image("a.png")
        with pytest.raises(ModelError, match="NaN"):
            archive.similar_to_vector(np.full(24, np.nan))


def test_a_run_that_fails_half_way_and_is_repeated_has_the_rows_of_one_run(
    database, model, write_parquet, tmp_path
):
    bad = VALUES.copy()
    bad[200, 3] = np.inf
    first = write_parquet(tmp_path / "1.parquet", VALUES[:50])
    second = write_parquet(tmp_path / "2.parquet", bad)
    write_parquet(tmp_path / "3.parquet", VALUES[50:90])
    with Archive.create("twice", model, dsn=database) as archive:
        report = archive.ingest_embeddings([str(tmp_path)])
        assert report.failed == 1 and report.chips == 90
        assert "embedding of row 200" in report.errors[0]
        assert [row[0] for row in rows_of(database, "twice")] == list(range(1, 91))
        write_parquet(second, VALUES)
        archive.ingest_embeddings([str(tmp_path)])
        assert [row[0] for row in rows_of(database, "twice")] == list(range(1, 391))
        first.rename(tmp_path / "renamed.parquet")
        renamed = archive.ingest_embeddings([str(tmp_path)])
        assert renamed.renamed == 1 and renamed.chips == 0


def test_a_renamed_file_keeps_the_times_of_its_rows(database, model, write_parquet, tmp_path):
    days = pyarrow.array(np.datetime64("2021-07-01") + np.arange(300) % 3)
    file = write_parquet(tmp_path / "a.parquet", VALUES, extra=[("date", days)])
    with Archive.create("moved", model, dsn=database) as archive:
        archive.ingest_embeddings([str(file)])
        before = [row[4] for row in rows_of(database, "moved")]
        file.rename(tmp_path / "b_20200101.parquet")
        archive.ingest_embeddings([str(tmp_path)])
        assert [row[4] for row in rows_of(database, "moved")] == before


def test_footprints_of_other_crs_and_shapes(write_parquet, tmp_path):
    utm = CRS.from_epsg(32632)
    boxes = shapely.box(500000, 5500000 + np.arange(4) * 160, 500160, 5500160 + np.arange(4) * 160)
    [block] = read(write_parquet(tmp_path / "u.parquet", VALUES[:4], boxes, crs=utm))
    to = Transformer.from_crs(utm, 4326, always_xy=True)
    expected = shapely.transform(boxes, lambda p: np.stack(to.transform(*p.T), axis=1))
    assert shapely.equals(shapely.polygons(block.footprints), expected).all()
    assert shapely.is_ccw(shapely.linearrings(block.footprints)).all()
    mixed = [shapely.Point(3, 4).buffer(1, 3), shapely.MultiPolygon([shapely.box(0, 0, 1, 1)])]
    [block] = read(write_parquet(tmp_path / "m.parquet", VALUES[:2], mixed))
    assert shapely.equals(block.footprints, [mixed[0], mixed[1].geoms[0]]).all()


def test_points_get_squares_of_their_size(write_parquet, tmp_path):
    points = shapely.points([[10.0, 0.0], [20.0, 60.0], [180.0, -45.0]])
    file = write_parquet(tmp_path / "p.parquet", VALUES[:3], points)
    with pytest.raises(InputError, match="points, which have no footprint"):
        read(file)
    [block] = read(file, Columns(footprint=320))
    for ring, point in zip(block.footprints[:2], points, strict=False):
        x, y = point.x, point.y
        local = Transformer.from_crs(
            4326, CRS.from_proj4(f"+proj=laea +lat_0={y} +lon_0={x}"), always_xy=True
        )
        sides = np.abs(np.stack(local.transform(*ring.T)))
        assert np.allclose(sides, 160, atol=0.1)
    assert block.footprints[2, :, 0].max() == 180


def jagged(path, write_parquet):
    lists = pyarrow.array([[1.0] * 24, [1.0] * 23])
    table = pyarrow.parquet.read_table(write_parquet(path, VALUES[:2]))
    pyarrow.parquet.write_table(table.set_column(0, "embedding", lists), path)


def without_geometry(path, write_parquet):
    table = pyarrow.parquet.read_table(write_parquet(path, VALUES[:2]))
    empty = pyarrow.array([None, table["geometry"][1].as_py()], pyarrow.binary())
    pyarrow.parquet.write_table(table.set_column(1, "geometry", empty), path)


def with_nan(path, write_parquet):
    write_parquet(path, np.where(np.arange(24) == 3, np.nan, VALUES[:2]).astype(np.float32))


def bow_tie(path, write_parquet):
    tie = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    write_parquet(path, VALUES[:1], [tie])


def truncated(path, write_parquet):
    path.write_bytes(write_parquet(path, VALUES).read_bytes()[:-100])


def another_dimension(path, write_parquet):
    write_parquet(path, VALUES[:, :20])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (jagged, "row 1 has 23 numbers, others have 24"),
        (without_geometry, "row 0 has no geometry"),
        (with_nan, "row 0 has NaN"),
        (bow_tie, "row 0 is not a valid polygon"),
        (truncated, "cannot be read"),
        (another_dimension, "embeddings of 20 numbers, the model vec takes 24"),
    ],
)
def test_a_hostile_file_fails_alone_with_one_line(
    damage, message, database, model, write_parquet, tmp_path
):
    damage(tmp_path / "1_bad.parquet", write_parquet)
    write_parquet(tmp_path / "2_good.parquet", VALUES[:10])
    with Archive.create("hostile", model, dsn=database) as archive:
        report = archive.ingest_embeddings([str(tmp_path)])
        assert (report.failed, report.chips) == (1, 10)
        assert message.replace("vec", archive.record.card.name) in report.errors[0]
        assert "\n" not in report.errors[0]
