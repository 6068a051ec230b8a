-- Scenes of an archive: list, remove and relocate them, and rename the archive.

CREATE OR REPLACE FUNCTION dcsh.scenes(
    archive text, area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL, scenes bigint[] DEFAULT NULL
) RETURNS SETOF dcsh.scene
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT s.* FROM dcsh.scene s
        WHERE s.archive_id = $1
            AND ($2 IS NULL OR s.acquired >= $2) AND ($3 IS NULL OR s.acquired < $3)
            AND ($4 IS NULL OR s.id = ANY ($4))
            AND %s
        ORDER BY s.id
    $query$, CASE WHEN area IS NULL THEN 'true' ELSE
        format('s.id IN (SELECT c.scene_id FROM dcsh.%I c WHERE %s)', archive,
               dcsh_private.area_predicate(dcsh_private.to_lonlat(area))) END)
        USING target.id, since, until, scenes;
END
$$;
COMMENT ON FUNCTION dcsh.scenes IS 'The scenes of an archive, by id: those with a chip that intersects area, acquired from since until before until, among scenes; NULL does not restrict them';

CREATE OR REPLACE FUNCTION dcsh.remove_scenes(
    archive text, ids bigint[], OUT scenes bigint, OUT chips bigint
)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    gone bigint[];
BEGIN
    -- Like a load, lock chips before scenes: otherwise the two could deadlock.
    PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
    PERFORM dcsh_private.check_settled(archive, ARRAY(
        SELECT s.id FROM dcsh.scene s WHERE s.archive_id = target.id AND s.id = ANY (ids)));
    WITH removed AS (
        DELETE FROM dcsh.scene s WHERE s.archive_id = target.id AND s.id = ANY (ids) RETURNING s.id
    )
    SELECT coalesce(array_agg(r.id), '{}'), count(*) INTO gone, scenes FROM removed r;
    EXECUTE format('DELETE FROM dcsh.%I WHERE scene_id = ANY ($1)', archive) USING gone;
    GET DIAGNOSTICS chips = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION dcsh.remove_scenes IS 'Remove scenes of an archive, by id, with their chips; returns the number of scenes and of chips removed';

