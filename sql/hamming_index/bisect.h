/*
 * Bisecting 2-means: records ordered by repeated halving, and the balls of a page.
 */
#ifndef HAMMING_BISECT_H
#define HAMMING_BISECT_H

#include "balls.h"
#include "records.h"

/*
 * Orders records so that similar codes share pages: page number i is the records from i * capacity
 * on.  pause is called now and then, and may leave by a long jump.
 */
extern void hamming_bisect(const HammingRecords *records, size_t capacity, void (*pause) (void));

/*
 * Sets the balls of a page with these records: as many as it may have, unless fewer have radius 0.
 * Reorders the records.
 */
extern void hamming_find_balls(const HammingRecords *records, const HammingBalls *balls);

#endif
