-- The index on the codes of an archive: access method hamming, of extension dcsh_hamming.

CREATE OR REPLACE FUNCTION dcsh_private.has_hamming() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM pg_am WHERE amname = 'hamming');
COMMENT ON FUNCTION dcsh_private.has_hamming IS 'Whether this database has the access method hamming';

-- The functions of the extension take arguments of any type, so a function that another role creates in
-- its schema could match a call better.
CREATE OR REPLACE FUNCTION dcsh_private.hamming_function(name text) RETURNS regproc
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    found_function record;
BEGIN
    SELECT p.oid, p.pronamespace AS schema INTO found_function
        FROM pg_extension e
            JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
            JOIN pg_proc p ON p.oid = d.objid
        WHERE e.extname = 'dcsh_hamming' AND p.proname = name;
    RETURN CASE WHEN has_schema_privilege(found_function.schema, 'USAGE')
                    AND has_function_privilege(found_function.oid, 'EXECUTE')
                    AND NOT dcsh_private.is_shared(found_function.schema)
                THEN found_function.oid END;
END
$$;
COMMENT ON FUNCTION dcsh_private.hamming_function IS 'A function of extension dcsh_hamming; NULL if it has none of that name, if the caller may not execute it, or if other roles may create objects in its schema';

-- Without settings, so that queries inline it.
CREATE OR REPLACE FUNCTION dcsh_private.ordering_indexes(archive text)
    RETURNS TABLE (index regclass, method name, is_valid boolean, is_whole boolean)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT i.indexrelid, m.amname, i.indisvalid, i.indpred IS NULL AND i.indexprs IS NULL
    FROM pg_index i
        JOIN pg_class x ON x.oid = i.indexrelid
        JOIN pg_am m ON m.oid = x.relam
    WHERE i.indrelid = to_regclass(format('dcsh.%I', archive))
        AND EXISTS (SELECT FROM pg_opclass c JOIN pg_amop o ON o.amopfamily = c.opcfamily
                    WHERE c.oid = ANY (i.indclass::oid[]) AND o.amoppurpose = 'o'
                        AND o.amopopr = '@vector@.<~>(bit,bit)'::regoperator)
    ORDER BY i.indexrelid;
END;
COMMENT ON FUNCTION dcsh_private.ordering_indexes IS 'The indexes of an archive that PostgreSQL can read in order of Hamming distance, exact or approximate; is_whole if they hold the codes of all chips';

-- The planner could choose an approximate index for the same operator (hnsw, ivfflat) instead, so beside
-- one of these no index is used. The property is NULL for an index that was dropped after the snapshot
-- was taken: the planner no longer sees it, and may see an approximate one that replaced it.
CREATE OR REPLACE FUNCTION dcsh_private.code_index(archive text) RETURNS regclass
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
        SELECT CASE WHEN bool_and(o.method = 'hamming'
                                  AND pg_index_has_property(o.index, 'clusterable') IS NOT NULL)
            THEN min(o.index) FILTER (WHERE o.is_whole)::regclass END
        FROM dcsh_private.ordering_indexes(archive) o
        WHERE o.is_valid);
END
$$;
COMMENT ON FUNCTION dcsh_private.code_index IS 'The exact index on the codes of an archive that searches use, or NULL';

CREATE OR REPLACE FUNCTION dcsh_private.hamming_indexes(archive text) RETURNS SETOF pg_index
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT i.*
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
    WHERE i.indrelid = to_regclass(format('dcsh.%I', archive)) AND m.amname = 'hamming'
        AND i.indpred IS NULL AND i.indexprs IS NULL
    ORDER BY i.indisvalid DESC, i.indexrelid
$$;
COMMENT ON FUNCTION dcsh_private.hamming_indexes IS 'The indexes of access method hamming on all codes of an archive, valid or left by a failed CREATE INDEX CONCURRENTLY';

CREATE OR REPLACE FUNCTION dcsh_private.stale_indexes()
    RETURNS TABLE (index regclass, page_format bigint, supported bigint)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    home name := (
        SELECT n.nspname
        FROM pg_proc p
            JOIN pg_namespace n ON n.oid = p.pronamespace
            JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
        WHERE p.proname = 'hamming_format' AND e.extname = 'dcsh_hamming');
BEGIN
    IF home IS NULL THEN
        RETURN;
    END IF;
    FOR index IN
        SELECT i.indexrelid
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
        WHERE x.relnamespace = 'dcsh'::regnamespace AND x.relkind = 'i' AND m.amname = 'hamming'
            AND i.indisvalid AND has_table_privilege(i.indrelid, 'SELECT')
        ORDER BY i.indexrelid
    LOOP
        EXECUTE format('SELECT f.format, f.supported FROM %I.hamming_format($1) f', home)
            INTO page_format, supported USING index;
        IF page_format IS DISTINCT FROM supported THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION dcsh_private.stale_indexes IS 'The indexes in schema dcsh whose page format the installed dcsh_hamming refuses (page_format is NULL if the metapage is damaged), and the format that it reads; only of tables that the caller may read';

CREATE OR REPLACE FUNCTION dcsh.create_code_index(archive text) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    made pg_index;
BEGIN
    IF NOT dcsh_private.has_hamming() THEN
        RAISE EXCEPTION 'this database has no access method "hamming"'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'install it on the server with ''dcsh-pg native install'', then run ''dcsh-pg db upgrade''; searches are exact without it, and slower';
    END IF;
    SELECT * INTO made FROM dcsh_private.hamming_indexes(archive) LIMIT 1;
    IF (NOT FOUND OR NOT made.indisvalid) AND NOT pg_has_role(
        (SELECT relowner FROM pg_class WHERE oid = format('dcsh.%I', archive)::regclass), 'USAGE')
    THEN
        RAISE EXCEPTION 'only the owner of archive "%" can create its index', archive
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('have it run ''dcsh-pg archive index %s''; searches are exact without it, and slower', archive);
    ELSIF made.indexrelid IS NULL THEN
        -- Another session may be creating it.
        PERFORM FROM dcsh.archive a WHERE a.id = target.id FOR UPDATE;
        SELECT * INTO made FROM dcsh_private.hamming_indexes(archive) LIMIT 1;
        IF NOT FOUND THEN
            EXECUTE format('CREATE INDEX ON dcsh.%I USING hamming (code)', archive);
            SELECT * INTO made FROM dcsh_private.hamming_indexes(archive) LIMIT 1;
        END IF;
    ELSIF NOT made.indisvalid
            OR made.indexrelid IN (SELECT s.index FROM dcsh_private.stale_indexes() s) THEN
        EXECUTE format('REINDEX INDEX %s', made.indexrelid::regclass);
    END IF;
    RETURN made.indexrelid;
END
$$;
COMMENT ON FUNCTION dcsh.create_code_index IS 'Create the index that searches of an archive use if it does not exist, rebuild it if it is invalid or of another page format; returns it';

CREATE OR REPLACE FUNCTION dcsh.drop_code_index(archive text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh_private.archive(archive);
    made pg_index;
BEGIN
    FOR made IN SELECT * FROM dcsh_private.hamming_indexes(archive) LOOP
        EXECUTE format('DROP INDEX %s', made.indexrelid::regclass);
    END LOOP;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION dcsh.drop_code_index IS 'Drop the index that create_code_index creates; false if there is none';
