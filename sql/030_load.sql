-- Loading: begin_load, COPY into two temporary tables, end_load, all in one transaction. It drops the tables
-- at its end: behind a pooler the next transaction of this session may be another client's.

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
    ) ON COMMIT DROP;
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
            geom %s,
            acquired timestamptz
        ) ON COMMIT DROP
    $ddl$, dcsh_private.footprint_type());
    TRUNCATE pg_temp.dcsh_batch_scene, pg_temp.dcsh_batch_chip;
END
$$;
COMMENT ON FUNCTION dcsh.begin_load IS 'Create the empty temporary tables dcsh_batch_scene and dcsh_batch_chip';

-- Codes of one model must never enter an archive of another, so a load names the archive and the model
-- that it hashed for: another archive may have the name by now.
CREATE OR REPLACE FUNCTION dcsh_private.lock_for_load(archive text, archive_id bigint, model_sha256 text)
    RETURNS dcsh.archive
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive;
BEGIN
    SELECT a.* INTO target
        FROM dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id
        WHERE a.name = archive AND a.id = archive_id AND m.sha256 = model_sha256
        FOR UPDATE OF a;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'archive "%" was dropped or replaced while it was being loaded', archive
            USING ERRCODE = 'undefined_table',
                  HINT = 'rerun the command; no chip of this load is in a newer archive of that name';
    END IF;
    RETURN target;
END
$$;
COMMENT ON FUNCTION dcsh_private.lock_for_load IS 'Lock the archive that a load is for until the end of the transaction; an error if the name belongs to another archive or model';

-- Building an index after a large load is faster than filling it row by row.  Not for a table that has rows, whose
-- searches would wait for the lock; not where another session uses the table, because a load waits for no reader.
CREATE OR REPLACE FUNCTION dcsh_private.drop_indexes_of_empty(archive text) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    chips regclass := format('dcsh.%I', archive)::regclass;
    has_rows boolean;
    definitions text[] := '{}';
    found record;
BEGIN
    IF dcsh_private.is_distributed(archive)
        OR NOT pg_has_role((SELECT r.relowner FROM pg_class r WHERE r.oid = chips), 'USAGE')
    THEN
        RETURN definitions;
    END IF;
    BEGIN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', chips);
    EXCEPTION WHEN lock_not_available THEN
        RETURN definitions;
    END;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', chips) INTO has_rows;
    IF has_rows THEN
        RETURN definitions;
    END IF;
    -- Those of create_chips as it made them: nothing that a user has set is lost.
    FOR found IN
        SELECT i.indexrelid::regclass AS index, pg_get_indexdef(i.indexrelid) AS definition
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_attribute a
            ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = chips AND a.attname IN ('geom', 'acquired', 'scene_id') AND i.indnatts = 1
            AND NOT i.indisunique AND NOT i.indisclustered AND i.indpred IS NULL AND i.indexprs IS NULL
            AND x.reloptions IS NULL AND x.reltablespace = 0
            AND obj_description(x.oid, 'pg_class') IS NULL
        ORDER BY i.indexrelid
    LOOP
        EXECUTE format('DROP INDEX %s', found.index);
        definitions := definitions || found.definition;
    END LOOP;
    RETURN definitions;
END
$$;
COMMENT ON FUNCTION dcsh_private.drop_indexes_of_empty IS 'Drop the indexes on footprints, times and scenes of an archive without rows, and return their definitions; none where the caller does not own it or another session uses it';

CREATE OR REPLACE FUNCTION dcsh.end_load(
    archive text, archive_id bigint, model_sha256 text, OUT scenes bigint, OUT chips bigint
)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive;
    indexes text[] := '{}';
    definition text;
    first_n bigint;
    last_n bigint;
    many CONSTANT integer := 10000;
