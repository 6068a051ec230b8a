-- The footprint column of a layer. Same names as in 070_layers_core.sql.

CREATE OR REPLACE FUNCTION dcsh_private.layer_geometry() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'geom';

CREATE OR REPLACE FUNCTION dcsh_private.layer_footprint() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'c.geom';

COMMENT ON FUNCTION dcsh_private.layer_geometry IS 'Name of the footprint column in a layer';
COMMENT ON FUNCTION dcsh_private.layer_footprint IS 'Expression for the footprint of chip c in a layer';
