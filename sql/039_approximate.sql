-- Search by an approximate index of pgvector (hnsw, ivfflat), where exact => false permits it.

-- The comment of an index holds its measured recall: it is dropped, dumped and restored with the index.
CREATE OR REPLACE FUNCTION dcsh.recall(archive text) RETURNS TABLE (
    index regclass, method name, option text, setting integer, recall double precision, k integer,
    queries integer, rows bigint, measured timestamptz
)
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT o.index, o.method, s.option,
           coalesce(m.found[1]::integer, CASE o.method WHEN 'hnsw' THEN 100 ELSE ceil(sqrt(
               coalesce(substring(x.reloptions::text, 'lists=([0-9]+)')::double precision, 100))) END::integer),
           m.found[3]::double precision, m.found[2]::integer, m.found[4]::integer,
           m.found[5]::bigint, m.found[6]::timestamptz
    FROM dcsh_private.archive(archive) a
        CROSS JOIN LATERAL dcsh_private.ordering_indexes(a.name) o
        JOIN pg_class x ON x.oid = o.index
        CROSS JOIN LATERAL (SELECT CASE o.method WHEN 'hnsw' THEN 'hnsw.ef_search'
                                                 ELSE 'ivfflat.probes' END) s(option)
        LEFT JOIN LATERAL regexp_match(obj_description(o.index, 'pg_class'), s.option
            || ' = (\d{1,5}), recall@(\d{1,9}) = ([01]\.\d{1,6}) '
            || '\((\d{1,9}) queries, (\d{1,18}) rows, (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\)$')
            m(found) ON true
    WHERE o.is_valid AND o.is_whole AND o.method IN ('hnsw', 'ivfflat')
$$;
COMMENT ON FUNCTION dcsh.recall IS 'The approximate indexes that searches with exact => false use, the setting they use them with, and the recall last measured with it (''dcsh-pg recall''): the mean share of the k nearest that were found, over so many queries, when the archive had so many rows. No row: such searches are exact';

CREATE OR REPLACE FUNCTION dcsh_private.store_recall(
    index regclass, setting integer, recall double precision, k integer, queries integer, rows bigint
) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format('COMMENT ON INDEX %s IS %L', index, format(
        'Approximate: %s = %s, recall@%s = %s (%s queries, %s rows, %s)',
        (SELECT CASE m.amname WHEN 'hnsw' THEN 'hnsw.ef_search' ELSE 'ivfflat.probes' END
         FROM pg_class x JOIN pg_am m ON m.oid = x.relam WHERE x.oid = index),
        setting, k, round(recall::numeric, 4), queries, rows,
        to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
END
$$;
COMMENT ON FUNCTION dcsh_private.store_recall IS 'Store the measured recall of an approximate index, and the setting that searches use it with, as its comment';

-- STABLE, so that roles that only read may execute it.
CREATE OR REPLACE FUNCTION dcsh_private.set_options(names text[], settings text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    former text[];
BEGIN
    FOR n IN 1 .. cardinality(names) LOOP
        former[n] := current_setting(names[n]);
        PERFORM set_config(names[n], settings[n], true);
    END LOOP;
    RETURN former;
END
$$;
COMMENT ON FUNCTION dcsh_private.set_options IS 'Change options of the server for the current transaction; returns their former values';

-- All ties of the last distance that the index finds are ordered by id. The planner may prefer an index
-- on footprints, times or scenes for a selective filter, or a scan of few chips: then the answer is exact.
-- An index that finds fewer than k may have missed some, so the answer is then left to the exact search.
CREATE OR REPLACE FUNCTION dcsh_private.search_approximately(
    archive text, code bit, k integer, filter dcsh_private.filter, effort integer DEFAULT NULL,
    tie_order text DEFAULT NULL,
    OUT ids bigint[], OUT distances integer[]
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    wanted bigint := k::bigint + coalesce(cardinality(filter.other_than), 0);
    is_filtered boolean := dcsh_private.is_selective(filter)
        OR row_security_active(format('dcsh.%I', archive));
    names text[];
    settings text[];
BEGIN
    -- Only once its library is loaded does the server know the options of pgvector.
    PERFORM code OPERATOR(@vector@.<~>) code;
    SELECT array_agg(r.option), array_agg(CASE r.method
        WHEN 'hnsw' THEN least(greatest(coalesce(effort, r.setting), wanted), 1000)
        ELSE coalesce(effort, r.setting) END)
        INTO names, settings
        FROM dcsh.recall(archive) r;
    -- pgvector before 0.8 applies a filter only to the first candidates of an index.
    IF names IS NULL OR is_filtered AND current_setting('hnsw.iterative_scan', true) IS NULL THEN
        RETURN;
    ELSIF is_filtered THEN
        names := names || ARRAY['hnsw.iterative_scan', 'ivfflat.iterative_scan'];
        settings := settings || ARRAY['strict_order', 'relaxed_order'];
    END IF;
    settings := dcsh_private.set_options(names, settings);
    EXECUTE format($query$
        SELECT array_agg(n.id), array_agg(n.distance)
        FROM (SELECT c.id, c.distance::integer
              FROM (SELECT c.id, c.code, c.code OPERATOR(@vector@.<~>) $1 AS distance
                    FROM dcsh.%I c
                    WHERE %s
                    ORDER BY c.code OPERATOR(@vector@.<~>) $1
                    FETCH FIRST ($2) ROWS WITH TIES) c
              ORDER BY %s, c.id
              LIMIT $2) n
    $query$, archive, dcsh_private.where_clause(filter), concat_ws(', ', 'c.distance', tie_order)) INTO ids, distances USING code, k;
    PERFORM dcsh_private.set_options(names, settings);
    IF coalesce(cardinality(ids), 0) < k THEN
        ids := NULL;
    ELSIF filter.max_distance IS NOT NULL THEN
        SELECT coalesce(array_agg(n.id), '{}'), coalesce(array_agg(n.distance), '{}')
            INTO ids, distances
            FROM unnest(ids, distances) n(id, distance) WHERE n.distance <= filter.max_distance;
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.search_approximately IS 'The k nearest chips that an approximate index finds, with effort as its ef_search or probes if it is given; NULL if there is no such index, or it finds fewer than k';
