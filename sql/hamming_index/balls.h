/*
 * Interleaved codes, and the balls that bound those of a page.
 *
 * A ball is a centre and a radius: by the triangle inequality no code in it is nearer to a query
 * than distance(query, centre) - radius.  Every code of a page lies in at least one of the page's
 * balls.
 *
 * Plain C, without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_BALLS_H
#define HAMMING_BALLS_H

#include "distance.h"

/* Radius of a ball that holds no code. */
#define HAMMING_NO_BALL UINT16_MAX

/* The majority of more codes than this is taken from as many of them, evenly spaced. */
#define HAMMING_MAX_VOTERS 255

/* The balls of one page: count of them from first on, among those of a directory page. */
typedef struct HammingBalls
{
	uint64_t   *centres;		/* interleaved */
	uint16_t   *radii;
	int			first;
	int			count;
	int			words;
} HammingBalls;

/* Code number index of interleaved codes. */
extern void hamming_get_code(const uint64_t *codes, int index, int words, uint64_t *code);
extern void hamming_put_code(uint64_t *codes, int index, int words, const uint64_t *code);

/* Sets each bit of centre to what most of count records, stride words apart, have there. */
extern void hamming_majority(const uint64_t *records, size_t stride, size_t count, int words,
							 uint64_t *centre);

/* Makes ball number ball the one about the majority of count > 0 records. */
extern void hamming_balls_set(const HammingBalls *balls, int ball, const uint64_t *records,
							  size_t stride, size_t count);

/* Forgets all balls. */
extern void hamming_balls_clear(const HammingBalls *balls);

/* Whether any of the balls is in use. */
extern bool hamming_balls_in_use(const HammingBalls *balls);

/*
 * Opens a ball where none is in use.  Nulls lie in no ball, but every page with entries has one, so
 * that a page that was lost can be told from one that was never written.
 */
extern void hamming_balls_mark(const HammingBalls *balls);

/* Whether a code lies in one of the balls. */
extern bool hamming_balls_cover(const HammingBalls *balls, const uint64_t *code);

/* Opens a ball for a code, or widens the nearest one when all are in use. */
extern void hamming_balls_extend(const HammingBalls *balls, const uint64_t *code);

/*
 * Shrinks the balls to what is left of their page: each code goes to the nearest centre.
 * is_bounded tells which of the codes count; those of nulls do not.
 */
extern void hamming_balls_shrink(const HammingBalls *balls, const uint64_t *codes, int count,
								 const bool *is_bounded);

#endif
