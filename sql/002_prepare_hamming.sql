-- The native index, where the server has it and this role may make it.  All works without it, so
-- nothing that goes wrong here is an error.

DO $$
DECLARE
    place text := CASE WHEN to_regnamespace('public') IS NOT NULL
                            AND has_schema_privilege('public', 'CREATE')
                       THEN 'public' ELSE 'dcsh' END;
    in_place text := (SELECT extversion FROM pg_extension WHERE extname = 'dcsh_hamming');
    available text := (SELECT default_version FROM pg_available_extensions WHERE name = 'dcsh_hamming');
BEGIN
    IF in_place IS NULL AND available IS NOT NULL THEN
        EXECUTE format('CREATE EXTENSION dcsh_hamming SCHEMA %I', place);
    ELSIF in_place <> available THEN
        ALTER EXTENSION dcsh_hamming UPDATE;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'searches go without the native index: %', SQLERRM;
END
$$;
