-- Hashing an archive again with another model: begin_rehash adds a column for the new codes, which is filled
-- beside searches, end_rehash makes it the column of codes. Its name has the model, so that no other model's
-- codes get into it.

CREATE OR REPLACE FUNCTION dcsh_private.new_code(archive text) RETURNS name
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT a.attname FROM pg_attribute a
    WHERE a.attrelid = to_regclass(format('dcsh.%I', archive)) AND a.attname ^@ 'new_code_'
        AND a.attnum > 0 AND NOT a.attisdropped
$$;
COMMENT ON FUNCTION dcsh_private.new_code IS 'The column of an archive that is filled with the codes of another model, or NULL';

CREATE OR REPLACE FUNCTION dcsh_private.new_code_of(archive text, model_sha256 text) RETURNS name
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    new_code name := dcsh_private.new_code(archive);
BEGIN
    IF new_code IS DISTINCT FROM ('new_code_' || left(model_sha256, 16))::name THEN
        RAISE EXCEPTION 'archive "%" is not being hashed again with model %', archive, left(model_sha256, 12)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('start it: dcsh-pg archive rehash %s --model FILE.onnx', archive);
    END IF;
    RETURN new_code;
END
$$;
COMMENT ON FUNCTION dcsh_private.new_code_of IS 'The column of an archive for the codes of that model, or an error';

