/*
 * Records: a code and one more word, which travels with it.
 *
 * Plain C without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_RECORDS_H
#define HAMMING_RECORDS_H

#include "distance.h"

/* Records that are being reordered. */
typedef struct HammingRecords
{
	uint64_t   *records;
	size_t		count;
	int			words;			/* of a code */
	int16_t    *scratch;		/* room for count values */
} HammingRecords;

static inline uint64_t *
hamming_record(const HammingRecords *records, size_t index)
{
	return records->records + index * ((size_t) records->words + 1);
}

/* The count records from first on, in place. */
static inline HammingRecords
hamming_slice(const HammingRecords *records, size_t first, size_t count)
{
	return (HammingRecords) {
		.records = hamming_record(records, first),
		.count = count,
		.words = records->words,
		.scratch = records->scratch + first,
	};
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

#endif
