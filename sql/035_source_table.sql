-- A user's tables that list images, as rows to create scenes from.

CREATE OR REPLACE FUNCTION dcsh.source_rows(
    table_name text,
    location_column text DEFAULT 'location',
    geometry_column text DEFAULT NULL,
    acquired_column text DEFAULT NULL,
    OUT location text,
    OUT footprint text,
    OUT crs text,
    OUT acquired text,
    OUT properties jsonb
)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    parts text[];
    target regclass;
    columns text[] := array_remove(ARRAY[location_column, geometry_column, acquired_column], NULL);
    wanted text;
    spatial text;
    footprint_of text := 'NULL::text';
    crs_of text := 'NULL::text';
    acquired_of text := 'NULL::text';
BEGIN
    BEGIN
        parts := parse_ident(table_name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := '{}';
    END;
    IF cardinality(parts) <> 2 THEN
        RAISE EXCEPTION '"%" is not a schema-qualified table name', table_name
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'write SCHEMA.TABLE, public.tiles for example';
    END IF;
    SELECT c.oid INTO target
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = parts[1] AND c.relname = parts[2] AND c.relkind IN ('r', 'v', 'm', 'f', 'p');
    IF target IS NULL THEN
        RAISE EXCEPTION 'table "%" does not exist', table_name
            USING ERRCODE = 'undefined_table', HINT = dcsh_private.tables_of(parts[1]);
    END IF;
    IF NOT has_any_column_privilege(target, 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for table "%"', table_name
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('ask its owner for: GRANT SELECT ON %I.%I TO %I',
                              parts[1], parts[2], current_user);
    END IF;
    FOREACH wanted IN ARRAY columns LOOP
        IF NOT EXISTS (SELECT FROM pg_attribute a
                       WHERE a.attrelid = target AND a.attname = wanted
                           AND a.attnum > 0 AND NOT a.attisdropped)
        THEN
            RAISE EXCEPTION 'table "%" has no column "%"', table_name, wanted
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = (SELECT 'it has ' || string_agg(a.attname, ', ' ORDER BY a.attnum)
                              FROM pg_attribute a
                              WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped);
        END IF;
    END LOOP;

    IF geometry_column IS NOT NULL THEN
        footprint_of := format('dcsh_row.%I::text', geometry_column);
    END IF;
    -- PostGIS types have a CRS. No function is called for a type of that name that is not PostGIS's.
    SELECT n.nspname INTO spatial
    FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid
        JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE a.attrelid = target AND a.attname = geometry_column
        AND t.typname IN ('geometry', 'geography')
        AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                    WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'postgis');
    IF spatial IS NOT NULL THEN
        crs_of := format(
            '(SELECT coalesce(r.auth_name || '':'' || r.auth_srid, r.srtext)
              FROM %1$I.spatial_ref_sys r
              WHERE r.srid = %1$I.ST_SRID(dcsh_row.%2$I::%1$I.geometry))',
            spatial, geometry_column);
    END IF;
    IF acquired_column IS NOT NULL THEN
        -- In JSON a time is ISO 8601 whatever DateStyle is.
        acquired_of := format('to_jsonb(dcsh_row.%I) #>> ''{}''', acquired_column);
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT dcsh_row.%1$I::text, %2$s, %3$s, %4$s, to_jsonb(dcsh_row) - %5$L::text[]
         FROM %6$s dcsh_row
         ORDER BY dcsh_row.%1$I::text COLLATE "C", dcsh_row::text COLLATE "C"',
        location_column, footprint_of, crs_of, acquired_of, columns, target);
END
$$;
COMMENT ON FUNCTION dcsh.source_rows IS 'The rows of a table that lists images, by location: location, footprint and its CRS, time as ISO 8601, all other columns';

CREATE OR REPLACE FUNCTION dcsh_private.tables_of(schema_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT coalesce(
        format('schema "%s" has ', schema_name) || string_agg(c.relname, ', ' ORDER BY c.relname),
        format('schema "%s" does not exist or has no table that you may use', schema_name))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = schema_name AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
        AND has_schema_privilege(n.oid, 'USAGE')
$$;
COMMENT ON FUNCTION dcsh_private.tables_of IS 'A hint that lists the tables of a schema';
