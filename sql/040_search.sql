-- Search. Exact, ordered by (distance, id).

CREATE OR REPLACE FUNCTION dcsh.hamming(a bit, b bit) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (a OPERATOR(@vector@.<~>) b)::integer;
COMMENT ON FUNCTION dcsh.hamming IS 'Hamming distance of two codes of one length: the number of bits that differ';

-- The nearest chips, each once as (id, distance), for query code $2, k $3 and max_distance $6.
-- Without an index a bounded sort copies every row before it looks at it: let the rows be narrow.
-- With one the rows come by distance, so that all ties of the last one suffice to order them by id.
-- There max_distance is looked at afterwards, or a walk that finds less than k would go on to the
-- end; and CASE keeps other indexes away, because the conditions are known to be met by many chips.
CREATE OR REPLACE FUNCTION dcsh._nearest(archive text, conditions text, indexed boolean)
    RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format(CASE WHEN indexed THEN $walk$
        SELECT n.id, n.distance::integer AS distance
        FROM (SELECT c.id, c.code OPERATOR(@vector@.<~>) $2 AS distance
              FROM dcsh.%1$I c
              WHERE CASE WHEN %2$s THEN true END
              ORDER BY c.code OPERATOR(@vector@.<~>) $2
              FETCH FIRST ($3) ROWS WITH TIES) n
        WHERE $6 IS NULL OR n.distance <= $6
        ORDER BY distance, n.id
        LIMIT $3
    $walk$ ELSE $scan$
        SELECT c.id, dcsh.hamming(c.code, $2) AS distance
        FROM dcsh.%1$I c
        WHERE %2$s AND ($6 IS NULL OR dcsh.hamming(c.code, $2) <= $6)
        ORDER BY distance, c.id
        LIMIT $3
    $scan$ END, archive, conditions);
COMMENT ON FUNCTION dcsh._nearest IS 'The query for the k chips nearest to a code under conditions, by the index or by comparing all';

-- With its former arguments it would be a function beside this one.
DROP FUNCTION IF EXISTS dcsh._few(
    text, text, bit, integer, dcsh.area, timestamptz, timestamptz, bigint);
DROP FUNCTION IF EXISTS dcsh._few(
    text, text, bit, integer, integer, integer, dcsh.area, timestamptz, timestamptz, bigint);

