-- The chips of an archive, without a search.

CREATE OR REPLACE FUNCTION dcsh_private.chips(
    archive text, area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL, most bigint DEFAULT NULL, scenes bigint[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, scene_id bigint, uri text, acquired timestamptz, col_off integer, row_off integer,
    width integer, height integer, valid_fraction real, code text, footprint bytea
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    SET datestyle = 'ISO'
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT c.id, c.scene_id, s.uri, c.acquired, c.col_off, c.row_off, c.width, c.height,
               c.valid_fraction, encode(substr(bit_send(c.code), 5), 'hex'), (%s)::bytea
        FROM dcsh.%I c JOIN dcsh.scene s ON s.id = c.scene_id
        WHERE %s
        ORDER BY c.id
        LIMIT $1
    $query$, dcsh_private.layer_footprint(), archive,
        dcsh_private.where_clause(dcsh_private.checked_filter(archive, area, since, until, scenes => scenes)))
    USING most;
    PERFORM dcsh_private.check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh_private.chips IS 'The chips of an archive with their scenes, by id; code in hexadecimal, footprint as (E)WKB; filtered like dcsh.similar, at most this many';
