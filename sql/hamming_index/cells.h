/*
 * Cells: a flat clustering of records.
 */
#ifndef HAMMING_CELLS_H
#define HAMMING_CELLS_H

#include "records.h"

#define HAMMING_MAX_CELLS 2048
#define HAMMING_SAMPLES_PER_CELL 8
#define HAMMING_MAX_SAMPLES (HAMMING_MAX_CELLS * HAMMING_SAMPLES_PER_CELL)

/* Scratch space. */
typedef struct HammingWorkspace
{
	uint64_t	samples[HAMMING_MAX_SAMPLES * (HAMMING_MAX_WORDS + 1)];
	uint32_t	weights[HAMMING_MAX_SAMPLES];
	int16_t		sample_cells[HAMMING_MAX_SAMPLES];
	uint64_t	centres[HAMMING_MAX_CELLS * HAMMING_MAX_WORDS];	/* interleaved */
	size_t		cell_starts[HAMMING_MAX_CELLS + 1];
	size_t		cell_heads[HAMMING_MAX_CELLS];
} HammingWorkspace;

/* How many cells to make for pages or blocks of so many records. */
extern size_t hamming_cell_count(size_t records, size_t capacity);

/*
 * Finds the centres of about as many cells as given, in workspace->centres; returns how many there
 * are.  pause is called now and then, and may leave by a long jump.
 */
extern size_t hamming_find_cells(const HammingRecords *records, size_t cells,
								 HammingWorkspace *workspace, void (*pause) (void));

/* Sets each record's scratch to the cell with the nearest centre. */
extern void hamming_assign(const HammingRecords *records, const uint64_t *centres, size_t cells);

/* The same for many records, with pauses. */
extern void hamming_assign_all(const HammingRecords *records, const uint64_t *centres,
							   size_t cells, void (*pause) (void));

/* Moves the records of each cell together, from workspace->cell_starts[cell] on. */
extern void hamming_gather(const HammingRecords *records, size_t cells,
						   HammingWorkspace *workspace);

#endif