CREATE OR REPLACE FUNCTION dcsh.begin_rehash(archive text, model_sha256 text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    used dcsh.model;
    wanted name := 'new_code_' || left(model_sha256, 16);
    present name := dcsh_private.new_code(archive);
BEGIN
    PERFORM dcsh_private.require_owner(archive, 'hash it again');
    SELECT m.* INTO used FROM dcsh.model m WHERE m.sha256 = model_sha256;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'model % is not in dcsh.model', model_sha256
            USING ERRCODE = 'foreign_key_violation', HINT = 'store the model first';
    ELSIF used.card->>'input' = 'text' THEN
        RAISE EXCEPTION 'model % hashes texts, not imagery', model_sha256
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give the model whose text tower it is';
    ELSIF used.id = target.model_id THEN
        RAISE EXCEPTION 'archive "%" already has the codes of this model', archive
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give another model';
    ELSIF present <> wanted THEN
        RAISE EXCEPTION 'archive "%" is being hashed again with another model (%)', archive, substr(present, 10)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('finish that, or discard it: dcsh-pg archive rehash %s --cancel', archive);
    ELSIF present IS NULL THEN
        EXECUTE format('ALTER TABLE dcsh.%I ADD COLUMN %I bit(%s)', archive, wanted, used.bits);
        EXECUTE format('COMMENT ON COLUMN dcsh.%I.%I IS %L', archive, wanted,
            format('Hash code of the model %s, until dcsh.end_rehash', used.name));
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh.begin_rehash IS 'Add a column for the codes of another model to an archive; harmless to repeat';

CREATE OR REPLACE FUNCTION dcsh.cancel_rehash(archive text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    present name := dcsh_private.new_code(archive);
BEGIN
    PERFORM dcsh_private.require_owner(archive, 'hash it again');
    IF present IS NOT NULL THEN
        EXECUTE format('ALTER TABLE dcsh.%I DROP COLUMN %I', archive, present);
    END IF;
    RETURN present IS NOT NULL;
END
$$;
COMMENT ON FUNCTION dcsh.cancel_rehash IS 'Drop the column that begin_rehash adds; false if there is none';

CREATE OR REPLACE FUNCTION dcsh_private.scenes_to_rehash(archive text, model_sha256 text) RETURNS SETOF bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT DISTINCT c.scene_id FROM dcsh.%I c WHERE c.%I IS NULL ORDER BY 1',
                                archive, dcsh_private.new_code_of(archive, model_sha256));
END
$$;
COMMENT ON FUNCTION dcsh_private.scenes_to_rehash IS 'The scenes with chips that have no code of the other model yet';

CREATE OR REPLACE FUNCTION dcsh_private.store_new_codes(
    archive text, model_sha256 text, ids bigint[], codes bit varying[]
) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format('UPDATE dcsh.%I c SET %I = v.code FROM unnest($1, $2) v(id, code) WHERE c.id = v.id',
                   archive, dcsh_private.new_code_of(archive, model_sha256)) USING ids, codes;
END
$$;
COMMENT ON FUNCTION dcsh_private.store_new_codes IS 'Store codes of the other model for chips of these ids';

CREATE OR REPLACE FUNCTION dcsh.end_rehash(archive text, model_sha256 text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET client_min_messages = warning
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    chips regclass := format('dcsh.%I', archive)::regclass;
    new_code name;
    used dcsh.model;
    former dcsh.model;
    missing bigint;
    dependent text;
    indexes text[];
    statement text;
BEGIN
    PERFORM dcsh_private.require_owner(archive, 'hash it again');
    new_code := dcsh_private.new_code_of(archive, model_sha256);
    -- Blocks loads: end_load takes the same two locks in this order.
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    SELECT a.* INTO target FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
    SELECT m.* INTO STRICT used FROM dcsh.model m WHERE m.sha256 = model_sha256;
    SELECT m.* INTO STRICT former FROM dcsh.model m WHERE m.id = target.model_id;
    EXECUTE format('SELECT count(*) FROM dcsh.%I c WHERE c.%I IS NULL', archive, new_code) INTO missing;
    IF missing > 0 THEN
        RAISE EXCEPTION '% chips of archive "%" have no code of the new model yet', missing, archive
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('dcsh-pg archive rehash %s --model FILE.onnx hashes them', archive);
    END IF;
    SELECT min(r.ev_class::regclass::text) INTO dependent
    FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = chips
        AND d.refobjsubid = (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = chips AND a.attname = 'code')
        AND r.ev_class IS DISTINCT FROM to_regclass(format('dcsh.%I', archive || '_layer'))::oid;
    IF dependent IS NOT NULL AND used.bits <> former.bits THEN
        RAISE EXCEPTION 'view % uses the codes of archive "%", which get another length', dependent, archive
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'drop the view, and create it again afterwards';
    END IF;
    -- Approximate indexes are fitted to the former codes, and take long and much memory to build.
    FOR statement IN
        SELECT format('DROP INDEX %s', o.index) FROM dcsh_private.ordering_indexes(archive) o
        WHERE o.method IN ('hnsw', 'ivfflat')
    LOOP
        EXECUTE statement;
    END LOOP;
    IF dependent IS NOT NULL THEN
        EXECUTE format('UPDATE dcsh.%I SET code = %I', archive, new_code);
        EXECUTE format('ALTER TABLE dcsh.%I DROP COLUMN %I', archive, new_code);
    ELSE
        indexes := ARRAY(
            SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
            WHERE i.indrelid = chips AND (SELECT a.attnum FROM pg_attribute a
                WHERE a.attrelid = chips AND a.attname = 'code') = ANY (i.indkey::smallint[])
            ORDER BY i.indexrelid);
        EXECUTE format('ALTER TABLE dcsh.%I RENAME COLUMN code TO old_code', archive);
        EXECUTE format('ALTER TABLE dcsh.%I RENAME COLUMN %I TO code', archive, new_code);
        UPDATE dcsh.archive a SET model_id = used.id WHERE a.id = target.id;
        PERFORM dcsh_private.create_layer(archive);
        EXECUTE format('ALTER TABLE dcsh.%I DROP COLUMN old_code', archive);
        EXECUTE format('ALTER TABLE dcsh.%I ALTER COLUMN code SET NOT NULL', archive);
        FOREACH statement IN ARRAY indexes LOOP
            EXECUTE statement;
        END LOOP;
    END IF;
    UPDATE dcsh.archive a SET model_id = used.id, pair_distances = NULL WHERE a.id = target.id;
    PERFORM dcsh_private.store_pair_distances(archive);
    PERFORM dcsh_private.comment_chips(archive);
END
$$;
COMMENT ON FUNCTION dcsh.end_rehash IS 'Replace the codes of an archive by those of the new model, with its layer and indexes, except approximate ones, which are dropped; an error if a chip has none yet';

CREATE OR REPLACE FUNCTION dcsh.copy_archive(name text, new_name text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    source dcsh.archive := dcsh_private.archive(name);
    before bigint;
    copied bigint;
    new_id bigint := dcsh.create_archive(new_name, (
        SELECT m.sha256 FROM dcsh.model m WHERE m.id = source.model_id), source.reading);
BEGIN
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    SELECT a.* INTO source FROM dcsh.archive a WHERE a.id = source.id FOR UPDATE;
    PERFORM dcsh_private.check_settled(name, ARRAY(
        SELECT s.id FROM dcsh.scene s WHERE s.archive_id = source.id));
    before := (SELECT coalesce(max(s.id), 0) FROM dcsh.scene s);
    INSERT INTO dcsh.scene (id, archive_id, uri, collection, item_id, acquired, proj_code,
                            content_hash, properties, chips, skipped)
        SELECT before + row_number() OVER (ORDER BY s.id), new_id, s.uri, s.collection, s.item_id,
               s.acquired, s.proj_code, s.content_hash, s.properties, s.chips, s.skipped
        FROM dcsh.scene s WHERE s.archive_id = source.id ORDER BY s.id;
    EXECUTE format($dml$
        INSERT INTO dcsh.%I (id, scene_id, col_off, row_off, width, height,
                             geom, acquired, valid_fraction, code)
        SELECT c.id, n.id, c.col_off, c.row_off, c.width, c.height,
               c.geom, c.acquired, c.valid_fraction, c.code
        FROM dcsh.%I c JOIN dcsh.scene s ON s.id = c.scene_id
            JOIN dcsh.scene n ON n.archive_id = $1 AND n.uri = s.uri
    $dml$, new_name, name) USING new_id;
    GET DIAGNOSTICS copied = ROW_COUNT;
    UPDATE dcsh.archive a SET last_chip_id = source.last_chip_id, pair_distances = source.pair_distances
        WHERE a.id = new_id;
    RETURN copied;
END
$$;
COMMENT ON FUNCTION dcsh.copy_archive IS 'Copy an archive with its scenes and chips, whose ids stay, under a new name; returns the number of chips';
