-- Footprints as PostgreSQL's own polygon. Same names as in 010_spatial_postgis.sql.

CREATE OR REPLACE FUNCTION dcsh._footprint_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'polygon';

CREATE OR REPLACE FUNCTION dcsh._meets() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'c.geom && $1::polygon';

CREATE OR REPLACE FUNCTION dcsh._overlaps() RETURNS regoperator
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT
    RETURN '&&(polygon,polygon)'::regoperator;

CREATE OR REPLACE FUNCTION dcsh._plain_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'polygon';

CREATE OR REPLACE FUNCTION dcsh._bounds_meet() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'OPERATOR(pg_catalog.&&)';

CREATE OR REPLACE FUNCTION dcsh._to_lonlat(area dcsh.area) RETURNS dcsh.area
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM dcsh._check_degrees(b[1], b[2], b[3], b[4]) FROM dcsh._bounds(area::polygon) b;
    RETURN area;
END
$$;

CREATE OR REPLACE FUNCTION dcsh._place(lon double precision, lat double precision)
    RETURNS dcsh.area
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN polygon(box(point(lon, lat), point(lon, lat)));

CREATE OR REPLACE FUNCTION dcsh._off_centre(footprint polygon, place dcsh.area)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN point(footprint) <-> point(place::polygon);

CREATE OR REPLACE FUNCTION dcsh._bounds(footprint polygon) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[((box(footprint))[1])[0], ((box(footprint))[1])[1],
                 ((box(footprint))[0])[0], ((box(footprint))[0])[1]];

CREATE OR REPLACE FUNCTION dcsh._rectangle(
    west double precision, south double precision, east double precision, north double precision
) RETURNS polygon
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN polygon(box(point(west, south), point(east, north)));

COMMENT ON FUNCTION dcsh._footprint_type IS 'Type of the footprint column';
COMMENT ON FUNCTION dcsh._meets IS 'Condition that footprint c.geom shares a point with area $1';
COMMENT ON FUNCTION dcsh._overlaps IS 'Operator of the index on footprints that is true wherever the condition is';
COMMENT ON FUNCTION dcsh._plain_type IS 'Type of footprints and areas, of any kind';
COMMENT ON FUNCTION dcsh._bounds_meet IS 'Operator for two footprints whose bounding boxes meet';
COMMENT ON FUNCTION dcsh._to_lonlat IS 'An area in EPSG:4326, or an error when its coordinates are out of range';
COMMENT ON FUNCTION dcsh._place IS 'A place as an area';
COMMENT ON FUNCTION dcsh._off_centre IS 'Distance of a place from the centre of a footprint, degrees';
COMMENT ON FUNCTION dcsh._bounds IS 'West, south, east and north of a footprint';
COMMENT ON FUNCTION dcsh._rectangle IS 'A footprint from its west, south, east and north';
