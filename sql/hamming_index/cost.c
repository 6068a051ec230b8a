/*
 * Cost estimation.
 */
#include "hamming.h"

#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/spccache.h"

/* Comparing a word of a code; measured relative to an operator call. */
#define WORD_COST (cpu_operator_cost / 32)

/*
 * Estimates that a scan reads the whole index before it returns the first row, mostly in order of
 * blocks.  How many pages it skips depends on the query, so none is assumed.  The planner adds the
 * cost of fetching rows from the table.
 */
void
hamming_cost_estimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup_cost,
					  Cost *total_cost, Selectivity *selectivity, double *correlation,
					  double *pages)
{
	IndexOptInfo *index = path->indexinfo;
	double		page_cost;
	double		pages_read = index->pages;
	int			words = 1;

	*correlation = 0;
	*pages = index->pages;
	*selectivity = 1;

	/* Without ORDER BY a scan would return all rows, for which the heap is faster. */
	if (path->indexorderbys == NIL)
	{
		*startup_cost = *total_cost = get_float8_infinity();
#if PG_VERSION_NUM >= 180000
		path->path.disabled_nodes = 2;
#endif
		return;
	}

	if (index->tuples > 0)
		words = Max(1, (int) (index->pages * (double) BLCKSZ / index->tuples / sizeof(uint64)));
	get_tablespace_page_costs(index->reltablespace, NULL, &page_cost);
	if (loop_count > 1)
		pages_read = index_pages_fetched(index->pages * loop_count, index->pages, index->pages,
										 root) / loop_count;

	*startup_cost = pages_read * page_cost + index->tuples * words * WORD_COST;
	*total_cost = *startup_cost + index->tuples * cpu_index_tuple_cost;
}
