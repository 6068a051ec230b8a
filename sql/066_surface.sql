-- The whole archive compared with a query: by place, and by distance and time.

-- Each code is a term of an expression, so their number is bounded.
CREATE OR REPLACE FUNCTION dcsh_private.check_codes(archive text, codes bit varying[], unlikes bit varying[])
    RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    bits integer := dcsh_private.bits(archive);
    stray integer;
BEGIN
    IF coalesce(cardinality(codes), 0) NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'from 1 to 1000 codes are required, not %', coalesce(cardinality(codes), 0)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give the codes of the examples';
    ELSIF coalesce(cardinality(unlikes), 1001) > 1000 THEN
        RAISE EXCEPTION 'at most 1000 unlikes are possible, not %', coalesce(cardinality(unlikes)::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give the codes of fewer chips, or {} for none';
    END IF;
    SELECT coalesce(length(c.code), 0) INTO stray
        FROM unnest(codes || unlikes) c(code) WHERE length(c.code) IS DISTINCT FROM bits LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'code has % bits, but archive "%" has codes of %', stray, archive, bits
            USING ERRCODE = 'string_data_length_mismatch',
                  HINT = 'codes can be compared only with codes of the same model';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.check_codes IS 'An error if these are not from 1 to 1000 codes, and at most 1000 unlikes, of the length of an archive''s';

-- asinh(tan(latitude)) is the northing of Web Mercator; its square ends at 85.0511 degrees.
CREATE OR REPLACE FUNCTION dcsh.similarity_surface(
    archive text, codes bit varying[], zoom integer, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, scenes bigint[] DEFAULT NULL,
    unlikes bit varying[] DEFAULT '{}', rule text DEFAULT 'min'
) RETURNS TABLE (x integer, y integer, distance integer, chips bigint)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    predicate text := dcsh_private.where_clause(
        dcsh_private.checked_filter(archive, area, since, until, scenes => scenes));
    compared record;
BEGIN
    PERFORM dcsh_private.check_codes(archive, codes, unlikes);
    SELECT * INTO compared
        FROM dcsh_private.comparison(archive, dcsh_private.check_rule(rule), codes, unlikes);
    IF zoom IS NULL OR zoom NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'zoom must be from 0 to 24, not %', coalesce(zoom::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'the Earth is 2^zoom cells wide';
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT least(greatest(floor(((dcsh_private.west(c.geom) + dcsh_private.east(c.geom)) / 720 + 0.5)
                   * $3), 0), $3 - 1)::integer AS x,
               least(greatest(floor((0.5 - asinh(tan(radians(least(greatest(
                   (dcsh_private.south(c.geom) + dcsh_private.north(c.geom)) / 2, -85.06), 85.06))))
                   / (2 * pi())) * $3), 0), $3 - 1)::integer AS y,
               min(%s) AS distance, count(*) AS chips
        FROM dcsh.%I c
        WHERE c.geom IS NOT NULL AND %s AND %s
        GROUP BY 1, 2
        ORDER BY 2, 1
    $query$, compared.distance, archive, predicate, compared.condition)
    USING compared.likes, compared.unlikes, (2 ^ zoom)::double precision;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.similarity_surface IS 'An archive''s distance to a query on a grid: for each cell with chips the least distance of these to the codes, and their number. Cells are those of Web Mercator, 2^zoom to the width of the Earth, x counted from the west and y from the north; a chip lies in the cell of the centre of its bounds. Several codes, and unlikes, count by a rule as in dcsh.similar_to_examples. By (y, x). Filtered like dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh.distance_histogram(
    archive text, codes bit varying[], every text DEFAULT NULL, area dcsh.area DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, scenes bigint[] DEFAULT NULL,
    unlikes bit varying[] DEFAULT '{}', rule text DEFAULT 'min'
) RETURNS TABLE (distance integer, period timestamptz, chips bigint)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
    SET jit = off
AS $$
DECLARE
    predicate text := dcsh_private.where_clause(
        dcsh_private.checked_filter(archive, area, since, until, scenes => scenes));
    compared record;
BEGIN
    PERFORM dcsh_private.check_codes(archive, codes, unlikes);
    SELECT * INTO compared
        FROM dcsh_private.comparison(archive, dcsh_private.check_rule(rule), codes, unlikes);
    IF every NOT IN ('hour', 'day', 'week', 'month', 'quarter', 'year') THEN
        RAISE EXCEPTION 'every must be hour, day, week, month, quarter or year, not "%"', every
            USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL counts all times as one period';
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT %s AS distance, date_trunc($3, c.acquired, 'UTC') AS period, count(*) AS chips
        FROM dcsh.%I c
        WHERE %s AND %s
        GROUP BY 1, 2
        ORDER BY 1, 2
    $query$, compared.distance, archive, predicate, compared.condition)
    USING compared.likes, compared.unlikes, every;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh.distance_histogram IS 'How many chips of an archive have each distance to the codes, and with every (hour, day, week, month, quarter or year) in each period, in UTC; chips without time have the period NULL. Several codes, and unlikes, count by a rule as in dcsh.similar_to_examples. By (distance, period). Filtered like dcsh.similar';
