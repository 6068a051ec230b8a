-- pgstac: the STAC items that scenes came from, in the same database, joined on (collection, item id).
-- These functions can be created without pgstac; they look it up when they are called.

CREATE OR REPLACE FUNCTION dcsh_private.require_pgstac() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT has_schema_privilege(to_regnamespace('pgstac'), 'USAGE') THEN
        RAISE EXCEPTION 'permission denied for schema pgstac'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('ask its owner for: GRANT pgstac_read TO %I', current_user);
    ELSIF to_regclass('pgstac.items') IS NULL THEN
        RAISE EXCEPTION 'this database has no pgstac'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'install it with ''pypgstac migrate'' and load the items that the scenes came from with ''pypgstac load''';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.require_pgstac IS 'An error unless this database has pgstac and the caller may read it';

-- The condition is pgstac's own, so that its settings, queryables and indexes apply. It has unqualified
-- names of pgstac and PostGIS; the search_path for them ends with this function.
CREATE OR REPLACE FUNCTION dcsh.scenes_in_stac(archive text, filter jsonb) RETURNS SETOF bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    collections text[] := ARRAY(
        SELECT DISTINCT s.collection FROM dcsh.scene s
        WHERE s.archive_id = target.id AND s.collection IS NOT NULL ORDER BY s.collection);
    asked jsonb;
    predicate text;
    postgis oid := (SELECT extnamespace FROM pg_extension WHERE extname = 'postgis');
BEGIN
    PERFORM dcsh_private.require_pgstac();
    IF dcsh_private.is_shared(postgis) THEN
        RAISE EXCEPTION 'pgstac finds functions in schema %, where other roles may create them', postgis::regnamespace
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('have its owner run: REVOKE CREATE ON SCHEMA %s FROM PUBLIC', postgis::regnamespace);
    END IF;
    IF jsonb_typeof(filter) IS DISTINCT FROM 'object' OR filter ->> 'op' IS NULL THEN
        RAISE EXCEPTION 'not a filter in CQL2-JSON: %', coalesce(filter::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'write {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 10]} for example';
    END IF;
    asked := jsonb_build_object(
        'collections', collections, 'filter', filter, 'filter-lang', 'cql2-json');
    PERFORM set_config(
        'search_path', format('pg_catalog, pgstac, %s, dcsh, pg_temp', postgis::regnamespace), true);
    BEGIN
        predicate := pgstac.stac_search_to_where(asked);
        RETURN QUERY EXECUTE $query$
            SELECT s.id
            FROM dcsh.scene s
                JOIN (SELECT collection, id FROM pgstac.items WHERE $query$ || predicate || $query$) met
                    ON met.collection = s.collection AND met.id = s.item_id
            WHERE s.archive_id = $1
            ORDER BY s.id
        $query$ USING target.id;
    EXCEPTION
        WHEN insufficient_privilege THEN
            RAISE;
        WHEN raise_exception OR data_exception OR syntax_error_or_access_rule_violation THEN
            RAISE EXCEPTION 'pgstac rejected the filter: %', SQLERRM
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'write CQL2-JSON with the property names of the items';
    END;
END
$$;
COMMENT ON FUNCTION dcsh.scenes_in_stac IS 'The scenes of an archive whose STAC item in pgstac satisfies a CQL2-JSON filter, by id; pass them to a search as scenes';

CREATE OR REPLACE FUNCTION dcsh.create_pgstac_view(archive text) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    name text := archive || '_items';
BEGIN
    -- Citus would call pgstac.get_item on the workers, which have no items.
    IF dcsh_private.is_distributed(archive) THEN
        RAISE EXCEPTION 'archive "%" is distributed: its chips cannot be joined to pgstac in a view', archive
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'search with scenes => ARRAY(SELECT dcsh.scenes_in_stac(...))';
    END IF;
    PERFORM dcsh_private.require_pgstac();
    IF EXISTS (SELECT FROM pg_class
               WHERE oid = to_regclass(format('dcsh.%I', name)) AND relkind <> 'v')
    THEN
        RAISE EXCEPTION 'dcsh.% already exists and is not a view', name
            USING ERRCODE = 'duplicate_table', HINT = 'rename or drop it first';
    END IF;
    EXECUTE format($ddl$
        CREATE OR REPLACE VIEW dcsh.%1$I %4$s AS
        SELECT c.id, c.scene_id, c.col_off, c.row_off, c.width, c.height, c.geom, c.acquired,
               c.valid_fraction, c.code, s.collection, s.item_id, i.datetime, i.end_datetime,
               pgstac.get_item(i.id, i.collection) -> 'properties' AS properties
        FROM dcsh.%2$I c
            JOIN dcsh.scene s ON s.id = c.scene_id
            JOIN pgstac.items i ON i.collection = s.collection AND i.id = s.item_id;
        COMMENT ON VIEW dcsh.%1$I IS %3$L;
        COMMENT ON COLUMN dcsh.%1$I.id IS 'Key of the chip: dcsh.%2$I.id';
        COMMENT ON COLUMN dcsh.%1$I.collection IS 'STAC collection of the item';
        COMMENT ON COLUMN dcsh.%1$I.item_id IS 'STAC item that its scene came from';
        COMMENT ON COLUMN dcsh.%1$I.datetime IS 'When the item begins, as pgstac stores it';
        COMMENT ON COLUMN dcsh.%1$I.end_datetime IS 'When the item ends; equal to datetime if it is an instant';
        COMMENT ON COLUMN dcsh.%1$I.properties IS 'Properties of the item; pgstac.get_item runs for each row that returns them';
    $ddl$, name, archive, format('Chips of archive %s with their STAC items in pgstac', archive),
        dcsh_private.view_options());
    RETURN format('dcsh.%I', name)::regclass;
END
$$;
COMMENT ON FUNCTION dcsh.create_pgstac_view IS 'Create the view dcsh.<archive>_items: chips with the collection, id, time and properties of their STAC item in pgstac; returns it';

CREATE OR REPLACE FUNCTION dcsh.drop_pgstac_view(archive text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    made boolean := EXISTS (
        SELECT FROM pg_class
        WHERE oid = to_regclass(format('dcsh.%I', archive || '_items')) AND relkind = 'v');
BEGIN
    IF made THEN
        EXECUTE format('DROP VIEW dcsh.%I', archive || '_items');
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION dcsh.drop_pgstac_view IS 'Drop the view that create_pgstac_view creates; false if there is none';
