-- Search of a distributed archive. Exact, in the order of dcsh_private.search.

-- One flat query for code $1, k $2 and max_distance $3: Citus sends predicate, order and limit to every
-- shard and merges the rows. A subquery around it would be stored as an intermediate result first.
-- sort orders by an expression that no index has, because a shard could have an approximate one.
CREATE OR REPLACE FUNCTION dcsh_private.query_of_shards(
    archive text, predicate text, method text, tie_order text DEFAULT NULL, only_where text DEFAULT 'true'
) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN format($query$
        SELECT c.id, CASE WHEN %3$s THEN (c.code OPERATOR(@vector@.<~>) $1)::integer END AS distance, c.scene_id,
               c.col_off, c.row_off, c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM dcsh.%1$I c
        WHERE %2$s %4$s
    $query$, archive, predicate, only_where, format(CASE method
        WHEN 'walk' THEN 'ORDER BY %s, c.id LIMIT $2'
        WHEN 'sort' THEN 'ORDER BY (c.code OPERATOR(@vector@.<~>) $1)::integer, c.id LIMIT $2'
        WHEN 'within' THEN 'AND c.code OPERATOR(@vector@.<~>) $1 <= $3 ORDER BY %s, c.id' END,
        concat_ws(', ', CASE method WHEN 'walk' THEN 'c.code OPERATOR(@vector@.<~>) $1' ELSE 'distance' END, tie_order)));
END
$$;
COMMENT ON FUNCTION dcsh_private.query_of_shards IS 'The query for the chips of a distributed archive that satisfy a predicate: the k nearest by the indexes on codes (walk) or by comparing all (sort), or all within a distance, by (distance, tie_order, id), sort by (distance, id). distance is NULL where a second condition is not met';

CREATE OR REPLACE FUNCTION dcsh_private.rows_of_shards(query text, code bit, k integer, max_distance integer)
    RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
    SET datestyle = 'ISO'
AS $$
DECLARE
    former text := dcsh_private.set_worker_blocks('off');
BEGIN
    RETURN QUERY EXECUTE query USING code, k, max_distance;
    PERFORM dcsh_private.set_worker_blocks(former);
END
$$;
COMMENT ON FUNCTION dcsh_private.rows_of_shards IS 'The rows of dcsh_private.query_of_shards';

-- To find k among m of n chips, a walk reads about k n / m of them all over the table. Each takes as long as
-- 16 chips that another index selects and that are sorted, or 100 if the table does not fit into memory. The
-- planner would always walk: it does not know that the chips of an area lie side by side.
CREATE OR REPLACE FUNCTION dcsh_private.selects_few(shard regclass, predicate text, k integer) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    plan jsonb := dcsh_private.explain(format('SELECT FROM %s c WHERE %s', shard, predicate));
    selected double precision := plan -> 0 -> 'Plan' -> 'Plan Rows';
BEGIN
    RETURN selected * selected < (SELECT r.reltuples FROM pg_class r WHERE r.oid = shard) * k
        * CASE WHEN pg_relation_size(shard) < pg_size_bytes(current_setting('shared_buffers')) THEN 16 ELSE 100 END;
END
$$;
COMMENT ON FUNCTION dcsh_private.selects_few IS 'Whether a predicate selects so few chips of a shard, by its statistics, that comparing these is faster than walking its index on codes';

CREATE OR REPLACE FUNCTION dcsh_private.shards_select_few(archive text, predicate text, k integer)
    RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
AS $$
DECLARE
    former text := dcsh_private.set_worker_blocks('off');
    is_few boolean;
BEGIN
    EXECUTE format('SELECT dcsh_private.selects_few(c.tableoid, %L, %s) FROM dcsh.%I c LIMIT 1',
                   predicate, k, archive) INTO is_few;
    PERFORM dcsh_private.set_worker_blocks(former);
    RETURN is_few;
END
$$;
COMMENT ON FUNCTION dcsh_private.shards_select_few IS 'dcsh_private.selects_few of one shard of a distributed archive, which are alike; NULL if it is empty';

