"""Options of commands that read embeddings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from dcsh_pg.embeddings import Making
else:  # typer evaluates the annotations, and this import takes numpy
    Making = Any

option = partial(typer.Option, rich_help_panel="From embeddings")

Embeddings = Annotated[
    list[str] | None,
    option(
        "--embeddings",
        metavar="SOURCE",
        help="Embeddings that another model made, instead of SOURCE: a file, folder, glob or URL of "
        "GeoParquet, rasters, Zarr or arrays. May be given several times.",
    ),
]
EmbeddingColumn = Annotated[
    str | None,
    option(
        metavar="COLUMN",
        help="Column of the embedding in tables. Default: the only list of numbers, or embedding.",
    ),
]


def making(
    product: Annotated[
        str | None,
        option(
            metavar="NAME",
            help="Published product whose numbers these are: alphaearth, olmoearth, tessera, clay, "
            "major-tom or earth-index. Sets --dequantise.",
        ),
    ] = None,
    dequantise: Annotated[
        str | None,
        option(
            metavar="none|signed-power|scales",
            help="From stored numbers q to embeddings: q itself; sign(q) (q / 127.5)², with -128 as "
            "nodata; or q times the scale of its pixel in a second file. Default: none.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        option(
            metavar="mean|min,max,mean,std",
            help="Statistics over the valid pixels of a chip, one after the other. Default: mean.",
        ),
    ] = None,
) -> Making:
    """How vectors are made from stored numbers."""
    from dcsh_pg.embeddings import PRODUCTS, Making

    if product is not None and product not in PRODUCTS:
        raise UsageError(f"unknown product {product!r}", hint=f"one of: {', '.join(PRODUCTS)}")
    rule = dequantise or (PRODUCTS[product].dequantisation if product else "none")
    return Making(product or "vector", rule, tuple((pool or "mean").split(",")))
