"""``dcsh-pg model``: list the models in the database, save one, and show a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.commands import Commands
from dcsh_pg.cli.console import as_json, done, print_json, print_table, say
from dcsh_pg.cli.console import show as show_line

if TYPE_CHECKING:
    from dcsh_pg.hasher import Hasher

commands = Commands(
    no_args_is_help=True, help="List and save the models in the database; show model files."
)
app.add_typer(commands, name="model")


@commands.command("list")
def list_models(database: options.Database = options.DATABASE) -> None:
    """List the models in the database, with the archives that use them."""
    import dataclasses

    from dcsh_pg.database.archives import registry

    with database.connect() as conn:
        models = registry.list_models(conn)
    if as_json():
        print_json([dataclasses.asdict(m) | {"created": m.created.isoformat()} for m in models])
        return
    if not models:
        say("no model yet; 'dcsh-pg ingest' stores one with each new archive")
        return
    rows = []
    for m in models:
        numbers = (str(m.bits), str(m.bands), f"{m.size / 1e6:.1f}")
        rows.append((m.sha256[:12], m.name, m.method, *numbers, ", ".join(m.archives) or "-"))
    print_table(("sha256", "model", "method", "bits", "bands", "MB", "archives"), rows)


@commands.command()
def show(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An ONNX file that 'dcsh-pg export' wrote.")
    ],
) -> None:
    """Show a model file's card.

    [dim]dcsh-pg model show naip.onnx[/dim]
    """
    import dataclasses

    from dcsh_pg.hasher import Hasher

    hasher = Hasher(file, device="cpu")
    size = file.stat().st_size
    if as_json():
        card = dataclasses.asdict(hasher.card)
        del card["head"]  # tens of thousands of numbers
        print_json({**card, "sha256": hasher.sha256, "file_size": size})
    else:
        for label, text in _rows(hasher, size):
            show_line(f"{label:<10} {text}")


@commands.command()
def save(
    archive: options.ArchiveName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file to write.")],
    database: options.Database = options.DATABASE,
) -> None:
    """Save the model that the database stores for an archive.

    [dim]dcsh-pg model save naip naip.onnx[/dim]
    """
    from dcsh_pg.database.archives import registry
    from dcsh_pg.files import check_writable, replacing, text_file

    check_writable(file)
    with database.connect() as conn:
        record = registry.get_archive(conn, archive)
        content = registry.load_model(conn, record.model_sha256)
        text = record.card.text
        tower = registry.load_model(conn, text) if registry.has_model(conn, text) else None
    with replacing(file) as temporary:
        temporary.write_bytes(content)
    if tower is not None:
        with replacing(text_file(file)) as temporary:
            temporary.write_bytes(tower)
        say(f"wrote {text_file(file)}, its text tower")
    done(f"wrote {file}, {len(content) / 1e6:.1f} MB", file=file, bytes=len(content))


def _rows(hasher: Hasher, size: int) -> list[tuple[str, str]]:
    card, parity = hasher.card, hasher.card.parity
    ground = f", {card.resolution:g} m per pixel" if card.resolution else ""
    rows = [
        ("name", card.name),
        ("method", card.method),
        ("bits", str(card.bits)),
        ("input", "text" if card.takes_text else f"{card.input}, {card.embedding or card.dtype}"),
        ({"vector": "dimension", "text": "tokens"}.get(card.input, "bands"), str(card.bands)),
        *([("", ", ".join(card.band_names))] if card.band_names else []),
        ("chips", f"{card.chip_size} x {card.chip_size} pixels{ground}"),
        ("encoder", f"{card.encoder}, {card.input_size} x {card.input_size}, {card.precision}"),
        ("views", f"{card.orientations} orientation{'s' * (card.orientations > 1)} of each image"),
        *([("text tower", card.text[:12])] if card.text else []),
    ]
    rows += [("training" if not i else "", text) for i, text in enumerate(_facts(card.training))]
    if parity:
        rows.append(
            (
                "parity",
                f"{parity['differing']} of {parity['bits']} bits differ from PyTorch on "
                f"{parity['images']} images, none with |z| over {parity['tolerance']:.2g}",
            )
        )
    made_with = ", ".join(f"{package} {version}" for package, version in card.versions.items())
    return [
        *rows,
        ("made", card.created),
        ("with", made_with),
        ("sha256", hasher.sha256),
        ("size", f"{size / 1e6:.1f} MB"),
    ]


def _facts(training: dict[str, Any], prefix: str = "") -> list[str]:
    """Nested facts as lines 'options.epochs: 100'; of a long list, its length."""
    lines = []
    for key, value in training.items():
        if isinstance(value, dict):
            lines += _facts(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and len(value) > 8:
            lines.append(f"{prefix}{key}: {len(value)} values")
        else:
            lines.append(f"{prefix}{key}: {value}")
    return lines
