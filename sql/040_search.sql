-- Search. Exact unless exact => false permits an approximate index; ordered by (distance, id), or with the
-- argument refine by (distance, -tanh(z) . b, id).

CREATE OR REPLACE FUNCTION dcsh.hamming(a bit, b bit) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (a OPERATOR(@vector@.<~>) b)::integer;
COMMENT ON FUNCTION dcsh.hamming IS 'Hamming distance of two codes of one length: the number of bits that differ';

-- tanh(z) . b, with the bits b as -1 and 1, in whole steps of 2^-30: the sums are exact, so the order does not
-- depend on the plan. Twice the sum over the bits that are 1 gives the same order.
CREATE OR REPLACE FUNCTION dcsh_private.tie_order(z real[], bits integer) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF z IS NULL THEN
        RETURN NULL;
    ELSIF array_ndims(z) IS DISTINCT FROM 1 OR cardinality(z) <> bits THEN
        RAISE EXCEPTION 'refine must have % numbers, not %', bits, cardinality(z)
            USING ERRCODE = 'array_subscript_error',
                  HINT = 'it is the output z of the archive''s model, one number a bit';
    ELSIF EXISTS (SELECT FROM unnest(z) x WHERE x IS NULL OR x IN ('NaN', 'Infinity', '-Infinity')) THEN
        RAISE EXCEPTION 'a number of refine is NULL, NaN or infinite' USING ERRCODE = 'data_exception';
    END IF;
    RETURN (SELECT string_agg(format('%s::bigint * get_bit(c.code, %s)',
                                     round(-tanh(u.x::double precision) * 1073741824), u.n - 1),
                              ' + ' ORDER BY u.n)
            FROM unnest(z) WITH ORDINALITY u(x, n));
END
$$;
COMMENT ON FUNCTION dcsh_private.tie_order IS 'Expression that orders chips c of one distance by the agreement of their codes with z, best first; NULL without z; an error if z does not have one finite number a bit';

CREATE OR REPLACE FUNCTION dcsh_private.with_columns(archive text, near text, tie_order text DEFAULT NULL)
    RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format($query$
        SELECT c.id, near.distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM (%s) near JOIN dcsh.%I c ON c.id = near.id
        ORDER BY %s, near.id
    $query$, near, archive, concat_ws(', ', 'near.distance', tie_order));
COMMENT ON FUNCTION dcsh_private.with_columns IS 'A query for (id, distance) completed to one for dcsh.hit, by (distance, id), or by (distance, tie_order, id)';

-- The k nearest chips as dcsh.hit, for query code $1, k $2 and max_distance $3.
-- Without an index a bounded sort copies every row before it compares it, so the rows are narrow.
-- With one the rows come by distance, so all ties of the last one suffice to order them by id.
-- There max_distance is applied afterwards: a walk that finds fewer than k would read the whole index.
-- CASE hides the predicate from other indexes, because many chips are known to satisfy it.
CREATE OR REPLACE FUNCTION dcsh_private.nearest_query(
    archive text, predicate text, indexed boolean, tie_order text DEFAULT NULL
) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format(CASE WHEN indexed THEN $walk$
        SELECT c.id, c.distance::integer AS distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM (SELECT c.*, c.code OPERATOR(@vector@.<~>) $1 AS distance
              FROM dcsh.%1$I c
              WHERE CASE WHEN %2$s THEN true END
              ORDER BY c.code OPERATOR(@vector@.<~>) $1
              FETCH FIRST ($2) ROWS WITH TIES) c
        WHERE $3 IS NULL OR c.distance <= $3
        ORDER BY %3$s, c.id
        LIMIT $2
    $walk$ ELSE dcsh_private.with_columns(archive, $scan$
        SELECT c.id, dcsh.hamming(c.code, $1) AS distance
        FROM dcsh.%1$I c
        WHERE %2$s AND ($3 IS NULL OR dcsh.hamming(c.code, $1) <= $3)
        ORDER BY %3$s, c.id
        LIMIT $2
    $scan$, tie_order) END, archive, predicate, concat_ws(', ', 'distance', tie_order));
