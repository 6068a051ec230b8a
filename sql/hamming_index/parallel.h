/*
 * Parallel CREATE INDEX.
 */
#ifndef HAMMING_PARALLEL_H
#define HAMMING_PARALLEL_H

#include "hamming.h"
#include "order.h"

typedef struct HammingParallel HammingParallel;

extern HammingParallel *hamming_parallel_build(Relation heap, Relation index, IndexInfo *info,
											   const HammingShape *shape, size_t room,
											   HammingWorkspace *workspace, void (*pause) (void),
											   HammingRecords *records, HammingRecords *nulls,
											   double *heap_tuples);
extern void hamming_parallel_end(HammingParallel *parallel);

#endif
