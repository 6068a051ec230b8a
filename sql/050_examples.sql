-- Search by several examples: chips that are liked and chips that are not, or a drawn region.

CREATE OR REPLACE FUNCTION dcsh._check_rule(rule text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF rule IS NULL OR rule NOT IN ('min', 'mean') THEN
        RAISE EXCEPTION 'no rule is called %', coalesce(quote_literal(rule), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'use min, the distance to the nearest example, or mean, that to all of them';
    END IF;
    RETURN rule;
END
$$;
COMMENT ON FUNCTION dcsh._check_rule IS 'The rule, or an error when it is neither min nor mean';

CREATE OR REPLACE FUNCTION dcsh._example_codes(archive text, ids bigint[]) RETURNS bit varying[]
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT coalesce(array_agg(dcsh.code_of(archive, given.id)::bit varying ORDER BY given.id), '{}')
    FROM (SELECT DISTINCT unnest(ids) AS id) given
$$;
COMMENT ON FUNCTION dcsh._example_codes IS 'The codes of chips, each chip once';

CREATE OR REPLACE FUNCTION dcsh._places(number integer) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT
    RETURN length(ltrim(number::bit(32)::text, '0'));
COMMENT ON FUNCTION dcsh._places IS 'Binary digits of a positive number';

CREATE OR REPLACE FUNCTION dcsh._digits(examples bit varying[]) RETURNS bit varying[]
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
    SELECT array_agg(d.digits ORDER BY d.place)
    FROM (SELECT place, string_agg((b.ones >> place & 1)::text, '' ORDER BY b.n)::bit varying AS digits
          FROM (SELECT n, sum(get_bit(e.code, n))::integer AS ones
                FROM unnest(examples) e(code), generate_series(0, length(examples[1]) - 1) n
                GROUP BY n) b,
               generate_series(0, dcsh._places(cardinality(examples)) - 1) place
          GROUP BY place) d
$$;
COMMENT ON FUNCTION dcsh._digits IS 'How often each bit is 1 in codes, in binary: a code of digits for each place, the ones first';

-- Rule mean: only the sum, which is exact.  Where a bit of c.code is 0, its distances to n examples add
-- up to the ones among theirs, and where it is 1 to n less the ones.  Distances to the digits of the
-- number of ones add up to that, but for 2^places - 1 instead of n: log(n) terms, and not n.
-- Written out and not as a subquery, which parallel workers could not run before PostgreSQL 17.
CREATE OR REPLACE FUNCTION dcsh._to_examples(rule text, parameter text, examples integer)
    RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN CASE rule
        WHEN 'min' THEN (
            SELECT format('least(%s)', string_agg(
                format('dcsh.hamming(c.code, %s[%s])', parameter, n), ', '))
            FROM generate_series(1, examples) n)
        WHEN 'mean' THEN (
            SELECT format('(%s - %s * bit_count(c.code)::integer)', string_agg(
                format('%s * dcsh.hamming(c.code, %s[%s])', 1 << place, parameter, place + 1), ' + '),
                (1 << dcsh._places(examples)) - 1 - examples)
            FROM generate_series(0, dcsh._places(examples) - 1) place)
    END;
COMMENT ON FUNCTION dcsh._to_examples IS 'SQL for the distance from c.code to the nearest of so many codes in a parameter (rule min), or for the sum of its distances to so many whose digits are in it (rule mean)';

CREATE OR REPLACE FUNCTION dcsh._kept(rule text, likes integer, unlikes integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN CASE WHEN unlikes > 0 THEN
        format(CASE rule WHEN 'min' THEN '%1$s <= %3$s'
                         WHEN 'mean' THEN '%1$s::bigint * %4$s <= %3$s::bigint * %2$s' END,
               dcsh._to_examples(rule, '$2', likes), likes,
               dcsh._to_examples(rule, '$7', unlikes), unlikes)
    ELSE 'true' END;
COMMENT ON FUNCTION dcsh._kept IS 'Condition that c.code is no farther from the likes in $2 than from the unlikes in $7';

-- The nearest to each liked code are walked to.  Up to where the shortest of these walks broke off
-- all chips are known then; where too few of them are kept, all walk on.  The first walks allow for the
-- chips that are left out, unless these are many, which are seldom all near to one like.
CREATE OR REPLACE FUNCTION dcsh._walk_to_examples(
    archive text, likes bit varying[], unlikes bit varying[], left_out bigint[], k integer,
    area dcsh.area, since timestamptz, until timestamptz, max_distance integer,
    OUT ids bigint[], OUT distances integer[]
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    chips double precision := (SELECT greatest(r.reltuples, 0) FROM pg_class r
                               WHERE r.oid = format('dcsh.%I', archive)::regclass);
    reach bigint := k::bigint + least(cardinality(left_out), 100);
    enough boolean := false;
BEGIN
    -- A step takes about the time of a hundred chips in one pass over all.
    WHILE NOT enough AND reach <= 1000 + chips / 100 LOOP
        EXECUTE format($query$
            WITH walked AS MATERIALIZED (
                SELECT e.n, h.id, h.distance
                FROM unnest($2) WITH ORDINALITY e(code, n),
                    LATERAL dcsh.similar($9, e.code, $10, $1, $4, $5, $6) h
            ), broken_off AS (
                SELECT min(b.chip) AS chip
                FROM (SELECT max(ARRAY[w.distance, w.id]) AS chip
                      FROM walked w GROUP BY w.n HAVING count(*) = $10) b
            ), nearest AS (
                SELECT c.id, min(w.distance) AS distance
                FROM walked w JOIN dcsh.%I c ON c.id = w.id
                WHERE c.id <> ALL ($8) AND %s
                GROUP BY c.id
                HAVING (ARRAY[min(w.distance), c.id] <= (SELECT b.chip FROM broken_off b))
                    IS NOT FALSE
                ORDER BY distance, c.id
                LIMIT $3
            )
            SELECT coalesce(array_agg(n.id), '{}'), coalesce(array_agg(n.distance), '{}'),
                   count(*) = $3 OR (SELECT b.chip IS NULL FROM broken_off b)
            FROM nearest n
        $query$, archive, dcsh._kept('min', cardinality(likes), cardinality(unlikes)))
        INTO ids, distances, enough
        USING area, likes, k, since, until, max_distance, unlikes, left_out, archive,
              reach::integer;
        reach := 4 * reach;
    END LOOP;
    IF NOT enough THEN
        ids := NULL;
        distances := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh._walk_to_examples IS 'The k chips nearest to the nearest liked code, found by the index on codes; NULL where comparing all codes is faster';

CREATE OR REPLACE FUNCTION dcsh.similar_to_examples(
    archive text, likes bigint[], unlikes bigint[] DEFAULT '{}', k integer DEFAULT 10,
    rule text DEFAULT 'min', area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL, max_distance integer DEFAULT NULL
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    liked bit varying[] := dcsh._example_codes(archive, likes);
    unliked bit varying[] := dcsh._example_codes(archive, unlikes);
    left_out bigint[] := likes || unlikes;
    place dcsh.area := dcsh._to_lonlat(area);
    distance text := dcsh._to_examples(dcsh._check_rule(rule), '$2', cardinality(liked));
    kept text := dcsh._kept(rule, cardinality(liked), cardinality(unliked));
    near text := 'SELECT w.id, w.distance FROM unnest($9, $10) w(id, distance)';
    walked_ids bigint[];
    walked_distances integer[];
BEGIN
    PERFORM dcsh._check_k(k);
    PERFORM dcsh._check_max_distance(max_distance);
    IF cardinality(liked) = 0 THEN
        RAISE EXCEPTION 'no chip is liked'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'name at least one chip: likes => ARRAY[42]';
    END IF;
    IF likes && unlikes THEN
        RAISE EXCEPTION 'chip % is both liked and unliked',
                (SELECT min(l) FROM unnest(likes) l WHERE l = ANY (unlikes))
            USING ERRCODE = 'invalid_parameter_value', HINT = 'name it in one of the two only';
    END IF;
    -- Each walk looks anew for the chips that meet conditions; for many likes that is once too often.
    IF rule = 'min' AND dcsh._code_index(archive) IS NOT NULL
        AND (cardinality(liked) <= 10 OR num_nonnulls(area, since, until) = 0)
    THEN
        SELECT w.ids, w.distances INTO walked_ids, walked_distances
            FROM dcsh._walk_to_examples(
                archive, liked, unliked, left_out, k, place, since, until, max_distance) w;
    END IF;
    IF walked_ids IS NULL THEN
        IF rule = 'mean' THEN
            distance := format('(2 * %s + %s) / %s',
                               distance, cardinality(liked), 2 * cardinality(liked));
            liked := dcsh._digits(liked);
            unliked := dcsh._digits(unliked);
        END IF;
        near := format($query$
            SELECT c.id, %2$s AS distance
            FROM dcsh.%1$I c
            WHERE %3$s
            ORDER BY distance, c.id
            LIMIT $3
        $query$, archive, distance, concat_ws(' AND ',
            'c.id <> ALL ($8)',
            kept,
            CASE WHEN area IS NOT NULL THEN dcsh._meets() END,
            CASE WHEN since IS NOT NULL THEN 'c.acquired >= $4' END,
            CASE WHEN until IS NOT NULL THEN 'c.acquired < $5' END,
            CASE WHEN max_distance IS NOT NULL THEN format('%s <= $6', distance) END));
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT c.id, near.distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM (%2$s) near JOIN dcsh.%1$I c ON c.id = near.id
        ORDER BY near.distance, near.id
    $query$, archive, near)
    USING place, liked, k, since, until, max_distance, unliked, left_out,
          walked_ids, walked_distances;
    PERFORM dcsh._check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.similar_to_examples IS 'The k chips of an archive most like the liked ones, by (distance, id): distance is that to the nearest like (rule min) or the mean to all likes in whole bits (rule mean); chips nearer to the unlikes by the same rule are refused, likes and unlikes left out; otherwise as dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh._covering(
    archive text, region dcsh.area, min_share double precision
) RETURNS bigint[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    covering bigint[];
BEGIN
    IF min_share IS NULL OR min_share < 0 OR min_share > 1 THEN
        RAISE EXCEPTION 'min_share must lie between 0 and 1, not %', coalesce(min_share::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'a chip that lies in the region has 1';
    END IF;
    -- A point or a line has no area: every chip that it meets holds all of it.
    EXECUTE format($query$
        SELECT array_agg(s.id ORDER BY s.id)
        FROM (SELECT m.id, m.share, max(m.share) OVER () AS best
              FROM (SELECT c.id, coalesce(dcsh._common_area(c.geom, $1)
                               / nullif(least(dcsh._area_of(c.geom), dcsh._area_of($1)), 0), 1) AS share
                    FROM dcsh.%I c WHERE %s) m) s
        WHERE round((s.share / nullif(s.best, 0))::numeric, 6) >= $2
    $query$, archive, dcsh._meets()) INTO covering USING region, min_share;
    RETURN covering;
END
$$;
COMMENT ON FUNCTION dcsh._covering IS 'The chips that cover a region; NULL for none';

CREATE OR REPLACE FUNCTION dcsh.similar_region(
    archive text, region dcsh.area, k integer DEFAULT 10, rule text DEFAULT 'min',
    area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL, min_share double precision DEFAULT 0.6
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    covering bigint[] := dcsh._covering(archive, dcsh._to_lonlat(region), min_share);
BEGIN
    IF covering IS NULL THEN
        RAISE EXCEPTION 'no chip of archive "%" covers the region', archive
            USING ERRCODE = 'no_data_found',
                  HINT = 'longitude comes first; dcsh.extent tells where the archive lies';
    END IF;
    RETURN QUERY SELECT * FROM dcsh.similar_to_examples(
        archive, covering, '{}', k, rule, area, since, until, max_distance);
END
$$;
COMMENT ON FUNCTION dcsh.similar_region IS 'The k chips of an archive most like those that cover a region, which are left out: chips that have at least min_share of the overlap with it that the chip has which overlaps it most, each as a share of the smaller of chip and region; rule and the rest as dcsh.similar_to_examples';
