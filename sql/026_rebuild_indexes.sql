-- Rebuild indexes on codes that the installed dcsh_hamming refuses, because another version wrote them.

DO $$
DECLARE
    stale regclass;
BEGIN
    FOR stale IN SELECT s.index FROM dcsh_private.stale_indexes() s LOOP
        EXECUTE format('REINDEX INDEX %s', stale);
    END LOOP;
END
$$;
