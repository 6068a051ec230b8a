COMMENT ON SCHEMA dcsh IS 'dcsh-pg: imagery archives searched by example; one table an archive, functions similar, similar_to, within, chip_at';
COMMENT ON TABLE dcsh.alembic_version IS 'Revision of this schema, kept by ''dcsh-pg db upgrade''';
COMMENT ON COLUMN dcsh.alembic_version.version_num IS 'Revision';

-- models

CREATE TABLE dcsh.model (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 text NOT NULL UNIQUE,
    name text NOT NULL,
    method text NOT NULL,
    bits integer NOT NULL CHECK (bits BETWEEN 16 AND 1024 AND bits % 8 = 0),
    bands integer NOT NULL CHECK (bands > 0),
    card jsonb NOT NULL,
    onnx bytea NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT model_sha256_is_of_onnx CHECK (sha256 = encode(sha256(onnx), 'hex'))
);
ALTER TABLE dcsh.model ALTER COLUMN onnx SET STORAGE EXTERNAL;

COMMENT ON TABLE dcsh.model IS 'Hashing models; every client can hash a query with the very model of an archive';
COMMENT ON COLUMN dcsh.model.id IS 'Key';
COMMENT ON COLUMN dcsh.model.sha256 IS 'Identity: SHA-256 of the ONNX file, hexadecimal';
COMMENT ON COLUMN dcsh.model.name IS 'What its maker calls it';
COMMENT ON COLUMN dcsh.model.method IS 'Hashing method';
COMMENT ON COLUMN dcsh.model.bits IS 'K, the length of its codes';
COMMENT ON COLUMN dcsh.model.bands IS 'Channels of the images it takes';
COMMENT ON COLUMN dcsh.model.card IS 'All that the ONNX file says about itself';
COMMENT ON COLUMN dcsh.model.onnx IS 'The ONNX file: uint8 image in, packed code out';
COMMENT ON COLUMN dcsh.model.created IS 'When it was stored here';

-- archives

CREATE TABLE dcsh.archive (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    model_id bigint NOT NULL REFERENCES dcsh.model,
    reading jsonb NOT NULL,
    last_chip_id bigint NOT NULL DEFAULT 0,
    created timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE dcsh.archive IS 'Archives; the chips of archive x are the rows of table dcsh.x';
COMMENT ON COLUMN dcsh.archive.id IS 'Key';
COMMENT ON COLUMN dcsh.archive.name IS 'Name of the archive and of its table in schema dcsh';
COMMENT ON COLUMN dcsh.archive.model_id IS 'Model whose codes it holds';
COMMENT ON COLUMN dcsh.archive.reading IS 'How scenes are cut into chips and turned into uint8';
COMMENT ON COLUMN dcsh.archive.last_chip_id IS 'Counter that chip ids are drawn from, without gaps';
COMMENT ON COLUMN dcsh.archive.created IS 'When it was made';

-- scenes

CREATE TABLE dcsh.scene (
    id bigint PRIMARY KEY,
    archive_id bigint NOT NULL REFERENCES dcsh.archive ON DELETE CASCADE,
    uri text NOT NULL,
    collection text,
    item_id text,
    acquired timestamptz,
    proj_code text,
    content_hash text NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}',
    chips integer NOT NULL,
    skipped integer NOT NULL,
    ingested timestamptz NOT NULL DEFAULT now(),
    UNIQUE (archive_id, uri),
    UNIQUE (archive_id, content_hash)
);

COMMENT ON TABLE dcsh.scene IS 'Scenes (source images) of all archives; a scene is here only when all its chips are';
COMMENT ON COLUMN dcsh.scene.id IS 'Key; scene_id of its chips';
COMMENT ON COLUMN dcsh.scene.archive_id IS 'Archive it belongs to';
COMMENT ON COLUMN dcsh.scene.uri IS 'Path, URL or GDAL name of the image';
COMMENT ON COLUMN dcsh.scene.collection IS 'STAC collection id, as in pgstac.items';
COMMENT ON COLUMN dcsh.scene.item_id IS 'STAC item id, as in pgstac.items';
COMMENT ON COLUMN dcsh.scene.acquired IS 'When the picture was taken';
COMMENT ON COLUMN dcsh.scene.proj_code IS 'CRS of the raster as authority and code, EPSG:32616 for example';
COMMENT ON COLUMN dcsh.scene.content_hash IS 'Identity of the content; a scene known by it is not ingested twice';
COMMENT ON COLUMN dcsh.scene.properties IS 'All else that is known, class label included';
COMMENT ON COLUMN dcsh.scene.chips IS 'Number of its chips in the archive';
COMMENT ON COLUMN dcsh.scene.skipped IS 'Number of its windows left out for too few valid pixels';
COMMENT ON COLUMN dcsh.scene.ingested IS 'When it was stored';

-- failures

CREATE TABLE dcsh.ingest_error (
    archive_id bigint NOT NULL REFERENCES dcsh.archive ON DELETE CASCADE,
    uri text NOT NULL,
    message text NOT NULL,
    hint text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (archive_id, uri)
);

COMMENT ON TABLE dcsh.ingest_error IS 'Scenes that could not be ingested, until they can';
COMMENT ON COLUMN dcsh.ingest_error.archive_id IS 'Archive it was meant for';
COMMENT ON COLUMN dcsh.ingest_error.uri IS 'Path, URL or GDAL name of the image';
COMMENT ON COLUMN dcsh.ingest_error.message IS 'What went wrong';
COMMENT ON COLUMN dcsh.ingest_error.hint IS 'What to do about it';
COMMENT ON COLUMN dcsh.ingest_error.at IS 'When it was last tried';
