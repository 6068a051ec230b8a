BEGIN;

-- The schema and pgvector, if they are not there yet; a plain owner needs no more rights.

DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dcsh.upgrade', 0));
    IF to_regnamespace('dcsh') IS NULL THEN
        CREATE SCHEMA dcsh;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
        IF to_regnamespace('public') IS NOT NULL AND has_schema_privilege('public', 'CREATE') THEN
            CREATE EXTENSION vector SCHEMA public;
        ELSE
            CREATE EXTENSION vector SCHEMA dcsh;
        END IF;
    END IF;
END
$$;


-- PostGIS, if it is not in this database yet.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis') THEN
        IF to_regnamespace('public') IS NOT NULL AND has_schema_privilege('public', 'CREATE') THEN
            CREATE EXTENSION postgis SCHEMA public;
        ELSE
            CREATE EXTENSION postgis SCHEMA dcsh;
        END IF;
    END IF;
END
$$;


-- What every function is pinned to (SET search_path FROM CURRENT): the extensions wherever they
-- live, temporary objects last.

DO $$
BEGIN
    PERFORM set_config('search_path', concat_ws(', ', 'pg_catalog', 'dcsh', (
        SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ')
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname IN ('vector', 'postgis') AND n.nspname NOT IN ('pg_catalog', 'dcsh')
    ), 'pg_temp'), true);
END
$$;


CREATE TABLE dcsh.alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

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


CREATE DOMAIN dcsh.area AS geometry;

CREATE TYPE dcsh.hit AS (
    id bigint,
    distance integer,
    scene_id bigint,
    col_off integer,
    row_off integer,
    width integer,
    height integer,
    geom geometry(Polygon, 4326),
    acquired timestamptz,
    valid_fraction real
);

COMMENT ON DOMAIN dcsh.area IS 'Where to search; meets every footprint that it shares a point with';
COMMENT ON TYPE dcsh.hit IS 'A chip found by a search';
COMMENT ON COLUMN dcsh.hit.id IS 'Key of the chip in its archive';
COMMENT ON COLUMN dcsh.hit.distance IS 'Hamming distance to the query in bits';
COMMENT ON COLUMN dcsh.hit.scene_id IS 'Scene it was cut from: dcsh.scene.id';
COMMENT ON COLUMN dcsh.hit.col_off IS 'First column of its window in the scene, pixels';
COMMENT ON COLUMN dcsh.hit.row_off IS 'First row of its window in the scene, pixels';
COMMENT ON COLUMN dcsh.hit.width IS 'Width of its window, pixels';
COMMENT ON COLUMN dcsh.hit.height IS 'Height of its window, pixels';
COMMENT ON COLUMN dcsh.hit.geom IS 'Footprint, longitude and latitude (EPSG:4326)';
COMMENT ON COLUMN dcsh.hit.acquired IS 'When the picture was taken';
COMMENT ON COLUMN dcsh.hit.valid_fraction IS 'Share of its pixels that are valid';


INSERT INTO dcsh.alembic_version (version_num) VALUES ('0001') RETURNING dcsh.alembic_version.version_num;

-- Footprints as PostGIS geometry. Same names as in 010_spatial_core.sql.

CREATE OR REPLACE FUNCTION dcsh._footprint_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'geometry(Polygon, 4326)';

CREATE OR REPLACE FUNCTION dcsh._meets() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'ST_Intersects(c.geom, $1::geometry)';

CREATE OR REPLACE FUNCTION dcsh._to_lonlat(area dcsh.area) RETURNS dcsh.area
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE ST_SRID(area)
        WHEN 4326 THEN area
        WHEN 0 THEN ST_SetSRID(area, 4326)
        ELSE ST_Transform(area, 4326)
    END;

CREATE OR REPLACE FUNCTION dcsh._place(lon double precision, lat double precision)
    RETURNS dcsh.area
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ST_SetSRID(ST_MakePoint(lon, lat), 4326);

