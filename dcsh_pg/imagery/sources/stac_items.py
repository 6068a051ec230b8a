"""STAC items of files, folders, item collections, catalogues and an API's pages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.request import Request, urlopen

import pystac
from pystac.serialization import identify_stac_object_type
from pystac.stac_io import DefaultStacIO

from dcsh_pg import strict_json
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.address import shortened
from dcsh_pg.imagery.sources.listed import absolute
from dcsh_pg.imagery.sources.walk import unreadable, walk
from dcsh_pg.progress import SILENT, Progress

LINES = (".ndjson", ".jsonl", ".ndgeojson", ".geojsonl", ".geojsonseq")
"""Suffixes of files with one item per line."""

SUFFIXES = (".json", ".geojson", *LINES)
"""Suffixes of files that are read from a folder."""

ROOTS = ("catalog.json", "collection.json")
"""Files that a folder is walked from; the first that exists."""

READERS = 8
"""Files of one catalogue read at the same time."""

MAX_NESTED = 32
"""Most levels of catalogues within catalogues."""

MAX_DOCUMENT = 512 << 20
"""Most bytes of one file or response."""

SILENCE = 60.0
"""Seconds without a byte after which a server is given up."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_Json = dict[str, Any]
_Document = dict[str, Any] | list[Any]
"""An object, or the objects of newline-delimited JSON, which may themselves be anything."""


@dataclass(frozen=True)
class FoundItem:
    """An item of a source, or why it cannot be read.

    Attributes:
        address: file or URL of the item; in a larger file followed by '#' and its id or number.
        base: absolute path or URL that its relative hrefs refer to.
        item: the item, or None when there is an ``error``.
        error: why there is none.
    """

    address: str
    base: str = ""
    item: pystac.Item | None = None
    error: InputError | None = None


def find_items(
    source: str, *, collection: str | None = None, progress: Progress = SILENT
) -> Iterator[FoundItem]:
    """The items of ``source`` in its order; one that cannot be read has an error.

    A folder is walked from its catalog.json or collection.json, or, if that leads to no item,
    searched for files with items.  The items of a catalogue come before those of its children.

    Args:
        source: a file or URL of an item, an item collection (an API's pages are followed),
            newline-delimited items, a catalogue or a collection; or a folder.
        collection: only the items of the collection with that id.

    Raises:
        InputError: the source as a whole cannot be read or is not STAC, or has no such item.
    """
    progress.start("reading STAC items")
    walk = _Walk(collection, progress)
    href = absolute(source, "")
    if not _URL.match(href):
        href = os.path.abspath(Path(href).expanduser())
    if os.path.isdir(href):
        yield from walk.folder(Path(href))
    else:
        yield from walk.document(href)
    if not walk.found:
        others = ", ".join(sorted(walk.others))
        raise InputError(
            f"{source} has no STAC items" + (f" of collection '{collection}'" if others else ""),
            hint=f"its items belong to {others}"
            if others
            else "give a file, folder or URL with items",
        )


