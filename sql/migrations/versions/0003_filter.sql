CREATE TYPE dcsh._filter AS (
    area dcsh.area,
    since timestamptz,
    until timestamptz,
    max_distance integer,
    scenes bigint[],
    other_than bigint[]
);

COMMENT ON TYPE dcsh._filter IS 'Which chips a search considers; NULL does not restrict them';
COMMENT ON COLUMN dcsh._filter.area IS 'Intersect this area, longitude and latitude (EPSG:4326)';
COMMENT ON COLUMN dcsh._filter.since IS 'Acquired at this time or later';
COMMENT ON COLUMN dcsh._filter.until IS 'Acquired before this time';
COMMENT ON COLUMN dcsh._filter.max_distance IS 'At most this many bits from the query';
COMMENT ON COLUMN dcsh._filter.scenes IS 'Of one of these scenes: dcsh.scene.id';
COMMENT ON COLUMN dcsh._filter.other_than IS 'Not one of these chips';
