-- Search of a distributed archive. Exact, in the order of dcsh_private.search.

-- One flat query for code $1: all within $3, or the nearest $2. Citus sends predicate, order and limit to
-- every shard, whose planner chooses between its indexes, and merges the rows. A subquery around it
-- would be stored as an intermediate result first. Without the exact index the order is that of another
-- expression, which no index has, because a shard could have an approximate one.
CREATE OR REPLACE FUNCTION dcsh_private.query_of_shards(
    archive text, predicate text, nearest boolean, tie_order text DEFAULT NULL
) RETURNS text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
    RETURN format($query$
        SELECT c.id, (c.code OPERATOR(@vector@.<~>) $1)::integer AS distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM dcsh.%I c
        WHERE %s AND %s
    $query$, archive, predicate,
        CASE WHEN nearest AND dcsh_private.code_index(archive) IS NOT NULL
             THEN format('true ORDER BY %s, c.id LIMIT $2', concat_ws(', ', 'c.code OPERATOR(@vector@.<~>) $1', tie_order))
             WHEN nearest AND tie_order IS NULL THEN 'true ORDER BY distance, c.id LIMIT $2'
             ELSE format('(c.code OPERATOR(@vector@.<~>) $1 <= $3) IS NOT FALSE ORDER BY %s, c.id%s',
                         concat_ws(', ', 'distance', tie_order), CASE WHEN nearest THEN ' LIMIT $2' END) END);
COMMENT ON FUNCTION dcsh_private.query_of_shards IS 'The query for the chips of a distributed archive that satisfy a predicate and are nearest to a code, or for all within a distance, by (distance, tie_order, id)';

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
    archive text, code bit, k integer, filter dcsh_private.filter, tie_order text DEFAULT NULL
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
                dcsh_private.query_of_shards(archive, predicate, true, tie_order), code, first_k, NULL) h);
        IF cardinality(walked) < first_k OR walked[first_k].distance > filter.max_distance THEN
            RETURN QUERY SELECT * FROM unnest(walked) w WHERE w.distance <= filter.max_distance;
            RETURN;
        END IF;
    END IF;
    -- Without an index the order of ties is computed only for chips as near as the k-th.
    IF k IS NOT NULL AND tie_order IS NOT NULL AND dcsh_private.code_index(archive) IS NULL THEN
        SELECT least(max(h.distance), filter.max_distance) INTO filter.max_distance
            FROM dcsh_private.rows_of_shards(
                dcsh_private.query_of_shards(archive, predicate, true), code, k, NULL) h;
    END IF;
    RETURN QUERY
        SELECT h.*
        FROM dcsh_private.rows_of_shards(
            dcsh_private.query_of_shards(archive, predicate, k IS NOT NULL, tie_order),
            code, k, filter.max_distance) h
        WHERE filter.max_distance IS NULL OR h.distance <= filter.max_distance;
END
$$;
COMMENT ON FUNCTION dcsh_private.search_distributed IS 'dcsh_private.search of a distributed archive';
