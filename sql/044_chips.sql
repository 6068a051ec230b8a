-- The chips of an archive, without a search.

CREATE OR REPLACE FUNCTION dcsh._chips(
    archive text, area dcsh.area DEFAULT NULL, since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL, most bigint DEFAULT NULL
) RETURNS TABLE (
    id bigint, scene_id bigint, uri text, acquired timestamptz, col_off integer, row_off integer,
    width integer, height integer, valid_fraction real, code text, footprint bytea
)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
BEGIN
    RETURN QUERY EXECUTE format($query$
        SELECT c.id, c.scene_id, s.uri, c.acquired, c.col_off, c.row_off, c.width, c.height,
               c.valid_fraction, encode(substr(bit_send(c.code), 5), 'hex'), (%s)::bytea
        FROM dcsh.%I c JOIN dcsh.scene s ON s.id = c.scene_id
        WHERE %s
        ORDER BY c.id
        LIMIT $4
    $query$, dcsh._layer_footprint(), target.name, concat_ws(' AND ',
        'true',
        CASE WHEN area IS NOT NULL THEN dcsh._meets() END,
        CASE WHEN since IS NOT NULL THEN 'c.acquired >= $2' END,
        CASE WHEN until IS NOT NULL THEN 'c.acquired < $3' END))
    USING dcsh._to_lonlat(area), since, until, most;
    PERFORM dcsh._check_same_table(archive);
END
$$;
COMMENT ON FUNCTION dcsh._chips IS 'The chips of an archive with their scenes, by id; code in hexadecimal, footprint as (E)WKB; conditions as dcsh.similar has them, most limits their number';
