-- The footprint column of a layer. Same names as in 070_layers_postgis.sql.

-- In a database without PostGIS, GDAL reads a bytea column of this name as the geometry.
CREATE OR REPLACE FUNCTION dcsh_private.layer_geometry() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'wkb_geometry';

-- Well-known binary: byte order, type, number of rings, number of points of the one ring, and its points as
-- polygon_send writes them, with the first repeated at the end.
CREATE OR REPLACE FUNCTION dcsh_private.layer_footprint() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'dcsh_private.wkb(c.geom)';

COMMENT ON FUNCTION dcsh_private.layer_geometry IS 'Name of the footprint column in a layer';
COMMENT ON FUNCTION dcsh_private.layer_footprint IS 'Expression for the footprint of chip c in a layer';
