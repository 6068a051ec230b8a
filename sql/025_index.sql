-- The index on the codes of an archive: access method hamming, of extension dcsh_hamming.

CREATE OR REPLACE FUNCTION dcsh._has_hamming() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM pg_am WHERE amname = 'hamming');
COMMENT ON FUNCTION dcsh._has_hamming IS 'Whether this database has the access method hamming';

-- An approximate index for the same operator (hnsw, ivfflat) could be chosen in its stead, so with
-- one beside it none is used.
CREATE OR REPLACE FUNCTION dcsh._code_index(archive text) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT CASE WHEN bool_and(m.amname = 'hamming') THEN min(i.indexrelid)::regclass END
    FROM pg_index i
        JOIN pg_class x ON x.oid = i.indexrelid
        JOIN pg_am m ON m.oid = x.relam
    WHERE i.indrelid = to_regclass(format('dcsh.%I', archive)) AND i.indisvalid
        AND EXISTS (SELECT FROM pg_opclass c JOIN pg_amop o ON o.amopfamily = c.opcfamily
                    WHERE c.oid = ANY (i.indclass::oid[]) AND o.amoppurpose = 'o'
                        AND o.amopopr = '<~>(bit,bit)'::regoperator)
$$;
COMMENT ON FUNCTION dcsh._code_index IS 'The exact index on the codes of an archive that searches use, or NULL';

CREATE OR REPLACE FUNCTION dcsh.create_code_index(archive text) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    made regclass := to_regclass(format('dcsh.%I', archive || '_code_hamming'));
BEGIN
    IF made IS NULL THEN
        IF NOT dcsh._has_hamming() THEN
            RAISE EXCEPTION 'this database has no access method "hamming"'
                USING ERRCODE = 'feature_not_supported',
                      HINT = 'install it on the server with ''dcsh-pg native install'', then run ''dcsh-pg db upgrade''; searches are exact without it, and slower';
        END IF;
        EXECUTE format('CREATE INDEX %I ON dcsh.%I USING hamming (code)',
                       archive || '_code_hamming', archive);
        made := format('dcsh.%I', archive || '_code_hamming')::regclass;
    ELSIF NOT (SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = made) THEN
        EXECUTE format('REINDEX INDEX %s', made);
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION dcsh.create_code_index IS 'Makes the index that searches of an archive use, if it is not there; returns it';

CREATE OR REPLACE FUNCTION dcsh.drop_code_index(archive text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    target dcsh.archive := dcsh._archive(archive);
    made regclass := to_regclass(format('dcsh.%I', archive || '_code_hamming'));
BEGIN
    IF made IS NOT NULL THEN
        EXECUTE format('DROP INDEX %s', made);
    END IF;
    RETURN made IS NOT NULL;
END
$$;
COMMENT ON FUNCTION dcsh.drop_code_index IS 'Drops the index made by create_code_index; false where there is none';
