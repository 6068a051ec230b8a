-- The layer of archive x: the view dcsh.x_layer, in types that every GIS program supports.

-- The planner removes a left join on the key of scenes from a query that uses none of their columns, so
-- that the count, the extent and a lookup by key cost the same as on the archive itself.
CREATE OR REPLACE FUNCTION dcsh_private.create_layer(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format($ddl$
        CREATE OR REPLACE VIEW dcsh.%1$I %6$s AS
            SELECT c.id, %3$s AS %4$I, encode(substr(bit_send(c.code), 5), 'hex') AS code,
                   c.acquired, c.valid_fraction, c.scene_id, s.uri, s.collection, s.item_id,
                   c.col_off, c.row_off, c.width, c.height
            FROM dcsh.%2$I c LEFT JOIN dcsh.scene s ON s.id = c.scene_id;
        COMMENT ON COLUMN dcsh.%1$I.id IS 'Key of the chip';
        COMMENT ON COLUMN dcsh.%1$I.%4$I IS 'Footprint, longitude and latitude (EPSG:4326)';
        COMMENT ON COLUMN dcsh.%1$I.code IS 'Hash code of %5$s bits, hexadecimal';
        COMMENT ON COLUMN dcsh.%1$I.acquired IS 'When the image was acquired';
        COMMENT ON COLUMN dcsh.%1$I.valid_fraction IS 'Share of its pixels that are valid';
        COMMENT ON COLUMN dcsh.%1$I.scene_id IS 'Scene it was cut from: dcsh.scene.id';
        COMMENT ON COLUMN dcsh.%1$I.uri IS 'Path, URL or GDAL name of the scene';
        COMMENT ON COLUMN dcsh.%1$I.collection IS 'STAC collection id of the scene';
        COMMENT ON COLUMN dcsh.%1$I.item_id IS 'STAC item id of the scene';
        COMMENT ON COLUMN dcsh.%1$I.col_off IS 'First column of its window in the scene, pixels';
        COMMENT ON COLUMN dcsh.%1$I.row_off IS 'First row of its window in the scene, pixels';
        COMMENT ON COLUMN dcsh.%1$I.width IS 'Width of its window, pixels';
        COMMENT ON COLUMN dcsh.%1$I.height IS 'Height of its window, pixels';
    $ddl$, archive || '_layer', archive, dcsh_private.layer_footprint(), dcsh_private.layer_geometry(), dcsh_private.bits(archive),
        dcsh_private.view_options());
    EXECUTE format('COMMENT ON VIEW dcsh.%I IS %L', archive || '_layer',
        format('Chips of archive %s with their scenes, as a layer for GIS programs', archive));
END
$$;
COMMENT ON FUNCTION dcsh_private.create_layer IS 'Create or replace the layer of an archive; objects that depend on it stay';

CREATE OR REPLACE FUNCTION dcsh_private.drop_layer(archive text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class
               WHERE oid = to_regclass(format('dcsh.%I', archive || '_layer')) AND relkind = 'v')
    THEN
        EXECUTE format('DROP VIEW dcsh.%I', archive || '_layer');
    END IF;
END
$$;
COMMENT ON FUNCTION dcsh_private.drop_layer IS 'Drop the layer of an archive if it has one';

-- Another relation may have the layer's name, if the archive is older than layers.
DO $$
DECLARE
    archive text;
BEGIN
    FOR archive IN SELECT a.name FROM dcsh.archive a ORDER BY a.name LOOP
        BEGIN
            PERFORM dcsh_private.create_layer(archive);
        EXCEPTION WHEN wrong_object_type OR invalid_table_definition THEN
            RAISE WARNING 'no layer was created for archive "%": %', archive, SQLERRM;
        END;
    END LOOP;
END
$$;
