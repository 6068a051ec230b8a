-- Search. Exact, ordered by (distance, id).

CREATE OR REPLACE FUNCTION dcsh.hamming(a bit, b bit) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (a <~> b)::integer;
COMMENT ON FUNCTION dcsh.hamming IS 'Hamming distance of two codes of one length: the number of bits that differ';

-- Not PARALLEL SAFE, though it only reads: inside a parallel plan its own scan could not be parallel.
CREATE OR REPLACE FUNCTION dcsh._search(
    archive text, code bit, k integer, area dcsh.area, since timestamptz, until timestamptz,
    max_distance integer, other_than bigint
) RETURNS SETOF dcsh.hit
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET jit = off
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    bits integer := (SELECT m.bits FROM dcsh.model m WHERE m.id = target.model_id);
    conditions text := concat_ws(' AND ',
        'true',
        CASE WHEN area IS NOT NULL THEN dcsh._meets() END,
        CASE WHEN max_distance IS NOT NULL THEN 'dcsh.hamming(c.code, $2) <= $6' END,
        CASE WHEN since IS NOT NULL THEN 'c.acquired >= $4' END,
        CASE WHEN until IS NOT NULL THEN 'c.acquired < $5' END,
        CASE WHEN other_than IS NOT NULL THEN 'c.id <> $7' END);
    query text;
BEGIN
    IF code IS NULL THEN
        RETURN;
    END IF;
    IF length(code) <> bits THEN
        RAISE EXCEPTION 'code has % bits, but archive "%" has codes of %', length(code), archive, bits
            USING ERRCODE = 'string_data_length_mismatch',
                  HINT = 'codes can be compared only with codes of the same model';
    END IF;
    IF k IS NULL THEN
        query := $query$
            SELECT c.id, dcsh.hamming(c.code, $2) AS distance, c.scene_id, c.col_off, c.row_off,
                   c.width, c.height, c.geom, c.acquired, c.valid_fraction
            FROM dcsh.%1$I c
            WHERE %2$s
            ORDER BY distance, c.id
        $query$;
    ELSE
        -- A bounded sort copies every row before it looks at it: let the rows be narrow.
        query := $query$
            SELECT c.id, near.distance, c.scene_id, c.col_off, c.row_off,
                   c.width, c.height, c.geom, c.acquired, c.valid_fraction
            FROM (SELECT c.id, dcsh.hamming(c.code, $2) AS distance
                  FROM dcsh.%1$I c
                  WHERE %2$s
                  ORDER BY distance, c.id
                  LIMIT $3) near JOIN dcsh.%1$I c ON c.id = near.id
            ORDER BY near.distance, near.id
        $query$;
    END IF;
    RETURN QUERY EXECUTE format(query, archive, conditions)
    USING dcsh._to_lonlat(area), code, k, since, until, max_distance, other_than;
END
$$;
COMMENT ON FUNCTION dcsh._search IS 'The one search behind similar, similar_to and within; k NULL finds all';

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
    EXECUTE format($query$
        SELECT c.id FROM dcsh.%I c
        WHERE %s
        ORDER BY c.acquired DESC NULLS LAST, round(dcsh._off_centre(c.geom, $1)::numeric, 7), c.id
        LIMIT 1
    $query$, target.name, dcsh._meets()) INTO found_id USING dcsh._place(lon, lat);
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
END
$$;
COMMENT ON FUNCTION dcsh.extent IS 'Bounds of the footprints of an archive in degrees; NULL where it has none';
