-- Footprints as PostGIS geometry. Same names as in 010_spatial_core.sql.

CREATE OR REPLACE FUNCTION dcsh_private.footprint_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@postgis@.geometry(Polygon, 4326)';

CREATE OR REPLACE FUNCTION dcsh_private.area_predicate(area dcsh.area) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path FROM CURRENT
    RETURN format('@postgis@.ST_Intersects(c.geom, %L::@postgis@.geometry)', area);

CREATE OR REPLACE FUNCTION dcsh_private.index_operator() RETURNS regoperator
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT
    RETURN '@postgis@.&&(@postgis@.geometry,@postgis@.geometry)'::regoperator;

CREATE OR REPLACE FUNCTION dcsh_private.plain_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@postgis@.geometry';

CREATE OR REPLACE FUNCTION dcsh_private.bounds_operator() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'OPERATOR(@postgis@.&&)';

CREATE OR REPLACE FUNCTION dcsh_private.to_lonlat(area dcsh.area) RETURNS dcsh.area
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT
AS $$
DECLARE
    place @postgis@.geometry := CASE @postgis@.ST_SRID(area::@postgis@.geometry)
        WHEN 4326 THEN area
        WHEN 0 THEN @postgis@.ST_SetSRID(area::@postgis@.geometry, 4326)
        ELSE @postgis@.ST_Transform(area::@postgis@.geometry, 4326)
    END;
BEGIN
    IF @postgis@.ST_IsEmpty(place) THEN
        RAISE EXCEPTION 'the area is empty'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL searches everywhere';
    END IF;
    PERFORM dcsh_private.check_degrees(b[1], b[2], b[3], b[4]) FROM dcsh_private.bounds(place) b;
    IF NOT @postgis@.ST_IsValid(place) THEN
        RAISE EXCEPTION 'the area is not a valid geometry: %', @postgis@.ST_IsValidReason(place)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'repair it with ST_MakeValid';
    END IF;
    RETURN place;
END
$$;

CREATE OR REPLACE FUNCTION dcsh_private.point(lon double precision, lat double precision)
    RETURNS dcsh.area
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_SetSRID(@postgis@.ST_MakePoint(lon, lat), 4326);

CREATE OR REPLACE FUNCTION dcsh_private.centre_distance(footprint @postgis@.geometry, target dcsh.area)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_Distance(@postgis@.ST_Centroid(footprint), target::@postgis@.geometry);

CREATE OR REPLACE FUNCTION dcsh_private.west(footprint @postgis@.geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_XMin(footprint::@postgis@.box3d);

CREATE OR REPLACE FUNCTION dcsh_private.south(footprint @postgis@.geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_YMin(footprint::@postgis@.box3d);

CREATE OR REPLACE FUNCTION dcsh_private.east(footprint @postgis@.geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_XMax(footprint::@postgis@.box3d);

CREATE OR REPLACE FUNCTION dcsh_private.north(footprint @postgis@.geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_YMax(footprint::@postgis@.box3d);

CREATE OR REPLACE FUNCTION dcsh_private.bounds(footprint @postgis@.geometry) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[dcsh_private.west(footprint), dcsh_private.south(footprint),
                 dcsh_private.east(footprint), dcsh_private.north(footprint)];

CREATE OR REPLACE FUNCTION dcsh_private.wkb(footprint @postgis@.geometry) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_AsBinary(footprint, 'XDR'::text);

CREATE OR REPLACE FUNCTION dcsh_private.rectangle(
    west double precision, south double precision, east double precision, north double precision
) RETURNS @postgis@.geometry
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN @postgis@.ST_MakeEnvelope(west, south, east, north, 4326);

COMMENT ON FUNCTION dcsh_private.footprint_type IS 'Type of the footprint column';
COMMENT ON FUNCTION dcsh_private.area_predicate IS 'Predicate that footprint c.geom intersects an area, which it has as an exact literal';
COMMENT ON FUNCTION dcsh_private.index_operator IS 'Operator of the index on footprints that is true wherever dcsh_private.area_predicate is';
COMMENT ON FUNCTION dcsh_private.plain_type IS 'Type of footprints and areas without type modifier';
COMMENT ON FUNCTION dcsh_private.bounds_operator IS 'Operator that is true where the bounding boxes of two footprints intersect';
COMMENT ON FUNCTION dcsh_private.to_lonlat IS 'The area in EPSG:4326, or an error if it is empty, invalid or out of range; an area without SRID is assumed to be in EPSG:4326';
COMMENT ON FUNCTION dcsh_private.point IS 'A longitude and latitude as an area';
COMMENT ON FUNCTION dcsh_private.centre_distance IS 'Distance from the centre of a footprint to a point, degrees';
COMMENT ON FUNCTION dcsh_private.west IS 'Least longitude of a footprint';
COMMENT ON FUNCTION dcsh_private.south IS 'Least latitude of a footprint';
COMMENT ON FUNCTION dcsh_private.east IS 'Greatest longitude of a footprint';
COMMENT ON FUNCTION dcsh_private.north IS 'Greatest latitude of a footprint';
COMMENT ON FUNCTION dcsh_private.bounds IS 'West, south, east and north of a footprint';
COMMENT ON FUNCTION dcsh_private.wkb IS 'A footprint as WKB, big-endian, the same in every spatial layer';
COMMENT ON FUNCTION dcsh_private.rectangle IS 'A footprint from its west, south, east and north';
