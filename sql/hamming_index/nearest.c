/*
 * hamming_nearest: the nearest of the rows that other indexes of the table select.
 *
 * The other indexes return only TIDs.  The search skips all other entries, so the table is read,
 * for visibility, only for rows that are both selected and near.  If few rows are selected, in
 * relation to the pages of the index, all of them are read from the table instead.
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

/* Arguments before the conditions, and per condition: column, operator and operand. */
#define FIRST_CONDITION 5
#define CONDITION_ARGUMENTS 3

/* Initial room for TIDs. */
#define INITIAL_TIDS 1024

typedef struct NearestRows
{
	Datum	   *tids;
	Datum	   *distances;
	int			count;
	int			allocated;
} NearestRows;

/*
 * Whether the active snapshot may use an index; with broken HOT chains, older snapshots may not.
 */
static bool
is_usable(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							  TransactionXmin);
}

/*
 * Whether an index of the table supports a condition on a column.
 */
static bool
supports_condition(Relation heap, Relation index, AttrNumber column, Oid operator)
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
 * Opens an index that supports a condition; returns NULL if there is none.
 */
static Relation
open_index_for(Relation heap, AttrNumber column, Oid operator)
{
	List	   *oids = RelationGetIndexList(heap);
	Relation	index = NULL;
	ListCell   *cell;

	foreach(cell, oids)
	{
		index = index_open(lfirst_oid(cell), AccessShareLock);
		if (supports_condition(heap, index, column, operator))
			break;
		index_close(index, AccessShareLock);
		index = NULL;
	}
	list_free(oids);
	return index;
}

static AttrNumber
column_of(FunctionCallInfo fcinfo, int condition, Relation heap)
{
	const char *name = NameStr(*PG_GETARG_NAME(condition));
	AttrNumber	column = get_attnum(RelationGetRelid(heap), name);

	if (column <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name,
						RelationGetRelationName(heap))));
	return column;
}

/*
 * Converts a condition to a scan key; returns false if its operand is null.
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
 * Scans an index for the rows that meet all keys; returns NULL if there are more than max_rows.
 */
static HammingTidSet *
scan_index(Relation heap, Relation index, ScanKey keys, int key_count, int max_rows)
{
	int			allocated = Min(max_rows, INITIAL_TIDS);
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
		if (count == max_rows)
		{
			complete = false;
			break;
		}
		if (count == allocated)
		{
			allocated = (int) Min(2 * (int64) allocated, max_rows);
			tids = repalloc_huge(tids, allocated * sizeof(uint64));
		}
		tids[count++] = hamming_tid_number(tid);
	}
	index_endscan(scan);
	if (complete)
		set = hamming_tid_set_create(tids, count);
	pfree(tids);
	return set;
}

/*
 * Returns the rows that meet the conditions with an index; NULL if there is no such index, or if each
 * has more than max_rows.  Consecutive conditions on the same column share one scan.
 */
static HammingTidSet *
select_rows(FunctionCallInfo fcinfo, Relation heap, int max_rows)
{
	HammingTidSet *selected = NULL;
	int			next;

	for (int first = FIRST_CONDITION; first < PG_NARGS(); first = next)
	{
		AttrNumber	column = column_of(fcinfo, first, heap);
		Relation	index = open_index_for(heap, column, PG_GETARG_OID(first + 1));
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
		set = possible ? scan_index(heap, index, keys, key_count, max_rows) :
			hamming_tid_set_create(NULL, 0);
		index_close(index, AccessShareLock);
		if (set != NULL)
			selected = selected == NULL ? set : hamming_tid_set_intersect(selected, set);
	}
	return selected;
}

static void
add_row(NearestRows *result, ItemPointer tid, unsigned distance)
{
	ItemPointer copy = palloc(sizeof(ItemPointerData));

	if (result->count == result->allocated)
	{
		result->allocated *= 2;
		result->tids = repalloc_huge(result->tids, result->allocated * sizeof(Datum));
		result->distances = repalloc_huge(result->distances, result->allocated * sizeof(Datum));
	}
	*copy = *tid;
	result->tids[result->count] = PointerGetDatum(copy);
	result->distances[result->count++] = Int32GetDatum((int32) distance);
}

