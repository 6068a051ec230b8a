/*
 * Puts like codes side by side, on pages and within a page.
 *
 * A record is a code and one more word, which travels with it.
 *
 * Plain C, without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_ORDER_H
#define HAMMING_ORDER_H

#include "balls.h"
#include "distance.h"

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

/* Records in order of being put side by side. */
typedef struct HammingRecords
{
	uint64_t   *records;
	size_t		count;
	int			words;			/* of a code */
	int16_t    *scratch;		/* room for count values */
} HammingRecords;

static inline uint64_t *
hamming_record(const HammingRecords *records, size_t at)
{
	return records->records + at * ((size_t) records->words + 1);
}

static inline HammingRecords
hamming_part(const HammingRecords *records, size_t first, size_t count)
{
	HammingRecords part = {hamming_record(records, first), count, records->words,
	records->scratch + first};

	return part;
}

static inline void
hamming_swap(const HammingRecords *records, size_t a, size_t b)
{
	uint64_t   *left = hamming_record(records, a);
	uint64_t   *right = hamming_record(records, b);

	for (int i = 0; i <= records->words; i++)
	{
		uint64_t	kept = left[i];

		left[i] = right[i];
		right[i] = kept;
	}
}

/*
 * Orders records so that like codes share pages: page number i is the records from i * capacity
 * on.  pause is called now and then, and may leave by a long jump.
 */
extern void hamming_order(const HammingRecords *records, size_t capacity,
						  HammingWorkspace *workspace, void (*pause) (void));

/*
 * The steps of it, for who takes them side by side.  hamming_find_cells draws the centres of about
 * as many cells as given into workspace->centres; returns how many there are.
 */
extern size_t hamming_cell_count(size_t records, size_t capacity);
extern size_t hamming_find_cells(const HammingRecords *records, size_t cells,
								 HammingWorkspace *workspace, void (*pause) (void));

/* Sets each record's scratch to its cell. */
extern void hamming_assign(const HammingRecords *records, const uint64_t *centres, size_t cells);

extern void hamming_assign_all(const HammingRecords *records, const uint64_t *centres,
							   size_t cells, void (*pause) (void));

/* Puts the records of each cell side by side, from workspace->cell_starts[cell] on. */
extern void hamming_gather(const HammingRecords *records, size_t cells,
						   HammingWorkspace *workspace);

/* Orders the records within each cell. */
extern void hamming_arrange_cells(const HammingRecords *records, size_t cells, size_t capacity,
								  const HammingWorkspace *workspace, void (*pause) (void));

/* Orders records by bisection alone. */
extern void hamming_arrange(const HammingRecords *records, size_t capacity,
							void (*pause) (void));

/* Finds the balls of the records of a page, the fewer the more alike they are; reorders them. */
extern void hamming_find_balls(const HammingRecords *records, const HammingBalls *balls);

#endif
