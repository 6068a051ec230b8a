-- Searches for feature and tile servers, which pass only plain arguments.

CREATE OR REPLACE FUNCTION dcsh_private.code_from_hex(code text) RETURNS bit varying
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF code !~* '^(0x)?([0-9a-f]{2})+$' THEN
        RAISE EXCEPTION 'code must be hexadecimal, not "%"', code
            USING ERRCODE = 'invalid_parameter_value', HINT = 'for example 0x9f3a5c0017e2b481';
    END IF;
    RETURN regexp_replace(lower(code), '^(0x)?', 'x')::bit varying;
END
$$;
COMMENT ON FUNCTION dcsh_private.code_from_hex IS 'A code from its hexadecimal text, with or without 0x before it';

CREATE OR REPLACE FUNCTION dcsh_private.area_from_text(area text) RETURNS dcsh.area
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN area::@postgis@.geometry;
EXCEPTION
WHEN insufficient_privilege OR undefined_object OR undefined_function THEN
    RAISE;
WHEN OTHERS THEN
    RAISE EXCEPTION 'area must be WKT or GeoJSON, not "%"', area
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'for example POLYGON((-86.5 30.2,-86.1 30.2,-86.1 30.6,-86.5 30.2))';
END
$$;
COMMENT ON FUNCTION dcsh_private.area_from_text IS 'An area from its WKT, EWKT or GeoJSON';

