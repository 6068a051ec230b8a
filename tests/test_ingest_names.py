"""Which content is stored under which name after any change of files, exhaustively and without a server.

``test_ingest_files.py`` does a part of it with one.
"""

import itertools
import os
import types

import numpy as np

from dcsh_pg.imagery.scene import SceneRecord
from dcsh_pg.ingest import storing
from dcsh_pg.ingest.hashing import HashedScene

NAMES = ("/nowhere/1", "/nowhere/l", "/nowhere/z")


class Archive:
    """What a Loader does, on a dictionary: URI -> content."""

    def __init__(self, stored):
        self.stored, self.added = stored, []
        self.archive = types.SimpleNamespace(
            bits=64, reading={}, card=types.SimpleNamespace(resolution=None)
        )
        self.waiting = 0

    def known(self):
        return {content: uri for uri, content in self.stored.items()}

    def recorded_errors(self):
        return set()

    def add(self, record, *_):
        self.added.append(record)

    def flush(self):
        for record in self.added:
            assert record.content_hash not in self.stored.values()
            self.stored[record.uri] = record.content_hash
        self.added = []
        return []

    def rename(self, records):
        former = self.known()
        for record in records:
            del self.stored[former[record.content_hash]]
        self.stored.update({record.uri: record.content_hash for record in records})
        return len(records)

    def remove(self, uris):
        for uri in uris:
            del self.stored[uri]

    def finish(self):
        pass


def ingest(stored, files):
    def hash_them(some, known):
        for scene in some:
            record = SceneRecord(scene.uri, files[scene.uri], 1, 1, np.empty((0, 4), np.int32))
            yield HashedScene(scene, record, is_known=record.content_hash in known)

    scenes = [types.SimpleNamespace(uri=uri) for uri in sorted(files)]
    storing.store_scenes(scenes, hash_them, Archive(stored))


def test_after_any_change_each_content_is_stored_once_under_a_name_that_it_has(monkeypatch):
    states = [
        dict(zip(names, contents, strict=True))
        for count in range(1, len(NAMES) + 1)
        for names in itertools.combinations(NAMES, count)
        for contents in itertools.product("ABCD", repeat=count)
    ]
    there = {}
    monkeypatch.setattr(os.path, "lexists", lambda path: path in there)
    for first, second in itertools.product(states, states[::3]):
        stored = {}
        for files in (first, second):
            there = files
            ingest(stored, files)
        now = {uri: content for uri, content in stored.items() if uri in second}
        assert all(second[uri] == content for uri, content in now.items()), (first, second)
        assert set(now.values()) == set(second.values()), (first, second)
        assert len(set(stored.values())) == len(stored)
