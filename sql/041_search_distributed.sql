-- Search of a distributed archive. Exact, in the order of dcsh_private.search.

-- One flat query for code $1: all within $3, or the nearest $2. Citus sends predicate, order and limit to
-- every shard, whose planner chooses between its indexes, and merges the rows. A subquery around it
-- would be stored as an intermediate result first. Without the exact index the order is that of another
-- expression, which no index has, because a shard could have an approximate one.
CREATE OR REPLACE FUNCTION dcsh_private.query_of_shards(archive text, predicate text, nearest boolean)
    RETURNS text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
    RETURN format($query$
        SELECT c.id, (c.code OPERATOR(@vector@.<~>) $1)::integer AS distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM dcsh.%I c
        WHERE %s AND %s
    $query$, archive, predicate,
        CASE WHEN nearest AND dcsh_private.code_index(archive) IS NOT NULL
             THEN 'true ORDER BY c.code OPERATOR(@vector@.<~>) $1, c.id LIMIT $2'
             WHEN nearest THEN 'true ORDER BY distance, c.id LIMIT $2'
             ELSE 'c.code OPERATOR(@vector@.<~>) $1 <= $3 ORDER BY distance, c.id' END);
COMMENT ON FUNCTION dcsh_private.query_of_shards IS 'The query for the chips of a distributed archive that satisfy a predicate and are nearest to a code, or for all within a distance';

CREATE OR REPLACE FUNCTION dcsh_private.rows_of_shards(query text, code bit, k integer, max_distance integer)
    RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
BEGIN
    RETURN QUERY EXECUTE query USING code, k, max_distance;
END
$$;
COMMENT ON FUNCTION dcsh_private.rows_of_shards IS 'The rows of dcsh_private.query_of_shards';

CREATE OR REPLACE FUNCTION dcsh_private.search_distributed(
    archive text, code bit, k integer, filter dcsh_private.filter
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    predicate text := dcsh_private.where_clause(filter);
    walked dcsh.hit[];
    first_k CONSTANT integer := 200;
BEGIN
    -- Few chips are within a distance: without a selective filter the indexes on codes find them.
    IF k IS NULL AND NOT dcsh_private.is_selective(filter) THEN
        walked := ARRAY(
            SELECT h FROM dcsh_private.rows_of_shards(
                dcsh_private.query_of_shards(archive, predicate, true), code, first_k, NULL) h
            ORDER BY h.distance, h.id);
        IF cardinality(walked) < first_k OR walked[first_k].distance > filter.max_distance THEN
            RETURN QUERY SELECT * FROM unnest(walked) w WHERE w.distance <= filter.max_distance;
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
        SELECT h.*
        FROM dcsh_private.rows_of_shards(
            dcsh_private.query_of_shards(archive, predicate, k IS NOT NULL),
            code, k, filter.max_distance) h
        WHERE filter.max_distance IS NULL OR h.distance <= filter.max_distance
        ORDER BY h.distance, h.id;
END
$$;
COMMENT ON FUNCTION dcsh_private.search_distributed IS 'dcsh_private.search of a distributed archive';
