-- Importing an archive from a file, in one transaction: begin_load, COPY scenes, import_scenes, then for each
-- batch of chips COPY and import_chips, at the end end_import.

CREATE OR REPLACE FUNCTION dcsh_private.import_scenes(archive text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    before bigint;
BEGIN
    -- Like a load: all archives share the scene ids.
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
    before := (SELECT coalesce(max(s.id), 0) FROM dcsh.scene s);
    INSERT INTO dcsh.scene (id, archive_id, uri, collection, item_id, acquired, proj_code,
                            content_hash, properties, chips, skipped)
        SELECT before + b.n, target.id, b.uri, b.collection, b.item_id, b.acquired, b.proj_code,
               b.content_hash, b.properties, 0, b.skipped
        FROM pg_temp.dcsh_batch_scene b ORDER BY b.n;
    RETURN before;
END
$$;
COMMENT ON FUNCTION dcsh_private.import_scenes IS 'Move the scenes in the temporary table into a new archive; returns the number that was added to theirs as id';

CREATE OR REPLACE FUNCTION dcsh_private.import_chips(archive text, before bigint, ids bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format($dml$
        INSERT INTO dcsh.%I (id, scene_id, col_off, row_off, width, height,
                             geom, acquired, valid_fraction, code)
        SELECT ($2)[c.n + 1], $1 + c.scene, c.col_off, c.row_off, c.width, c.height,
               c.geom, coalesce(c.acquired, s.acquired), c.valid_fraction, c.code
        FROM pg_temp.dcsh_batch_chip c JOIN pg_temp.dcsh_batch_scene s ON s.n = c.scene
    $dml$, archive) USING before, ids;
    TRUNCATE pg_temp.dcsh_batch_chip;
END
$$;
COMMENT ON FUNCTION dcsh_private.import_chips IS 'Move the chips in the temporary table into an archive, with these ids, in their order';

CREATE OR REPLACE FUNCTION dcsh_private.end_import(
    archive text, before bigint, chips integer[], last_chip_id bigint
) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE dcsh.scene s SET chips = counted.chips
        FROM unnest(end_import.chips) WITH ORDINALITY counted(chips, n)
        WHERE s.id = before + counted.n;
    UPDATE dcsh.archive a SET last_chip_id = end_import.last_chip_id WHERE a.name = archive;
    PERFORM dcsh_private.store_pair_distances(archive);
END
$$;
COMMENT ON FUNCTION dcsh_private.end_import IS 'Set the number of chips of each imported scene, by its number, and the counter of the archive';
