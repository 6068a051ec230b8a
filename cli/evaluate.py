"""``dcsh-pg evaluate``: how well the codes of a labelled archive find images of the same class.

Library: :func:`dcsh_pg.evaluation.evaluate`.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcsh_pg.cli import app, complete, console, options
from dcsh_pg.cli.console import as_json
from dcsh_pg.cli.search_options import ChipFilter
from dcsh_pg.errors import InputError, ModelError, UsageError

if TYPE_CHECKING:
    from dcsh_pg.archive import Archive
    from dcsh_pg.evaluation import Report
    from dcsh_pg.imagery.scene import SceneRecord

_query_option = partial(
    typer.Option,
    rich_help_panel="Queries (default: each item of the archive queries all the others)",
)


@app.command()
def evaluate(
    archives: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCHIVE",
            help="Names of archives; several are compared.",
            autocompletion=complete.archive_names,
        ),
    ],
    filter: ChipFilter,
    label: Annotated[
        str, typer.Option(metavar="PROPERTY", help="Property of the scenes that holds their class.")
    ] = "class",
    queries: Annotated[
        list[str] | None,
        _query_option(
            metavar="FOLDER",
            help="Labelled images to query with, such as a folder of class folders, hashed with "
            "the archive's own model. May be given several times.",
        ),
    ] = None,
    query_archive: Annotated[
        str | None,
        _query_option(
            metavar="NAME",
            autocompletion=complete.archive_names,
            help="Another archive of the same model, whose items are the queries.",
        ),
    ] = None,
    precision_at: Annotated[
        str, typer.Option(metavar="N,N,...", help="Report precision@n at these ranks.")
    ] = "1,5,10,20,50,100",
    plots: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR|FILE",
            help="Also draw the precision-recall curve and precision over rank: into a folder as "
            "PNG, or side by side into a file, .png, .svg or .pdf. May be given several times.",
        ),
    ] = None,
    device: options.Device = "auto",
    database: options.Database = options.DATABASE,
) -> None:
    """Measure how well an archive's codes find images of the same class.

    mAP, precision@n and precision-recall curves, expected over all orders of ties. A filter selects the chips
    that are ranked; they are also the queries unless --queries or --query-archive is given. Several
    archives are drawn into one plot.

    [dim]dcsh-pg evaluate ucmd --queries ucmd/test --plots plots[/dim]

    [dim]dcsh-pg evaluate ucmd_itq ucmd_dcsh --plots comparison.svg[/dim]
    """
    if queries and query_archive:
        raise UsageError(
            "--queries and --query-archive cannot be combined", hint="give one of them, or neither"
        )
    ranks = options.parse_integers(precision_at, "--precision-at") or ()

    from dcsh_pg import evaluation
    from dcsh_pg.database.search.chips import labelled_codes
    from dcsh_pg.imagery.sources.files import files_listing

    for path in plots or ():
        evaluation.check_plots(path)
    if queries:
        files_listing(queries)
    reports: dict[str, Report] = {}
    described = []
    with console.progress() as progress:
        for archive in dict.fromkeys(archives):
            opened = database.open(archive, device=device)
            _, codes, labels = labelled_codes(opened.connection, archive, label, filter)
            query_codes, query_labels = None, None
            if queries:
                query_codes, records = opened.hash_images(queries, progress=progress)
                query_labels = [_class_of(record, label) for record in records]
            elif query_archive:
                other = database.open(query_archive, device=device)
                _check_same_model(opened, other)
                _, query_codes, query_labels = labelled_codes(
                    other.connection, query_archive, label
                )
            report = evaluation.evaluate(
                codes, labels, query_codes, query_labels, precision_at=ranks, progress=progress
            )
            model = opened.record.card.name
            reports[f"{archive} (model {model})"] = report
            described.append({"archive": archive, "model": model} | report.to_dict())
    if as_json():
        facts = described if len(described) > 1 else described[0]
        typer.echo(json.dumps(facts, allow_nan=False, ensure_ascii=False, indent=2))
    else:
        for name, report in reports.items():
            if len(reports) > 1:
                console.show(f"\n{name}")
            evaluation.print_report(report)
    for path in plots or ():
        for file in evaluation.plot(reports, path):
            console.say(f"drew {file}")


def _class_of(record: SceneRecord, label: str) -> str:
    if label not in record.properties:
        raise InputError(
            f"{record.uri} has no property '{label}'",
            hint="put the query images into one folder for each class, or add a sidecar file",
        )
    return str(record.properties[label])


def _check_same_model(database: Archive, other: Archive) -> None:
    if database.record.model_sha256 != other.record.model_sha256:
        raise ModelError(
            f"archives '{database.record.name}' and '{other.record.name}' were made with "
            "different models",
            hint="codes of two models cannot be compared: hash the queries with the archive's own "
            "model, --queries FOLDER",
        )
