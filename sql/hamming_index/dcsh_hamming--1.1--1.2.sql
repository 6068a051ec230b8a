\echo Use "ALTER EXTENSION dcsh_hamming UPDATE" to load this file. \quit

-- Up to version 1.1 the operator <~> came from the search path, so it may not be pgvector's.
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

CREATE FUNCTION hamming_check_pages(
    index regclass,
    first_page bigint DEFAULT 0,
    pages integer DEFAULT NULL,
    sample double precision DEFAULT 1,
    OUT next_page bigint,
    OUT rows bigint,
    OUT entries bigint
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_check_pages(regclass, bigint, integer, double precision) IS
    'raises an error if the index is corrupted or does not have exactly one entry for each row on these pages of its table, or on a random sample of them; returns the page to continue from (NULL at the end) and the numbers of rows and entries checked; if pages is NULL, checks as many as maintenance_work_mem allows';
COMMENT ON FUNCTION hamming_check(regclass) IS
    'raises an error if the index is corrupted or does not have exactly one entry for each row of its table; requires MAINTAIN on the table (before PostgreSQL 17: ownership) and blocks no reader or writer';

CREATE FUNCTION hamming_format(index regclass, OUT format bigint, OUT supported bigint)
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION hamming_format(regclass) IS
    'the page format of the index (NULL if its metapage is damaged) and the format that this library reads; if they differ, the index must be rebuilt with REINDEX';