-- Only the nearest are compared with the area itself, which takes longer than all the rest: more are
-- requested if too few of them intersect it.
CREATE OR REPLACE FUNCTION dcsh_private.nearest_in_bounds(
    archive text, code bit, k integer, bounds text, filter dcsh_private.filter
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    query text := dcsh_private.query_of_shards(
        archive, bounds, 'sort', NULL, coalesce(dcsh_private.area_predicate(filter.area), 'true'));
    wanted integer := CASE WHEN filter.area IS NULL THEN k ELSE least(2::bigint * k + 10, 2147483647) END;
    near dcsh.hit[];
    hits dcsh.hit[];
BEGIN
    LOOP
        near := ARRAY(SELECT r FROM dcsh_private.rows_of_shards(query, code, wanted, NULL) r);
        hits := ARRAY(SELECT n FROM unnest(near) n WHERE n.distance IS NOT NULL LIMIT k);
        EXIT WHEN cardinality(hits) = k OR cardinality(near) < wanted;
        wanted := least(4::bigint * wanted, 2147483647);
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(hits);
END
$$;
COMMENT ON FUNCTION dcsh_private.nearest_in_bounds IS 'The k nearest of the chips of a distributed archive that satisfy a predicate and intersect a filter''s area, by comparing all that satisfy the predicate';

CREATE OR REPLACE FUNCTION dcsh_private.search_distributed(
    archive text, code bit, k integer, filter dcsh_private.filter, is_indexed boolean,
    tie_order text DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET extra_float_digits = 1
AS $$
DECLARE
    first_k CONSTANT integer := 200;
    is_selective boolean := dcsh_private.is_selective(filter);
    predicate text := dcsh_private.where_clause(filter);
    bounded dcsh_private.filter := filter;
    bounds text;
    walked dcsh.hit[];
BEGIN
    IF k IS NULL THEN
        -- Few chips are within a distance: without a selective filter the indexes on codes find them.
        IF is_indexed AND NOT is_selective THEN
            walked := ARRAY(SELECT r FROM dcsh_private.rows_of_shards(
                dcsh_private.query_of_shards(archive, predicate, 'walk', tie_order), code, first_k, NULL) r);
        END IF;
        IF cardinality(walked) < first_k OR walked[first_k].distance > filter.max_distance THEN
            RETURN QUERY SELECT * FROM unnest(walked) w WHERE w.distance <= filter.max_distance;
        ELSE
            RETURN QUERY SELECT * FROM dcsh_private.rows_of_shards(
                dcsh_private.query_of_shards(archive, predicate, 'within', tie_order), code, NULL, filter.max_distance)
                WHERE archive IS NOT NULL;
        END IF;
        RETURN;
    END IF;
    IF is_selective OR NOT is_indexed THEN
        bounded.area := NULL;
        bounds := dcsh_private.where_clause(bounded);
        IF filter.area IS NOT NULL THEN
            bounds := format('%s AND c.geom %s %L::%s', bounds,
                dcsh_private.bounds_operator(), filter.area, dcsh_private.plain_type());
        END IF;
    END IF;
    IF NOT is_indexed OR is_selective AND dcsh_private.shards_select_few(archive, bounds, k) THEN
        IF tie_order IS NULL THEN
            RETURN QUERY
                SELECT * FROM dcsh_private.nearest_in_bounds(archive, code, k, bounds, filter) n
                WHERE filter.max_distance IS NULL OR n.distance <= filter.max_distance;
        ELSE
            -- The order of ties takes longer than the distance, so only chips as near as the k-th have it.
            SELECT least(max(n.distance), filter.max_distance) INTO filter.max_distance
                FROM dcsh_private.nearest_in_bounds(archive, code, k, bounds, filter) n;
            RETURN QUERY SELECT * FROM dcsh_private.rows_of_shards(
                dcsh_private.query_of_shards(archive, predicate, 'within', tie_order),
                code, NULL, filter.max_distance) LIMIT k;
        END IF;
    ELSE
        RETURN QUERY
            SELECT * FROM dcsh_private.rows_of_shards(
                dcsh_private.query_of_shards(archive, predicate, 'walk', tie_order), code, k, NULL) r
            WHERE filter.max_distance IS NULL OR r.distance <= filter.max_distance;
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.search_distributed IS 'dcsh_private.search of a distributed archive';
