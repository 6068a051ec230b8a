CREATE DOMAIN dcsh.area AS @postgis@.geometry;

CREATE TYPE dcsh.hit AS (
    id bigint,
    distance integer,
    scene_id bigint,
    col_off integer,
    row_off integer,
    width integer,
    height integer,
    geom @postgis@.geometry(Polygon, 4326),
    acquired timestamptz,
    valid_fraction real
);

COMMENT ON DOMAIN dcsh.area IS 'Where to search; meets every footprint that it shares a point with';
COMMENT ON TYPE dcsh.hit IS 'A chip found by a search';
COMMENT ON COLUMN dcsh.hit.id IS 'Key of the chip in its archive';
COMMENT ON COLUMN dcsh.hit.distance IS 'Hamming distance to the query in bits';
COMMENT ON COLUMN dcsh.hit.scene_id IS 'Scene it was cut from: dcsh.scene.id';
COMMENT ON COLUMN dcsh.hit.col_off IS 'First column of its window in the scene, pixels';
COMMENT ON COLUMN dcsh.hit.row_off IS 'First row of its window in the scene, pixels';
COMMENT ON COLUMN dcsh.hit.width IS 'Width of its window, pixels';
COMMENT ON COLUMN dcsh.hit.height IS 'Height of its window, pixels';
COMMENT ON COLUMN dcsh.hit.geom IS 'Footprint, longitude and latitude (EPSG:4326)';
COMMENT ON COLUMN dcsh.hit.acquired IS 'When the picture was taken';
COMMENT ON COLUMN dcsh.hit.valid_fraction IS 'Share of its pixels that are valid';