/*
 * Returns the k nearest visible rows of a search, and all that are as near as the last.
 */
static void
search_index(Relation heap, HammingSearch *search, int k, int max_distance, NearestRows *result)
{
	IndexFetchTableData *fetch = table_index_fetch_begin(heap);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	Snapshot	snapshot = GetActiveSnapshot();
	ItemPointerData tid;
	int			last = -1;

	while ((result->count < k || !hamming_search_at_end_of_batch(search)) &&
		   hamming_search_next(search, &tid))
	{
		int			distance = (int) hamming_search_distance(search);
		bool		call_again = false;

		CHECK_FOR_INTERRUPTS();
		if (distance > max_distance || (result->count >= k && distance > last))
			break;
		if (table_index_fetch_tuple(fetch, &tid, snapshot, slot, &call_again, NULL))
		{
			add_row(result, &slot->tts_tid, distance);
			last = distance;
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	table_index_fetch_end(fetch);
}

static void
search_heap(Relation heap, Relation index, const HammingTidSet *selected, const uint64 *query,
			int k, int max_distance, NearestRows *result)
{
	int			count;
	uint64	   *keys = hamming_search_heap(heap, index, selected, query, k, max_distance, &count);

	for (int i = 0; i < count; i++)
	{
		ItemPointerData tid;

		hamming_tid_of_number(hamming_key_tid(keys[i]), &tid);
		add_row(result, &tid, hamming_key_distance(keys[i]));
	}
	pfree(keys);
}

/*
 * Returns the k nearest of the selected rows that are visible, and all that are as near as the last.
 */
static void
find_nearest(Relation heap, Relation index, const HammingTidSet *selected, const uint64 *query,
			 int k, int max_distance, NearestRows *result)
{
	HammingSearch *search;

	if (hamming_prefers_heap(heap, index, selected))
	{
		search_heap(heap, index, selected, query, k, max_distance, result);
		return;
	}
	search = hamming_search_create(index);
	hamming_search_among(search, selected, k);
	hamming_search_start(search, query);
	pgstat_count_index_scan(index);
	search_index(heap, search, k, max_distance, result);
	hamming_search_free(search);
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	if (get_fn_expr_variadic(fcinfo->flinfo) ||
		(PG_NARGS() - FIRST_CONDITION) % CONDITION_ARGUMENTS != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("each condition must be a column, an operator and an operand")));
	for (int i = FIRST_CONDITION; i < PG_NARGS(); i += CONDITION_ARGUMENTS)
	{
		if (get_fn_expr_argtype(fcinfo->flinfo, i) != NAMEOID ||
			get_fn_expr_argtype(fcinfo->flinfo, i + 1) != REGOPERATOROID ||
			PG_ARGISNULL(i) || PG_ARGISNULL(i + 1))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("each condition must begin with a name and a regoperator")));
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
	/* A partial index lacks rows that other indexes may select. */
	selected = is_usable(index) && RelationGetIndexPredicate(index) == NIL ?
		select_rows(fcinfo, heap, PG_GETARG_INT32(4)) : NULL;
	if (selected != NULL)
	{
		NearestRows result = {.allocated = 64};

		result.tids = palloc(result.allocated * sizeof(Datum));
		result.distances = palloc(result.allocated * sizeof(Datum));
		PredicateLockRelation(index, GetActiveSnapshot());
		find_nearest(heap, index, selected, query,
					 PG_ARGISNULL(2) ? INT_MAX : PG_GETARG_INT32(2),
					 PG_ARGISNULL(3) ? shape.bits : Min(PG_GETARG_INT32(3), shape.bits), &result);
		values[0] = PointerGetDatum(construct_array(result.tids, result.count, TIDOID,
													sizeof(ItemPointerData), false,
													TYPALIGN_SHORT));
		values[1] = PointerGetDatum(construct_array(result.distances, result.count, INT4OID,
													sizeof(int32), true, TYPALIGN_INT));
		isnull[0] = isnull[1] = false;
	}
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, isnull)));
}