CREATE OR REPLACE FUNCTION dcsh.remove_scene(archive text, uri text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    removed record;
BEGIN
    SELECT r.* INTO removed FROM dcsh.remove_scenes(archive, ARRAY(
        SELECT s.id FROM dcsh.scene s WHERE s.archive_id = target.id AND s.uri = remove_scene.uri)) r;
    IF removed.scenes = 0 THEN
        RAISE EXCEPTION 'archive "%" has no scene "%"', archive, uri USING ERRCODE = 'no_data_found';
    END IF;
    RETURN removed.chips;
END
$$;
COMMENT ON FUNCTION dcsh.remove_scene IS 'Remove a scene and its chips from an archive; returns the number of chips';

CREATE OR REPLACE FUNCTION dcsh.relocate_scenes(archive text, old text, new text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    taken text;
    moved bigint;
BEGIN
    -- Blocks loads: end_load takes the same two locks in this order.
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
    SELECT min(there.uri) INTO taken
    FROM dcsh.relocated_scenes(archive, old, new) r
        JOIN dcsh.scene there ON there.archive_id = target.id AND there.uri = r.uri
    WHERE NOT dcsh_private.is_below(there.uri, old);
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION 'archive "%" already has another scene "%"', archive, taken
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('remove one of the two first: dcsh-pg archive remove-scenes %s ADDRESS', archive);
    END IF;
    -- In two steps, because a new address may be the old one of another scene. No address has a line feed first.
    UPDATE dcsh.scene s SET uri = E'\n' || r.uri
        FROM dcsh.relocated_scenes(archive, old, new) r WHERE s.id = r.id;
    GET DIAGNOSTICS moved = ROW_COUNT;
    UPDATE dcsh.scene s SET uri = substr(s.uri, 2) WHERE s.archive_id = target.id AND s.uri ^@ E'\n';
    RETURN moved;
END
$$;
COMMENT ON FUNCTION dcsh.relocate_scenes IS 'Replace old by new in the addresses of an archive''s scenes that are old or lie below it; returns the number of scenes. An error if another scene has one of the new addresses';

CREATE OR REPLACE FUNCTION dcsh_private.is_below(uri text, folder text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path FROM CURRENT
    RETURN uri = folder OR uri ^@ (folder || '/');
COMMENT ON FUNCTION dcsh_private.is_below IS 'Whether an address is that of a folder or lies below it';

CREATE OR REPLACE FUNCTION dcsh.relocated_scenes(archive text, old text, new text, OUT id bigint, OUT former text, OUT uri text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
BEGIN
    RETURN QUERY
        SELECT s.id, s.uri, new || substr(s.uri, length(old) + 1)
        FROM dcsh.scene s WHERE s.archive_id = target.id AND dcsh_private.is_below(s.uri, old)
        ORDER BY s.id;
END
$$;
COMMENT ON FUNCTION dcsh.relocated_scenes IS 'The scenes that relocate_scenes changes, by id, with their addresses before and after';

CREATE OR REPLACE FUNCTION dcsh_private.require_owner(archive text, action text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT pg_has_role(
        (SELECT relowner FROM pg_class WHERE oid = format('dcsh.%I', archive)::regclass), 'USAGE')
    THEN
        RAISE EXCEPTION 'only the owner of archive "%" can %', archive, action
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('have role %s run the command', (
                      SELECT relowner::regrole FROM pg_class
                      WHERE oid = format('dcsh.%I', archive)::regclass));
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.require_owner IS 'An error unless the caller owns an archive';

-- The layer and the view of pgstac items keep their privileges, and what depends on them.
CREATE OR REPLACE FUNCTION dcsh.rename_archive(name text, new_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(name);
    has_items boolean;
    index name;
BEGIN
    PERFORM dcsh_private.require_owner(name, 'rename it');
    PERFORM dcsh_private.check_archive_name(new_name);
    LOCK TABLE dcsh_private.load_lock IN EXCLUSIVE MODE;
    BEGIN
        UPDATE dcsh.archive a SET name = new_name WHERE a.id = target.id;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'archive "%" already exists', new_name USING ERRCODE = 'duplicate_table';
    END;
    PERFORM dcsh_private.check_archive_name_is_free(new_name);
    has_items := EXISTS (
        SELECT FROM pg_class v
        WHERE v.oid = to_regclass(format('dcsh.%I', name || '_items')) AND v.relkind = 'v'
            AND obj_description(v.oid, 'pg_class')
                = format('Chips of archive %s with their STAC items in pgstac', name));
    EXECUTE format('ALTER TABLE dcsh.%I RENAME TO %I', name, new_name);
    IF to_regclass(format('dcsh.%I', name || '_layer')) IS NOT NULL THEN
        EXECUTE format('ALTER VIEW dcsh.%I RENAME TO %I', name || '_layer', new_name || '_layer');
    END IF;
    IF has_items THEN
        EXECUTE format('ALTER VIEW dcsh.%I RENAME TO %I', name || '_items', new_name || '_items');
        PERFORM dcsh.create_pgstac_view(new_name);
    END IF;
    FOR index IN
        SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = format('dcsh.%I', new_name)::regclass AND x.relname ^@ (name || '_')
            AND to_regclass(format('dcsh.%I', new_name || substr(x.relname, length(name) + 1))) IS NULL
    LOOP
        EXECUTE format('ALTER INDEX dcsh.%I RENAME TO %I', index, new_name || substr(index, length(name) + 1));
    END LOOP;
    PERFORM dcsh_private.comment_chips(new_name);
    PERFORM dcsh_private.create_layer(new_name);
END
$$;
COMMENT ON FUNCTION dcsh.rename_archive IS 'Rename an archive with its table, layer and indexes; privileges and views of users stay';