CREATE OR REPLACE FUNCTION dcsh._off_centre(footprint geometry, place dcsh.area)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ST_Distance(ST_Centroid(footprint), place);

COMMENT ON FUNCTION dcsh._footprint_type IS 'Type of the footprint column';
COMMENT ON FUNCTION dcsh._meets IS 'Condition that footprint c.geom shares a point with area $1';
COMMENT ON FUNCTION dcsh._to_lonlat IS 'An area in EPSG:4326; without SRID it is taken to be so';
COMMENT ON FUNCTION dcsh._place IS 'A place as an area';
COMMENT ON FUNCTION dcsh._off_centre IS 'Distance of a place from the centre of a footprint, degrees';


-- Archives: their names, making and dropping them.

CREATE OR REPLACE FUNCTION dcsh._archive(name text) RETURNS dcsh.archive
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    found_archive dcsh.archive;
BEGIN
    SELECT a.* INTO found_archive FROM dcsh.archive a WHERE a.name = _archive.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'archive "%" does not exist', name
            USING ERRCODE = 'undefined_table', HINT = 'SELECT name FROM dcsh.archive tells which there are';
    END IF;
    RETURN found_archive;
END
$$;
COMMENT ON FUNCTION dcsh._archive IS 'The archive of that name, or an error';

CREATE OR REPLACE FUNCTION dcsh.create_archive(name text, model_sha256 text, reading jsonb)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    used dcsh.model;
    new_id bigint;
BEGIN
    IF name IS NULL OR name !~ '^[a-z][a-z0-9_]{0,47}$' THEN
        RAISE EXCEPTION '"%" is not a name for an archive', coalesce(name, 'NULL')
            USING ERRCODE = 'invalid_name',
                  HINT = 'use lower-case letters, digits and _, a letter first, at most 48 characters';
    END IF;
    IF EXISTS (SELECT FROM dcsh.archive a WHERE a.name = create_archive.name) THEN
        RAISE EXCEPTION 'archive "%" already exists', name USING ERRCODE = 'duplicate_table';
    END IF;
    IF to_regclass(format('dcsh.%I', name)) IS NOT NULL
        OR to_regtype(format('dcsh.%I', name)) IS NOT NULL
        OR EXISTS (SELECT FROM pg_proc
                   WHERE pronamespace = 'dcsh'::regnamespace AND proname = create_archive.name)
    THEN
        RAISE EXCEPTION 'an archive cannot be named "%"', name
            USING ERRCODE = 'reserved_name',
                  HINT = 'something else in schema dcsh has that name; choose another';
    END IF;
    SELECT m.* INTO used FROM dcsh.model m WHERE m.sha256 = model_sha256;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'model % is not in dcsh.model', model_sha256
            USING ERRCODE = 'foreign_key_violation', HINT = 'store the model first';
    END IF;

    INSERT INTO dcsh.archive (name, model_id, reading)
        VALUES (name, used.id, reading) RETURNING id INTO new_id;
    EXECUTE format($ddl$
        CREATE TABLE dcsh.%1$I (
            id bigint PRIMARY KEY,
            scene_id bigint NOT NULL,
            col_off integer NOT NULL,
            row_off integer NOT NULL,
            width integer NOT NULL,
            height integer NOT NULL,
            geom %2$s,
            acquired timestamptz,
            valid_fraction real NOT NULL,
            code bit(%3$s) NOT NULL
        );
        CREATE INDEX ON dcsh.%1$I USING gist (geom);
        CREATE INDEX ON dcsh.%1$I (acquired);
        CREATE INDEX ON dcsh.%1$I (scene_id);
        COMMENT ON COLUMN dcsh.%1$I.id IS 'Key of the chip, without gaps in the order of ingestion';
        COMMENT ON COLUMN dcsh.%1$I.scene_id IS 'Scene it was cut from: dcsh.scene.id';
        COMMENT ON COLUMN dcsh.%1$I.col_off IS 'First column of its window in the scene, pixels';
        COMMENT ON COLUMN dcsh.%1$I.row_off IS 'First row of its window in the scene, pixels';
        COMMENT ON COLUMN dcsh.%1$I.width IS 'Width of its window, pixels';
        COMMENT ON COLUMN dcsh.%1$I.height IS 'Height of its window, pixels';
        COMMENT ON COLUMN dcsh.%1$I.geom IS 'Footprint, longitude and latitude (EPSG:4326)';
        COMMENT ON COLUMN dcsh.%1$I.acquired IS 'When the picture was taken';
        COMMENT ON COLUMN dcsh.%1$I.valid_fraction IS 'Share of its pixels that are valid';
        COMMENT ON COLUMN dcsh.%1$I.code IS 'Hash code of %3$s bits; compare with dcsh.hamming';
    $ddl$, name, dcsh._footprint_type(), used.bits);
    EXECUTE format('COMMENT ON TABLE dcsh.%I IS %L', name,
        format('Chips hashed with %s (%s, %s bits); search them with dcsh.similar(%L, ...)',
               used.name, used.method, used.bits, name));
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION dcsh.create_archive IS 'Makes an archive for the codes of a stored model; returns its id';