BEGIN
    -- One load at a time: all archives share the scene ids. Any role could hold an advisory lock; locking
    -- a table in this mode requires a right to write to it.
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    target := dcsh_private.lock_for_load(archive, archive_id, model_sha256);

    -- Scenes that another load has stored meanwhile are left unchanged.
    DELETE FROM pg_temp.dcsh_batch_scene b USING dcsh.scene s
        WHERE s.archive_id = target.id AND s.content_hash = b.content_hash;

    -- A known URI with new content keeps its scene id and gets new chips.
    UPDATE pg_temp.dcsh_batch_scene b SET id = s.id FROM dcsh.scene s
        WHERE s.archive_id = target.id AND s.uri = b.uri;
    PERFORM dcsh_private.check_settled(
        archive, ARRAY(SELECT b.id FROM pg_temp.dcsh_batch_scene b WHERE b.id IS NOT NULL));
    EXECUTE format('DELETE FROM dcsh.%I WHERE scene_id = ANY ($1)', archive)
        USING ARRAY(SELECT b.id FROM pg_temp.dcsh_batch_scene b WHERE b.id IS NOT NULL);
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

    SELECT count(*), min(c.n), max(c.n) INTO chips, first_n, last_n
        FROM pg_temp.dcsh_batch_chip c JOIN pg_temp.dcsh_batch_scene s ON s.n = c.scene;
    IF target.last_chip_id = 0 AND chips >= many THEN
        indexes := dcsh_private.drop_indexes_of_empty(archive);
    END IF;
    -- Rows are numbered without gaps unless scenes were left out: then they need not be sorted.
    EXECUTE format($dml$
        INSERT INTO dcsh.%I (id, scene_id, col_off, row_off, width, height,
                             geom, acquired, valid_fraction, code)
        SELECT $1 + %s, s.id, c.col_off, c.row_off, c.width, c.height,
               c.geom, coalesce(c.acquired, s.acquired), c.valid_fraction, c.code
        FROM pg_temp.dcsh_batch_chip c JOIN pg_temp.dcsh_batch_scene s ON s.n = c.scene
    $dml$, archive, CASE WHEN last_n - first_n + 1 = chips THEN format('1 + c.n - %s', first_n)
                         ELSE 'row_number() OVER (ORDER BY c.n)' END)
    USING target.last_chip_id;
    GET DIAGNOSTICS chips = ROW_COUNT;
    FOREACH definition IN ARRAY indexes LOOP
        EXECUTE definition;
    END LOOP;

    UPDATE dcsh.archive a SET last_chip_id = a.last_chip_id + end_load.chips, pair_distances = NULL
        WHERE a.id = target.id;
    DELETE FROM dcsh.ingest_error e USING pg_temp.dcsh_batch_scene b
        WHERE e.archive_id = target.id AND e.uri = b.uri;
END
$$;
COMMENT ON FUNCTION dcsh.end_load IS 'Move the batch in the temporary tables into the archive of that name, id and model; an error if it is no longer the same; returns the scenes and chips stored';

CREATE OR REPLACE FUNCTION dcsh.rename_scenes(archive text, archive_id bigint, model_sha256 text)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive;
    renamed bigint;
    redated bigint[];
BEGIN
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    target := dcsh_private.lock_for_load(archive, archive_id, model_sha256);
    UPDATE pg_temp.dcsh_batch_scene b SET id = s.id FROM dcsh.scene s
        WHERE s.archive_id = target.id AND s.content_hash = b.content_hash;
    DELETE FROM pg_temp.dcsh_batch_scene b WHERE b.id IS NULL;
    PERFORM dcsh_private.check_settled(archive, ARRAY(SELECT b.id FROM pg_temp.dcsh_batch_scene b));

    -- A file that now has the content of another scene no longer has its own.
    PERFORM dcsh.remove_scene(archive, s.uri)
        FROM dcsh.scene s JOIN pg_temp.dcsh_batch_scene b ON b.uri = s.uri
        WHERE s.archive_id = target.id
            AND NOT EXISTS (SELECT FROM pg_temp.dcsh_batch_scene o WHERE o.id = s.id);
    -- Chips of other scenes may have times of their own.
    redated := ARRAY(SELECT s.id FROM dcsh.scene s JOIN pg_temp.dcsh_batch_scene b ON b.id = s.id
                     WHERE s.acquired IS DISTINCT FROM b.acquired);
    -- Files may have swapped names.
    UPDATE dcsh.scene s SET uri = format('%s (being renamed)', s.content_hash)
        FROM pg_temp.dcsh_batch_scene b WHERE s.id = b.id;
    UPDATE dcsh.scene s SET
            uri = b.uri, collection = b.collection, item_id = b.item_id, acquired = b.acquired,
            proj_code = b.proj_code, properties = b.properties
        FROM pg_temp.dcsh_batch_scene b WHERE s.id = b.id;
    GET DIAGNOSTICS renamed = ROW_COUNT;
    IF redated <> '{}' THEN
        EXECUTE format($dml$
            UPDATE dcsh.%I c SET acquired = b.acquired FROM pg_temp.dcsh_batch_scene b
            WHERE c.scene_id = b.id AND c.scene_id = ANY ($1) AND c.acquired IS DISTINCT FROM b.acquired
        $dml$, archive) USING redated;
    END IF;
    DELETE FROM dcsh.ingest_error e USING pg_temp.dcsh_batch_scene b
        WHERE e.archive_id = target.id AND e.uri = b.uri;
    RETURN renamed;
END
$$;
COMMENT ON FUNCTION dcsh.rename_scenes IS 'Give stored scenes, found by content hash, the URIs and metadata of the batch in the temporary table, and remove scenes that had one of these URIs; returns the number of renamed scenes';
