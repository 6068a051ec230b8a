/*
 * Flat clustering: k-means++ seeds and Lloyd's iteration on a sample, with the majority of each bit
 * as the mean; then every record goes to the nearest centre.
 *
 * Flat, because a tree of bisections splits every cluster that one of its first cuts crosses, and
 * natural groups of codes form no hierarchy.
 */
#include "cells.h"

#include <string.h>

#include "bisect.h"

#define ITERATIONS 2

/* Records between two pauses. */
#define ASSIGNED_AT_ONCE 4096

/* Centres that are compared before the best distance so far is used to skip others. */
#define CHUNK 128

/* Marsaglia's xorshift64*; builds of the same table are the same. */
static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static int16_t
nearest_cell(const uint64_t *centres, size_t cells, int words, const uint64_t *code)
{
	const HammingKernel *kernel = hamming_kernel();
	HammingHit	hits[CHUNK];
	size_t		best = 0;
	unsigned	limit = HAMMING_MAX_BITS;

	for (size_t first = 0; first < cells; first += CHUNK)
	{
		size_t		count = cells - first < CHUNK ? cells - first : CHUNK;
		int			found = kernel->select(centres + first * words, (int) count, words, code,
										   limit, hits);

		for (int i = 0; i < found; i++)
		{
			if (hits[i].distance == 0)
				return (int16_t) (first + hits[i].index);
			if (hits[i].distance <= limit)
			{
				best = first + hits[i].index;
				limit = hits[i].distance - 1u;
			}
		}
	}
	return (int16_t) best;
}

/*
 * Moves the records of each cell together, by their scratch, in place: an American flag sort.
 */
void
hamming_gather(const HammingRecords *records, size_t cells, HammingWorkspace *workspace)
{
	size_t	   *starts = workspace->cell_starts;
	size_t	   *heads = workspace->cell_heads;
	int16_t    *cell = records->scratch;

	memset(starts, 0, (cells + 1) * sizeof(size_t));
	for (size_t i = 0; i < records->count; i++)
		starts[cell[i] + 1]++;
	for (size_t i = 0; i < cells; i++)
		starts[i + 1] += starts[i];
	memcpy(heads, starts, cells * sizeof(size_t));

	for (size_t i = 0; i < cells; i++)
	{
		while (heads[i] < starts[i + 1])
		{
			size_t		at = heads[i];
			int16_t		home = cell[at];

			if ((size_t) home == i)
				heads[i]++;
			else
			{
				size_t		to = heads[home]++;

				hamming_swap(records, at, to);
				cell[at] = cell[to];
				cell[to] = home;
			}
		}
	}
}

/*
 * Draws centres from the samples, each with a probability in proportion to the square of its
 * distance from those drawn before (Arthur and Vassilvitskii, 2007).  Returns their number, which is
 * smaller than cells if the samples have fewer distinct codes.
 */
static size_t
draw_centres(const HammingRecords *samples, size_t cells, HammingWorkspace *workspace,
			 void (*pause) (void))
{
	const HammingKernel *kernel = hamming_kernel();
	uint32_t   *weights = workspace->weights;
	uint64_t	random = UINT64_C(0x9E3779B97F4A7C15);
	size_t		drawn = next_random(&random) % samples->count;

	memset(weights, 0xFF, samples->count * sizeof(uint32_t));
	for (size_t cell = 0; cell < cells; cell++)
	{
		const uint64_t *centre = hamming_record(samples, drawn);
		uint64_t	total = 0;
		uint64_t	ticket;

		pause();
		hamming_put_code(workspace->centres, (int) cell, samples->words, centre);
		for (size_t i = 0; i < samples->count; i++)
		{
			uint32_t	distance = (uint32_t) kernel->distance(hamming_record(samples, i), centre,
															   samples->words);

			if (distance * distance < weights[i])
				weights[i] = distance * distance;
			total += weights[i];
		}
		if (total == 0)
			return cell + 1;
		ticket = next_random(&random) % total;
		for (drawn = 0; ticket >= weights[drawn]; drawn++)
			ticket -= weights[drawn];
	}
	return cells;
}

/*
 * Puts similar centres side by side, so that cells of one natural group are neighbours.  Overwrites
 * the samples.
 */
static void
order_centres(size_t cells, int words, HammingWorkspace *workspace, void (*pause) (void))
{
	HammingRecords copies = {workspace->samples, cells, words, workspace->sample_cells};

	for (size_t cell = 0; cell < cells; cell++)
		hamming_get_code(workspace->centres, (int) cell, words, hamming_record(&copies, cell));
	hamming_bisect(&copies, 1, pause);
	for (size_t cell = 0; cell < cells; cell++)
		hamming_put_code(workspace->centres, (int) cell, words, hamming_record(&copies, cell));
}

size_t
hamming_cell_count(size_t records, size_t capacity)
{
	size_t		cells = 4 * records / capacity;

	return cells < HAMMING_MAX_CELLS ? cells : HAMMING_MAX_CELLS;
}

size_t
hamming_find_cells(const HammingRecords *records, size_t cells, HammingWorkspace *workspace,
				   void (*pause) (void))
{
	HammingRecords samples = {workspace->samples, 0, records->words, workspace->sample_cells};
	uint64_t   *centres = workspace->centres;

	samples.count = cells * HAMMING_SAMPLES_PER_CELL;
	if (samples.count > records->count)
		samples.count = records->count;
	for (size_t i = 0; i < samples.count; i++)
		memcpy(hamming_record(&samples, i),
			   hamming_record(records, i * records->count / samples.count),
			   (records->words + 1) * sizeof(uint64_t));

	cells = draw_centres(&samples, cells, workspace, pause);
	for (int iteration = 0; iteration < ITERATIONS; iteration++)
	{
		pause();
		hamming_assign(&samples, centres, cells);
		hamming_gather(&samples, cells, workspace);
		for (size_t cell = 0; cell < cells; cell++)
		{
			size_t		first = workspace->cell_starts[cell];
			size_t		count = workspace->cell_starts[cell + 1] - first;
			uint64_t	centre[HAMMING_MAX_WORDS];

			if (count == 0)
				continue;
			hamming_majority(hamming_record(&samples, first), (size_t) samples.words + 1, count,
							 samples.words, centre);
			hamming_put_code(centres, (int) cell, samples.words, centre);
		}
	}

	order_centres(cells, records->words, workspace, pause);
	return cells;
}

void
hamming_assign(const HammingRecords *records, const uint64_t *centres, size_t cells)
{
	for (size_t i = 0; i < records->count; i++)
		records->scratch[i] = nearest_cell(centres, cells, records->words,
										   hamming_record(records, i));
}

void
hamming_assign_all(const HammingRecords *records, const uint64_t *centres, size_t cells,
				   void (*pause) (void))
{
	for (size_t first = 0; first < records->count; first += ASSIGNED_AT_ONCE)
	{
		size_t		count = records->count - first;
		HammingRecords some = hamming_slice(records, first,
										   count < ASSIGNED_AT_ONCE ? count : ASSIGNED_AT_ONCE);

		pause();
		hamming_assign(&some, centres, cells);
	}
}