-- Where the indexes on footprints and times select few chips, the nearest of these: the indexes tell
-- which rows, the index on codes which of them are near, and only these are looked at.  The footprint's
-- index tells boxes that meet, so some may fall out; then more are asked for.
CREATE OR REPLACE FUNCTION dcsh._few(
    archive text, code_index regclass, conditions text, code bit, k integer, most integer,
    max_distance integer, area dcsh.area, since timestamptz, until timestamptz, other_than bigint,
    scenes bigint[], OUT ids bigint[], OUT distances integer[]
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
AS $$
DECLARE
    selections text := concat_ws(', ',
        CASE WHEN area IS NOT NULL
            THEN format('name ''geom'', %L::regoperator, $1', dcsh._overlaps()) END,
        CASE WHEN since IS NOT NULL
            THEN 'name ''acquired'', ''>=(timestamptz,timestamptz)''::regoperator, $4' END,
        CASE WHEN until IS NOT NULL
            THEN 'name ''acquired'', ''<(timestamptz,timestamptz)''::regoperator, $5' END,
        CASE WHEN scenes IS NOT NULL
            THEN format('name ''scene_id'', ''=(bigint,bigint)''::regoperator, %L::bigint[]', scenes) END);
    wanted integer := k;
    near tid[];
BEGIN
    LOOP
        -- NULL also where the snapshot names an index that is gone: then the chips are walked.
        EXECUTE format($query$
            SELECT n.tids FROM %s(%s::regclass, $2, $3, $6, $7, %s) n
        $query$, dcsh._hamming_function('hamming_nearest'), code_index::oid, selections)
        INTO near
        USING area, code, wanted, since, until, max_distance, most;
        IF near IS NULL THEN
            ids := NULL;
            RETURN;
        END IF;
        EXECUTE format($query$
            SELECT coalesce(array_agg(n.id), '{}'), coalesce(array_agg(n.distance), '{}')
            FROM (SELECT c.id, dcsh.hamming(c.code, $2) AS distance
                  FROM dcsh.%I c
                  WHERE c.ctid = ANY ($8) AND CASE WHEN %s THEN true END
                  ORDER BY distance, c.id
                  LIMIT $3) n
        $query$, archive, conditions)
        INTO ids, distances
        USING area, code, k, since, until, max_distance, other_than, near;
        EXIT WHEN wanted IS NULL OR cardinality(ids) = k OR cardinality(near) < wanted;
        wanted := least(4::bigint * wanted + 16, 2147483647);
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh._few IS 'The k nearest of the chips that meet the conditions, or NULL where these are more than most';

CREATE OR REPLACE FUNCTION dcsh._reach(archive text, code bit, radius integer, most bigint)
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
COMMENT ON FUNCTION dcsh._reach IS 'A k, at most as given, whose nearest chips are all within a radius and more; NULL where there is none';

-- undistribute_archive makes a new table of the same name. A query that waited for its lock reads that
-- table with a snapshot that is older than its rows, and would find none.
CREATE OR REPLACE FUNCTION dcsh._check_same_table(archive text) RETURNS void
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
COMMENT ON FUNCTION dcsh._check_same_table IS 'An error if the table of an archive is newer than the snapshot that it was read with';

-- With its former arguments it would be a function beside this one.
DROP FUNCTION IF EXISTS dcsh._search(
    text, bit, integer, dcsh.area, timestamptz, timestamptz, integer, bigint);

-- Not PARALLEL SAFE, though it only reads: inside a parallel plan its own scan could not be parallel.
CREATE OR REPLACE FUNCTION dcsh._search(
    archive text, code bit, k integer, area dcsh.area, since timestamptz, until timestamptz,
    max_distance integer, other_than bigint, scenes bigint[] DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    bits integer := (SELECT m.bits FROM dcsh.model m WHERE m.id = target.model_id);
    place dcsh.area := dcsh._to_lonlat(area);
    conditions text := concat_ws(' AND ',
        'true',
        CASE WHEN area IS NOT NULL THEN dcsh._meets() END,
        CASE WHEN since IS NOT NULL THEN 'c.acquired >= $4' END,
        CASE WHEN until IS NOT NULL THEN 'c.acquired < $5' END,
        CASE WHEN other_than IS NOT NULL THEN 'c.id <> $7' END,
        CASE WHEN scenes IS NOT NULL THEN format('c.scene_id = ANY (%L::bigint[])', scenes) END);
    code_index regclass := dcsh._code_index(archive);
    chips double precision;
    few_ids bigint[];
    few_distances integer[];
    reach bigint;
    near text;
BEGIN
    PERFORM dcsh._check_max_distance(max_distance);
    IF code IS NULL THEN
        RETURN;
    END IF;
    IF length(code) <> bits THEN
        RAISE EXCEPTION 'code has % bits, but archive "%" has codes of %', length(code), archive, bits
            USING ERRCODE = 'string_data_length_mismatch',
                  HINT = 'codes can be compared only with codes of the same model';
    END IF;
    IF dcsh._is_distributed(archive) THEN
        RETURN QUERY SELECT * FROM dcsh._search_distributed(
            archive, conditions, code, k, place, since, until, max_distance, other_than);
        PERFORM dcsh._check_same_table(archive);
        RETURN;
    END IF;
    IF code_index IS NOT NULL THEN
        SELECT greatest(r.reltuples, 0) INTO chips
            FROM pg_class r WHERE r.oid = format('dcsh.%I', archive)::regclass;
        IF (area IS NOT NULL OR since IS NOT NULL OR until IS NOT NULL OR scenes IS NOT NULL)
            AND NOT row_security_active(format('dcsh.%I', archive))
            AND dcsh._hamming_function('hamming_nearest') IS NOT NULL
        THEN
            -- To find k in a share of the chips, 1/share times k are walked past, and nobody knows
            -- the share before. So as many are selected as take the time of the walk that they
            -- would save: about 0.05 us each, against 3 us a step, and as many steps again for the
            -- ties of the last distance.
            SELECT f.ids, f.distances INTO few_ids, few_distances
                FROM dcsh._few(
                    archive, code_index, conditions, code, k,
                    least(1000 + sqrt(120 * chips * coalesce(k, 10)), 2147483647)::integer,
                    max_distance, place, since, until, other_than, scenes) f;
        END IF;
        IF few_ids IS NULL AND k IS NULL THEN
            reach := dcsh._reach(archive, code, max_distance, (100 + chips / 1000)::bigint);
        END IF;
    END IF;
    near := CASE
        WHEN few_ids IS NOT NULL THEN 'SELECT f.id, f.distance FROM unnest($8, $9) f(id, distance)'
        WHEN reach IS NOT NULL THEN format($query$
            SELECT c.id, n.distance::integer AS distance
            FROM (SELECT c.id, c.code OPERATOR(@vector@.<~>) $2 AS distance
                  FROM dcsh.%1$I c
                  ORDER BY c.code OPERATOR(@vector@.<~>) $2
                  LIMIT $10) n JOIN dcsh.%1$I c ON c.id = n.id
            WHERE %2$s AND n.distance <= $6
        $query$, archive, conditions)
        WHEN k IS NOT NULL THEN dcsh._nearest(archive, conditions, code_index IS NOT NULL)
    END;
    IF near IS NULL THEN
        -- All within a distance: rows of any number, so not first their ids and then the rest.
        RETURN QUERY EXECUTE format($query$
            SELECT c.id, dcsh.hamming(c.code, $2) AS distance, c.scene_id, c.col_off, c.row_off,
                   c.width, c.height, c.geom, c.acquired, c.valid_fraction
            FROM dcsh.%1$I c
            WHERE %2$s AND dcsh.hamming(c.code, $2) <= $6
            ORDER BY distance, c.id
        $query$, archive, conditions)
        USING place, code, k, since, until, max_distance, other_than;
    ELSE
        RETURN QUERY EXECUTE format($query$
            SELECT c.id, near.distance, c.scene_id, c.col_off, c.row_off,
                   c.width, c.height, c.geom, c.acquired, c.valid_fraction
            FROM (%2$s) near JOIN dcsh.%1$I c ON c.id = near.id
            ORDER BY near.distance, near.id
        $query$, archive, near)
        USING place, code, k, since, until, max_distance, other_than,
              few_ids, few_distances, reach;
    END IF;
    PERFORM dcsh._check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh._search IS 'The one search behind similar, similar_to, within and similar_in_stac; k NULL finds all within max_distance, scenes NULL in all scenes';

-- VOLATILE, because EXPLAIN is not allowed elsewhere.
CREATE OR REPLACE FUNCTION dcsh._plan(archive text, k integer DEFAULT 10) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    code bit varying;
    plan jsonb;
BEGIN
    EXECUTE format('SELECT c.code FROM dcsh.%I c LIMIT 1', archive) INTO code;
    IF code IS NULL THEN
        RETURN NULL;
    ELSIF dcsh._is_distributed(archive) THEN
        -- Citus hands EXPLAIN no parameters on.
        EXECUTE 'EXPLAIN (FORMAT JSON) ' || replace(replace(
            dcsh._query_of_shards(archive, 'true', true), '$2', format('%L', code)), '$3', k::text)
        INTO plan;
    ELSE
        EXECUTE 'EXPLAIN (FORMAT JSON) '
            || dcsh._nearest(archive, 'true', dcsh._code_index(archive) IS NOT NULL)
        INTO plan
        USING NULL::dcsh.area, code::bit, k, NULL::timestamptz, NULL::timestamptz, NULL::integer;
    END IF;
    RETURN plan;
END
$$;
COMMENT ON FUNCTION dcsh._plan IS 'The plan of a search for the k chips nearest to a code, as EXPLAIN (FORMAT JSON) tells it; NULL for an empty archive';

CREATE OR REPLACE FUNCTION dcsh._check_k(k integer) RETURNS integer
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
COMMENT ON FUNCTION dcsh._check_k IS 'k, or an error when it is not positive';

CREATE OR REPLACE FUNCTION dcsh.similar(
    archive text, code bit, k integer DEFAULT 10, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY SELECT * FROM dcsh._search(
        archive, code, dcsh._check_k(k), area, since, until, max_distance, NULL);
END
$$;
COMMENT ON FUNCTION dcsh.similar IS 'The k chips of an archive nearest to a code, by (distance, id); footprint meets area, since <= acquired < until, distance <= max_distance';

CREATE OR REPLACE FUNCTION dcsh.code_of(archive text, id bigint) RETURNS bit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    found_code bit varying;
BEGIN
    EXECUTE format('SELECT c.code FROM dcsh.%I c WHERE c.id = $1', target.name)
        INTO found_code USING id;
    IF found_code IS NULL THEN
        PERFORM dcsh._check_same_table(archive);
        RAISE EXCEPTION 'archive "%" has no chip %', archive, coalesce(id::text, 'NULL')
            USING ERRCODE = 'no_data_found', HINT = 'dcsh.chip_at tells the chip at a place';
    END IF;
    RETURN found_code;
END
$$;
COMMENT ON FUNCTION dcsh.code_of IS 'The code of a chip';

CREATE OR REPLACE FUNCTION dcsh.similar_to(
    archive text, id bigint, k integer DEFAULT 10, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY SELECT * FROM dcsh._search(
        archive, dcsh.code_of(archive, id), dcsh._check_k(k), area, since, until, max_distance, id);
END
$$;
COMMENT ON FUNCTION dcsh.similar_to IS 'The k chips of an archive nearest to one of its chips, that chip left out; otherwise as dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.within(
    archive text, code bit, radius integer, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF radius IS NULL OR radius < 0 THEN
        RAISE EXCEPTION 'radius must not be negative, not %', coalesce(radius::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = '0 finds the chips with the very same code';
    END IF;
    RETURN QUERY SELECT * FROM dcsh._search(
        archive, code, NULL, area, since, until, radius, NULL);
END
$$;
COMMENT ON FUNCTION dcsh.within IS 'All chips of an archive at most radius bits from a code, by (distance, id); otherwise as dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.chip_at(archive text, lon double precision, lat double precision)
    RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    found_id bigint;
BEGIN
    PERFORM dcsh._check_degrees(lon, lat, lon, lat);
    EXECUTE format($query$
        SELECT c.id FROM dcsh.%I c
        WHERE %s
        ORDER BY c.acquired DESC NULLS LAST, round(dcsh._off_centre(c.geom, $1)::numeric, 7), c.id
        LIMIT 1
    $query$, target.name, dcsh._meets()) INTO found_id USING dcsh._place(lon, lat);
    PERFORM dcsh._check_same_table(archive);
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION dcsh.chip_at IS 'The chip at a longitude and latitude: of several the newest, then the one centred nearest to it; NULL where there is none';

CREATE OR REPLACE FUNCTION dcsh.extent(
    archive text, OUT west double precision, OUT south double precision,
    OUT east double precision, OUT north double precision
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
BEGIN
    EXECUTE format($query$
        SELECT min(b[1]), min(b[2]), max(b[3]), max(b[4])
        FROM dcsh.%I c, LATERAL dcsh._bounds(c.geom) b
    $query$, target.name) INTO west, south, east, north;
    PERFORM dcsh._check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.extent IS 'Bounds of the footprints of an archive in degrees; NULL where it has none';
