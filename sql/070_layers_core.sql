-- What a layer shows of a footprint. Same names as in 070_layers_postgis.sql.

-- In a database without PostGIS, GDAL takes a bytea of this name for the geometry.
CREATE OR REPLACE FUNCTION dcsh._layer_geometry() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'wkb_geometry';

-- Well-known binary: byte order, type, the number of rings, for the one ring the number of its points,
-- and these as polygon sends them, with the first once more at the end.
CREATE OR REPLACE FUNCTION dcsh._layer_footprint() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN $wkb$'\x000000000300000001'::bytea || int4send(npoints(c.geom) + 1)
        || substr(poly_send(c.geom), 5) || substr(poly_send(c.geom), 5, 16)$wkb$;

COMMENT ON FUNCTION dcsh._layer_geometry IS 'Name of the footprint in a layer';
COMMENT ON FUNCTION dcsh._layer_footprint IS 'Expression for the footprint of chip c in a layer';
