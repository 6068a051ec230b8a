-- Change between two periods, place by place.

-- Footprints are as the layer has them: that type is taken from dcsh.hit.  Neither STRICT nor with a
-- search_path of its own, so that queries take it in.
CREATE OR REPLACE FUNCTION dcsh._overlap(a dcsh.hit.geom%TYPE, b dcsh.hit.geom%TYPE)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN round((dcsh._common_area(a, b)
                  / nullif(greatest(dcsh._area_of(a), dcsh._area_of(b)), 0))::numeric, 6);
COMMENT ON FUNCTION dcsh._overlap IS 'Share of the larger of two footprints that both have, to six decimals';

DROP FUNCTION IF EXISTS dcsh._newest_of(text, text, text);  -- its first argument had another name
CREATE OR REPLACE FUNCTION dcsh._newest_of(chips text, chip text, period text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format($condition$
        %2$s.acquired <@ %3$s AND NOT EXISTS (
            SELECT FROM %1$s newer
            WHERE newer.geom %4$s %2$s.geom AND newer.acquired <@ %3$s
                AND newer.acquired > %2$s.acquired
                AND dcsh._overlap(newer.geom, %2$s.geom) >= $4)
    $condition$, chips, chip, period, dcsh._bounds_meet());
COMMENT ON FUNCTION dcsh._newest_of IS 'Condition that a chip was acquired in a period and no newer one of that period among the chips overlaps it by the share $4 or more';

-- Citus joins a distributed table with itself on its key alone, so it is handed the chips concerned.
CREATE OR REPLACE FUNCTION dcsh._chips_of_period(archive text, period text, within boolean) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    RETURN format($query$
        SELECT x.id, x.scene_id, x.acquired, x.geom, x.code
        FROM dcsh.%I x WHERE x.acquired <@ %s AND %s
    $query$, archive, period,
        CASE WHEN within THEN format('x.geom %s $6::%s', dcsh._bounds_meet(), dcsh._plain_type()) ELSE 'true' END);
COMMENT ON FUNCTION dcsh._chips_of_period IS 'The query for the chips of a period, where asked within the bounds $6';

CREATE OR REPLACE FUNCTION dcsh._bounds_of_period(archive text, area dcsh.area, period tstzrange)
    RETURNS dcsh.area
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    bounds dcsh.area;
BEGIN
    EXECUTE format($query$
        SELECT dcsh._rectangle(min(b[1]), min(b[2]), max(b[3]), max(b[4]))
        FROM dcsh.%I c, LATERAL dcsh._bounds(c.geom) b
        WHERE c.acquired <@ $2 AND %s
    $query$, archive, dcsh._meets()) INTO bounds USING area, period;
    RETURN bounds;
END
$$;
COMMENT ON FUNCTION dcsh._bounds_of_period IS 'Bounds of the chips of a period whose footprints meet an area; NULL for none';

CREATE OR REPLACE FUNCTION dcsh.change(
    archive text, before tstzrange, after tstzrange, area dcsh.area DEFAULT NULL,
    min_overlap double precision DEFAULT 0.5, k integer DEFAULT NULL
) RETURNS TABLE (
    id bigint, distance integer, before_id bigint, overlap double precision,
    scene_id bigint, before_scene_id bigint, acquired timestamptz, before_acquired timestamptz,
    geom dcsh.hit.geom%TYPE
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    place dcsh.area := dcsh._to_lonlat(area);
    earlier text := format('dcsh.%I', archive);
    later text := format('dcsh.%I', archive);
    chosen text := '';
    bounds dcsh.area;
BEGIN
    IF before IS NULL OR after IS NULL OR isempty(before) OR isempty(after)
        OR NOT before << after
    THEN
        RAISE EXCEPTION 'period % does not lie before period %',
                coalesce(before::text, 'NULL'), coalesce(after::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'write before => ''[2019-01-01,2020-01-01)'', after => ''[2021-01-01,2022-01-01)''';
    END IF;
    IF min_overlap IS NULL OR min_overlap <= 0 OR min_overlap > 1 THEN
        RAISE EXCEPTION 'min_overlap must lie above 0 and not above 1, not at %',
                coalesce(min_overlap::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'two chips of one place have 1';
    END IF;
    IF k IS NOT NULL THEN
        PERFORM dcsh._check_k(k);
    END IF;
    IF dcsh._is_distributed(archive) THEN
        earlier := 'early';
        later := 'late';
        chosen := format('WITH early AS MATERIALIZED (%s), late AS MATERIALIZED (%s)',
            dcsh._chips_of_period(archive, '$2', area IS NOT NULL),
            dcsh._chips_of_period(archive, '$3', area IS NOT NULL));
        bounds := CASE WHEN area IS NOT NULL THEN dcsh._bounds_of_period(archive, place, after) END;
    END IF;
    RETURN QUERY EXECUTE format($query$
        %5$s
        SELECT c.id, dcsh.hamming(c.code, earlier.code) AS distance, earlier.id, earlier.overlap,
               c.scene_id, earlier.scene_id, c.acquired, earlier.acquired, c.geom
        FROM %1$s c CROSS JOIN LATERAL (
            SELECT b.id, b.scene_id, b.acquired, b.code,
                   dcsh._overlap(b.geom, c.geom) AS overlap
            FROM %2$s b
            WHERE b.geom %7$s c.geom AND dcsh._overlap(b.geom, c.geom) >= $4 AND %4$s
            ORDER BY overlap DESC, b.acquired DESC, b.id
            LIMIT 1
        ) earlier
        WHERE %3$s AND %6$s
        ORDER BY distance DESC, c.id
        LIMIT $5
    $query$, later, earlier,
        CASE WHEN area IS NULL THEN 'true' ELSE dcsh._meets() END,
        dcsh._newest_of(earlier, 'b', '$2'), chosen, dcsh._newest_of(later, 'c', '$3'),
        dcsh._bounds_meet())
    USING place, before, after, min_overlap, k, bounds;
    PERFORM dcsh._check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.change IS 'What changed between two periods, by (distance DESC, id): the newest chip of period after at each place, beside that of period before which overlaps it most, if by min_overlap of the larger footprint; footprint of the chip after meets area, the k most changed or all';
