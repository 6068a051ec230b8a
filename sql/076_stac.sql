-- Summaries of the scenes of an archive, for its STAC collection.

CREATE OR REPLACE FUNCTION dcsh_private.scene_summaries(archive text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT coalesce(jsonb_object_agg(summary.name, summary.content ORDER BY summary.name)
                    FILTER (WHERE summary.content IS NOT NULL), '{}')
    FROM (
        SELECT p.key AS name,
            CASE
                WHEN count(DISTINCT p.value) = 1 THEN jsonb_agg(DISTINCT p.value)
                WHEN bool_and(jsonb_typeof(p.value) = 'number') THEN jsonb_build_object(
                    'minimum', min(CASE jsonb_typeof(p.value) WHEN 'number' THEN p.value::numeric END),
                    'maximum', max(CASE jsonb_typeof(p.value) WHEN 'number' THEN p.value::numeric END))
                WHEN count(DISTINCT p.value) <= 20 THEN jsonb_agg(DISTINCT p.value)
            END AS content
        FROM dcsh.scene s,
            LATERAL jsonb_each(
                s.properties - ARRAY['datetime', 'start_datetime', 'end_datetime', 'proj:epsg']
                || jsonb_strip_nulls(jsonb_build_object('proj:code', s.proj_code))) p
        WHERE s.archive_id = (SELECT a.id FROM dcsh_private.archive(archive) a)
            AND jsonb_typeof(p.value) IN ('number', 'string', 'boolean')
        GROUP BY p.key
    ) summary
$$;
COMMENT ON FUNCTION dcsh_private.scene_summaries IS 'Name -> range of numbers or list of at most 20 values, for the properties of the scenes of an archive, as in the summaries of a STAC collection';