class _Walk:
    """One walk through a source, which reads each of its files once.

    Attributes:
        found: number of items so far, unreadable ones included.
        others: ids of the collections that were skipped.
    """

    def __init__(self, collection: str | None, progress: Progress):
        self.found = 0
        self.others: set[str] = set()
        self._collection, self._progress = collection, progress
        self._seen: set[str] = set()
        self._depth = 0

    def folder(self, folder: Path) -> Iterator[FoundItem]:
        root = next((folder / name for name in ROOTS if (folder / name).is_file()), None)
        if root is not None:
            yield from self.document(str(root))
            if self.found:
                return
        for entry in sorted(walk(folder), key=lambda entry: entry.path):
            file = entry.path
            if not entry.is_folder and file.suffix.lower() not in SUFFIXES:
                continue
            document = entry.error or _try_parsed(str(file))
            if isinstance(document, InputError) or any(map(_is_item, _features(document))):
                yield from self._within(str(file), document)

    def document(self, href: str) -> Iterator[FoundItem]:
        """The items of a file or URL.

        Raises:
            InputError: it cannot be read or is not STAC.
        """
        yield from self._listed(href, _parsed(href, _read(href)))

    def _listed(self, href: str, document: _Document) -> Iterator[FoundItem]:
        if href in self._seen:
            return
        self._seen.add(href)
        features = _features(document)
        if features and not any(map(_is_item, features)):
            raise _not_stac(href, "its features are not items")
        if features == [document]:
            yield from self._item(document, address=href, listing=None)
        elif isinstance(document, list) or document.get("type") == "FeatureCollection":
            yield from self._pages(href, document)
        else:
            yield from self._catalogue(href, document)

    def _within(self, href: str, document: _Document | InputError) -> Iterator[FoundItem]:
        """The items of a part of a larger source; an error fails that part only."""
        try:
            if isinstance(document, InputError):
                raise document
            yield from self._listed(href, document)
        except InputError as error:
            yield self._failure(href, error)

    def _catalogue(self, href: str, document: _Json) -> Iterator[FoundItem]:
        if self._depth == MAX_NESTED:
            raise InputError(
                f"{href}: catalogues are nested more than {MAX_NESTED} deep",
                hint="give the inner catalogue, or the items",
            )
        try:
            catalog = _stac_io().stac_object_from_dict(document, href=href)
            if not isinstance(catalog, pystac.Catalog):
                raise TypeError("an item cannot be walked")
            linked = list(self._links_of(catalog))
        except Exception as error:
            raise malformed(href, error) from None
        self._depth += 1
        for hrefs in linked:
            yield from self._linked(hrefs)
        self._depth -= 1

    @staticmethod
    def _links_of(catalog: pystac.Catalog) -> Iterator[list[str]]:
        """Hrefs of its items, and then of its children."""
        for relations in (("item", "items"), ("child",)):
            yield [
                str(link.get_absolute_href())
                for relation in relations
                for link in catalog.get_links(relation)
                if "json" in str(link.media_type or "json")
            ]

    def _linked(self, hrefs: list[str]) -> Iterator[FoundItem]:
        with ThreadPoolExecutor(READERS, thread_name_prefix="stac") as pool:
            for href, document in zip(hrefs, pool.map(_try_parsed, hrefs), strict=True):
                yield from self._within(href, document)

    def _pages(self, href: str | None, document: _Document) -> Iterator[FoundItem]:
        """The items of a page and of the pages after it."""
        while href is not None:
            for number, feature in enumerate(_features(document), start=1):
                known = feature.get("id") if isinstance(feature, dict) else None
                known = known if isinstance(known, str | int) else None
                yield from self._item(feature, address=f"{href}#{known or number}", listing=href)
            href = _next_page(href, document)
            if href in self._seen:
                return
            if href is not None:
                self._seen.add(href)
                following = _try_parsed(href)
                if isinstance(following, InputError):
                    yield self._failure(href, following)
                    return
                document = following

    def _item(self, feature: Any, *, address: str, listing: str | None) -> Iterator[FoundItem]:
        """One item; ``listing`` is the larger file that contains it."""
        try:
            strict_json.check(feature)
            collection = feature.get("collection")
            if self._collection is not None and collection != self._collection:
                self.others.add(str(collection or "no collection"))
                return
            own = next((link["href"] for link in _links(feature) if link.get("rel") == "self"), "")
            base = absolute(own, listing) if listing and own else listing or address
            # Fields are stored as they are, without migration to the newest version.
            item = pystac.Item.from_dict(feature, migrate=False, preserve_dict=False)
        except Exception as error:
            yield self._failure(address, malformed(address, error))
        else:
            yield self._counted(FoundItem(address, base, item))

    def _failure(self, address: str, error: InputError) -> FoundItem:
        return self._counted(FoundItem(address, error=error))

    def _counted(self, found: FoundItem) -> FoundItem:
        found = replace(found, address=shortened(found.address))
        self.found += 1
        self._progress.advance()
        return found


