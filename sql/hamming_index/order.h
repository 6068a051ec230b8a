/*
 * The order of an index: similar codes side by side, on pages and within a page.
 */
#ifndef HAMMING_ORDER_H
#define HAMMING_ORDER_H

#include "cells.h"

/*
 * Orders records so that similar codes share pages: page number i is the records from i * capacity
 * on.  Returns the number of cells, whose records begin at workspace->cell_starts.  pause is called
 * now and then, and may leave by a long jump.
 */
extern size_t hamming_order(const HammingRecords *records, size_t capacity,
							HammingWorkspace *workspace, void (*pause) (void));

/*
 * The last step of hamming_order, for callers that assign records to cells in parallel: gathers and
 * orders each cell.
 */
extern void hamming_order_cells(const HammingRecords *records, size_t cells, size_t capacity,
								HammingWorkspace *workspace, void (*pause) (void));

#endif
