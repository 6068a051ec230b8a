/*
 * Hamming distances by the fastest popcount of the processor.
 *
 * Plain C without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_DISTANCE_H
#define HAMMING_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAMMING_MAX_BITS 1024
#define HAMMING_MAX_WORDS (HAMMING_MAX_BITS / 64)

/* Codes are interleaved by eight: a vector register holds one word of each. */
#define HAMMING_LANES 8

typedef struct HammingHit
{
	uint16_t	index;
	uint16_t	distance;
} HammingHit;

typedef struct HammingKernel
{
	const char *name;
	bool		(*supported) (void);

	/*
	 * Finds the interleaved codes, of count, within limit of the query; returns their number.
	 * hits, in ascending order of index, has room for count.
	 */
	int			(*select) (const uint64_t *codes, int count, int words,
						   const uint64_t *query, unsigned limit, HammingHit *hits);

	/*
	 * Computes, for each of count records of stride words, the distance of its code to left minus
	 * that to right.  The first code begins at records.
	 */
	void		(*contrast) (const uint64_t *records, size_t stride, size_t count, int words,
							 const uint64_t *left, const uint64_t *right, int16_t *contrast);

	int			(*distance) (const uint64_t *a, const uint64_t *b, int words);
} HammingKernel;

/* All kernels of this architecture, fastest first; the last one runs anywhere. */
extern const HammingKernel hamming_kernels[];
extern const int hamming_kernel_count;

/* The first kernel that this processor supports. */
extern const HammingKernel *hamming_kernel(void);

#endif
