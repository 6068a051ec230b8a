\echo Use "ALTER EXTENSION dcsh_hamming UPDATE" to load this file. \quit

-- Up to version 1.1 the operator <~> came from the search path, so it could be another than pgvector's.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_catalog.pg_amop p
            JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) p.amopmethod
        WHERE a.amname OPERATOR(pg_catalog.=) 'hamming'
            AND NOT EXISTS (
                SELECT
                FROM pg_catalog.pg_depend d
                    JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
                WHERE d.objid OPERATOR(pg_catalog.=) p.amopopr
                    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
                    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                    AND d.deptype OPERATOR(pg_catalog.=) 'e'
                    AND e.extname OPERATOR(pg_catalog.=) 'vector')
    ) THEN
        RAISE EXCEPTION 'an operator class of access method "hamming" uses an operator that is not of extension "vector"'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Drop dcsh_hamming with its indexes (DROP EXTENSION dcsh_hamming CASCADE), then create both again.';
    END IF;
END
$$;
