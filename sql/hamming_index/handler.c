/*
 * The handler of the access method, and the opening of an index for SQL functions.
 */
#include "hamming.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(hamming_handler);

static relopt_kind options_kind;

void		_PG_init(void);

void
_PG_init(void)
{
	options_kind = add_reloption_kind();
	HAMMING_DEFINE_INJECTION_POINTS();
}

/*
 * Accepts any operator class for type bit.
 */
static bool
validate_operator_class(Oid opclass)
{
	Oid			type = get_opclass_input_type(opclass);

	if (type == BITOID)
		return true;
	ereport(INFO,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("operator class of access method hamming is for type %s, not bit",
					format_type_be(type))));
	return false;
}

/*
 * Refuses all storage parameters; there are none.
 */
static bytea *
parse_options(Datum reloptions, bool validate)
{
	return build_reloptions(reloptions, validate, options_kind, 0, NULL, 0);
}

Datum
hamming_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 1;
	am->amsupport = 0;
	am->amcanorderbyop = true;
	am->amoptionalkey = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL | VACUUM_OPTION_PARALLEL_COND_CLEANUP;
	am->amkeytype = InvalidOid;
#if PG_VERSION_NUM >= 170000
	am->amcanbuildparallel = true;
#endif

	am->ambuild = hamming_build;
	am->ambuildempty = hamming_build_empty;
	am->aminsert = hamming_insert;
	am->ambulkdelete = hamming_bulk_delete;
	am->amvacuumcleanup = hamming_vacuum_cleanup;
	am->amcostestimate = hamming_cost_estimate;
	am->amoptions = parse_options;
	am->ambuildphasename = hamming_build_phase_name;
	am->amvalidate = validate_operator_class;
	am->ambeginscan = hamming_begin_scan;
	am->amrescan = hamming_rescan;
	am->amgettuple = hamming_get_tuple;
	am->amendscan = hamming_end_scan;

	PG_RETURN_POINTER(am);
}

static void
report_wrong_relation(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a hamming index", name),
			 errhint("Name an index created with CREATE INDEX ... USING hamming.")));
}

static void
report_missing_index(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("index no longer exists"),
			 errhint("Another session has dropped or rebuilt it. Run the statement again.")));
}

/*
 * Requires SELECT on the table and no row-level security to read an index, and the privilege of
 * REINDEX to check it.
 */
static void
check_privileges(Oid heap, HammingAccess access)
{
	AclResult	result;

	if (access != HAMMING_MAINTAIN)
		result = pg_class_aclcheck(heap, GetUserId(), ACL_SELECT);
	else
#if PG_VERSION_NUM >= 170000
		result = pg_class_aclcheck(heap, GetUserId(), ACL_MAINTAIN);
#elif PG_VERSION_NUM >= 160000
		result = object_ownercheck(RelationRelationId, heap, GetUserId()) ?
			ACLCHECK_OK : ACLCHECK_NOT_OWNER;
#else
		result = pg_class_ownercheck(heap, GetUserId()) ? ACLCHECK_OK : ACLCHECK_NOT_OWNER;
#endif
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, get_rel_name(heap));
	if (access == HAMMING_READ && check_enable_rls(heap, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row-level security is enabled for table \"%s\"", get_rel_name(heap)),
				 errhint("Roles that it applies to can search only with ORDER BY.")));
}

/*
 * Opens an index and its table if they exist; locks the table first.
 */
static Relation
try_open(Oid index_oid, Oid heap_oid, Relation *heap)
{
	Relation	index;

	*heap = try_relation_open(heap_oid, AccessShareLock);
	if (*heap == NULL)
		return NULL;
	index = try_relation_open(index_oid, AccessShareLock);
	if (index == NULL)
		table_close(*heap, AccessShareLock);
	return index;
}

/*
 * Opens an index of this access method and its table for a function, with the locks of a reader.  The
 * caller closes both.
 *
 * If the index was dropped or replaced since the caller looked it up, returns NULL if missing_ok, else
 * raises an error.
 */
Relation
hamming_open(Oid index_oid, HammingAccess access, bool missing_ok, Relation *heap)
{
	Oid			heap_oid = IndexGetRelation(index_oid, true);
	Relation	index = NULL;

	if (OidIsValid(heap_oid))
	{
		check_privileges(heap_oid, access);
		index = try_open(index_oid, heap_oid, heap);
	}
	else if (get_rel_name(index_oid) != NULL)
		report_wrong_relation(get_rel_name(index_oid));
	if (index == NULL && missing_ok)
		return NULL;
	if (index == NULL)
		report_missing_index();

	if (index->rd_rel->relkind != RELKIND_INDEX ||
		index->rd_indam->ambuild != hamming_build)
		report_wrong_relation(RelationGetRelationName(index));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary indexes of other sessions")));
	if (!index->rd_index->indisvalid && missing_ok)
	{
		relation_close(index, AccessShareLock);
		table_close(*heap, AccessShareLock);
		return NULL;
	}
	if (!index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(index)),
				 errhint("Another session may be building or replacing it. If not, REINDEX or drop it.")));
	return index;
}
