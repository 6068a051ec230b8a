-- Search of a distributed archive. Exact, in the order of dcsh._search.

-- One flat query, for all within $6 or for the nearest $3: Citus sends conditions, order and limit to
-- every shard, whose planner chooses between its indexes, and merges the rows. A subquery around it
-- would be stored as an intermediate result first.
CREATE OR REPLACE FUNCTION dcsh._query_of_shards(archive text, conditions text, nearest boolean)
    RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format($query$
        SELECT c.id, (c.code OPERATOR(@vector@.<~>) $2)::integer AS distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM dcsh.%I c
        WHERE %s AND %s
    $query$, archive, conditions,
        CASE WHEN nearest THEN 'true ORDER BY c.code OPERATOR(@vector@.<~>) $2, c.id LIMIT $3'
             ELSE 'c.code OPERATOR(@vector@.<~>) $2 <= $6 ORDER BY distance, c.id' END);
COMMENT ON FUNCTION dcsh._query_of_shards IS 'The query for the chips of a distributed archive that are nearest to a code under conditions, or for all within a distance';

CREATE OR REPLACE FUNCTION dcsh._rows_of_shards(
    query text, code bit, k integer, area dcsh.area, since timestamptz, until timestamptz,
    max_distance integer, other_than bigint
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
BEGIN
    RETURN QUERY EXECUTE query USING area, code, k, since, until, max_distance, other_than;
END
$$;
COMMENT ON FUNCTION dcsh._rows_of_shards IS 'The rows of dcsh._query_of_shards';

CREATE OR REPLACE FUNCTION dcsh._search_distributed(
    archive text, conditions text, code bit, k integer, area dcsh.area, since timestamptz,
    until timestamptz, max_distance integer, other_than bigint
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    walked dcsh.hit[];
    first_k CONSTANT integer := 200;
BEGIN
    -- Few chips are within a distance: without other conditions the indexes on codes find them.
    IF k IS NULL AND num_nonnulls(area, since, until) = 0 THEN
        walked := ARRAY(
            SELECT h FROM dcsh._rows_of_shards(
                dcsh._query_of_shards(archive, conditions, true),
                code, first_k, area, since, until, max_distance, other_than) h
            ORDER BY h.distance, h.id);
        IF cardinality(walked) < first_k OR walked[first_k].distance > max_distance THEN
            RETURN QUERY SELECT * FROM unnest(walked) w WHERE w.distance <= max_distance;
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
        SELECT h.*
        FROM dcsh._rows_of_shards(
            dcsh._query_of_shards(archive, conditions, k IS NOT NULL),
            code, k, area, since, until, max_distance, other_than) h
        WHERE max_distance IS NULL OR h.distance <= max_distance
        ORDER BY h.distance, h.id;
END
$$;
COMMENT ON FUNCTION dcsh._search_distributed IS 'dcsh._search of a distributed archive; area in longitude and latitude, k NULL finds all within max_distance';
