/*
 * Parallel CREATE INDEX: all processes read the table and assign the codes to cells.
 *
 * The records of the whole table lie in shared memory; if they do not fit, the leader builds alone.
 * A barrier separates the phases, and a worker that starts late joins the current phase.  The leader
 * alone finds the cells and writes the pages.
 */
#include "hamming.h"

#include <sys/statvfs.h>

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "storage/barrier.h"
#include "storage/dsm_impl.h"
#include "storage/spin.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "parallel.h"

#define KEY_SHARED UINT64CONST(0xDC50000000000001)
#define KEY_SCAN UINT64CONST(0xDC50000000000002)
#define KEY_RECORDS UINT64CONST(0xDC50000000000003)
#define KEY_SCRATCH UINT64CONST(0xDC50000000000004)
#define KEY_CENTRES UINT64CONST(0xDC50000000000005)

/* Records that a process collects before it copies them to shared memory, and that it assigns at a time. */
#define BATCH 1024

/* Room for more records than the statistics claim. */
#define SPARE(records) ((records) + (records) / 4 + 10000)

typedef enum Phase
{
	PHASE_SCAN,
	PHASE_CELLS,
	PHASE_ASSIGN,
	PHASE_DONE
} Phase;

typedef struct Shared
{
	Oid			heap;
	Oid			index;
	bool		concurrent;
	HammingShape shape;
	uint64		capacity;		/* records that fit */
	Barrier		barrier;
	pg_atomic_uint64 collected; /* records, including any that did not fit */
	pg_atomic_uint64 assigned;	/* records that a process has claimed */
	slock_t		mutex;
	double		heap_tuples;	/* under mutex */
	bool		broken_hot_chain;	/* under mutex; see IndexInfo */

	/* For PHASE_ASSIGN. */
	uint64		count;
	uint64		cells;
} Shared;

struct HammingParallel
{
	ParallelContext *context;
	Snapshot	snapshot;
};

/* A process of the build. */
typedef struct Participant
{
	Shared	   *shared;
	ParallelTableScanDesc scan;
	uint64	   *records;
	int16	   *scratch;
	uint64	   *centres;
	uint64	   *batch;
	int			batched;
} Participant;

PGDLLEXPORT void hamming_parallel_main(dsm_segment *segment, shm_toc *toc);

static void
flush_batch(Participant *participant)
{
	Shared	   *shared = participant->shared;
	size_t		words = shared->shape.words + 1;
	uint64		first = pg_atomic_fetch_add_u64(&shared->collected, participant->batched);

	if (first + participant->batched <= shared->capacity)
		memcpy(participant->records + first * words, participant->batch,
			   participant->batched * words * sizeof(uint64));
	participant->batched = 0;
}

static void
collect_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool tuple_is_alive,
		void *state)
{
	Participant *participant = state;
	const HammingShape *shape = &participant->shared->shape;
	uint64	   *record = participant->batch + participant->batched * (shape->words + 1);

	record[shape->words] = hamming_tid_number(tid);
	if (isnull[0])
	{
		memset(record, 0, shape->words * sizeof(uint64));
		record[shape->words] |= HAMMING_NULL_FLAG;
	}
	else
		hamming_read_code(values[0], shape, record);
	if (++participant->batched == BATCH)
		flush_batch(participant);
}

static void
scan(Participant *participant, Relation heap, Relation index, bool progress)
{
	Shared	   *shared = participant->shared;
	IndexInfo  *info = BuildIndexInfo(index);
	double		tuples;

	info->ii_Concurrent = shared->concurrent;
	participant->batch = palloc(BATCH * (shared->shape.words + 1) * sizeof(uint64));
	participant->batched = 0;
	tuples = table_index_build_scan(heap, index, info, true, progress, collect_row, participant,
									table_beginscan_parallel(heap, participant->scan));
	HAMMING_INJECTION_POINT("build-collected");
	flush_batch(participant);
	pfree(participant->batch);
	SpinLockAcquire(&shared->mutex);
	shared->heap_tuples += tuples;
	shared->broken_hot_chain |= info->ii_BrokenHotChain;
	SpinLockRelease(&shared->mutex);
}

static void
assign(Participant *participant)
{
	Shared	   *shared = participant->shared;
	HammingRecords all = {participant->records, shared->count, shared->shape.words,
	participant->scratch};
	uint64		first;

	HAMMING_INJECTION_POINT("build-assign");
	if (shared->cells == 0)
		return;
	while ((first = pg_atomic_fetch_add_u64(&shared->assigned, BATCH)) < shared->count)
	{
		HammingRecords some = hamming_slice(&all, first, Min(BATCH, shared->count - first));

		CHECK_FOR_INTERRUPTS();
		hamming_assign(&some, participant->centres, shared->cells);
	}
}

