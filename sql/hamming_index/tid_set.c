/*
 * Sets of TIDs: hash tables with open addressing, at most half full.
 */
#include "hamming.h"

#include "port/pg_bitutils.h"

struct HammingTidSet
{
	int			shift;			/* 64 minus the logarithm of the number of slots */
	uint64		mask;			/* the number of slots minus one */
	int			count;
	uint64	   *tids;			/* all members, in order of insertion */
	uint64		slots[FLEXIBLE_ARRAY_MEMBER];	/* 0 if free: no TID has offset 0 */
};

/*
 * Returns the slot of a TID, or the free one where it belongs.
 */
static inline uint64
slot_of(const HammingTidSet *set, uint64 tid)
{
	/* Fibonacci hashing: multiplying by the golden ratio spreads consecutive numbers. */
	uint64		slot = tid * UINT64_C(0x9E3779B97F4A7C15) >> set->shift;

	while (set->slots[slot] != 0 && set->slots[slot] != tid)
		slot = (slot + 1) & set->mask;
	return slot;
}

HammingTidSet *
hamming_tid_set_create(const uint64 *tids, int count)
{
	uint64		size = pg_nextpower2_64(2 * (uint64) Max(count, 1));
	HammingTidSet *set = palloc_extended(offsetof(HammingTidSet, slots) + size * sizeof(uint64),
										 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	set->shift = 64 - pg_leftmost_one_pos64(size);
	set->mask = size - 1;
	set->tids = palloc_extended((Size) Max(count, 1) * sizeof(uint64), MCXT_ALLOC_HUGE);
	for (int i = 0; i < count; i++)
	{
		uint64		slot = slot_of(set, tids[i]);

		if (set->slots[slot] != 0)
			continue;
		set->slots[slot] = tids[i];
		set->tids[set->count++] = tids[i];
	}
	return set;
}

const uint64 *
hamming_tid_set_members(const HammingTidSet *set, int *count)
{
	*count = set->count;
	return set->tids;
}

bool
hamming_tid_set_contains(const HammingTidSet *set, uint64 tid)
{
	return set->slots[slot_of(set, tid)] != 0;
}

/*
 * Returns the intersection of two sets and frees them.
 */
HammingTidSet *
hamming_tid_set_intersect(HammingTidSet *a, HammingTidSet *b)
{
	uint64	   *tids = palloc_extended((Size) Max(a->count, 1) * sizeof(uint64), MCXT_ALLOC_HUGE);
	int			count = 0;
	HammingTidSet *result;

	for (int i = 0; i < a->count; i++)
		if (hamming_tid_set_contains(b, a->tids[i]))
			tids[count++] = a->tids[i];
	result = hamming_tid_set_create(tids, count);
	pfree(tids);
	pfree(a->tids);
	pfree(b->tids);
	pfree(a);
	pfree(b);
	return result;
}
