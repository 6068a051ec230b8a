-- A check that both spatial layers share.

CREATE OR REPLACE FUNCTION dcsh_private.check_degrees(
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
COMMENT ON FUNCTION dcsh_private.check_degrees IS 'An error if bounds are not finite or lie outside the range of longitude and latitude';
