/*
 * The order of an index: cells of similar codes, and within each cell bisecting 2-means.
 */
#include "order.h"

#include "bisect.h"

void
hamming_order_cells(const HammingRecords *records, size_t cells, size_t capacity,
					HammingWorkspace *workspace, void (*pause) (void))
{
	hamming_gather(records, cells, workspace);
	for (size_t cell = 0; cell < cells; cell++)
	{
		size_t		first = workspace->cell_starts[cell];
		HammingRecords members = hamming_slice(records, first,
											   workspace->cell_starts[cell + 1] - first);

		hamming_bisect(&members, capacity, pause);
	}
}

size_t
hamming_order(const HammingRecords *records, size_t capacity, HammingWorkspace *workspace,
			  void (*pause) (void))
{
	size_t		cells;

	if (records->count <= capacity)
	{
		workspace->cell_starts[0] = 0;
		workspace->cell_starts[1] = records->count;
		return 1;
	}
	cells = hamming_find_cells(records, hamming_cell_count(records->count, capacity), workspace,
							   pause);
	hamming_assign_all(records, workspace->centres, cells, pause);
	hamming_order_cells(records, cells, capacity, workspace, pause);
	return cells;
}
