-- Footprints as PostGIS geometry. Same names as in 010_spatial_core.sql.

CREATE OR REPLACE FUNCTION dcsh._footprint_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@postgis@.geometry(Polygon, 4326)';

CREATE OR REPLACE FUNCTION dcsh._meets() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@postgis@.ST_Intersects(c.geom, $1::@postgis@.geometry)';

CREATE OR REPLACE FUNCTION dcsh._overlaps() RETURNS regoperator
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path FROM CURRENT
    RETURN '@postgis@.&&(@postgis@.geometry,@postgis@.geometry)'::regoperator;

CREATE OR REPLACE FUNCTION dcsh._plain_type() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '@postgis@.geometry';

CREATE OR REPLACE FUNCTION dcsh._bounds_meet() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'OPERATOR(@postgis@.&&)';

CREATE OR REPLACE FUNCTION dcsh._to_lonlat(area dcsh.area) RETURNS dcsh.area
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
    PERFORM dcsh._check_degrees(
        @postgis@.ST_XMin(place::@postgis@.box3d), @postgis@.ST_YMin(place::@postgis@.box3d),
        @postgis@.ST_XMax(place::@postgis@.box3d), @postgis@.ST_YMax(place::@postgis@.box3d));
    IF NOT @postgis@.ST_IsValid(place) THEN
        RAISE EXCEPTION 'the area is not a valid geometry: %', @postgis@.ST_IsValidReason(place)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'repair it with ST_MakeValid';
    END IF;
    RETURN place;
END
$$;

CREATE OR REPLACE FUNCTION dcsh._place(lon double precision, lat double precision)
    RETURNS dcsh.area
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_SetSRID(@postgis@.ST_MakePoint(lon, lat), 4326);

CREATE OR REPLACE FUNCTION dcsh._off_centre(footprint @postgis@.geometry, place dcsh.area)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_Distance(@postgis@.ST_Centroid(footprint), place::@postgis@.geometry);

CREATE OR REPLACE FUNCTION dcsh._bounds(footprint @postgis@.geometry) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[
        @postgis@.ST_XMin(footprint::@postgis@.box3d), @postgis@.ST_YMin(footprint::@postgis@.box3d),
        @postgis@.ST_XMax(footprint::@postgis@.box3d), @postgis@.ST_YMax(footprint::@postgis@.box3d)];

CREATE OR REPLACE FUNCTION dcsh._rectangle(
    west double precision, south double precision, east double precision, north double precision
) RETURNS @postgis@.geometry
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN @postgis@.ST_MakeEnvelope(west, south, east, north, 4326);

COMMENT ON FUNCTION dcsh._footprint_type IS 'Type of the footprint column';
COMMENT ON FUNCTION dcsh._meets IS 'Condition that footprint c.geom shares a point with area $1';
COMMENT ON FUNCTION dcsh._overlaps IS 'Operator of the index on footprints that is true wherever the condition is';
COMMENT ON FUNCTION dcsh._plain_type IS 'Type of footprints and areas, of any kind';
COMMENT ON FUNCTION dcsh._bounds_meet IS 'Operator for two footprints whose bounding boxes meet';
COMMENT ON FUNCTION dcsh._to_lonlat IS 'An area in EPSG:4326, or an error when it is empty, invalid or out of range; without SRID it is taken to be in EPSG:4326';
COMMENT ON FUNCTION dcsh._place IS 'A place as an area';
COMMENT ON FUNCTION dcsh._off_centre IS 'Distance of a place from the centre of a footprint, degrees';
COMMENT ON FUNCTION dcsh._bounds IS 'West, south, east and north of a footprint';
COMMENT ON FUNCTION dcsh._rectangle IS 'A footprint from its west, south, east and north';
