-- Footprints as PostgreSQL's own polygon. Same names as in 010_spatial_postgis.sql.

CREATE OR REPLACE FUNCTION dcsh_private.footprint_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'polygon';

CREATE OR REPLACE FUNCTION dcsh_private.area_predicate(area dcsh.area) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path FROM CURRENT
    SET extra_float_digits = 1
    RETURN format('c.geom && %L::polygon', area);

CREATE OR REPLACE FUNCTION dcsh_private.index_operator() RETURNS regoperator
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT
    RETURN '&&(polygon,polygon)'::regoperator;

CREATE OR REPLACE FUNCTION dcsh_private.plain_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'polygon';

CREATE OR REPLACE FUNCTION dcsh_private.bounds_operator() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'OPERATOR(pg_catalog.&&)';

CREATE OR REPLACE FUNCTION dcsh_private.to_lonlat(area dcsh.area) RETURNS dcsh.area
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM dcsh_private.check_degrees(b[1], b[2], b[3], b[4]) FROM dcsh_private.bounds(area::polygon) b;
    RETURN area;
END
$$;

CREATE OR REPLACE FUNCTION dcsh_private.point(lon double precision, lat double precision)
    RETURNS dcsh.area
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN polygon(box(point(lon, lat), point(lon, lat)));

CREATE OR REPLACE FUNCTION dcsh_private.centre_distance(footprint polygon, target dcsh.area)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN point(footprint) <-> point(target::polygon);

CREATE OR REPLACE FUNCTION dcsh_private.west(footprint polygon) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((box(footprint))[1])[0];

CREATE OR REPLACE FUNCTION dcsh_private.south(footprint polygon) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((box(footprint))[1])[1];

CREATE OR REPLACE FUNCTION dcsh_private.east(footprint polygon) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((box(footprint))[0])[0];

CREATE OR REPLACE FUNCTION dcsh_private.north(footprint polygon) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((box(footprint))[0])[1];

CREATE OR REPLACE FUNCTION dcsh_private.bounds(footprint polygon) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[dcsh_private.west(footprint), dcsh_private.south(footprint),
                 dcsh_private.east(footprint), dcsh_private.north(footprint)];

CREATE OR REPLACE FUNCTION dcsh_private.wkb(footprint polygon) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '\x000000000300000001'::bytea || int4send(npoints(footprint) + 1)
        || substr(poly_send(footprint), 5) || substr(poly_send(footprint), 5, 16);

CREATE OR REPLACE FUNCTION dcsh_private.rectangle(
    west double precision, south double precision, east double precision, north double precision
) RETURNS polygon
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN polygon(box(point(west, south), point(east, north)));

COMMENT ON FUNCTION dcsh_private.footprint_type IS 'Type of the footprint column';
COMMENT ON FUNCTION dcsh_private.area_predicate IS 'Predicate that footprint c.geom intersects an area, which it has as an exact literal';
COMMENT ON FUNCTION dcsh_private.index_operator IS 'Operator of the index on footprints that is true wherever dcsh_private.area_predicate is';
COMMENT ON FUNCTION dcsh_private.plain_type IS 'Type of footprints and areas without type modifier';
COMMENT ON FUNCTION dcsh_private.bounds_operator IS 'Operator that is true where the bounding boxes of two footprints intersect';
COMMENT ON FUNCTION dcsh_private.to_lonlat IS 'The area, or an error if its coordinates are out of range';
COMMENT ON FUNCTION dcsh_private.point IS 'A longitude and latitude as an area';
COMMENT ON FUNCTION dcsh_private.centre_distance IS 'Distance from the centre of a footprint to a point, degrees';
COMMENT ON FUNCTION dcsh_private.west IS 'Least longitude of a footprint';
COMMENT ON FUNCTION dcsh_private.south IS 'Least latitude of a footprint';
COMMENT ON FUNCTION dcsh_private.east IS 'Greatest longitude of a footprint';
COMMENT ON FUNCTION dcsh_private.north IS 'Greatest latitude of a footprint';
COMMENT ON FUNCTION dcsh_private.bounds IS 'West, south, east and north of a footprint';
COMMENT ON FUNCTION dcsh_private.wkb IS 'A footprint as WKB, big-endian, the same in every spatial layer';
COMMENT ON FUNCTION dcsh_private.rectangle IS 'A footprint from its west, south, east and north';