CREATE OR REPLACE FUNCTION dcsh.drop_archive(name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM dcsh._archive(name);
    DELETE FROM dcsh.archive a WHERE a.name = drop_archive.name;
    EXECUTE format('DROP TABLE dcsh.%I', name);
END
$$;
COMMENT ON FUNCTION dcsh.drop_archive IS 'Drops an archive with its chips, scenes and errors; its model stays';


-- Loading: begin_load, COPY into two temporary tables, end_load, all in one transaction.

CREATE OR REPLACE FUNCTION dcsh.begin_load() RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
BEGIN
    CREATE TEMPORARY TABLE IF NOT EXISTS dcsh_batch_scene (
        n integer PRIMARY KEY,
        uri text,
        collection text,
        item_id text,
        acquired timestamptz,
        proj_code text,
        content_hash text,
        properties jsonb,
        skipped integer,
        id bigint
    ) ON COMMIT DELETE ROWS;
    EXECUTE format($ddl$
        CREATE TEMPORARY TABLE IF NOT EXISTS dcsh_batch_chip (
            n integer,
            scene integer,
            col_off integer,
            row_off integer,
            width integer,
            height integer,
            valid_fraction real,
            code bit varying,
            geom %s
        ) ON COMMIT DELETE ROWS
    $ddl$, dcsh._footprint_type());
    TRUNCATE pg_temp.dcsh_batch_scene, pg_temp.dcsh_batch_chip;
END
$$;
COMMENT ON FUNCTION dcsh.begin_load IS 'Makes the empty temporary tables dcsh_batch_scene and dcsh_batch_chip';

CREATE OR REPLACE FUNCTION dcsh.end_load(archive text, OUT scenes bigint, OUT chips bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
BEGIN
    -- One load at a time: scene ids are drawn for all archives alike.
    PERFORM pg_advisory_xact_lock(hashtextextended('dcsh.scene', 0));
    SELECT a.* INTO STRICT target FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;

    -- What another load has stored meanwhile stays as it is.
    DELETE FROM pg_temp.dcsh_batch_scene b USING dcsh.scene s
        WHERE s.archive_id = target.id AND s.content_hash = b.content_hash;

    -- A known URI with new content keeps its scene id and gets new chips.
    UPDATE pg_temp.dcsh_batch_scene b SET id = s.id FROM dcsh.scene s
        WHERE s.archive_id = target.id AND s.uri = b.uri;
    EXECUTE format($dml$
        DELETE FROM dcsh.%I c USING pg_temp.dcsh_batch_scene b WHERE c.scene_id = b.id
    $dml$, archive);
    UPDATE pg_temp.dcsh_batch_scene b SET id = fresh.id
        FROM (SELECT n, row_number() OVER (ORDER BY n)
                        + (SELECT coalesce(max(s.id), 0) FROM dcsh.scene s) AS id
              FROM pg_temp.dcsh_batch_scene WHERE id IS NULL) fresh
        WHERE b.n = fresh.n;

    INSERT INTO dcsh.scene (id, archive_id, uri, collection, item_id, acquired, proj_code,
                            content_hash, properties, chips, skipped)
        SELECT b.id, target.id, b.uri, b.collection, b.item_id, b.acquired, b.proj_code,
               b.content_hash, b.properties, coalesce(c.chips, 0), b.skipped
        FROM pg_temp.dcsh_batch_scene b
        LEFT JOIN (SELECT scene, count(*) AS chips FROM pg_temp.dcsh_batch_chip GROUP BY scene) c
            ON c.scene = b.n
        ORDER BY b.n
        ON CONFLICT (id) DO UPDATE SET
            collection = excluded.collection, item_id = excluded.item_id,
            acquired = excluded.acquired, proj_code = excluded.proj_code,
            content_hash = excluded.content_hash, properties = excluded.properties,
            chips = excluded.chips, skipped = excluded.skipped, ingested = now();
    GET DIAGNOSTICS scenes = ROW_COUNT;

    EXECUTE format($dml$
        INSERT INTO dcsh.%I (id, scene_id, col_off, row_off, width, height,
                             geom, acquired, valid_fraction, code)
        SELECT $1 + row_number() OVER (ORDER BY c.n), s.id, c.col_off, c.row_off, c.width, c.height,
               c.geom, s.acquired, c.valid_fraction, c.code
        FROM pg_temp.dcsh_batch_chip c JOIN pg_temp.dcsh_batch_scene s ON s.n = c.scene
        ORDER BY c.n
    $dml$, archive) USING target.last_chip_id;
    GET DIAGNOSTICS chips = ROW_COUNT;

    UPDATE dcsh.archive a SET last_chip_id = a.last_chip_id + end_load.chips WHERE a.id = target.id;
    DELETE FROM dcsh.ingest_error e USING pg_temp.dcsh_batch_scene b
        WHERE e.archive_id = target.id AND e.uri = b.uri;
END
$$;
COMMENT ON FUNCTION dcsh.end_load IS 'Moves the batch in the temporary tables into an archive; returns the scenes and chips stored';

CREATE OR REPLACE FUNCTION dcsh.remove_scene(archive text, uri text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    gone bigint;
    removed bigint;
BEGIN
    DELETE FROM dcsh.scene s WHERE s.archive_id = target.id AND s.uri = remove_scene.uri
        RETURNING s.id INTO gone;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'archive "%" has no scene "%"', archive, uri USING ERRCODE = 'no_data_found';
    END IF;
    EXECUTE format('DELETE FROM dcsh.%I WHERE scene_id = $1', archive) USING gone;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION dcsh.remove_scene IS 'Removes a scene and its chips from an archive; returns the number of chips';


-- Search. Exact, ordered by (distance, id).

CREATE OR REPLACE FUNCTION dcsh.hamming(a bit, b bit) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (a <~> b)::integer;
COMMENT ON FUNCTION dcsh.hamming IS 'Hamming distance of two codes of one length: the number of bits that differ';

-- Not PARALLEL SAFE, though it only reads: inside a parallel plan its own scan could not be parallel.
CREATE OR REPLACE FUNCTION dcsh._search(
    archive text, code bit, k integer, area dcsh.area, since timestamptz, until timestamptz,
    max_distance integer, other_than bigint
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    bits integer := (SELECT m.bits FROM dcsh.model m WHERE m.id = target.model_id);
    conditions text := concat_ws(' AND ',
        'true',
        CASE WHEN area IS NOT NULL THEN dcsh._meets() END,
        CASE WHEN max_distance IS NOT NULL THEN 'dcsh.hamming(c.code, $2) <= $6' END,
        CASE WHEN since IS NOT NULL THEN 'c.acquired >= $4' END,
        CASE WHEN until IS NOT NULL THEN 'c.acquired < $5' END,
        CASE WHEN other_than IS NOT NULL THEN 'c.id <> $7' END);
BEGIN
    IF code IS NULL THEN
        RETURN;
    END IF;
    IF length(code) <> bits THEN
        RAISE EXCEPTION 'code has % bits, but archive "%" has codes of %', length(code), archive, bits
            USING ERRCODE = 'string_data_length_mismatch',
                  HINT = 'codes can be compared only with codes of the same model';
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT c.id, dcsh.hamming(c.code, $2) AS distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM dcsh.%I c
        WHERE %s
        ORDER BY distance, c.id
        LIMIT $3
    $query$, archive, conditions)
    USING dcsh._to_lonlat(area), code, k, since, until, max_distance, other_than;
END
$$;
COMMENT ON FUNCTION dcsh._search IS 'The one search behind similar, similar_to and within; k NULL finds all';

CREATE OR REPLACE FUNCTION dcsh._check_k(k integer) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION 'k must be positive, not %', coalesce(k::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'dcsh.within finds all chips up to a distance';
    END IF;
    RETURN k;
END
$$;
COMMENT ON FUNCTION dcsh._check_k IS 'k, or an error when it is not positive';

CREATE OR REPLACE FUNCTION dcsh.similar(
    archive text, code bit, k integer DEFAULT 10, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY SELECT * FROM dcsh._search(
        archive, code, dcsh._check_k(k), area, since, until, max_distance, NULL);
END
$$;
COMMENT ON FUNCTION dcsh.similar IS 'The k chips of an archive nearest to a code, by (distance, id); footprint meets area, since <= acquired < until, distance <= max_distance';

CREATE OR REPLACE FUNCTION dcsh.code_of(archive text, id bigint) RETURNS bit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    found_code bit varying;
BEGIN
    EXECUTE format('SELECT c.code FROM dcsh.%I c WHERE c.id = $1', target.name)
        INTO found_code USING id;
    IF found_code IS NULL THEN
        RAISE EXCEPTION 'archive "%" has no chip %', archive, coalesce(id::text, 'NULL')
            USING ERRCODE = 'no_data_found';
    END IF;
    RETURN found_code;
END
$$;
COMMENT ON FUNCTION dcsh.code_of IS 'The code of a chip';

CREATE OR REPLACE FUNCTION dcsh.similar_to(
    archive text, id bigint, k integer DEFAULT 10, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY SELECT * FROM dcsh._search(
        archive, dcsh.code_of(archive, id), dcsh._check_k(k), area, since, until, max_distance, id);
END
$$;
COMMENT ON FUNCTION dcsh.similar_to IS 'The k chips of an archive nearest to one of its chips, that chip left out; otherwise as dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.within(
    archive text, code bit, radius integer, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF radius IS NULL OR radius < 0 THEN
        RAISE EXCEPTION 'radius must not be negative, not %', coalesce(radius::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = '0 finds the chips with the very same code';
    END IF;
    RETURN QUERY SELECT * FROM dcsh._search(
        archive, code, NULL, area, since, until, radius, NULL);
END
$$;
COMMENT ON FUNCTION dcsh.within IS 'All chips of an archive at most radius bits from a code, by (distance, id); otherwise as dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.chip_at(archive text, lon double precision, lat double precision)
    RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    found_id bigint;
BEGIN
    EXECUTE format($query$
        SELECT c.id FROM dcsh.%I c
        WHERE %s
        ORDER BY c.acquired DESC NULLS LAST, round(dcsh._off_centre(c.geom, $1)::numeric, 7), c.id
        LIMIT 1
    $query$, target.name, dcsh._meets()) INTO found_id USING dcsh._place(lon, lat);
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION dcsh.chip_at IS 'The chip at a longitude and latitude: of several the newest, then the one centred nearest to it; NULL where there is none';


COMMIT;

