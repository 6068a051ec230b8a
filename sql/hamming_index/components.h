/*
 * Connected components of codes, where codes within a radius of each other are connected.
 */
#ifndef HAMMING_COMPONENTS_H
#define HAMMING_COMPONENTS_H

#include "order.h"

/* Maximum number of records in a block, which has one ball. */
#define HAMMING_BLOCK 64

/* Blocks of similar codes, each within one cell. */
typedef struct HammingBlocks
{
	size_t		count;
	uint64_t   *codes;			/* interleaved, each block in full lanes */
	uint64_t   *centres;		/* interleaved, one per block */
	uint16_t   *radii;			/* one per block */
	uint32_t   *firsts;			/* first record of each block, and the end */
	uint32_t   *slots;			/* the place of its first code in codes */
} HammingBlocks;

/* The number of blocks, and of codes in full lanes, to allocate. */
static inline size_t
hamming_max_blocks(size_t records)
{
	return records / HAMMING_BLOCK + HAMMING_MAX_CELLS + HAMMING_LANES;
}

static inline size_t
hamming_max_slots(size_t records)
{
	return records + HAMMING_LANES * hamming_max_blocks(records);
}

/*
 * Sets roots[i] to the least record number in the component of record number i.  The word after a
 * record's code is its number, from 0 on.  Reorders the records.  Returns false, with roots
 * undefined, if it would probably take more than max_comparisons.
 */
extern bool hamming_connected_components(const HammingRecords *records, unsigned radius,
										 uint64_t max_comparisons, uint32_t *roots,
										 HammingBlocks *blocks, HammingWorkspace *workspace,
										 void (*pause) (void));

#endif
