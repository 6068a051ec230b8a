/*
 * hamming_check: an index against its own invariants and against its table.
 */
#include "hamming.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(hamming_check);

/* An entry: block and offset of its row, and a digest of its code. */
typedef struct Seen
{
	uint64		tid;
	uint64		digest;
} Seen;

typedef struct CheckState
{
	Relation	index;
	const HammingShape *shape;
	Seen	   *seen;
	size_t		count;
	size_t		allocated;
} CheckState;

#define ST_SORT sort_seen
#define ST_ELEMENT_TYPE Seen
#define ST_COMPARE(a, b) ((a)->tid < (b)->tid ? -1 : (a)->tid > (b)->tid)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define report(state, ...) \
	ereport(ERROR, \
			(errcode(ERRCODE_INDEX_CORRUPTED), \
			 errmsg("index \"%s\" is corrupted", RelationGetRelationName((state)->index)), \
			 errdetail(__VA_ARGS__), \
			 errhint("Please REINDEX it.")))

static uint64
tid_number(ItemPointer tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		ItemPointerGetOffsetNumberNoCheck(tid);
}

static uint64
code_digest(const HammingShape *shape, const uint64 *code, bool is_null)
{
	return is_null ? 0 :
		hash_bytes_extended((const unsigned char *) code, shape->words * sizeof(uint64), 1);
}

/*
 * Checks the entries of a data page against its balls, and remembers them.
 *
 * directory is NULL where a crash has left its page new.
 */
static void
check_entries(CheckState *state, BlockNumber block, Page page, Page directory)
{
	const HammingShape *shape = state->shape;
	int			count = HammingPageGetOpaque(page)->count;
	uint64		beyond = shape->bits % 64 == 0 ? 0 : UINT64_MAX;
	int			lower = HAMMING_CODES_OFFSET +
		(count + HAMMING_LANES - 1) / HAMMING_LANES * HAMMING_LANES * shape->words * sizeof(uint64);

	if (((PageHeader) page)->pd_lower != lower ||
		((PageHeader) page)->pd_upper != (char *) hamming_page_tid(page, count - 1) - (char *) page)
		report(state, "The free space of block %u does not fit its %d entries.", block, count);
	if (directory == NULL && count > 0)
		report(state, "Block %u has entries, but its directory page is new.", block);

	/* The bytes of the last word that belong to the code. */
	if (beyond != 0)
		memset(&beyond, 0, (shape->bits % 64 + 7) / 8);
	for (int i = 0; i < count; i++)
	{
		HammingBalls balls = hamming_page_balls(directory, shape, block);
		HammingEntry entry;

		hamming_page_get(page, shape, i, &entry);
		if (!ItemPointerIsValid(&entry.tid))
			report(state, "Entry %d of block %u points to no row.", i, block);
		if (entry.code[shape->words - 1] & beyond)
			report(state, "Entry %d of block %u has more than %d bits.", i, block, shape->bits);
		if (!entry.is_null && !hamming_balls_cover(&balls, entry.code))
			report(state, "Entry %d of block %u lies in none of the balls of its page.", i, block);

		if (state->count == state->allocated)
		{
			state->allocated *= 2;
			state->seen = repalloc_huge(state->seen, state->allocated * sizeof(Seen));
		}
		state->seen[state->count].tid = tid_number(&entry.tid);
		state->seen[state->count].digest = code_digest(shape, entry.code, entry.is_null);
		state->count++;
	}
}

