-- What narrows a search, checked once and written as a WHERE clause once.

CREATE OR REPLACE FUNCTION dcsh_private.checked_filter(
    archive text, area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL, max_distance integer DEFAULT NULL,
    scenes bigint[] DEFAULT NULL, other_than bigint[] DEFAULT NULL
) RETURNS dcsh_private.filter
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    -- Not PERFORM: an error would quote the statement to the user.
    target dcsh.archive := dcsh_private.archive(archive);
BEGIN
    IF max_distance < 0 THEN
        RAISE EXCEPTION 'max_distance must not be negative, not %', max_distance
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '0 finds only equal codes, NULL allows every distance';
    END IF;
    RETURN ROW(dcsh_private.to_lonlat(area), since, until, max_distance, scenes,
               nullif(array_remove(other_than, NULL), '{}'))::dcsh_private.filter;
END
$$;
COMMENT ON FUNCTION dcsh_private.checked_filter IS 'A filter for an archive, its area in EPSG:4326, or an error if the archive does not exist or a value is invalid';

-- Exact literals, not parameters: Citus sends them to the shards, and each caller numbers its own. Citus writes
-- times in the DateStyle of the session, which a worker does not have: callers set it to ISO.
CREATE OR REPLACE FUNCTION dcsh_private.where_clause(filter dcsh_private.filter) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
AS $$
BEGIN
    RETURN concat_ws(' AND ',
        'true',
        dcsh_private.area_predicate(filter.area),
        'c.acquired >= ' || quote_literal(filter.since) || '::timestamptz',
        'c.acquired < ' || quote_literal(filter.until) || '::timestamptz',
        'c.scene_id = ANY (' || quote_literal(filter.scenes) || '::bigint[])',
        'c.id <> ALL (' || quote_literal(filter.other_than) || '::bigint[])');
END
$$;
COMMENT ON FUNCTION dcsh_private.where_clause IS 'WHERE clause for the chips c that a filter selects; max_distance is left to the search';

CREATE OR REPLACE FUNCTION dcsh_private.is_selective(filter dcsh_private.filter) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN num_nonnulls((filter).area, (filter).since, (filter).until, (filter).scenes) > 0;
COMMENT ON FUNCTION dcsh_private.is_selective IS 'Whether a filter has a predicate that an index on footprints, times or scenes answers';
