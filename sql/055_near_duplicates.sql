-- Near duplicates: groups of chips whose codes are connected by steps of at most radius bits. Exact.

-- The pigeonhole principle: of radius + agreeing blocks of bits, at most radius contain a bit that
-- differs, so at least agreeing blocks are equal. Every choice of that many blocks is a mask.
CREATE OR REPLACE FUNCTION dcsh_private.masks(bits integer[], radius integer, agreeing integer)
    RETURNS SETOF bit varying
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
    WITH RECURSIVE choice(blocks, last) AS (
        SELECT ARRAY[]::integer[], 0
        UNION ALL
        SELECT c.blocks || b, b
        FROM choice c, generate_series(c.last + 1, radius + agreeing) b
        WHERE cardinality(c.blocks) < agreeing
    )
    SELECT string_agg(CASE WHEN d.block = ANY (c.blocks) THEN '1' ELSE '0' END, '' ORDER BY d.bit)
        ::bit varying
    FROM choice c,
        (SELECT o.bit, ((o.place - 1) % (radius + agreeing) + 1)::integer AS block
         FROM unnest(bits) WITH ORDINALITY o(bit, place)) d
    WHERE cardinality(c.blocks) = agreeing
    GROUP BY c.blocks
    ORDER BY c.blocks
$$;
COMMENT ON FUNCTION dcsh_private.masks IS 'Masks such that any two codes at most radius bits apart are equal under one of them; bits are assigned to blocks in turn, in the order given';

-- Bits are assigned to blocks by their balance, so that no block has only nearly constant bits. More
-- blocks give masks of more bits, under which fewer codes are equal, but also more masks: a pass over the
-- codes takes about 1 us a code, a candidate pair about 0.15 us.
CREATE OR REPLACE FUNCTION dcsh_private.pair_masks(
    sample bit[], total bigint, radius integer, OUT masks bit varying[], OUT dense boolean
)
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
    WITH balance AS MATERIALIZED (
        SELECT array_agg(b.bit ORDER BY b.off_balance, b.bit) AS bits
        FROM (SELECT n AS bit, abs(2 * sum(get_bit(s.code, n)) - count(*)) AS off_balance
              FROM unnest(sample) s(code), generate_series(0, length(sample[1]) - 1) n
              GROUP BY n) b
    ), mask AS MATERIALIZED (
        SELECT a.agreeing, m.mask
        FROM (VALUES (1, radius + 1),
                     (2, (radius + 1) * (radius + 2) / 2),
                     (3, (radius + 1) * (radius + 2) / 2 * (radius + 3) / 3)) a(agreeing, masks),
            balance, dcsh_private.masks(balance.bits, radius, a.agreeing) m(mask)
        WHERE a.agreeing = 1 OR a.masks <= 100
    ), pass AS (
        SELECT m.agreeing, m.mask,
               sum(equal.codes * (equal.codes - 1) / 2)
                   * (total::double precision / cardinality(sample)) ^ 2 AS pairs
        FROM mask m,
            LATERAL (SELECT count(*) AS codes FROM unnest(sample) s(code)
                     GROUP BY bit_send(s.code & m.mask)) equal
        GROUP BY m.agreeing, m.mask
    )
    SELECT array_agg(p.mask ORDER BY p.mask), sum(0.15 * p.pairs) > 4 * sum(total)
    FROM pass p
    GROUP BY p.agreeing
    ORDER BY sum(total + 0.15 * p.pairs), p.agreeing
    LIMIT 1
$$;
COMMENT ON FUNCTION dcsh_private.pair_masks IS 'Masks that find the pairs of total codes fastest, estimated from a sample; dense if the pairs take far longer than the passes';

-- The roots are those of a union-find forest: a root is its own root and the first of its group. Pairs
-- with one root are skipped, so dense codes are connected within half the radius first; else a cluster of
-- n codes would give n^2 pairs. Arrays, because a standby cannot create temporary tables.
CREATE OR REPLACE FUNCTION dcsh_private.connected(codes bit[], radius integer) RETURNS integer[]
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET enable_nestloop = off
AS $$
DECLARE
    native regproc := dcsh_private.hamming_function('hamming_connect');
    roots integer[] := ARRAY(SELECT generate_series(1, cardinality(codes)));
    sample bit varying[] := ARRAY(
        SELECT u.code FROM unnest(codes) WITH ORDINALITY u(code, n)
        WHERE u.n % greatest(cardinality(codes) / 1000, 1) = 0);
    reach integer := radius;
    reaches integer[];
    masks bit varying[];
    found record;
    a integer;
    b integer;