static void
check_page(CheckState *state, BlockNumber block)
{
	BlockNumber directory_block = hamming_directory_of(state->shape, block);
	Buffer		buffer = ReadBuffer(state->index, block);
	Buffer		directory_buffer = ReadBuffer(state->index, directory_block);
	Page		page = BufferGetPage(buffer);
	Page		directory = BufferGetPage(directory_buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	LockBuffer(directory_buffer, BUFFER_LOCK_SHARE);
	if (PageIsNew(directory))
		directory = NULL;
	else
		hamming_verify_page(state->index, directory_block, directory, HAMMING_DIRECTORY,
							state->shape);
	if (!PageIsNew(page))
	{
		hamming_verify_page(state->index, block, page, HAMMING_DATA, state->shape);
		check_entries(state, block, page, directory);
	}
	UnlockReleaseBuffer(directory_buffer);
	UnlockReleaseBuffer(buffer);
}

/*
 * Checks that a visible row has its entry; the entries are sorted by TID.
 */
static void
check_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool tuple_is_alive,
		  void *callback_state)
{
	CheckState *state = callback_state;
	uint64		code[HAMMING_MAX_WORDS];
	uint64		wanted = tid_number(tid);
	size_t		low = 0;
	size_t		high = state->count;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (state->seen[middle].tid < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == state->count || state->seen[low].tid != wanted)
		report(state, "The row at (%u,%u) has no entry.",
			   ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid));
	if (!isnull[0])
		hamming_read_code(values[0], state->shape, code);
	if (state->seen[low].digest != code_digest(state->shape, code, isnull[0]))
		report(state, "The entry of the row at (%u,%u) has another code than the row.",
			   ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid));
}

/*
 * Checks that all rows that a fresh snapshot sees have their entries.
 *
 * The index may be on an expression, and its owner's functions are not to run with the rights of
 * whoever checks it.
 */
static void
check_heap(CheckState *state, Relation heap)
{
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	IndexInfo  *index_info = BuildIndexInfo(state->index);
	int			guc_level = NewGUCNestLevel();
	TableScanDesc scan;
	Oid			user;
	int			security_context;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(heap->rd_rel->relowner,
						   security_context | SECURITY_RESTRICTED_OPERATION);
#if PG_VERSION_NUM >= 170000
	RestrictSearchPath();
#endif

	if (IsolationUsesXactSnapshot() && state->index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(state->index->rd_indextuple->t_data),
							   snapshot->xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index \"%s\" cannot be checked with this transaction's snapshot",
						RelationGetRelationName(state->index)),
				 errhint("Check it in a new transaction.")));

	scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, true);
	/* With a snapshot of its own the scan looks at visible rows only, as CONCURRENTLY does. */
	index_info->ii_Concurrent = true;
	index_info->ii_Unique = false;
	index_info->ii_ExclusionOps = NULL;
	table_index_build_scan(heap, state->index, index_info, true, false, check_row, state, scan);

	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security_context);
	UnregisterSnapshot(snapshot);
}

/*
 * Writers wait, so that no row moves between the reading of one page and the next.  A standby cannot
 * lock them out: there the check is sound only while nothing is replayed.
 */
Datum
hamming_check(PG_FUNCTION_ARGS)
{
	LOCKMODE	heap_lock = RecoveryInProgress() ? AccessShareLock : ShareLock;
	Relation	heap;
	CheckState	state = {0};
	BlockNumber blocks;

	state.index = hamming_open(PG_GETARG_OID(0), heap_lock, &heap);
	state.shape = hamming_shape(state.index);
	state.allocated = 1024;
	state.seen = palloc(state.allocated * sizeof(Seen));

	blocks = RelationGetNumberOfBlocks(state.index);
	for (BlockNumber block = 1; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!hamming_is_directory(state.shape, block))
			check_page(&state, block);
	}
	sort_seen(state.seen, state.count);
	for (size_t i = 1; i < state.count; i++)
		if (state.seen[i].tid == state.seen[i - 1].tid)
			report(&state, "The row at (%u,%u) has more than one entry.",
				   (BlockNumber) (state.seen[i].tid >> 16), (unsigned) (state.seen[i].tid & 0xFFFF));
	check_heap(&state, heap);

	pfree(state.seen);
	relation_close(state.index, AccessShareLock);
	table_close(heap, heap_lock);
	PG_RETURN_VOID();
}
