-- Create or update the native index if the server has it and this role may. Everything works without it,
-- so a failure here is not an error. Its functions take arguments of any type, so they belong in a schema
-- where only the owner creates objects.

DO $$
DECLARE
    in_place text := (SELECT extversion FROM pg_extension WHERE extname = 'dcsh_hamming');
    available text := (SELECT default_version FROM pg_available_extensions WHERE name = 'dcsh_hamming');
BEGIN
    IF in_place IS NULL AND available IS NOT NULL THEN
        CREATE EXTENSION dcsh_hamming SCHEMA dcsh;
        RETURN;
    ELSIF in_place <> available THEN
        ALTER EXTENSION dcsh_hamming UPDATE;
    END IF;
    IF EXISTS (
        SELECT FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
            CROSS JOIN LATERAL aclexplode(n.nspacl) a
        WHERE e.extname = 'dcsh_hamming' AND n.nspname <> 'dcsh' AND a.privilege_type = 'CREATE'
            AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.grantee AND r.rolsuper))
    THEN
        ALTER EXTENSION dcsh_hamming SET SCHEMA dcsh;
    END IF;
EXCEPTION WHEN OTHERS THEN
    IF in_place IS NOT NULL THEN
        RAISE WARNING 'extension dcsh_hamming was not updated: %', SQLERRM
            USING HINT = 'run as its owner: ALTER EXTENSION dcsh_hamming UPDATE; ALTER EXTENSION dcsh_hamming SET SCHEMA dcsh';
    END IF;
END
$$;
