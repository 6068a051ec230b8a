/*
 * The handler of the access method, and the door for functions that look into an index.
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
	HAMMING_DEFINE_POINTS();
}

/*
 * An operator class of this access method is for codes, whatever its operator is called.
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
 * There are no storage parameters: whatever is given is refused.
 */
static bytea *
options(Datum reloptions, bool validate)
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
	am->amoptions = options;
	am->ambuildphasename = hamming_build_phase_name;
	am->amvalidate = validate_operator_class;
	am->ambeginscan = hamming_begin_scan;
	am->amrescan = hamming_rescan;
	am->amgettuple = hamming_get_tuple;
	am->amendscan = hamming_end_scan;

	PG_RETURN_POINTER(am);
}

static void
refuse_other_relation(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a hamming index", name),
			 errhint("Name an index made with CREATE INDEX ... USING hamming.")));
}

static void
refuse_missing_index(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the index does not exist any more"),
			 errhint("Another session has dropped or rebuilt it; run the statement again.")));
}

/*
 * Reading takes the right to see all rows of the table; maintenance takes what REINDEX does.
 */
static void
check_rights(Oid heap, HammingAccess access)
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
				 errmsg("row-level security is on for table \"%s\"", get_rel_name(heap)),
				 errhint("Roles that it applies to can search by ORDER BY alone.")));
}

/*
 * Opens an index and its table, if they exist; the table is locked first, as everywhere.
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
 * Opens an index of this access method and its table for a function; the caller closes both.  It
 * takes the locks of a reader alone, so nobody waits for it.
 *
 * An index that was dropped or replaced since the caller looked it up is an error, or NULL where
 * missing_ok.
 */
Relation
hamming_open(Oid index_oid, HammingAccess access, bool missing_ok, Relation *heap)
{
	Oid			heap_oid = IndexGetRelation(index_oid, true);
	Relation	index = NULL;

	if (OidIsValid(heap_oid))
	{
		check_rights(heap_oid, access);
		index = try_open(index_oid, heap_oid, heap);
	}
	else if (get_rel_name(index_oid) != NULL)
		refuse_other_relation(get_rel_name(index_oid));
	if (index == NULL && missing_ok)
		return NULL;
	if (index == NULL)
		refuse_missing_index();

	if (index->rd_rel->relkind != RELKIND_INDEX ||
		index->rd_indam->ambuild != hamming_build)
		refuse_other_relation(RelationGetRelationName(index));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot look into temporary indexes of other sessions")));
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
				 errhint("Another session may be building or replacing it; else REINDEX or drop it.")));
	return index;
}
