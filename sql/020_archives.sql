-- Archives: look up, create and drop them.

CREATE OR REPLACE FUNCTION dcsh_private.archive(name text) RETURNS dcsh.archive
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    found_archive dcsh.archive;
BEGIN
    SELECT a.* INTO found_archive FROM dcsh.archive a WHERE a.name = archive.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'archive "%" does not exist', name
            USING ERRCODE = 'undefined_table', HINT = 'SELECT name FROM dcsh.archive lists all';
    END IF;
    RETURN found_archive;
END
$$;
COMMENT ON FUNCTION dcsh_private.archive IS 'The archive of that name, or an error if it does not exist';

CREATE OR REPLACE FUNCTION dcsh_private.bits(archive text) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
BEGIN
    RETURN (SELECT m.bits FROM dcsh.model m WHERE m.id = target.model_id);
END
$$;
COMMENT ON FUNCTION dcsh_private.bits IS 'Length of an archive''s codes, or an error if it does not exist';

CREATE OR REPLACE FUNCTION dcsh_private.create_chips(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
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
    $ddl$, archive, dcsh_private.footprint_type(), dcsh_private.bits(archive));
    PERFORM dcsh_private.comment_chips(archive);
END
$$;
COMMENT ON FUNCTION dcsh_private.create_chips IS 'Create the empty table for the chips of an archive, with indexes and comments';

CREATE OR REPLACE FUNCTION dcsh_private.comment_chips(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    used dcsh.model;
BEGIN
    SELECT m.* INTO STRICT used FROM dcsh.model m WHERE m.id = target.model_id;
    EXECUTE format($ddl$
        COMMENT ON COLUMN dcsh.%1$I.id IS 'Key of the chip, without gaps in the order of ingestion';
        COMMENT ON COLUMN dcsh.%1$I.scene_id IS 'Scene it was cut from: dcsh.scene.id';
        COMMENT ON COLUMN dcsh.%1$I.col_off IS 'First column of its window in the scene, pixels';
        COMMENT ON COLUMN dcsh.%1$I.row_off IS 'First row of its window in the scene, pixels';
        COMMENT ON COLUMN dcsh.%1$I.width IS 'Width of its window, pixels';
        COMMENT ON COLUMN dcsh.%1$I.height IS 'Height of its window, pixels';
        COMMENT ON COLUMN dcsh.%1$I.geom IS 'Footprint, longitude and latitude (EPSG:4326)';
        COMMENT ON COLUMN dcsh.%1$I.acquired IS 'When the image was acquired';
        COMMENT ON COLUMN dcsh.%1$I.valid_fraction IS 'Share of its pixels that are valid';
        COMMENT ON COLUMN dcsh.%1$I.code IS 'Hash code of %2$s bits; compare with dcsh.hamming';
    $ddl$, archive, used.bits);
    EXECUTE format('COMMENT ON TABLE dcsh.%I IS %L', archive,
        format('Chips hashed with %s (%s, %s bits); search them with dcsh.similar(%L, ...)',
               used.name, used.method, used.bits, archive));
END
$$;
COMMENT ON FUNCTION dcsh_private.comment_chips IS 'Comment the table of an archive and its columns';

CREATE OR REPLACE FUNCTION dcsh_private.check_archive_name(name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF name IS NULL OR name !~ '^[a-z][a-z0-9_]{0,47}$' THEN
        RAISE EXCEPTION '"%" is not a valid archive name', coalesce(name, 'NULL')
            USING ERRCODE = 'invalid_name',
                  HINT = 'use lower-case letters, digits and _, a letter first, at most 48 characters';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_archive_name IS 'An error if an archive cannot have that name';

CREATE OR REPLACE FUNCTION dcsh_private.check_archive_name_is_free(name text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF to_regclass(format('dcsh.%I', name)) IS NOT NULL
        OR to_regclass(format('dcsh.%I', name || '_layer')) IS NOT NULL
        OR to_regtype(format('dcsh.%I', name)) IS NOT NULL
        OR EXISTS (SELECT FROM pg_proc
                   WHERE pronamespace = 'dcsh'::regnamespace AND proname = check_archive_name_is_free.name)
    THEN
        RAISE EXCEPTION 'an archive cannot be named "%"', name
            USING ERRCODE = 'reserved_name',
                  HINT = 'something else in schema dcsh has that name, or that name with _layer; choose another';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_archive_name_is_free IS 'An error if something other than an archive has that name, or that of its layer';

CREATE OR REPLACE FUNCTION dcsh.create_archive(name text, model_sha256 text, reading jsonb)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    used dcsh.model;
    new_id bigint;
BEGIN
    PERFORM dcsh_private.check_archive_name(name);
    SELECT m.* INTO used FROM dcsh.model m WHERE m.sha256 = model_sha256;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'model % is not in dcsh.model', model_sha256
            USING ERRCODE = 'foreign_key_violation', HINT = 'store the model first';
    ELSIF used.card->>'input' = 'text' THEN
        RAISE EXCEPTION 'model % hashes texts, not imagery', model_sha256
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give the model whose text tower it is';
    END IF;

    -- First, because it waits for another session that is creating the same archive.
    INSERT INTO dcsh.archive (name, model_id, reading)
        VALUES (name, used.id, reading)
        ON CONFLICT ON CONSTRAINT archive_name_key DO NOTHING
        RETURNING id INTO new_id;
    IF new_id IS NULL THEN
        RAISE EXCEPTION 'archive "%" already exists', name USING ERRCODE = 'duplicate_table';
    END IF;
    PERFORM dcsh_private.check_archive_name_is_free(name);
    PERFORM dcsh_private.create_chips(name);
    PERFORM dcsh_private.create_layer(name);
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION dcsh.create_archive IS 'Create an archive for the codes of a stored model; returns its id';

CREATE OR REPLACE FUNCTION dcsh.drop_archive(name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(name);
BEGIN
    -- Another session may drop it first, and a third one create another of that name.
    PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'archive "%" was dropped by another session', name
            USING ERRCODE = 'undefined_table';
    END IF;
    PERFORM dcsh.drop_pgstac_view(name);
    DELETE FROM dcsh.archive a WHERE a.id = target.id;
    PERFORM dcsh_private.drop_layer(name);
    EXECUTE format('DROP TABLE dcsh.%I', name);
END
$$;
COMMENT ON FUNCTION dcsh.drop_archive IS 'Drop an archive with its chips, scenes and errors; its model stays';

CREATE OR REPLACE FUNCTION dcsh_private.drop_empty_archive(archive_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive;
BEGIN
    SELECT a.* INTO target FROM dcsh.archive a WHERE a.id = archive_id FOR UPDATE;
    IF NOT FOUND OR EXISTS (SELECT FROM dcsh.scene s WHERE s.archive_id = target.id) THEN
        RETURN false;
    END IF;
    PERFORM dcsh.drop_archive(target.name);
    RETURN true;
END
$$;
COMMENT ON FUNCTION dcsh_private.drop_empty_archive IS 'Drop the archive of that id if it has no scene; false if it has one or no longer exists';
