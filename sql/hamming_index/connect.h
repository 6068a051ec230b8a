/*
 * Codes connected by steps of few bits.
 *
 * Plain C, without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_CONNECT_H
#define HAMMING_CONNECT_H

#include "order.h"

/* The most records of a block, which has one ball. */
#define HAMMING_BLOCK 64

/* Like codes in blocks, none of which reaches over the end of a cell. */
typedef struct HammingBlocks
{
	size_t		count;
	uint64_t   *codes;			/* interleaved, each block on full lanes */
	uint64_t   *centres;		/* interleaved, one a block */
	uint16_t   *radii;			/* one a block */
	uint32_t   *firsts;			/* first record of each block, and one more */
	uint32_t   *slots;			/* first of its codes */
} HammingBlocks;

/* For how many blocks, of how many codes on full lanes, there must be room. */
static inline size_t
hamming_most_blocks(size_t records)
{
	return records / HAMMING_BLOCK + HAMMING_MAX_CELLS + HAMMING_LANES;
}

static inline size_t
hamming_most_slots(size_t records)
{
	return records + HAMMING_LANES * hamming_most_blocks(records);
}

/*
 * Sets roots[i] to the least number of a record that number i is connected to, by steps of at most
 * radius bits.  The word after a record's code is its number, from 0 on.  Reorders the records.
 * Returns false, with roots undefined, where that seems to take more than most comparisons.
 */
extern bool hamming_connect_records(const HammingRecords *records, unsigned radius, uint64_t most,
									uint32_t *roots, HammingBlocks *blocks,
									HammingWorkspace *workspace, void (*pause) (void));

#endif
