/*
 * Interleaved codes, and the bounding balls of a page.
 *
 * A ball is a centre and a radius: by the triangle inequality no code in it is nearer to a query
 * than distance(query, centre) - radius.  Every code of a page lies in at least one of its balls.
 *
 * Plain C without the server: the unit tests run it under sanitizers.
 */
#ifndef HAMMING_BALLS_H
#define HAMMING_BALLS_H

#include "distance.h"

/* Radius of an unused ball. */
#define HAMMING_NO_BALL UINT16_MAX

/* Maximum number of codes for a majority; of more, a sample evenly spaced. */
#define HAMMING_MAX_VOTERS 255

/* The balls of a data page, among those of its directory page: count of them from first on. */
typedef struct HammingBalls
{
	uint64_t   *centres;		/* interleaved */
	uint16_t   *radii;
	int			first;
	int			count;
	int			words;
} HammingBalls;

/* Get or put one of the interleaved codes. */
extern void hamming_get_code(const uint64_t *codes, int index, int words, uint64_t *code);
extern void hamming_put_code(uint64_t *codes, int index, int words, const uint64_t *code);

/* Sets each bit of centre to the majority among count records, stride words apart. */
extern void hamming_majority(const uint64_t *records, size_t stride, size_t count, int words,
							 uint64_t *centre);

/* Sets a ball of the page to the majority and the radius of count > 0 records. */
extern void hamming_balls_set(const HammingBalls *balls, int ball, const uint64_t *records,
							  size_t stride, size_t count);

/* Marks all balls as unused. */
extern void hamming_balls_clear(const HammingBalls *balls);

/* Whether any of the balls is in use. */
extern bool hamming_balls_in_use(const HammingBalls *balls);

/*
 * Opens a ball of radius 0 if none is in use.  Nulls lie in no ball, but every page with entries has
 * one, which distinguishes a lost page from one that was never written.
 */
extern void hamming_balls_ensure(const HammingBalls *balls);

/* Whether a code lies in one of the balls. */
extern bool hamming_balls_cover(const HammingBalls *balls, const uint64_t *code);

/* The number, within the page, of the ball in use with the nearest centre. */
extern int	hamming_balls_nearest(const HammingBalls *balls, const uint64_t *code);

/* Opens a ball for a code, or widens the nearest one if all are in use. */
extern void hamming_balls_extend(const HammingBalls *balls, const uint64_t *code);

#endif
