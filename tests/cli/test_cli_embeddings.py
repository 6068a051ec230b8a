"""The commands of docs/embeddings.md, run on files made after the products' published layouts."""

import re
import shlex
from pathlib import Path

import numpy as np
import psycopg
import pyarrow
import pytest
import shapely
from parquet_files import boxes, parquet_file
from tiles import quantised, write_tessera, write_tif
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.errors import InputError, ModelError, UsageError

DOCUMENT = Path(__file__).parents[2] / "docs" / "embeddings.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
RANDOM = np.random.default_rng(4)


def run(dsn, line):
    arguments = shlex.split(line)[1:]
    dsn = ["--dsn", dsn] if arguments[0] in ("ingest", "search") else []
    return CliRunner().invoke(app, [*arguments, *dsn])


def tables(folder, product, dimension):
    values = RANDOM.standard_normal((150, dimension)).astype(np.float32)
    times = pyarrow.array(["20240105T101500"] * 150)
    rows = {"product_id": pyarrow.array([f"S2_{n}" for n in range(150)])}
    if product == "clay":
        dates = pyarrow.array(["2024-01-05"] * 150)
        parquet_file(
            folder / "a.parquet", values, name="embeddings", fixed=False, extra=[("date", dates)]
        )
    elif product == "majortom":
        extra = [*rows.items(), ("grid_cell", times), ("timestamp", times)]
        parquet_file(folder / "a.parquet", values, extra=extra)
    else:
        points = shapely.centroid(boxes(150))
        parquet_file(folder / "a.parquet", values, points, extra=[("id", times)])


def files_of(product, folder):
    folder.mkdir()
    if product in ("alphaearth", "olmoearth"):
        bands = {"alphaearth": 64, "olmoearth": 24}[product]
        write_tif(folder / "2024_tile.tif", quantised(bands, 120, 120), nodata=-128)
    elif product == "tessera":
        write_tessera(
            folder,
            quantised(128, 120, 120),
            RANDOM.uniform(0.01, 0.1, (120, 120)).astype(np.float32),
        )
    else:
        tables(folder, product, 96)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[3])
def test_the_commands_of_a_product_store_its_chips(block, database, tmp_path, monkeypatch):
    product = block.split()[3]
    monkeypatch.chdir(tmp_path)
    files_of(product, tmp_path / product)
    for line in block.splitlines():
        result = run(database, line)
        assert result.exit_code == 0, (line, result.output, result.stderr)
    with psycopg.connect(database) as conn:
        [rows] = conn.execute(
            f"SELECT count(*) FROM dcsh.{product} WHERE geom IS NOT NULL"
        ).fetchone()
        assert rows > 100
        [times] = conn.execute(
            f"SELECT count(*) FROM dcsh.{product} WHERE extract(year FROM acquired) = 2024"
        ).fetchone()
        assert times == (0 if product in ("olmoearth", "earthindex") else rows)


def test_a_search_by_vector_and_what_does_not_fit(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files_of("clay", tmp_path / "clay")
    for line in next(block for block in BLOCKS if " clay " in block).splitlines():
        assert run(database, line).exit_code == 0
    table = pyarrow.parquet.read_table("clay/a.parquet")
    np.save("query.npy", np.array(table["embeddings"][7].as_py(), np.float32))
    result = run(database, "dcsh-pg search clay --vector query.npy -k 1 --format json")
    assert '"distance": 0' in result.stdout and '"row_off": 7' in result.stdout, result.stdout
    np.save("short.npy", np.ones(5, np.float32))
    np.save("many.npy", np.ones((5, 96), np.float32))
    Path("text.npy").write_text("no numbers")
    for line, code, words in (
        ("search clay --vector short.npy", ModelError.exit_code, "96 numbers, these have 5"),
        ("search clay --vector many.npy", InputError.exit_code, "not one vector"),
        ("search clay --vector text.npy", InputError.exit_code, "cannot be read"),
        ("search clay --image text.npy", ModelError.exit_code, "takes embeddings of 96 numbers"),
        ("ingest clay clay/a.parquet", ModelError.exit_code, "takes embeddings of 96 numbers"),
        ("ingest clay clay --embeddings clay", UsageError.exit_code, "cannot be combined"),
        (
            "train --embeddings clay --product landsat --out r",
            UsageError.exit_code,
            "unknown product",
        ),
        ("train --embeddings clay --pool median --out r", UsageError.exit_code, "--pool median"),
        ("train --out r", UsageError.exit_code, "nothing to train on"),
    ):
        result = run(database, f"dcsh-pg {line}")
        assert (result.exit_code, words in result.stderr) == (code, True), (line, result.stderr)
