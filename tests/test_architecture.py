"""Holds the code to docs/architecture.md: imports run downhill only, the runtime is free of torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEVELS = {
    "cli": 6,
    "serve": 5,
    "demo": 5,
    "doctor": 3,
    "benchmark": 5,
    "train": 3,
    "archive": 4,
    "ingest": 3,
    "cluster": 3,
    "evaluation": 3,
    "results": 3,
    "catalog": 3,
    "export": 3,
    "embeddings": 2,
    "hasher": 2,
    "text": 2,
    "inference": 1,
    "model_check": 1,
    "database": 2,
    "methods": 2,
    "synthetic": 2,
    "imagery": 1,
    "learning": 1,
    "sql": 1,
    "card": 0,
    "codes": 0,
    "extras": 0,
    "files": 0,
    "plugins": 0,
    "progress": 0,
    "terminal": 0,
    "strict_json": 0,
    "strict_wkt": 0,
    "pixel_types": 0,
    "errors": 0,
    "__init__": 0,
}
"""A room may import from its own level only itself, and otherwise from lower levels."""

SAME_LEVEL = {
    ("text", "hasher"),
    ("learning", "inference"),  # encoders that are ONNX files
    ("learning", "model_check"),
    ("learning", "imagery"),  # training images are cut by the readers of imagery
    ("card", "errors"),
    ("card", "strict_json"),
    ("card", "pixel_types"),
    ("strict_json", "errors"),
    ("codes", "errors"),
    ("extras", "errors"),
    ("files", "errors"),
    ("plugins", "errors"),
    ("database", "sql"),
    ("catalog", "results"),  # a project without PostGIS shows hits as a file
    ("evaluation", "results"),  # the table of a report
    ("cluster", "ingest"),  # runs its first half on workers, its second half here
}
TORCH_ROOMS = {"methods", "learning", "export", "benchmark", "train"}
ROOMS_OF_LEARNING = {
    "encoders": set(),
    "heads": set(),
    "losses": set(),
    "model": {"encoders", "heads"},
    "data": {"encoders", "model"},
    "training": {"encoders", "heads", "model", "data"},
}
"""What each room of ``learning`` may import from the others."""


def modules():
    for top in ("dcsh_pg", "export", "sql", "cli"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            room = parts[1] if top == "dcsh_pg" else top
            yield pytest.param(room, file, id=str(file.relative_to(ROOT)))


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            for name in node.names:
                yield f"{node.module}.{name.name}"


@pytest.mark.parametrize(("room", "file"), list(modules()))
def test_imports_run_downhill(room, file):
    for name in imported(file):
        parts = name.split(".")
        if parts[0] != "dcsh_pg" or len(parts) < 2 or parts[1] not in LEVELS:
            continue
        other = parts[1]
        if other == room or room == "__init__":
            continue
        assert LEVELS[other] < LEVELS[room] or (room, other) in SAME_LEVEL, (
            f"{room} must not import {name}"
        )


def module_name(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "dcsh_pg" else ("dcsh_pg", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph():
    """Module -> the modules of dcsh_pg that it imports, at the top, in a function or for types.

    ``dcsh_pg`` itself loads what it names on first use, so nothing needs all of it.
    """
    files = {module_name(param.values[1]): param.values[1] for param in modules()}
    graph = {}
    for name, file in files.items():
        needed = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                needed |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                needed |= inside if inside <= files.keys() else {node.module, *inside}
        graph[name] = needed & files.keys() - {name}
    del graph["dcsh_pg"]
    return {name: needed & graph.keys() for name, needed in graph.items()}


def circles(graph):
    """The strongly connected components of more than one node, each as a sorted list."""
    reached = {}
    for start in graph:
        found, waiting = set(), [start]
        while waiting:
            for other in graph[waiting.pop()] - found:
                found.add(other)
                waiting.append(other)
        reached[start] = found
    return sorted({
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    })  # fmt: skip


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [("b", "c")]


def test_no_modules_import_each_other():
    assert not circles(import_graph())


def test_every_room_has_its_level():
    rooms = {
        path.stem
        for path in (ROOT / "dcsh_pg").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - LEVELS.keys() == set()


@pytest.mark.parametrize("room", ROOMS_OF_LEARNING)
def test_rooms_of_learning_import_downhill(room):
    files = list((ROOT / "dcsh_pg" / "learning" / room).glob("*.py"))
    assert files
    allowed = {room, *ROOMS_OF_LEARNING[room]}
    for file in files:
        names = [name.split(".") for name in imported(file)]
        rooms = {parts[2] for parts in names if parts[:2] == ["dcsh_pg", "learning"] and parts[2:]}
        assert rooms <= allowed, f"{file.name} imports {rooms - allowed}"


def test_every_room_of_learning_has_its_imports():
    folders = (ROOT / "dcsh_pg" / "learning").glob("*/__init__.py")
    assert {file.parent.name for file in folders} == ROOMS_OF_LEARNING.keys()


def test_rooms_of_the_database_import_downhill():
    order = ["server", "archives", "search"]
    for file in sorted((ROOT / "dcsh_pg" / "database").rglob("*.py")):
        room = file.parent.name
        above = order[order.index(room) + 1 :] if room in order else []
        inside = [name.split(".") for name in imported(file)]
        inside = [
            parts[2] for parts in inside if parts[:2] == ["dcsh_pg", "database"] and parts[2:]
        ]
        assert not set(inside) & set(above), f"{file.name} imports {inside}"


def test_rooms_of_imagery_import_downhill():
    order = ["", "georeference", "metadata", "pixels", "sources"]
    for file in sorted((ROOT / "dcsh_pg" / "imagery").rglob("*.py")):
        room = file.parent.name if file.parent.name in order else ""
        if room == "" and file.stem in ("__init__", "query"):
            continue  # what the other rooms of the library see
        above = order[order.index(room) + 1 :]
        inside = [name.split(".") for name in imported(file)]
        inside = [parts[2] for parts in inside if parts[:2] == ["dcsh_pg", "imagery"] and parts[2:]]
        assert not set(inside) & set(above), f"{file.name} imports {inside}"


@pytest.mark.parametrize(("room", "file"), list(modules()))
def test_only_learning_rooms_import_torch(room, file):
    if room in TORCH_ROOMS:
        return
    assert not [name for name in imported(file) if name.split(".")[0] in ("torch", "torchvision")]


def test_the_runtime_does_not_load_torch():
    code = (
        "import sys, dcsh_pg.archive, dcsh_pg.cli.main, dcsh_pg.results, dcsh_pg.evaluation\n"
        "loaded = {'torch', 'torchvision', 'onnx', 'geopandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_loads_nothing_heavy():
    code = (
        "import sys, dcsh_pg, dcsh_pg.cli.main\n"
        "heavy = {'numpy', 'rasterio', 'onnxruntime', 'psycopg', 'sqlalchemy', 'torch', 'shapely'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_checkout_is_importable_as_it_lies():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from importlib.util import find_spec\n"
        "for room in ('sql', 'cli', 'export'): assert find_spec(f'dcsh_pg.{room}'), room"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True)  # -S: nothing is installed
