-- Statistics of an archive: use of bits, frequent codes, coverage in space and time.

CREATE OR REPLACE FUNCTION dcsh_private.entropy(share double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN share <= 0 OR share >= 1 THEN 0
                ELSE -(share * ln(share) + (1 - share) * ln(1 - share)) / ln(2) END;
COMMENT ON FUNCTION dcsh_private.entropy IS 'Entropy in bits of a bit that is 1 in this share of the codes';

-- Bits 32 apart are added up in one number: each sum holds two counts, of less than 2^32 chips.
CREATE OR REPLACE FUNCTION dcsh.bit_statistics(archive text)
    RETURNS TABLE (bit_number integer, ones bigint, share double precision, entropy double precision)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    bits integer := dcsh_private.bits(archive);
    chips bigint;
    counts numeric[];
BEGIN
    EXECUTE format('SELECT count(*), ARRAY[%s] FROM (SELECT %s FROM dcsh.%I c %s) w',
        (SELECT string_agg(format('sum(w%s >> %s & 4294967297)', word, 31 - n), ', ' ORDER BY word, n)
         FROM generate_series(0, (bits - 1) / 64) word, generate_series(0, 31) n),
        (SELECT string_agg(format(CASE WHEN bits <= 64 THEN 'c.code::bit(64)::bigint AS w%2$s'
                                       ELSE 'substring(c.code from %s for 64)::bit(64)::bigint AS w%s' END,
                                  64 * word + 1, word), ', ')
         FROM generate_series(0, (bits - 1) / 64) word),
        archive,
        -- Computes each word once. Citus would write the rows of such a subquery to a file first.
        CASE WHEN NOT dcsh_private.is_distributed(archive) THEN 'OFFSET 0' END)
    INTO chips, counts;
    RETURN QUERY
        SELECT s.bit_number, s.ones, s.share, dcsh_private.entropy(s.share)
        FROM (SELECT n AS bit_number, u.ones,
                     u.ones::double precision / nullif(chips, 0) AS share
              FROM generate_series(0, bits - 1) n,
                  LATERAL (SELECT coalesce(counts[n / 64 * 32 + n % 32 + 1], 0) AS sum) packed,
                  LATERAL (SELECT CASE WHEN n % 64 < 32 THEN div(packed.sum, 4294967296)
                                       ELSE mod(packed.sum, 4294967296) END::bigint AS ones) u) s
        ORDER BY s.bit_number;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.bit_statistics IS 'How the codes of an archive use each bit, numbered from 0 at the left like get_bit: the chips where it is 1, their share (balanced: 0.5), its entropy in bits (balanced: 1, constant: 0)';

-- Type bit cannot be hashed, and numbers are sorted faster than bytes.
CREATE OR REPLACE FUNCTION dcsh_private.code_key(archive text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
    RETURN CASE WHEN dcsh_private.bits(archive) <= 64 THEN 'c.code::bigint' ELSE 'bit_send(c.code)' END;
COMMENT ON FUNCTION dcsh_private.code_key IS 'Expression for a key that is equal for equal codes of chips c';

-- A function of its own because Citus writes the rows of a subquery to a file first, which takes longer than
-- the query. Most codes differ, so grouping them on the shards would be in vain.
CREATE OR REPLACE FUNCTION dcsh_private.codes_of_shards(archive text) RETURNS SETOF bit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
    ROWS 1000000
AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT c.code FROM dcsh.%I c', archive);
END
$$;
COMMENT ON FUNCTION dcsh_private.codes_of_shards IS 'The codes of a distributed archive, in any order';

CREATE OR REPLACE FUNCTION dcsh.code_statistics(
    archive text, OUT chips bigint, OUT distinct_codes bigint, OUT most_frequent bigint,
    OUT code_entropy double precision, OUT bits integer, OUT bit_entropy double precision,
    OUT constant_bits integer
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
BEGIN
    SELECT count(*), avg(round(b.entropy::numeric, 9)), count(*) FILTER (WHERE b.entropy = 0)
        INTO bits, bit_entropy, constant_bits
        FROM dcsh.bit_statistics(archive) b;
    EXECUTE format($query$
        SELECT coalesce(sum(n.chips * n.codes), 0), coalesce(sum(n.codes), 0), coalesce(max(n.chips), 0),
               ln(sum(n.chips * n.codes)::double precision) / ln(2)
                   - sum(n.codes * n.chips * (ln(n.chips::double precision) / ln(2)) ORDER BY n.chips)
                       / sum(n.chips * n.codes)::double precision
        FROM (SELECT d.chips, count(*) AS codes
              -- Most codes differ: sorting them is faster than the hash that the planner would choose.
              FROM (SELECT count(*) FROM (SELECT %s AS key FROM %s ORDER BY 1) k GROUP BY k.key) d(chips)
              GROUP BY d.chips) n
    $query$, dcsh_private.code_key(archive),
        CASE WHEN dcsh_private.is_distributed(archive)
             THEN format('dcsh_private.codes_of_shards(%L) c(code)', archive)
             ELSE format('dcsh.%I c', archive) END)
    INTO chips, distinct_codes, most_frequent, code_entropy;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.code_statistics IS 'An archive''s codes in one row: chips, different codes, chips with the most frequent one; entropy of the codes in bits, computed from their frequencies, log2(chips) if all differ; bits of a code, their mean entropy (1 is best), and how many are the same in all chips';

-- Most codes differ: sorting them is faster than hashing, which would write most groups to a file.
CREATE OR REPLACE FUNCTION dcsh.frequent_codes(archive text, most integer DEFAULT 10)
    RETURNS TABLE (
        code bit, chips bigint, share double precision, scenes bigint, first_id bigint,
        valid_fraction real
    )
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
    SET enable_hashagg = off
AS $$
DECLARE
    key text := dcsh_private.code_key(archive);
    total bigint;
BEGIN
    IF most IS NULL OR most < 1 THEN
        RAISE EXCEPTION 'most must be positive, not %', coalesce(most::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'it is the number of codes to return';
    END IF;
    EXECUTE format('SELECT count(*) FROM dcsh.%I', archive) INTO total;
    RETURN QUERY EXECUTE format($query$
        WITH counted AS (
            SELECT %2$s AS key, count(*) AS chips, min(c.id) AS first_id
            FROM dcsh.%1$I c
            GROUP BY key
            ORDER BY chips DESC, first_id
            LIMIT $1
        )
        SELECT (array_agg(c.code))[1], n.chips, n.chips / $2::double precision,
               count(DISTINCT c.scene_id), n.first_id, avg(c.valid_fraction::numeric)::real
        FROM counted n
            JOIN dcsh.%1$I c ON %2$s = n.key
        GROUP BY n.key, n.chips, n.first_id
        ORDER BY n.chips DESC, n.first_id
    $query$, archive, key) USING most, total;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.frequent_codes IS 'The most frequent codes of an archive, by (chips DESC, first_id): black images, clouds, calm water. For each the chips and their share of all, their scenes, the first of them, and the mean share of valid pixels';

-- Chips at even steps of the ids, which follow the order of ingestion: so neighbours in a scene, which are
-- more similar than other chips, are rarely compared. Removed scenes leave gaps in the ids.
CREATE OR REPLACE FUNCTION dcsh.pair_distances(archive text, sample integer DEFAULT 256)
    RETURNS TABLE (distance integer, pairs bigint)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    first bigint;
    length bigint;
BEGIN
    IF sample IS NULL OR sample NOT BETWEEN 2 AND 10000 THEN
        RAISE EXCEPTION 'sample must be from 2 to 10000, not %', coalesce(sample::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'it is the number of chips to compare';
    END IF;
    EXECUTE format('SELECT min(c.id), max(c.id) - min(c.id) + 1 FROM dcsh.%I c', archive)
        INTO first, length;
    RETURN QUERY EXECUTE format($query$
        WITH taken AS MATERIALIZED (
            SELECT c.id, c.code FROM dcsh.%I c WHERE c.id = ANY ($1)
        )
        SELECT dcsh.hamming(a.code, b.code) AS distance, count(*) AS pairs
        FROM taken a JOIN taken b ON a.id < b.id
        GROUP BY 1
        ORDER BY 1
    $query$, archive)
    USING ARRAY(SELECT first + step * length / sample FROM generate_series(0, sample - 1) step);
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.pair_distances IS 'How many pairs of chips have each Hamming distance, among a sample of at most this many chips spread evenly over an archive, or among all if it has fewer; the same sample every time. A distance that many random pairs have is not near';

-- Counted when an ingest ends, because a sample large enough for small shares takes longer than a search.
CREATE OR REPLACE FUNCTION dcsh_private.store_pair_distances(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    counted bigint[];
BEGIN
    IF target.pair_distances IS NOT NULL THEN
        RETURN;
    END IF;
    counted := dcsh_private.counted_pairs(archive, 1000);
    UPDATE dcsh.archive a SET pair_distances = counted WHERE a.id = target.id;
END
$$;
COMMENT ON FUNCTION dcsh_private.store_pair_distances IS 'Store the distances of random pairs of an archive, unless no chip was stored since they were';

CREATE OR REPLACE FUNCTION dcsh_private.counted_pairs(archive text, sample integer) RETURNS bigint[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    counted bigint[] := array_fill(0::bigint, ARRAY[dcsh_private.bits(archive) + 1]);
    found record;
BEGIN
    FOR found IN SELECT p.distance, p.pairs FROM dcsh.pair_distances(archive, sample) p LOOP
        counted[found.distance + 1] := found.pairs;
    END LOOP;
    RETURN counted;
END
$$;
COMMENT ON FUNCTION dcsh_private.counted_pairs IS 'dcsh.pair_distances as an array: the number of pairs at distance 0, 1, 2 ...';

CREATE OR REPLACE FUNCTION dcsh_private.pair_shares(archive text) RETURNS double precision[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    counted bigint[] := coalesce((dcsh_private.archive(archive)).pair_distances,
                                 dcsh_private.counted_pairs(archive, 256));
BEGIN
    RETURN (SELECT array_agg(round(n.pairs / n.total, 6)::double precision ORDER BY n.place)
            FROM (SELECT u.place, sum(u.pairs) OVER (ORDER BY u.place) AS pairs, sum(u.pairs) OVER () AS total
                  FROM unnest(counted) WITH ORDINALITY u(pairs, place)) n
            WHERE n.total > 0);
END
$$;
COMMENT ON FUNCTION dcsh_private.pair_shares IS 'The shares of random pairs of an archive''s chips that are at most 0, 1, 2 ... bits apart; NULL without pairs';

CREATE OR REPLACE FUNCTION dcsh.pair_share(archive text, distance integer) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT (dcsh_private.pair_shares(archive))[distance + 1]
$$;
COMMENT ON FUNCTION dcsh.pair_share IS 'The share of random pairs of an archive''s chips that are at most this many bits apart, 0 to 1: of the pairs of 1000 chips, counted when the last ingest ended, or of 256 if chips were stored since. A hit at a distance that many random pairs have is not near. NULL for fewer than two chips';

CREATE OR REPLACE FUNCTION dcsh_private.round_cell(span double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT
    RETURN (
        SELECT min(digit * 10::numeric ^ exponent)
        FROM unnest(ARRAY[1, 2, 5]) digit, generate_series(-12, 2) exponent
        WHERE digit * 10::numeric ^ exponent * 50 >= span::numeric
    );
COMMENT ON FUNCTION dcsh_private.round_cell IS 'The least of 1, 2 and 5 times a power of ten that covers a span in at most 50 cells';

CREATE OR REPLACE FUNCTION dcsh.coverage(
    archive text, cell double precision DEFAULT NULL, every text DEFAULT NULL,
    area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    scenes bigint[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, geom dcsh.hit.geom%TYPE, period timestamptz, chips bigint, scene_count bigint,
    first_acquired timestamptz, last_acquired timestamptz, valid_fraction real
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    predicate text := dcsh_private.where_clause(
        dcsh_private.checked_filter(archive, area, since, until, scenes => scenes));
    side double precision := coalesce(cell, (
        SELECT dcsh_private.round_cell(greatest(e.east - e.west, e.north - e.south))
        FROM dcsh.extent(archive) e));
BEGIN
    IF side <= 0 OR side > 360 THEN
        RAISE EXCEPTION 'cell must be above 0 and at most 360 degrees, not %', side
            USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL chooses a round size';
    END IF;
    IF every NOT IN ('hour', 'day', 'week', 'month', 'quarter', 'year') THEN
        RAISE EXCEPTION 'every must be hour, day, week, month, quarter or year, not "%"', every
            USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL counts all times as one period';
    END IF;
    -- Grouped by scene first: Citus groups on the shards and returns only the parts.
    RETURN QUERY EXECUTE format($query$
        WITH part AS (
            SELECT floor((dcsh_private.west(c.geom) + dcsh_private.east(c.geom)) / 2 / $1) AS x,
                   floor((dcsh_private.south(c.geom) + dcsh_private.north(c.geom)) / 2 / $1) AS y,
                   date_trunc($2, c.acquired, 'UTC') AS period, c.scene_id, count(*) AS chips,
                   min(c.acquired) AS first_acquired, max(c.acquired) AS last_acquired,
                   sum(round(c.valid_fraction * 1e9)::bigint) AS valid_billionths
            FROM dcsh.%I c
            WHERE %s
            GROUP BY 1, 2, 3, 4
        ), cell AS (
            SELECT p.x, p.y, p.period, sum(p.chips)::bigint AS chips, count(*) AS scene_count,
                   min(p.first_acquired) AS first_acquired, max(p.last_acquired) AS last_acquired,
                   (sum(p.valid_billionths) / sum(p.chips) / 1e9)::real AS valid_fraction
            FROM part p
            GROUP BY p.x, p.y, p.period
        )
        SELECT row_number() OVER (ORDER BY n.period, n.y, n.x),
               dcsh_private.rectangle(n.x * $1, n.y * $1, (n.x + 1) * $1, (n.y + 1) * $1),
               n.period, n.chips, n.scene_count, n.first_acquired, n.last_acquired, n.valid_fraction
        FROM cell n
        ORDER BY 1
    $query$, archive, predicate) USING side, every;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.coverage IS 'Where and when an archive has chips: on a grid of square cells of this many degrees (NULL: a round size, at most 50 a side), and with every (hour, day, week, month, quarter or year) in each period, in UTC. A chip counts in the cell of the centre of its bounds; chips without footprint or time have rows of their own. By id, numbered by (period, south, west). Filtered like dcsh.similar';
