-- Search by several examples: chips that the user likes and dislikes, or a drawn region.

CREATE OR REPLACE FUNCTION dcsh_private.check_rule(rule text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF rule IS NULL OR rule NOT IN ('min', 'mean', 'rocchio') THEN
        RAISE EXCEPTION 'unknown rule %', coalesce(quote_literal(rule), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'use min, the distance to the nearest example, mean, the mean distance to all of them, or rocchio, the distance weighted by how the likes differ from the unlikes';
    END IF;
    RETURN rule;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_rule IS 'The rule, or an error if it is none of min, mean and rocchio';

CREATE OR REPLACE FUNCTION dcsh_private.example_codes(archive text, ids bigint[]) RETURNS bit varying[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    codes bit varying[];
    known bigint[];
BEGIN
    EXECUTE format($query$
        SELECT coalesce(array_agg(c.code::bit varying ORDER BY c.id), '{}'), array_agg(c.id)
        FROM dcsh.%I c WHERE c.id = ANY ($1)
    $query$, archive)
    INTO codes, known USING ids;
    PERFORM dcsh.code_of(archive, given.id)  -- reports one that is missing
        FROM unnest(ids) given(id) WHERE (given.id = ANY (known)) IS NOT TRUE;
    RETURN codes;
END
$$;
COMMENT ON FUNCTION dcsh_private.example_codes IS 'The codes of chips by id, each chip once';

CREATE OR REPLACE FUNCTION dcsh_private.bit_length(number integer) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT
    RETURN length(ltrim(number::bit(32)::text, '0'));
COMMENT ON FUNCTION dcsh_private.bit_length IS 'Number of binary digits of a positive number';

CREATE OR REPLACE FUNCTION dcsh_private.ones(codes bit varying[]) RETURNS integer[]
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
    SELECT array_agg(b.ones ORDER BY b.n)
    FROM (SELECT n, sum(get_bit(e.code, n))::integer AS ones
          FROM unnest(codes) e(code), generate_series(0, length(codes[1]) - 1) n
          GROUP BY n) b
$$;
COMMENT ON FUNCTION dcsh_private.ones IS 'How many of some codes have each bit set, or NULL without codes';

CREATE OR REPLACE FUNCTION dcsh_private.bit_planes(numbers integer[], largest integer) RETURNS bit varying[]
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
    SELECT array_agg(p.plane ORDER BY p.place)
    FROM (SELECT place, string_agg((u.number >> place & 1)::text, '' ORDER BY u.n)::bit varying AS plane
          FROM unnest(numbers) WITH ORDINALITY u(number, n),
               generate_series(0, dcsh_private.bit_length(largest) - 1) place
          GROUP BY place) p
$$;
COMMENT ON FUNCTION dcsh_private.bit_planes IS 'A number of each bit, from 0 to the largest, in binary: one code for each place value, 1 first';

-- Rule mean: only the sum, which is exact. If a bit of c.code is 0, its distances to n examples add up to
-- the count of ones among theirs; if it is 1, to n minus that count. Distances to the bit planes of the
-- counts give the same, but with 2^planes - 1 instead of n: log(n) terms, not n.
-- Written out and not as a subquery, which parallel workers could not run before PostgreSQL 17.
CREATE OR REPLACE FUNCTION dcsh_private.distance_to_examples(rule text, parameter text, examples integer)
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
                (1 << dcsh_private.bit_length(examples)) - 1 - examples)
            FROM generate_series(0, dcsh_private.bit_length(examples) - 1) place)
    END;
COMMENT ON FUNCTION dcsh_private.distance_to_examples IS 'Expression for the distance from c.code to the nearest of the codes in a parameter (rule min), or for the sum of its distances to the codes whose bit planes are in it (rule mean)';

CREATE OR REPLACE FUNCTION dcsh_private.unlike_condition(rule text, likes integer, unlikes integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN CASE WHEN unlikes > 0 THEN
        format(CASE rule WHEN 'min' THEN '%1$s <= %3$s'
                         WHEN 'mean' THEN '%1$s::bigint * %4$s <= %3$s::bigint * %2$s' END,
               dcsh_private.distance_to_examples(rule, '$1', likes), likes,
               dcsh_private.distance_to_examples(rule, '$2', unlikes), unlikes)
    ELSE 'true' END;
COMMENT ON FUNCTION dcsh_private.unlike_condition IS 'Condition that c.code is no farther from the likes in $1 than from the unlikes in $2';

-- Searches the nearest to each liked code. All chips are then known up to the distance where the
-- shortest of these searches ended; if too few of them satisfy the condition, all are continued.
CREATE OR REPLACE FUNCTION dcsh_private.walk_to_examples(
    archive text, likes bit varying[], unlikes bit varying[], k integer, filter dcsh_private.filter,
    exact boolean, OUT ids bigint[], OUT distances integer[]
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    chips double precision := (SELECT greatest(r.reltuples, 0) FROM pg_class r
                               WHERE r.oid = format('dcsh.%I', archive)::regclass);
    reach bigint := k;
    is_complete boolean := false;
BEGIN
    -- A step of a search takes about the time of comparing a hundred chips in one scan.
    WHILE NOT is_complete AND reach <= 1000 + chips / 100 LOOP
        EXECUTE format($query$
            WITH walked AS MATERIALIZED (
                SELECT e.n, h.id, h.distance
                FROM unnest($1) WITH ORDINALITY e(code, n),
                    LATERAL dcsh_private.search($4, e.code, $5, $6, $7) h
            ), ended AS (
                SELECT min(e.chip) AS chip
                FROM (SELECT max(ARRAY[w.distance, w.id]) AS chip
                      FROM walked w GROUP BY w.n HAVING count(*) = $5) e
            ), nearest AS (
                SELECT c.id, min(w.distance) AS distance
                FROM walked w JOIN dcsh.%I c ON c.id = w.id
                WHERE %s
                GROUP BY c.id
                HAVING (ARRAY[min(w.distance), c.id] <= (SELECT e.chip FROM ended e)) IS NOT FALSE
                ORDER BY distance, c.id
                LIMIT $3
            )
            SELECT coalesce(array_agg(n.id), '{}'), coalesce(array_agg(n.distance), '{}'),
                   count(*) = $3 OR (SELECT e.chip IS NULL FROM ended e)
            FROM nearest n
        $query$, archive, dcsh_private.unlike_condition('min', cardinality(likes), cardinality(unlikes)))
        INTO ids, distances, is_complete
        USING likes, unlikes, k, archive, reach::integer, filter, exact;
        reach := 4 * reach;
    END LOOP;
    IF NOT is_complete THEN
        ids := NULL;
        distances := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.walk_to_examples IS 'The k chips nearest to the nearest liked code, by an index on codes; NULL if comparing all codes is faster';

-- Rocchio's formula of relevance feedback, w = 2 mean(likes) - mean(unlikes) over bits as -1 and 1. The order
-- by w . b is that by the sum of |w| over the bits in which b differs from the sign of w, a Hamming distance
-- with weights. Multiplied by both numbers of examples the weights are whole: the sum is exact, and is
-- computed from their bit planes.
CREATE OR REPLACE FUNCTION dcsh_private.rocchio(
    likes bit varying[], unlikes bit varying[], OUT code bit varying, OUT planes bit varying[],
    OUT cost text, OUT total bigint, OUT least_cost bigint[]
)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    liked integer := cardinality(likes);
    unliked integer := cardinality(unlikes);
    weights integer[];
BEGIN
    IF liked::bigint * unliked > 100000000 THEN
        RAISE EXCEPTION '% likes and % unlikes are too many for rule rocchio', liked, unliked
            USING ERRCODE = 'invalid_parameter_value', HINT = 'name at most 10000 of each';
    END IF;
    SELECT array_agg(2 * greatest(unliked, 1) * (2 * o.liked_ones - liked)
                         - liked * (2 * coalesce(o.unliked_ones, 0) - unliked) ORDER BY o.n)
        INTO weights
        FROM ROWS FROM (unnest(dcsh_private.ones(likes)), unnest(dcsh_private.ones(unlikes)))
            WITH ORDINALITY o(liked_ones, unliked_ones, n);
    SELECT string_agg(CASE WHEN w.weight = 0 THEN get_bit(likes[1], w.n::integer - 1)::text
                           ELSE (w.weight > 0)::integer::text END, '' ORDER BY w.n)::bit varying,
           dcsh_private.bit_planes(array_agg(abs(w.weight) ORDER BY w.n), greatest(max(abs(w.weight)), 1)),
           sum(abs(w.weight))
        INTO code, planes, total
        FROM unnest(weights) WITH ORDINALITY w(weight, n);
    SELECT coalesce(string_agg(format('%s * bit_count((c.code # $1[1]) & $2[%s])', 1 << n::integer - 1, n), ' + '), '0')
        INTO cost
        FROM unnest(planes) WITH ORDINALITY p(plane, n) WHERE bit_count(plane) > 0;
    SELECT 0::bigint || array_agg(l.cost ORDER BY l.cost)
        INTO least_cost
        FROM (SELECT sum(abs(weight)) OVER (ORDER BY abs(weight) ROWS UNBOUNDED PRECEDING) AS cost
              FROM unnest(weights) weight) l;
END
$$;
COMMENT ON FUNCTION dcsh_private.rocchio IS 'Rule rocchio: the code whose bits are the signs of the weights; the bit planes of their sizes; the expression for the weights of the bits in which c.code differs from it ($1[1]), by the planes ($2); the sum of all weights; the least weight of 0, 1, 2 ... bits';

CREATE OR REPLACE FUNCTION dcsh_private.comparison(
    archive text, rule text, INOUT likes bit varying[], INOUT unlikes bit varying[],
    OUT distance text, OUT condition text
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    weighted record;
BEGIN
    IF rule = 'rocchio' THEN
        weighted := dcsh_private.rocchio(likes, unlikes);
        likes := ARRAY[weighted.code];
        unlikes := weighted.planes;
        distance := format('((2 * %1$s * (%2$s) + %3$s) / (2 * %3$s))::integer',
                           dcsh_private.bits(archive), weighted.cost, greatest(weighted.total, 1));
        condition := 'true';
        RETURN;
    END IF;
    distance := dcsh_private.distance_to_examples(rule, '$1', cardinality(likes));
    condition := dcsh_private.unlike_condition(rule, cardinality(likes), cardinality(unlikes));
    IF rule = 'mean' THEN
        distance := format('(2 * %s + %s) / %s', distance, cardinality(likes), 2 * cardinality(likes));
        likes := dcsh_private.bit_planes(dcsh_private.ones(likes), cardinality(likes));
        unlikes := dcsh_private.bit_planes(dcsh_private.ones(unlikes), cardinality(unlikes));
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.comparison IS 'The distance from c.code to examples by a rule, as an expression of parameters $1 and $2, and the condition that the rule sets; their values replace the codes';

-- A walk by Hamming distance leaves out only chips that differ in at least as many bits as the last one, so
-- cost at least as much as that many of the cheapest bits. If that does not prove the k cheapest, more are
-- walked, and at last all are compared: by the same bound, only those in the radius of the k-th of those walked.
CREATE OR REPLACE FUNCTION dcsh_private.similar_by_rocchio(
    archive text, likes bit varying[], unlikes bit varying[], k integer, filter dcsh_private.filter,
    OUT ids bigint[], OUT distances integer[]
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    rule record := dcsh_private.rocchio(likes, unlikes);
    bits integer := dcsh_private.bits(archive);
    total bigint := greatest(rule.total, 1);
    -- The largest cost of a hit: what is shown as max_distance, and what the k-th of those walked costs.
    most bigint := (total * (2 * filter.max_distance + 1) - 1) / (2 * bits);
    chips double precision := (SELECT greatest(r.reltuples, 0) FROM pg_class r
                               WHERE r.oid = format('dcsh.%I', archive)::regclass);
    has_index boolean := dcsh_private.code_index(archive) IS NOT NULL;
    any_distance dcsh_private.filter := filter;
    reach bigint := greatest(2 * k::bigint, 200);
    walked bigint[];
    last_distance integer;
    last_cost bigint;
    radius integer;
BEGIN
    any_distance.max_distance := NULL;
    LOOP
        walked := NULL;
        -- A step of a search takes about the time of comparing a hundred chips in one scan.
        IF has_index AND reach <= 1000 + chips / 100 THEN
            SELECT coalesce(array_agg(h.id), '{}'), max(h.distance) INTO walked, last_distance
                FROM dcsh_private.search(archive, rule.code, reach::integer, any_distance) h;
        END IF;
        EXECUTE format($query$
            SELECT array_agg(n.id ORDER BY n.cost, n.id),
                   array_agg(((2 * %3$s * n.cost + %4$s) / (2 * %4$s))::integer ORDER BY n.cost, n.id),
                   CASE WHEN count(*) = $3 THEN max(n.cost) END
            FROM (SELECT c.id, %2$s AS cost
                  FROM dcsh.%1$I c
                  WHERE %5$s AND (dcsh.hamming(c.code, $1[1]) <= $6) IS NOT FALSE
                      AND (%2$s <= $5) IS NOT FALSE
                  ORDER BY cost, c.id
                  LIMIT $3) n
        $query$, archive, rule.cost, bits, total,
            CASE WHEN walked IS NULL THEN dcsh_private.where_clause(filter) ELSE 'c.id = ANY ($4)' END)
        INTO ids, distances, last_cost
        USING ARRAY[rule.code], rule.planes, k, walked, most, radius;
        most := least(last_cost, most);
        EXIT WHEN walked IS NULL OR cardinality(walked) < reach
            OR rule.least_cost[last_distance + 1] > most;
        SELECT count(*) - 1 INTO radius
            FROM unnest(rule.least_cost) l(cost) WHERE (l.cost <= most) IS NOT FALSE;
        reach := 5 * reach;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh_private.similar_by_rocchio IS 'The k chips of least cost by rule rocchio, by (cost, id), and their distances in bits: costs with weights of mean 1, rounded';

CREATE OR REPLACE FUNCTION dcsh.similar_to_examples(
    archive text, likes bigint[], unlikes bigint[] DEFAULT '{}', k integer DEFAULT 10,
    rule text DEFAULT 'min', area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL, max_distance integer DEFAULT NULL, scenes bigint[] DEFAULT NULL,
    exact boolean DEFAULT true
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    filter dcsh_private.filter := dcsh_private.checked_filter(
        archive, area, since, until, max_distance, scenes, likes || unlikes);
    liked bit varying[] := dcsh_private.example_codes(archive, likes);
    unliked bit varying[] := dcsh_private.example_codes(archive, unlikes);
    compared record;
    near text := 'SELECT * FROM unnest($4, $5) WITH ORDINALITY w(id, distance, place)';
    walked_ids bigint[];
    walked_distances integer[];
BEGIN
    PERFORM dcsh_private.check_k(k);
    PERFORM dcsh_private.check_rule(rule);
    IF cardinality(liked) = 0 THEN
        RAISE EXCEPTION 'likes must not be empty'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'name at least one chip: likes => ARRAY[42]';
    END IF;
    IF likes && unlikes THEN
        RAISE EXCEPTION 'chip % is both liked and unliked',
                (SELECT min(l) FROM unnest(likes) l WHERE l = ANY (unlikes))
            USING ERRCODE = 'invalid_parameter_value', HINT = 'name it in one of the two only';
    END IF;
    -- Each walk evaluates a selective filter again; for many likes one scan is faster.
    IF rule = 'min'
        AND (dcsh_private.code_index(archive) IS NOT NULL
             OR NOT exact AND EXISTS (SELECT FROM dcsh.recall(archive)))
        AND (cardinality(liked) <= 10 OR NOT dcsh_private.is_selective(filter))
    THEN
        SELECT w.ids, w.distances INTO walked_ids, walked_distances
            FROM dcsh_private.walk_to_examples(archive, liked, unliked, k, filter, exact) w;
    END IF;
    IF rule = 'rocchio' THEN
        SELECT r.ids, r.distances INTO walked_ids, walked_distances
            FROM dcsh_private.similar_by_rocchio(archive, liked, unliked, k, filter) r;
    ELSIF walked_ids IS NULL THEN
        SELECT * INTO compared FROM dcsh_private.comparison(archive, rule, liked, unliked);
        liked := compared.likes;
        unliked := compared.unlikes;
        near := format($query$
            SELECT c.id, %2$s AS distance, 0 AS place
            FROM dcsh.%1$I c
            WHERE %3$s
            ORDER BY distance, c.id
            LIMIT $3
        $query$, archive, compared.distance, concat_ws(' AND ',
            dcsh_private.where_clause(filter), compared.condition,
            format('%s <= ', compared.distance) || filter.max_distance));
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT c.id, near.distance, c.scene_id, c.col_off, c.row_off,
               c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM (%2$s) near JOIN dcsh.%1$I c ON c.id = near.id
        ORDER BY near.place, near.distance, near.id
    $query$, archive, near)
    USING liked, unliked, k, walked_ids, walked_distances;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.similar_to_examples IS 'The k chips of an archive most similar to the liked ones, by (distance, id): distance is that to the nearest like (rule min), the mean to all likes in whole bits (rule mean), and chips nearer to the unlikes by the same rule are rejected; or the chips are ordered by 2 mean(likes) - mean(unlikes), with bits as -1 and 1, and distance is that to the signs of this with its sizes as weights, in whole bits (rule rocchio). Likes and unlikes are left out. Rules mean and rocchio are always exact. Otherwise like dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh_private.covering(
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
    -- A point or a line has no area: every chip that it intersects covers all of it.
    EXECUTE format($query$
        SELECT array_agg(s.id ORDER BY s.id)
        FROM (SELECT m.id, m.share, max(m.share) OVER () AS best
              FROM (SELECT c.id, coalesce(dcsh_private.common_area(c.geom, $1)
                               / nullif(least(dcsh_private.area_of(c.geom), dcsh_private.area_of($1)), 0), 1) AS share
                    FROM dcsh.%I c WHERE %s) m) s
        WHERE round((s.share / nullif(s.best, 0))::numeric, 6) >= $2
    $query$, archive, coalesce(dcsh_private.area_predicate(region), 'false'))
    INTO covering USING region, min_share;
    RETURN covering;
END
$$;
COMMENT ON FUNCTION dcsh_private.covering IS 'The chips that cover a region, or NULL';

CREATE OR REPLACE FUNCTION dcsh.similar_region(
    archive text, region dcsh.area, k integer DEFAULT 10, rule text DEFAULT 'min',
    area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_distance integer DEFAULT NULL, min_share double precision DEFAULT 0.6,
    scenes bigint[] DEFAULT NULL, exact boolean DEFAULT true
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    covering bigint[];
BEGIN
    covering := dcsh_private.covering(archive, dcsh_private.to_lonlat(region), min_share);
    IF covering IS NULL THEN
        RAISE EXCEPTION 'no chip of archive "%" covers the region', archive
            USING ERRCODE = 'no_data_found',
                  HINT = 'longitude comes first; dcsh.extent shows where the archive lies';
    END IF;
    RETURN QUERY SELECT * FROM dcsh.similar_to_examples(
        archive, covering, '{}', k, rule, area, since, until, max_distance, scenes, exact);
END
$$;
COMMENT ON FUNCTION dcsh.similar_region IS 'The k chips of an archive most similar to those that cover a region, which are left out. A chip''s overlap is the share of the smaller of chip and region that both have; a chip covers the region if it has at least min_share of the largest overlap. Otherwise like dcsh.similar_to_examples';
