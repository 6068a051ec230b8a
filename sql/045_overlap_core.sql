-- How far footprints and areas overlap, by their bounding boxes. Same names as in 045_overlap_postgis.sql.

CREATE OR REPLACE FUNCTION dcsh_private.area_of(region polygon) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN area(box(region));

CREATE OR REPLACE FUNCTION dcsh_private.common_area(a polygon, b polygon) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(area(box(a) # box(b)), 0);

COMMENT ON FUNCTION dcsh_private.area_of IS 'Area of the bounding box of a footprint or an area, square degrees';
COMMENT ON FUNCTION dcsh_private.common_area IS 'Area that the bounding boxes of two footprints or areas have in common, square degrees';
