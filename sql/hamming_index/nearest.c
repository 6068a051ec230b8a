/*
 * hamming_nearest: the nearest of those rows that other indexes select.
 *
 * The other indexes are asked for TIDs alone.  The search for a code passes over all others, and so
 * only rows that are both selected and near are looked up in the table, for their visibility; or,
 * where they are few beside the pages of the index, all that are selected.
 */
#include "hamming.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(hamming_nearest);

/* The arguments before the conditions, and those of a condition: column, operator and operand. */
#define FIRST_CONDITION 5
#define CONDITION_ARGUMENTS 3

/* Room for TIDs to begin with. */
#define FIRST_TIDS 1024

typedef struct Found
{
	Datum	   *tids;
	Datum	   *distances;
	int			count;
	int			allocated;
} Found;

/*
 * A broken HOT chain may lead an index astray for snapshots older than itself.
 */
static bool
is_usable(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							  TransactionXmin);
}

/*
 * Whether an index of the table can tell the rows that meet a condition on a column.
 */
static bool
can_select(Relation heap, Relation index, AttrNumber column, Oid operator)
{
	Form_pg_index form = index->rd_index;

	return index->rd_indam->amgettuple != NULL && form->indisvalid &&
		is_usable(index) && form->indkey.values[0] == column &&
		index->rd_indcollation[0] ==
		TupleDescAttr(RelationGetDescr(heap), column - 1)->attcollation &&
		op_in_opfamily(operator, index->rd_opfamily[0]) &&
		RelationGetIndexPredicate(index) == NIL;
}

/*
 * An index that can, opened; or NULL.
 */
static Relation
open_selecting(Relation heap, AttrNumber column, Oid operator)
{
	List	   *oids = RelationGetIndexList(heap);
	Relation	found = NULL;
	ListCell   *cell;

	foreach(cell, oids)
	{
		found = index_open(lfirst_oid(cell), AccessShareLock);
		if (can_select(heap, found, column, operator))
			break;
		index_close(found, AccessShareLock);
		found = NULL;
	}
	list_free(oids);
	return found;
}

static AttrNumber
column_of(FunctionCallInfo fcinfo, int condition, Relation heap)
{
	const char *name = NameStr(*PG_GETARG_NAME(condition));
	AttrNumber	column = get_attnum(RelationGetRelid(heap), name);

	if (column <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"", RelationGetRelationName(heap), name)));
	return column;
}

/*
 * A condition as a scan key; false where its operand is null.
 */
static bool
read_condition(FunctionCallInfo fcinfo, int condition, Relation index, ScanKey key)
{
	Oid			operator = PG_GETARG_OID(condition + 1);
	Oid			operand = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, condition + 2));
	int			flags = 0;
	int			strategy;
	Oid			left;
	Oid			right;

	get_op_opfamily_properties(operator, index->rd_opfamily[0], false, &strategy, &left, &right);
	if (index->rd_indam->amsearcharray && get_element_type(operand) == right)
		flags = SK_SEARCHARRAY;
	else if (operand != right)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("operator %s takes %s, not %s", get_opname(operator),
						format_type_be(right), format_type_be(operand))));
	if (PG_ARGISNULL(condition + 2))
		return false;
	ScanKeyEntryInitialize(key, flags, 1, strategy, right, index->rd_indcollation[0],
						   get_opcode(operator), PG_GETARG_DATUM(condition + 2));
	return true;
}

/*
 * The rows that meet all conditions on one index, at most so many; NULL where they are more.
 */
static HammingTidSet *
select_rows(Relation heap, Relation index, ScanKey keys, int key_count, int most)
{
	int			allocated = Min(most, FIRST_TIDS);
	uint64	   *tids = palloc(allocated * sizeof(uint64));
	int			count = 0;
	bool		complete = true;
	HammingTidSet *set = NULL;
	IndexScanDesc scan;
	ItemPointer tid;

	scan = index_beginscan(heap, index, GetActiveSnapshot(),
#if PG_VERSION_NUM >= 180000
						   NULL,
#endif
						   key_count, 0);
	index_rescan(scan, keys, key_count, NULL, 0);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (count == most)
		{
			complete = false;
			break;
		}
		if (count == allocated)
		{
			allocated = (int) Min(2 * (int64) allocated, most);
			tids = repalloc_huge(tids, allocated * sizeof(uint64));
		}
		tids[count++] = hamming_tid_number(tid);
	}
	index_endscan(scan);
	if (complete)
		set = hamming_tid_set(tids, count);
	pfree(tids);
	return set;
}

/*
 * The rows that meet the conditions for which there is an index; NULL where they are more than most
 * by each, or where there is none.  Conditions on one column that follow each other are one scan.
 */
static HammingTidSet *
select_all(FunctionCallInfo fcinfo, Relation heap, int most)
{
	HammingTidSet *selected = NULL;
	int			next;

	for (int first = FIRST_CONDITION; first < PG_NARGS(); first = next)
	{
		AttrNumber	column = column_of(fcinfo, first, heap);
		Relation	index = open_selecting(heap, column, PG_GETARG_OID(first + 1));
		ScanKeyData keys[INDEX_MAX_KEYS];
		int			key_count = 0;
		bool		possible = true;
		HammingTidSet *set = NULL;

		next = first + CONDITION_ARGUMENTS;
		if (index == NULL)
			continue;
		for (next = first; next < PG_NARGS() && column_of(fcinfo, next, heap) == column &&
			 op_in_opfamily(PG_GETARG_OID(next + 1), index->rd_opfamily[0]) &&
			 key_count < INDEX_MAX_KEYS; next += CONDITION_ARGUMENTS)
		{
			if (read_condition(fcinfo, next, index, &keys[key_count]))
				key_count++;
			else
				possible = false;
		}
		set = possible ? select_rows(heap, index, keys, key_count, most) :
			hamming_tid_set(NULL, 0);
		index_close(index, AccessShareLock);
		if (set != NULL)
			selected = selected == NULL ? set : hamming_tid_set_both(selected, set);
	}
	return selected;
}