static void
next_phase(Shared *shared)
{
	BarrierArriveAndWait(&shared->barrier, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
}

static Participant
attach_participant(shm_toc *toc)
{
	return (Participant) {
		.shared = shm_toc_lookup(toc, KEY_SHARED, false),
		.scan = shm_toc_lookup(toc, KEY_SCAN, false),
		.records = shm_toc_lookup(toc, KEY_RECORDS, false),
		.scratch = shm_toc_lookup(toc, KEY_SCRATCH, false),
		.centres = shm_toc_lookup(toc, KEY_CENTRES, false),
	};
}

/* A worker. */
void
hamming_parallel_main(dsm_segment *segment, shm_toc *toc)
{
	Participant participant = attach_participant(toc);
	Shared	   *shared = participant.shared;
	LOCKMODE	heap_lock = shared->concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE	index_lock = shared->concurrent ? RowExclusiveLock : AccessExclusiveLock;
	int			phase = BarrierAttach(&shared->barrier);

	if (phase == PHASE_SCAN)
	{
		Relation	heap = table_open(shared->heap, heap_lock);
		Relation	index = index_open(shared->index, index_lock);

		scan(&participant, heap, index, false);
		index_close(index, index_lock);
		table_close(heap, heap_lock);
		next_phase(shared);
	}
	if (phase <= PHASE_CELLS)
		next_phase(shared);
	if (phase <= PHASE_ASSIGN)
	{
		assign(&participant);
		next_phase(shared);
	}
	BarrierDetach(&shared->barrier);
}

/*
 * Whether there is enough shared memory.  Creating a segment that does not fit raises an error, and
 * containers often have little.
 */
static bool
has_shared_memory(Size bytes)
{
	struct statvfs shared;
	const char *folder = dynamic_shared_memory_type == DSM_IMPL_POSIX ? "/dev/shm" :
		dynamic_shared_memory_type == DSM_IMPL_MMAP ? PG_DYNSHMEM_DIR : NULL;

	return folder == NULL || statvfs(folder, &shared) != 0 ||
		bytes < (Size) shared.f_bavail * shared.f_frsize / 2;
}

static int
worker_count(Relation heap, Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	return info->ii_ParallelWorkers;
#else
	return plan_create_index_workers(RelationGetRelid(heap), RelationGetRelid(index));
#endif
}

/*
 * Returns the expected number of records, or 0 if they do not fit.
 */
static uint64
expected_records(Relation heap, const HammingShape *shape, size_t room)
{
	BlockNumber pages;
	double		tuples;
	double		all_visible;
	uint64		expected;

	table_relation_estimate_size(heap, NULL, &pages, &tuples, &all_visible);
	/* Statistics may be wrong, infinity and NaN included; a page has no more rows than this. */
	tuples = Min(tuples, (double) pages * MaxHeapTuplesPerPage);
	expected = SPARE((uint64) Max(tuples, 0));
	if (expected > room || !has_shared_memory(expected * ((shape->words + 1) * sizeof(uint64) + sizeof(int16))))
		return 0;
	return expected;
}

static void
estimate_chunk(shm_toc_estimator *estimator, Size bytes)
{
	shm_toc_estimate_chunk(estimator, bytes);
	shm_toc_estimate_keys(estimator, 1);
}

static void *
allocate_chunk(ParallelContext *context, uint64 key, Size bytes)
{
	void	   *chunk = shm_toc_allocate(context->toc, bytes);

	shm_toc_insert(context->toc, key, chunk);
	return chunk;
}

static HammingParallel *
begin_parallel(Relation heap, Relation index, const HammingShape *shape, bool concurrent, int workers,
	   uint64 capacity)
{
	HammingParallel *parallel = palloc(sizeof(HammingParallel));
	ParallelContext *context;
	Size		record = (shape->words + 1) * sizeof(uint64);
	Size		centres = HAMMING_MAX_CELLS * shape->words * sizeof(uint64);
	Size		scan_size;
	Shared	   *shared;

	EnterParallelMode();
	context = CreateParallelContext("dcsh_hamming", "hamming_parallel_main", workers);
	parallel->context = context;
	parallel->snapshot = concurrent ? RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	scan_size = table_parallelscan_estimate(heap, parallel->snapshot);
	estimate_chunk(&context->estimator, sizeof(Shared));
	estimate_chunk(&context->estimator, scan_size);
	estimate_chunk(&context->estimator, capacity * record);
	estimate_chunk(&context->estimator, capacity * sizeof(int16));
	estimate_chunk(&context->estimator, centres);
	InitializeParallelDSM(context);
	if (context->seg == NULL)
	{
		hamming_parallel_end(parallel);
		return NULL;
	}

	shared = allocate_chunk(context, KEY_SHARED, sizeof(Shared));
	*shared = (Shared) {
		.heap = RelationGetRelid(heap),
		.index = RelationGetRelid(index),
		.concurrent = concurrent,
		.shape = *shape,
		.capacity = capacity,
	};
	BarrierInit(&shared->barrier, 0);
	pg_atomic_init_u64(&shared->collected, 0);
	pg_atomic_init_u64(&shared->assigned, 0);
	SpinLockInit(&shared->mutex);
	table_parallelscan_initialize(heap, allocate_chunk(context, KEY_SCAN, scan_size),
								  parallel->snapshot);
	allocate_chunk(context, KEY_RECORDS, capacity * record);
	allocate_chunk(context, KEY_SCRATCH, capacity * sizeof(int16));
	allocate_chunk(context, KEY_CENTRES, centres);
	return parallel;
}

/* Moves the records of nulls to the end; returns the number of other records. */
static size_t
put_nulls_last(const HammingRecords *records)
{
	size_t		codes = records->count;

	for (size_t i = records->count; i-- > 0;)
		if (hamming_record(records, i)[records->words] & HAMMING_NULL_FLAG)
			hamming_swap(records, i, --codes);
	return codes;
}

/*
 * Collects and orders the records of a table with parallel workers.  Sets records, in order, and nulls,
 * which follow them; both are valid until hamming_parallel_end.  Returns NULL if the leader has to
 * build alone: no worker is wanted, or the records do not fit.
 */
HammingParallel *
hamming_parallel_build(Relation heap, Relation index, IndexInfo *info, const HammingShape *shape,
					   size_t room, HammingWorkspace *workspace, void (*pause) (void),
					   HammingRecords *records, HammingRecords *nulls, double *heap_tuples)
{
	int			workers = worker_count(heap, index, info);
	uint64		capacity = workers > 0 ? expected_records(heap, shape, room) : 0;
	HammingParallel *parallel;
	Participant leader;
	Shared	   *shared;

	if (capacity == 0)
		return NULL;
	parallel = begin_parallel(heap, index, shape, info->ii_Concurrent, workers, capacity);
	if (parallel == NULL)
		return NULL;
	leader = attach_participant(parallel->context->toc);
	shared = leader.shared;
	BarrierAttach(&shared->barrier);
	LaunchParallelWorkers(parallel->context);

	scan(&leader, heap, index, true);
	next_phase(shared);
	HAMMING_INJECTION_POINT("build-cells");
	shared->count = pg_atomic_read_u64(&shared->collected);
	if (shared->count <= capacity)
	{
		HammingRecords all = {leader.records, shared->count, shape->words, leader.scratch};

		shared->count = put_nulls_last(&all);
		*records = hamming_slice(&all, 0, shared->count);
		*nulls = hamming_slice(&all, shared->count, all.count - shared->count);
		if (records->count > (size_t) shape->capacity)
		{
			shared->cells = hamming_find_cells(records,
											   hamming_cell_count(records->count, shape->capacity),
											   workspace, pause);
			memcpy(leader.centres, workspace->centres,
				   HAMMING_MAX_CELLS * shape->words * sizeof(uint64));
		}
	}
	next_phase(shared);
	assign(&leader);
	next_phase(shared);
	BarrierDetach(&shared->barrier);

	if (shared->count > capacity)
	{
		hamming_parallel_end(parallel);
		return NULL;
	}
	if (shared->cells > 0)
		hamming_order_cells(records, shared->cells, shape->capacity, workspace, pause);
	SpinLockAcquire(&shared->mutex);
	*heap_tuples = shared->heap_tuples;
	info->ii_BrokenHotChain |= shared->broken_hot_chain;
	SpinLockRelease(&shared->mutex);
	return parallel;
}

void
hamming_parallel_end(HammingParallel *parallel)
{
	WaitForParallelWorkersToFinish(parallel->context);
	if (IsMVCCSnapshot(parallel->snapshot))
		UnregisterSnapshot(parallel->snapshot);
	DestroyParallelContext(parallel->context);
	ExitParallelMode();
	pfree(parallel);
}
