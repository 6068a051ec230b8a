-- How far footprints and areas overlap. Same names as in 045_overlap_core.sql.

CREATE OR REPLACE FUNCTION dcsh._area_of(region geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ST_Area(region);

CREATE OR REPLACE FUNCTION dcsh._common_area(a geometry, b geometry) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ST_Area(ST_Intersection(a, b));

COMMENT ON FUNCTION dcsh._area_of IS 'Area of a footprint or an area, square degrees';
COMMENT ON FUNCTION dcsh._common_area IS 'Area that two footprints or areas have in common, square degrees';