static void
add_found(Found *found, ItemPointer tid, unsigned distance)
{
	ItemPointer copy = palloc(sizeof(ItemPointerData));

	if (found->count == found->allocated)
	{
		found->allocated *= 2;
		found->tids = repalloc_huge(found->tids, found->allocated * sizeof(Datum));
		found->distances = repalloc_huge(found->distances, found->allocated * sizeof(Datum));
	}
	*copy = *tid;
	found->tids[found->count] = PointerGetDatum(copy);
	found->distances[found->count++] = Int32GetDatum((int32) distance);
}

/*
 * By the index.
 */
static void
find_in_index(Relation heap, HammingSearch *search, int k, int max_distance, Found *found)
{
	IndexFetchTableData *fetch = table_index_fetch_begin(heap);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	Snapshot	snapshot = GetActiveSnapshot();
	ItemPointerData tid;
	int			last = -1;

	while ((found->count < k || !hamming_search_at_end_of_batch(search)) &&
		   hamming_search_next(search, &tid))
	{
		int			distance = (int) hamming_search_distance(search);
		bool		call_again = false;

		CHECK_FOR_INTERRUPTS();
		if (distance > max_distance || (found->count >= k && distance > last))
			break;
		if (table_index_fetch_tuple(fetch, &tid, snapshot, slot, &call_again, NULL))
		{
			add_found(found, &slot->tts_tid, distance);
			last = distance;
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	table_index_fetch_end(fetch);
}

/*
 * By the rows themselves.
 */
static void
find_in_rows(Relation heap, Relation index, const HammingTidSet *selected, const uint64 *query,
			 int k, int max_distance, Found *found)
{
	int			count;
	uint64	   *keys = hamming_nearest_rows(heap, index, selected, query, k, max_distance, &count);

	for (int i = 0; i < count; i++)
	{
		ItemPointerData tid;

		hamming_tid_of_number(keys[i], &tid);
		add_found(found, &tid, (unsigned) (keys[i] >> 48));
	}
	pfree(keys);
}

/*
 * The k nearest of the selected rows that are visible, and all that are as near as the last.
 */
static void
find(Relation heap, Relation index, const HammingTidSet *selected, const uint64 *query, int k,
	 int max_distance, Found *found)
{
	HammingSearch *search;
	int			rows;

	hamming_tid_set_all(selected, &rows);
	if (hamming_prefers_rows(index, rows))
	{
		find_in_rows(heap, index, selected, query, k, max_distance, found);
		return;
	}
	search = hamming_search_create(index);
	hamming_search_among(search, selected, k);
	hamming_search_start(search, query);
	pgstat_count_index_scan(index);
	find_in_index(heap, search, k, max_distance, found);
	hamming_search_free(search);
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	if (get_fn_expr_variadic(fcinfo->flinfo) ||
		(PG_NARGS() - FIRST_CONDITION) % CONDITION_ARGUMENTS != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a condition is a column, an operator and an operand")));
	for (int i = FIRST_CONDITION; i < PG_NARGS(); i += CONDITION_ARGUMENTS)
	{
		if (get_fn_expr_argtype(fcinfo->flinfo, i) != NAMEOID ||
			get_fn_expr_argtype(fcinfo->flinfo, i + 1) != REGOPERATOROID ||
			PG_ARGISNULL(i) || PG_ARGISNULL(i + 1))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("a condition begins with a name and a regoperator")));
	}
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("index, code and most must not be null")));
	if ((!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1) || PG_GETARG_INT32(4) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("k and most must be positive")));
}

Datum
hamming_nearest(PG_FUNCTION_ARGS)
{
	Relation	heap;
	Relation	index;
	HammingTidSet *selected;
	TupleDesc	descriptor;
	Datum		values[2] = {0};
	bool		isnull[2] = {true, true};
	HammingShape shape;
	uint64		query[HAMMING_MAX_WORDS];

	check_arguments(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	index = hamming_open(PG_GETARG_OID(0), HAMMING_READ, true, &heap);
	if (index == NULL)
		PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values,
														  isnull)));
	shape = hamming_shape(index);
	hamming_read_code(PG_GETARG_DATUM(1), &shape, query);
	/* A partial index lacks rows that the others may select. */
	selected = is_usable(index) && RelationGetIndexPredicate(index) == NIL ?
		select_all(fcinfo, heap, PG_GETARG_INT32(4)) : NULL;
	if (selected != NULL)
	{
		Found		found = {.allocated = 64};

		found.tids = palloc(found.allocated * sizeof(Datum));
		found.distances = palloc(found.allocated * sizeof(Datum));
		PredicateLockRelation(index, GetActiveSnapshot());
		find(heap, index, selected, query, PG_ARGISNULL(2) ? INT_MAX : PG_GETARG_INT32(2),
			 PG_ARGISNULL(3) ? shape.bits : Min(PG_GETARG_INT32(3), shape.bits), &found);
		values[0] = PointerGetDatum(construct_array(found.tids, found.count, TIDOID,
													sizeof(ItemPointerData), false,
													TYPALIGN_SHORT));
		values[1] = PointerGetDatum(construct_array(found.distances, found.count, INT4OID,
													sizeof(int32), true, TYPALIGN_INT));
		isnull[0] = isnull[1] = false;
	}
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, isnull)));
}