-- tipg passes the text of a default as the argument, so no default is NULL: 'NULL' is not a number.
CREATE OR REPLACE FUNCTION dcsh.search_layer(
    archive text, chip bigint DEFAULT 0, code text DEFAULT '', k integer DEFAULT 10,
    area text DEFAULT '', since timestamptz DEFAULT '-infinity',
    until timestamptz DEFAULT 'infinity', max_distance integer DEFAULT 1024,
    scenes text DEFAULT '', exact boolean DEFAULT true
) RETURNS TABLE (
    id bigint, geom @postgis@.geometry(Polygon, 4326), rank integer, distance integer,
    acquired timestamptz, valid_fraction real, scene_id bigint, uri text, collection text,
    item_id text, col_off integer, row_off integer, width integer, height integer
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    query_chip bigint := nullif(chip, 0);
    query_code text := nullif(code, '');
    most integer := dcsh_private.check_k(k);
    filter dcsh_private.filter;
    sought bit varying;
BEGIN
    IF num_nonnulls(query_chip, query_code) <> 1 THEN
        RAISE EXCEPTION 'either chip or code is required, and % given',
                CASE WHEN query_chip IS NULL THEN 'neither is' ELSE 'both are' END
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'chip is the id of a chip, code the hexadecimal text of a code';
    END IF;
    filter := dcsh_private.checked_filter(
        archive, dcsh_private.area_from_text(nullif(area, '')), nullif(since, '-infinity'),
        nullif(until, 'infinity'), nullif(max_distance, 1024), nullif(scenes, '')::bigint[],
        ARRAY[query_chip]);
    sought := CASE WHEN query_chip IS NULL THEN dcsh_private.code_from_hex(query_code)
                   ELSE dcsh.code_of(archive, query_chip) END;
    RETURN QUERY
        SELECT h.id, h.geom, (row_number() OVER (ORDER BY h.distance, h.id))::integer, h.distance,
               h.acquired, h.valid_fraction, h.scene_id, s.uri, s.collection, s.item_id,
               h.col_off, h.row_off, h.width, h.height
        FROM dcsh_private.search(archive, sought, most, filter, exact) h
            LEFT JOIN dcsh.scene s ON s.id = h.scene_id
        ORDER BY h.distance, h.id;
END
$$;
COMMENT ON FUNCTION dcsh.search_layer IS 'The k chips of an archive nearest to one of its chips, without that chip, or to a code in hexadecimal, with their scenes. area is WKT or GeoJSON, scenes an array of ids, {3,17} for example. Otherwise like dcsh.similar';

CREATE OR REPLACE FUNCTION dcsh_private.tile_query(
    query json, OUT archive text, OUT chip bigint, OUT code text, OUT k integer, OUT area text,
    OUT since timestamptz, OUT until timestamptz, OUT max_distance integer, OUT scenes bigint[],
    OUT exact boolean, OUT properties boolean
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    known constant text[] :=
        ARRAY['archive', 'chip', 'code', 'k', 'area', 'since', 'until', 'max_distance', 'scenes', 'exact',
              'properties'];
    stray text;
BEGIN
    IF query IS NULL OR json_typeof(query) <> 'object' THEN
        RAISE EXCEPTION 'query must be a JSON object, not %', coalesce(query::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'for example {"archive": "naip"}';
    END IF;
    SELECT key INTO stray FROM json_object_keys(query) key WHERE key <> ALL (known) ORDER BY key;
    IF FOUND THEN
        RAISE EXCEPTION 'query has no parameter "%"', stray
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'its parameters are ' || array_to_string(known, ', ');
    END IF;
    IF json_typeof(query -> 'code') = 'number' THEN
        RAISE EXCEPTION 'code must be text, not a number: %', query -> 'code'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'put 0x before its hexadecimal digits';
    END IF;
    SELECT q.* INTO archive, chip, code, k, area, since, until, max_distance, scenes, exact, properties
    FROM json_to_record(query) q(
        archive text, chip bigint, code text, k integer, area text, since timestamptz,
        until timestamptz, max_distance integer, scenes bigint[], exact boolean, properties boolean);
    IF archive IS NULL THEN
        RAISE EXCEPTION 'query has no archive'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'for example {"archive": "naip"}';
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.tile_query IS 'The parameters of a tile, read from JSON and checked';

-- ST_AsMVT takes rows of any type. Another role's function in its schema could match the call better, but
-- not for a type that this role may not use.
DO $$
BEGIN
    IF to_regtype('dcsh_private.tile_feature') IS NULL THEN
        CREATE TYPE dcsh_private.tile_feature AS (id bigint, about jsonb, shape @postgis@.geometry);
    END IF;
    REVOKE USAGE ON TYPE dcsh_private.tile_feature FROM PUBLIC;
END
$$;
COMMENT ON TYPE dcsh_private.tile_feature IS 'A feature of a vector tile';
COMMENT ON COLUMN dcsh_private.tile_feature.id IS 'Key of the chip';
COMMENT ON COLUMN dcsh_private.tile_feature.about IS 'Properties of the feature';
COMMENT ON COLUMN dcsh_private.tile_feature.shape IS 'Outline or centre in the grid of the tile';

-- A tile of the whole Earth intersects all chips of an archive, so chips narrower than two of its 256
-- pixels are left out. A hit is visible at any zoom: by its centre where its outline is too small.
CREATE OR REPLACE FUNCTION dcsh.tiles(z integer, x integer, y integer, query json) RETURNS bytea
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
AS $$
DECLARE
    grid constant integer := 4096;
    margin constant integer := 64;
    edge constant double precision := 20037508.342789244;
    mercator constant @postgis@.geometry := @postgis@.ST_MakeEnvelope(-edge, -edge, edge, edge, 3857);
    tile @postgis@.geometry;
    bounds @postgis@.geometry;
    asked record;
    filter dcsh_private.filter;
    mvt bytea;
BEGIN
    IF z BETWEEN 0 AND 30 AND x BETWEEN 0 AND 2 ^ z - 1 AND y BETWEEN 0 AND 2 ^ z - 1 THEN
        tile := @postgis@.ST_TileEnvelope(z, x, y, mercator, 0::double precision);
        bounds := @postgis@.ST_Transform(
            @postgis@.ST_TileEnvelope(z, x, y, mercator, margin::double precision / grid), 4326);
    ELSE
        RAISE EXCEPTION 'tile %/%/% does not exist', z, x, y
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'z must be from 0 to 30, x and y from 0 to 2^z - 1';
    END IF;
    SELECT * INTO asked FROM dcsh_private.tile_query(query);
    filter := dcsh_private.checked_filter(
        asked.archive, dcsh_private.area_from_text(nullif(asked.area, '')), asked.since, asked.until,
        scenes => asked.scenes);
    EXECUTE format($query$
        WITH drawn AS MATERIALIZED (
            SELECT f.id, @postgis@.ST_Transform(f.geom, 3857) AS footprint, jsonb_strip_nulls(
                jsonb_build_object('rank', f.rank, 'distance', f.distance)
                || CASE WHEN $16 THEN '{}' ELSE jsonb_build_object(
                    'acquired', to_char(f.acquired AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                    'valid_fraction', f.valid_fraction, 'scene_id', f.scene_id, 'uri', f.uri,
                    'collection', f.collection, 'item_id', f.item_id, 'col_off', f.col_off,
                    'row_off', f.row_off, 'width', f.width, 'height', f.height) END) AS about
            FROM (%s) f
            WHERE f.geom OPERATOR(@postgis@.&&) $1
        )
        SELECT (SELECT @postgis@.ST_AsMVT(ROW(t.id, t.about, t.shape)::dcsh_private.tile_feature,
                                    'chips'::text, $3, 'shape'::text, 'id'::text ORDER BY t.id)
                FROM (SELECT m.id, m.about, @postgis@.ST_AsMVTGeom(
                          m.footprint, $2::@postgis@.box2d, $3, $4, true) AS shape
                      FROM drawn m) t
                WHERE t.shape IS NOT NULL)
            || (SELECT @postgis@.ST_AsMVT(ROW(t.id, t.about, t.shape)::dcsh_private.tile_feature,
                                    'centres'::text, $3, 'shape'::text, 'id'::text ORDER BY t.id)
                FROM (SELECT m.id, m.about, @postgis@.ST_AsMVTGeom(
                          @postgis@.ST_Centroid(m.footprint), $2::@postgis@.box2d, $3, $4, true) AS shape
                      FROM drawn m
                      WHERE m.about ? 'rank') t
                WHERE t.shape IS NOT NULL)
    $query$, CASE
        WHEN num_nonnulls(asked.chip, asked.code, asked.k, asked.max_distance) > 0 THEN $hits$
            SELECT h.*
            FROM dcsh.search_layer(
                $5, $6, $7, coalesce($8, 10), $9, $10, $11, coalesce($12, 1024), coalesce($13, ''),
                coalesce($15, true)) h
        $hits$
        ELSE format($chips$
            SELECT c.*, NULL::integer AS rank, NULL::integer AS distance,
                   s.uri, s.collection, s.item_id
            FROM dcsh.%I c LEFT JOIN dcsh.scene s ON s.id = c.scene_id
            WHERE @postgis@.ST_XMax(c.geom::@postgis@.box3d) - @postgis@.ST_XMin(c.geom::@postgis@.box3d) >= $14
                AND %s
        $chips$, asked.archive, dcsh_private.where_clause(filter))
    END)
    INTO mvt
    USING bounds, tile, grid, margin, asked.archive, asked.chip, asked.code, asked.k,
          asked.area, asked.since, asked.until, asked.max_distance, asked.scenes::text,
          360 / 2 ^ z / 128, asked.exact, asked.properties IS FALSE;
    PERFORM dcsh_private.check_same_table(asked.archive);
    RETURN mvt;
END
$$;
COMMENT ON FUNCTION dcsh.tiles IS 'A vector tile (MVT). Layer chips has the chips of the archive in query that are at least two pixels wide, or with chip or code the hits of dcsh.search_layer, and then layer centres has their centres; a feature''s id is that of its chip, and with properties false in query it has no other properties than rank and distance';