BEGIN
    IF radius > 0 AND native IS NOT NULL THEN
        -- With more comparisons, 0.3 ns each, the passes over masks are faster.
        EXECUTE format('SELECT %s($1, $2, $3)', native)
            INTO roots USING codes, radius, 20000 * radius;
        IF roots IS NOT NULL THEN
            RETURN roots;
        END IF;
        roots := ARRAY(SELECT generate_series(1, cardinality(codes)));
    END IF;
    WHILE reach > 0 AND cardinality(codes) > 1 LOOP
        SELECT * INTO found FROM dcsh_private.pair_masks(sample, cardinality(codes), reach);
        masks := found.masks || masks;
        reaches := array_fill(reach, ARRAY[cardinality(found.masks)]) || reaches;
        EXIT WHEN NOT found.dense;
        reach := reach / 2;
    END LOOP;
    FOR pass IN 1 .. coalesce(cardinality(masks), 0) LOOP
        FOR a, b IN EXECUTE $query$
            WITH entry AS MATERIALIZED (
                SELECT u.code, u.root, bit_send(u.code & $3) AS key
                FROM unnest($1, $2) u(code, root)
            ), meeting AS MATERIALIZED (
                SELECT e.*, k.first, k.last
                FROM entry e JOIN (SELECT key, min(root) AS first, max(root) AS last
                                   FROM entry GROUP BY key HAVING min(root) < max(root)) k
                    ON k.key = e.key
            )
            SELECT a.root, b.root
            FROM meeting a JOIN meeting b ON a.key = b.key AND a.root < b.root
            WHERE a.root < a.last AND b.root > b.first AND dcsh.hamming(a.code, b.code) <= $4
        $query$ USING codes, roots, masks[pass], reaches[pass]
        LOOP
            WHILE roots[a] <> a LOOP
                roots[a] := roots[roots[a]];
                a := roots[a];
            END LOOP;
            WHILE roots[b] <> b LOOP
                roots[b] := roots[roots[b]];
                b := roots[b];
            END LOOP;
            IF a < b THEN
                roots[b] := a;
            ELSE
                roots[a] := b;
            END IF;
        END LOOP;
        FOR a IN 1 .. cardinality(roots) LOOP
            roots[a] := roots[roots[a]];
        END LOOP;
    END LOOP;
    RETURN roots;
END
$$;
COMMENT ON FUNCTION dcsh_private.connected IS 'For each of several distinct codes, the position of the first one that it is connected to by steps of at most radius bits';

CREATE OR REPLACE FUNCTION dcsh.near_duplicates(
    archive text, radius integer, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, scenes bigint[] DEFAULT NULL
) RETURNS TABLE (
    group_id bigint, id bigint, distance integer, scene_id bigint, col_off integer,
    row_off integer, width integer, height integer, geom dcsh.hit.geom%TYPE,
    acquired timestamptz, valid_fraction real
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    bits integer := dcsh_private.bits(archive);
    predicate text := dcsh_private.where_clause(
        dcsh_private.checked_filter(archive, area, since, until, scenes => scenes));
    codes bit varying[];
    firsts bigint[];
    chips bigint[];
BEGIN
    IF radius IS NULL OR radius < 0 OR radius >= bits THEN
        RAISE EXCEPTION 'radius must be from 0 to %, not %', bits - 1, coalesce(radius::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '0 groups the chips with the same code, a few bits more near duplicates';
    END IF;
    EXECUTE format($query$
        SELECT array_agg(d.code), array_agg(d.first), array_agg(d.chips)
        FROM (SELECT f.code, k.first, k.chips
              FROM (SELECT min(c.id) AS first, count(*) AS chips
                    FROM dcsh.%1$I c WHERE %2$s GROUP BY bit_send(c.code)) k
                  JOIN dcsh.%1$I f ON f.id = k.first
              ORDER BY k.first) d
    $query$, archive, predicate) INTO codes, firsts, chips;

    RETURN QUERY EXECUTE format($query$
        WITH member AS (
            SELECT bit_send(u.code) AS key, sum(u.chips) OVER same AS chips,
                   first_value(u.first) OVER same AS group_id,
                   first_value(u.code) OVER same AS first_code
            FROM unnest($1, $2, $3, $4) u(code, first, chips, root)
            WINDOW same AS (PARTITION BY u.root ORDER BY u.first
                            RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        )
        SELECT m.group_id, c.id, dcsh.hamming(c.code, m.first_code), c.scene_id, c.col_off,
               c.row_off, c.width, c.height, c.geom, c.acquired, c.valid_fraction
        FROM member m JOIN dcsh.%I c ON bit_send(c.code) = m.key
        WHERE m.chips > 1 AND %s
        ORDER BY m.group_id, c.id
    $query$, archive, predicate)
    USING codes, firsts, chips, dcsh_private.connected(codes, radius);
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.near_duplicates IS 'Groups of two or more chips, each connected to the next by codes at most radius bits apart, by (group_id, id); group_id is the smallest id of the group, distance is measured to that chip. Filtered like dcsh.similar';
