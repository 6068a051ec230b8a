/*
 * Index scans, in order of distance.
 */
#include "hamming.h"

#include "access/relscan.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/snapmgr.h"

typedef struct HammingScanOpaqueData
{
	HammingSearch *search;
	bool		started;
} HammingScanOpaqueData;

typedef HammingScanOpaqueData *HammingScanOpaque;

IndexScanDesc
hamming_begin_scan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	HammingScanOpaque opaque = palloc0(sizeof(HammingScanOpaqueData));

	opaque->search = hamming_search_create(index);
	scan->opaque = opaque;
	return scan;
}

void
hamming_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	((HammingScanOpaque) scan->opaque)->started = false;
	if (orderbys != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
}

static void
start(IndexScanDesc scan)
{
	HammingScanOpaque opaque = (HammingScanOpaque) scan->opaque;
	uint64		query[HAMMING_MAX_WORDS];

	/* The scan holds no pin, so a TID may be reused for another row. */
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("hamming indexes support only scans with MVCC snapshots")));

	pgstat_count_index_scan(scan->indexRelation);
#if PG_VERSION_NUM >= 180000
	if (scan->instrument)
		scan->instrument->nsearches++;
#endif

	/* All distances to a null are null, so all rows are equal. */
	if (scan->numberOfOrderBys == 0 || (scan->orderByData->sk_flags & SK_ISNULL))
		hamming_search_start(opaque->search, NULL);
	else
	{
		HammingShape shape = hamming_shape(scan->indexRelation);

		hamming_read_code(scan->orderByData->sk_argument, &shape, query);
		hamming_search_start(opaque->search, query);
	}
	opaque->started = true;
}

bool
hamming_get_tuple(IndexScanDesc scan, ScanDirection direction)
{
	HammingScanOpaque opaque = (HammingScanOpaque) scan->opaque;

	Assert(ScanDirectionIsForward(direction));

	if (!opaque->started)
		start(scan);
	scan->xs_recheck = false;
	scan->xs_recheckorderby = false;
	return hamming_search_next(opaque->search, &scan->xs_heaptid);
}

void
hamming_end_scan(IndexScanDesc scan)
{
	HammingScanOpaque opaque = (HammingScanOpaque) scan->opaque;

	hamming_search_free(opaque->search);
	pfree(opaque);
	scan->opaque = NULL;
}
