-- Checks of arguments that every spatial layer and search shares.

CREATE OR REPLACE FUNCTION dcsh._check_degrees(
    west double precision, south double precision, east double precision, north double precision
) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path FROM CURRENT
AS $$
BEGIN
    -- NaN is greater than every number, so each bound is compared with both limits.
    IF NOT (west BETWEEN -360 AND 180 AND east BETWEEN -180 AND 360
            AND south BETWEEN -180 AND 90 AND north BETWEEN -90 AND 180)
    THEN
        RAISE EXCEPTION 'coordinates out of range: longitude % to %, latitude % to %',
                west, east, south, north
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'give degrees in EPSG:4326, longitude first';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh._check_degrees IS 'Raises an error when bounds are not finite or do not meet the range of longitude and latitude';

CREATE OR REPLACE FUNCTION dcsh._check_max_distance(max_distance integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF max_distance < 0 THEN
        RAISE EXCEPTION 'max_distance must not be negative, not %', max_distance
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '0 finds only equal codes, NULL allows every distance';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh._check_max_distance IS 'Raises an error when max_distance is negative';