class _BoundedIO(DefaultStacIO):
    """pystac's own reader of URLs, with a timeout and a limit."""

    def read_text_from_href(self, href: str) -> str:
        request = Request(href, headers={"User-Agent": f"pystac/{pystac.__version__}"})
        with urlopen(request, timeout=SILENCE) as answer:
            return _limited(answer, href).decode("utf-8-sig")


def _stac_io() -> pystac.StacIO:
    """The one that a program has set for pystac, to sign in for example, else our own."""
    chosen = pystac.StacIO.default()
    return _BoundedIO() if type(chosen) is DefaultStacIO else chosen


def _next_page(href: str, document: _Document) -> str | None:
    link = next((one for one in _links(document) if one.get("rel") == "next"), None)
    if link is None or not link.get("href"):
        return None
    if str(link.get("method", "GET")).upper() != "GET":
        raise InputError(
            f"{href}: its next page needs a {link['method']} request",
            hint="save the whole search first: stac-client search ... --save items.json",
        )
    return absolute(str(link["href"]), href)


def _read(href: str) -> str:
    try:
        if _URL.match(href):
            return _read_url(href)
        with Path(href).open("rb") as file:
            return _limited(file, href).decode("utf-8-sig")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(
            f"no such file or folder: {href}", hint="check the spelling of the path"
        ) from None
    except UnicodeDecodeError:
        raise _not_stac(href, "it is not text") from None
    except Exception as error:
        raise InputError(
            f"{href} cannot be read: {error.__cause__ or error}",
            hint="check the address; it must be a file, a folder or an http(s) URL",
        ) from None


def _read_url(href: str) -> str:
    """Text from a server.  Local files are read by their paths only, where their kind is checked."""
    io = _stac_io()
    if isinstance(io, _BoundedIO) and not href.lower().startswith(("http://", "https://")):
        raise ValueError("only http and https URLs are read")
    return io.read_text(href)


def _limited(source: IO[bytes], href: str) -> bytes:
    content = source.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise InputError(
            f"{href} has more than {MAX_DOCUMENT >> 20} MiB",
            hint="split it into several files in a folder",
        )
    return content


def _parsed(href: str, text: str) -> _Document:
    """The JSON object in ``text``, or the list of newline-delimited ones; broken lines are None."""
    try:
        document = strict_json.loads(text)
        if isinstance(document, dict):
            return [document] if href.lower().endswith(LINES) else document
    except ValueError:
        lines = [line.strip("\x1e \t\r") for line in text.split("\n")]
        objects = [_object(line) for line in lines if line]
        if any(objects):
            return objects
    raise _not_stac(href, "neither a JSON object nor newline-delimited ones")


def _try_parsed(href: str) -> _Document | InputError:
    """The document at a link, or its error."""
    href = absolute(href, "")
    try:
        if not _URL.match(href) and (error := unreadable(Path(href))):
            return error
        return _parsed(href, _read(href))
    except InputError as error:
        return error


def _object(line: str) -> _Json | None:
    try:
        document = strict_json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _features(document: _Document) -> list[Any]:
    """The features of a document."""
    if isinstance(document, list):
        return document
    if document.get("type") == "Feature":
        return [document]
    features = document.get("features")
    return features if isinstance(features, list) else []


def _is_item(feature: Any) -> bool:
    try:
        return identify_stac_object_type(feature) == pystac.STACObjectType.ITEM
    except Exception:
        return False


def _links(document: _Document) -> list[_Json]:
    links = document.get("links") if isinstance(document, dict) else None
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def malformed(href: str, error: Exception) -> InputError:
    """The error for a document that pystac or its reader cannot handle."""
    return _not_stac(href, f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _not_stac(href: str, reason: str) -> InputError:
    return InputError(
        f"{href} is not STAC: {reason}",
        hint="give an item, an item collection, newline-delimited items or a catalogue",
    )