COMMENT ON FUNCTION dcsh_private.nearest_query IS 'The query for the k chips nearest to a code that satisfy a predicate, by the index on codes or by comparing all';

-- Where other indexes select few chips: they return the rows, the index on codes finds the nearest of
-- these, and only those are read. The index on footprints compares bounding boxes, so the predicate
-- may reject some of them; then more are requested.
CREATE OR REPLACE FUNCTION dcsh_private.search_selected(
    archive text, find regproc, code_index regclass, code bit, k integer, most integer,
    filter dcsh_private.filter, tie_order text DEFAULT NULL
) RETURNS dcsh.hit[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
AS $$
DECLARE
    selections text := concat_ws(', ',
        CASE WHEN filter.area IS NOT NULL
            THEN format('name ''geom'', %L::regoperator, ($5).area', dcsh_private.index_operator()) END,
        CASE WHEN filter.since IS NOT NULL
            THEN 'name ''acquired'', ''>=(timestamptz,timestamptz)''::regoperator, ($5).since' END,
        CASE WHEN filter.until IS NOT NULL
            THEN 'name ''acquired'', ''<(timestamptz,timestamptz)''::regoperator, ($5).until' END,
        CASE WHEN filter.scenes IS NOT NULL
            THEN 'name ''scene_id'', ''=(bigint,bigint)''::regoperator, ($5).scenes' END);
    wanted integer := k;
    near tid[];
    hits dcsh.hit[];
BEGIN
    LOOP
        -- NULL also if the index was dropped after the snapshot was taken: then the chips are walked.
        EXECUTE format('SELECT n.tids FROM %s(%s::regclass, $1, $2, $3, $4, %s) n',
            find, code_index::oid, selections)
        INTO near USING code, wanted, filter.max_distance, most, filter;
        IF near IS NULL THEN
            RETURN NULL;
        END IF;
        EXECUTE format($query$
            SELECT ARRAY(
                SELECT ROW(c.id, dcsh.hamming(c.code, $1), c.scene_id, c.col_off, c.row_off,
                           c.width, c.height, c.geom, c.acquired, c.valid_fraction)::dcsh.hit
                FROM dcsh.%I c
                WHERE c.ctid = ANY ($3) AND CASE WHEN %s THEN true END
                ORDER BY %s, c.id
                LIMIT $2)
        $query$, archive, dcsh_private.where_clause(filter),
            concat_ws(', ', 'dcsh.hamming(c.code, $1)', tie_order))
        INTO hits USING code, k, near;
        IF wanted IS NULL OR cardinality(hits) = k OR cardinality(near) < wanted THEN
            RETURN hits;
        END IF;
        wanted := least(4::bigint * wanted + 16, 2147483647);
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh_private.search_selected IS 'The k nearest of the chips that a selective filter selects, by (distance, id), found by function hamming_nearest; NULL if its indexes return more than most rows';

CREATE OR REPLACE FUNCTION dcsh_private.k_for_radius(archive text, code bit, radius integer, most bigint)
    RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    k bigint := 100;
    beyond integer;
BEGIN
    WHILE k <= most LOOP
        EXECUTE format($query$
            SELECT c.code OPERATOR(@vector@.<~>) $1 FROM dcsh.%I c ORDER BY c.code OPERATOR(@vector@.<~>) $1 LIMIT 1 OFFSET $2
        $query$, archive) INTO beyond USING code, k;
        IF beyond IS NULL OR beyond > radius THEN
            RETURN k;
        END IF;
        k := 10 * k;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION dcsh_private.k_for_radius IS 'A k, at most as given, whose k nearest chips include all within a radius; NULL if there is none';

-- VOLATILE, because EXPLAIN is not allowed elsewhere.
CREATE OR REPLACE FUNCTION dcsh_private.explain(query text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE
    SET search_path FROM CURRENT
AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN plan;
END
$$;
COMMENT ON FUNCTION dcsh_private.explain IS 'The plan of a query, from EXPLAIN (FORMAT JSON)';

-- undistribute_archive creates a new table of the same name. A query that waited for its lock reads that
-- table with a snapshot that is older than its rows, and would find none.
CREATE OR REPLACE FUNCTION dcsh_private.check_same_table(archive text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class r WHERE r.oid = to_regclass(format('dcsh.%I', archive))) THEN
        RAISE EXCEPTION 'the table of archive "%" was replaced while it was read', archive
            USING ERRCODE = 'serialization_failure', HINT = 'repeat the query';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_same_table IS 'An error if the table of an archive is newer than the snapshot that it was read with';

-- Not PARALLEL SAFE, though it only reads: inside a parallel plan its own scan could not be parallel.
-- It is called with a WHERE clause, because Citus plans a query that is only a call anew each time.
CREATE OR REPLACE FUNCTION dcsh_private.search(
    archive text, code bit, k integer, filter dcsh_private.filter, exact boolean DEFAULT true,
    refine real[] DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    bits integer := dcsh_private.bits(archive);
    tie_order text := dcsh_private.tie_order(refine, bits);
    predicate text := dcsh_private.where_clause(filter);
    code_index regclass := dcsh_private.code_index(archive);
    chips double precision;
    find regproc;
    selected dcsh.hit[];
    near_ids bigint[];
    near_distances integer[];
    walk_k bigint;
    last_distance integer;
BEGIN
    IF code IS NULL THEN
        RETURN;
    END IF;
    IF length(code) <> bits THEN
        RAISE EXCEPTION 'code has % bits, but archive "%" has codes of %', length(code), archive, bits
            USING ERRCODE = 'string_data_length_mismatch',
                  HINT = 'codes can be compared only with codes of the same model';
    END IF;
    IF dcsh_private.is_distributed(archive) THEN
        RETURN QUERY SELECT * FROM dcsh_private.search_distributed(
            archive, code, k, filter, code_index IS NOT NULL, tie_order) WHERE archive IS NOT NULL;
        PERFORM dcsh_private.check_same_table(archive);
        RETURN;
    END IF;
    IF code_index IS NOT NULL THEN
        SELECT greatest(r.reltuples, 0) INTO chips
            FROM pg_class r WHERE r.oid = format('dcsh.%I', archive)::regclass;
        IF dcsh_private.is_selective(filter) AND NOT row_security_active(format('dcsh.%I', archive)) THEN
            find := dcsh_private.hamming_function('hamming_nearest');
        END IF;
        IF find IS NOT NULL THEN
            -- To find k in a share of the chips, a walk visits about k/share of them, and the share is
            -- not known in advance. So as many are selected as take the time of the walk that they
            -- would save: about 0.05 us each, against 3 us a step, and as many steps again for the
            -- ties of the last distance.
            selected := dcsh_private.search_selected(
                archive, find, code_index, code, k,
                least(1000 + sqrt(120 * chips * coalesce(k, 10)), 2147483647)::integer, filter,
                tie_order);
        END IF;
        IF selected IS NULL AND k IS NULL THEN
            walk_k := dcsh_private.k_for_radius(
                archive, code, filter.max_distance, (100 + chips / 1000)::bigint);
        END IF;
    ELSIF NOT exact AND k IS NOT NULL THEN
        SELECT s.ids, s.distances INTO near_ids, near_distances
            FROM dcsh_private.search_approximately(archive, code, k, filter, NULL, tie_order) s;
    END IF;
    IF selected IS NOT NULL THEN
        RETURN QUERY SELECT * FROM unnest(selected);
    ELSIF near_ids IS NOT NULL THEN
        RETURN QUERY EXECUTE dcsh_private.with_columns(
            archive, 'SELECT n.id, n.distance FROM unnest($1, $2) n(id, distance)', tie_order)
        USING near_ids, near_distances;
    ELSIF walk_k IS NOT NULL THEN
        RETURN QUERY EXECUTE dcsh_private.with_columns(archive, format($query$
            SELECT c.id, n.distance::integer AS distance
            FROM (SELECT c.id, c.code OPERATOR(@vector@.<~>) $1 AS distance
                  FROM dcsh.%1$I c
                  ORDER BY c.code OPERATOR(@vector@.<~>) $1
                  LIMIT $3) n JOIN dcsh.%1$I c ON c.id = n.id
            WHERE %2$s AND n.distance <= $2
        $query$, archive, predicate), tie_order)
        USING code, filter.max_distance, walk_k;
    ELSIF k IS NOT NULL THEN
        -- The order of ties takes longer than the distance: a scan computes it only for chips as near as the k-th.
        IF tie_order IS NOT NULL AND code_index IS NULL THEN
            EXECUTE format('SELECT max(n.distance) FROM (%s) n',
                           dcsh_private.nearest_query(archive, predicate, false))
            INTO last_distance USING code, k, filter.max_distance;
        END IF;
        RETURN QUERY EXECUTE dcsh_private.nearest_query(
            archive, predicate, code_index IS NOT NULL, tie_order)
        USING code, k, coalesce(last_distance, filter.max_distance);
    ELSE
        -- All within a distance may be many rows: no join of their ids with the other columns.
        RETURN QUERY EXECUTE format($query$
            SELECT c.id, dcsh.hamming(c.code, $1) AS distance, c.scene_id, c.col_off, c.row_off,
                   c.width, c.height, c.geom, c.acquired, c.valid_fraction
            FROM dcsh.%1$I c
            WHERE %2$s AND dcsh.hamming(c.code, $1) <= $2
            ORDER BY %3$s, c.id
        $query$, archive, predicate, concat_ws(', ', 'distance', tie_order))
        USING code, filter.max_distance;
    END IF;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh_private.search IS 'The one search behind similar, similar_to and within; k NULL finds all within the filter''s max_distance, always exactly';

CREATE OR REPLACE FUNCTION dcsh_private.plan(archive text, k integer DEFAULT 10) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    is_indexed boolean := dcsh_private.code_index(archive) IS NOT NULL;
    code bit varying;
    query text := CASE WHEN dcsh_private.is_distributed(archive)
        THEN dcsh_private.query_of_shards(archive, 'true', CASE WHEN is_indexed THEN 'walk' ELSE 'sort' END)
        ELSE dcsh_private.nearest_query(archive, 'true', is_indexed) END;
BEGIN
    EXECUTE format('SELECT c.code FROM dcsh.%I c LIMIT 1', archive) INTO code;
    -- Citus does not pass parameters to EXPLAIN.
    RETURN CASE WHEN code IS NOT NULL THEN dcsh_private.explain(replace(replace(replace(
        query, '$1', format('%L', code)), '$2', k::text), '$3', 'NULL::integer')) END;
END
$$;
COMMENT ON FUNCTION dcsh_private.plan IS 'The plan of a search for the k chips nearest to a code, from EXPLAIN (FORMAT JSON); NULL for an empty archive';

CREATE OR REPLACE FUNCTION dcsh_private.check_k(k integer) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION 'k must be positive, not %', coalesce(k::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'dcsh.within finds all chips up to a distance';
    END IF;
    RETURN k;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_k IS 'k, or an error if it is not positive';

CREATE OR REPLACE FUNCTION dcsh.similar(
    archive text, code bit, k integer DEFAULT 10, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL, scenes bigint[] DEFAULT NULL, exact boolean DEFAULT true,
    refine real[] DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    -- Before the query, which an error would quote to the user.
    most integer := dcsh_private.check_k(k);
    filter dcsh_private.filter := dcsh_private.checked_filter(
        archive, area, since, until, max_distance, scenes);
BEGIN
    RETURN QUERY SELECT * FROM dcsh_private.search(archive, code, most, filter, exact, refine) WHERE archive IS NOT NULL;
END
$$;
COMMENT ON FUNCTION dcsh.similar IS 'The k chips of an archive nearest to a code, by (distance, id). Only chips whose footprint intersects area, with since <= acquired < until, distance <= max_distance, and of the given scenes. exact => false permits an approximate index, whose recall dcsh.recall shows; without one the answer is exact. refine is the output z of the model for the query, K numbers: chips of equal distance are then ordered by tanh(z) . b, with their bits b as -1 and 1, largest first, then by id';

CREATE OR REPLACE FUNCTION dcsh.code_of(archive text, id bigint) RETURNS bit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    former text := dcsh_private.set_worker_blocks('off');
    found_code bit varying;
BEGIN
    EXECUTE format('SELECT c.code FROM dcsh.%I c WHERE c.id = $1', archive)
        INTO found_code USING id;
    PERFORM dcsh_private.set_worker_blocks(former);
    IF found_code IS NULL THEN
        PERFORM dcsh_private.check_same_table(archive);
        RAISE EXCEPTION 'archive "%" has no chip %', archive, coalesce(id::text, 'NULL')
            USING ERRCODE = 'no_data_found', HINT = 'dcsh.chip_at finds the chip at a longitude and latitude';
    END IF;
    RETURN found_code;
END
$$;
COMMENT ON FUNCTION dcsh.code_of IS 'The code of a chip';

CREATE OR REPLACE FUNCTION dcsh.similar_to(
    archive text, id bigint, k integer DEFAULT 10, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL, scenes bigint[] DEFAULT NULL, exact boolean DEFAULT true,
    refine real[] DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    most integer := dcsh_private.check_k(k);
    filter dcsh_private.filter := dcsh_private.checked_filter(
        archive, area, since, until, max_distance, scenes, ARRAY[id]);
    code bit varying := dcsh.code_of(archive, id);
BEGIN
    RETURN QUERY SELECT * FROM dcsh_private.search(archive, code, most, filter, exact, refine) WHERE archive IS NOT NULL;
END
$$;
COMMENT ON FUNCTION dcsh.similar_to IS 'The k chips of an archive nearest to one of its chips, without that chip; otherwise like dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.within(
    archive text, code bit, radius integer, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, scenes bigint[] DEFAULT NULL,
    refine real[] DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    filter dcsh_private.filter;
BEGIN
    IF radius IS NULL OR radius < 0 THEN
        RAISE EXCEPTION 'radius must not be negative, not %', coalesce(radius::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = '0 finds the chips with the same code';
    END IF;
    filter := dcsh_private.checked_filter(archive, area, since, until, radius, scenes);
    RETURN QUERY SELECT * FROM dcsh_private.search(archive, code, NULL, filter, refine => refine) WHERE archive IS NOT NULL;
END
$$;
COMMENT ON FUNCTION dcsh.within IS 'All chips of an archive at most radius bits from a code, by (distance, id); otherwise like dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.chip_at(archive text, lon double precision, lat double precision)
    RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    found_id bigint;
BEGIN
    PERFORM dcsh_private.check_degrees(lon, lat, lon, lat);
    EXECUTE format($query$
        SELECT c.id FROM dcsh.%I c
        WHERE %s
        ORDER BY c.acquired DESC NULLS LAST, round(dcsh_private.centre_distance(c.geom, $1)::numeric, 7), c.id
        LIMIT 1
    $query$, archive, coalesce(dcsh_private.area_predicate(dcsh_private.point(lon, lat)), 'false'))
    INTO found_id USING dcsh_private.point(lon, lat);
    PERFORM dcsh_private.check_same_table(archive);
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION dcsh.chip_at IS 'The chip at a longitude and latitude: the newest of several, then the one whose centre is nearest; NULL if there is none';

CREATE OR REPLACE FUNCTION dcsh.extent(
    archive text, OUT west double precision, OUT south double precision,
    OUT east double precision, OUT north double precision
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
BEGIN
    EXECUTE format($query$
        SELECT min(dcsh_private.west(c.geom)), min(dcsh_private.south(c.geom)),
               max(dcsh_private.east(c.geom)), max(dcsh_private.north(c.geom))
        FROM dcsh.%I c
    $query$, archive) INTO west, south, east, north;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.extent IS 'Bounds of the footprints of an archive in degrees; NULL if it has none';
