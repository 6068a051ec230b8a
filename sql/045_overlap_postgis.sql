-- How far footprints and areas overlap. Same names as in 045_overlap_core.sql.

CREATE OR REPLACE FUNCTION dcsh_private.area_of(region @postgis@.geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_Area(region);

CREATE OR REPLACE FUNCTION dcsh_private.common_area(a @postgis@.geometry, b @postgis@.geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN @postgis@.ST_Area(@postgis@.ST_Intersection(a, b, (-1)::double precision));

COMMENT ON FUNCTION dcsh_private.area_of IS 'Area of a footprint or an area, square degrees';
COMMENT ON FUNCTION dcsh_private.common_area IS 'Area that two footprints or areas have in common, square degrees';
