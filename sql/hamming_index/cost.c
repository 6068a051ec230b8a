/*
 * What a scan costs.
 */
#include "hamming.h"

#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/spccache.h"

/* A word of a code against an operator that the executor calls; measured, not guessed. */
#define WORD_COST (cpu_operator_cost / 32)

/*
 * The whole index is read before the first row comes out, in the order of its blocks as far as
 * bounds are alike; fetching the rows from the heap is the planner's to add.  That pages are
 * skipped is not counted on: it depends on the query.
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

	/* Without an order it could but hand out all rows, and the heap does that better. */
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
