/*
 * The points of a library built for tests.
 *
 * PostgreSQL has injection points from 17 on, but only in servers configured for them, which no
 * package is.  These do without: a session sets
 *
 *     dcsh_hamming.stop_at      the name of a point
 *     dcsh_hamming.stop_after   how often it passes the point before it stops
 *     dcsh_hamming.stop_while   a file: it waits there while this exists
 *
 * and shows the wait event type Extension while it waits.  Points may lie in critical sections and
 * under buffer locks, so waiting allocates nothing and raises nothing.
 */
#include "hamming.h"

#include <limits.h>
#include <unistd.h>

#include "utils/guc.h"
#include "utils/wait_event.h"

#define POLL_MICROSECONDS 500

static char *stop_at;
static int	stop_after;
static char *stop_while;
static int	passes;

static void
start_counting(const char *value, void *extra)
{
	passes = 0;
}

void
hamming_define_points(void)
{
	DefineCustomStringVariable("dcsh_hamming.stop_at", "The point where this session waits.", NULL,
							   &stop_at, "", PGC_SUSET, 0, NULL, start_counting, NULL);
	DefineCustomIntVariable("dcsh_hamming.stop_after",
							"How often this session passes the point before it waits.", NULL,
							&stop_after, 0, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dcsh_hamming.stop_while",
							   "The session waits while this file exists.", NULL,
							   &stop_while, "", PGC_SUSET, 0, NULL, NULL, NULL);
}

void
hamming_point(const char *name)
{
	if (strcmp(name, stop_at) != 0 || passes++ < stop_after)
		return;
	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	while (access(stop_while, F_OK) == 0)
		pg_usleep(POLL_MICROSECONDS);
	pgstat_report_wait_end();
}
