-- Change between two periods, location by location.

-- The type of footprints differs between PostGIS and plain PostgreSQL, so it is taken from dcsh.hit.
-- Neither STRICT nor with a search_path of its own, so that queries inline it.
CREATE OR REPLACE FUNCTION dcsh_private.overlap(a dcsh.hit.geom%TYPE, b dcsh.hit.geom%TYPE)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN round((dcsh_private.common_area(a, b)
                  / nullif(greatest(dcsh_private.area_of(a), dcsh_private.area_of(b)), 0))::numeric, 6);
COMMENT ON FUNCTION dcsh_private.overlap IS 'Area that two footprints have in common, as a share of the larger one, to six decimals';

CREATE OR REPLACE FUNCTION dcsh_private.newest_condition(chips text, chip text, period text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format($condition$
        %2$s.acquired <@ %3$s AND NOT EXISTS (
            SELECT FROM %1$s newer
            WHERE newer.geom %4$s %2$s.geom AND newer.acquired <@ %3$s
                AND newer.acquired > %2$s.acquired
                AND dcsh_private.overlap(newer.geom, %2$s.geom) >= $3)
    $condition$, chips, chip, period, dcsh_private.bounds_operator());
COMMENT ON FUNCTION dcsh_private.newest_condition IS 'Condition that a chip was acquired in a period and no newer one of that period overlaps it by $3 or more';

-- Citus joins a distributed table with itself only on its key, so the chips are collected first.
CREATE OR REPLACE FUNCTION dcsh_private.period_query(chips text, period text, is_bounded boolean) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format($query$
        SELECT x.id, x.scene_id, x.acquired, x.geom, x.code
        FROM %s x WHERE x.acquired <@ %s AND %s
    $query$, chips, period,
        CASE WHEN is_bounded THEN format('x.geom %s $5::%s', dcsh_private.bounds_operator(), dcsh_private.plain_type()) ELSE 'true' END);
COMMENT ON FUNCTION dcsh_private.period_query IS 'The query for the chips of a period, optionally within the bounds $5';

CREATE OR REPLACE FUNCTION dcsh_private.period_bounds(archive text, predicate text, period tstzrange)
    RETURNS dcsh.area
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    bounds dcsh.area;
BEGIN
    EXECUTE format($query$
        SELECT dcsh_private.rectangle(
            min(dcsh_private.west(c.geom)), min(dcsh_private.south(c.geom)),
            max(dcsh_private.east(c.geom)), max(dcsh_private.north(c.geom)))
        FROM dcsh.%I c
        WHERE c.acquired <@ $1 AND %s
    $query$, archive, predicate) INTO bounds USING period;
    RETURN bounds;
END
$$;
COMMENT ON FUNCTION dcsh_private.period_bounds IS 'Bounds of the chips of a period that satisfy a predicate, or NULL';

CREATE OR REPLACE FUNCTION dcsh.change(
    archive text, before tstzrange, after tstzrange, area dcsh.area DEFAULT NULL,
    min_overlap double precision DEFAULT 0.5, k integer DEFAULT NULL, scenes bigint[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, distance integer, before_id bigint, overlap double precision,
    scene_id bigint, before_scene_id bigint, acquired timestamptz, before_acquired timestamptz,
    geom dcsh.hit.geom%TYPE
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    predicate text := dcsh_private.where_clause(dcsh_private.checked_filter(archive, area));
    -- Inlined by the planner, so that the indexes of the table are used.
    chips text := format('(SELECT * FROM dcsh.%I c WHERE %s)', archive,
                         dcsh_private.where_clause(dcsh_private.checked_filter(archive, scenes => scenes)));
    earlier text := chips;
    later text := chips;
    collected text := '';
    bounds dcsh.area;
BEGIN
    IF before IS NULL OR after IS NULL OR isempty(before) OR isempty(after)
        OR NOT before << after
    THEN
        RAISE EXCEPTION 'period % must be before period %',
                coalesce(before::text, 'NULL'), coalesce(after::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'write before => ''[2019-01-01,2020-01-01)'', after => ''[2021-01-01,2022-01-01)''';
    END IF;
    IF min_overlap IS NULL OR min_overlap <= 0 OR min_overlap > 1 THEN
        RAISE EXCEPTION 'min_overlap must be above 0 and at most 1, not %',
                coalesce(min_overlap::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'two chips with the same footprint have 1';
    END IF;
    IF k IS NOT NULL THEN
        PERFORM dcsh_private.check_k(k);
    END IF;
    IF dcsh_private.is_distributed(archive) THEN
        earlier := 'early';
        later := 'late';
        collected := format('WITH early AS MATERIALIZED (%s), late AS MATERIALIZED (%s)',
            dcsh_private.period_query(chips, '$1', area IS NOT NULL),
            dcsh_private.period_query(chips, '$2', area IS NOT NULL));
        bounds := CASE WHEN area IS NOT NULL
            THEN dcsh_private.period_bounds(archive, predicate, after) END;
    END IF;
    RETURN QUERY EXECUTE format($query$
        %5$s
        SELECT c.id, dcsh.hamming(c.code, earlier.code) AS distance, earlier.id, earlier.overlap,
               c.scene_id, earlier.scene_id, c.acquired, earlier.acquired, c.geom
        FROM %1$s c CROSS JOIN LATERAL (
            SELECT b.id, b.scene_id, b.acquired, b.code,
                   dcsh_private.overlap(b.geom, c.geom) AS overlap
            FROM %2$s b
            WHERE b.geom %7$s c.geom AND dcsh_private.overlap(b.geom, c.geom) >= $3 AND %4$s
            ORDER BY overlap DESC, b.acquired DESC, b.id
            LIMIT 1
        ) earlier
        WHERE %3$s AND %6$s
        ORDER BY distance DESC, c.id
        LIMIT $4
    $query$, later, earlier, predicate, dcsh_private.newest_condition(earlier, 'b', '$1'), collected,
        dcsh_private.newest_condition(later, 'c', '$2'), dcsh_private.bounds_operator())
    USING before, after, min_overlap, k, bounds;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.change IS 'What changed between two periods, by (distance DESC, id): the newest chip of period after at each location, beside the one of period before that overlaps it most, if by at least min_overlap of the larger footprint; the k most changed or all. The later chip''s footprint intersects area, both chips are of the given scenes';
