CREATE TABLE dcsh._load_lock ();

COMMENT ON TABLE dcsh._load_lock IS 'Locked by a load; a role that may only read cannot lock it';
