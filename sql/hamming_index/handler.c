/*
 * The handler of the access method, and the door for functions that look into an index.
 */
#include "hamming.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
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

/*
 * Opens an index of this access method and, where heap is given, its table; the caller closes both.
 * Who may not read the table may not look into its index.
 */
Relation
hamming_open(Oid index_oid, LOCKMODE heap_lock, Relation *heap)
{
	Oid			heap_oid = IndexGetRelation(index_oid, true);
	Relation	index;

	if (OidIsValid(heap_oid) && pg_class_aclcheck(heap_oid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(heap_oid));

	/* The table is locked first, as everywhere. */
	if (heap != NULL)
		*heap = OidIsValid(heap_oid) ? table_open(heap_oid, heap_lock) : NULL;
	index = relation_open(index_oid, AccessShareLock);

	if (index->rd_rel->relkind != RELKIND_INDEX ||
		index->rd_indam->ambuild != hamming_build)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a hamming index", RelationGetRelationName(index)),
				 errhint("Name an index made with CREATE INDEX ... USING hamming.")));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot look into temporary indexes of other sessions")));
	if (!index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(index)),
				 errhint("REINDEX it, or drop it.")));
	return index;
}
