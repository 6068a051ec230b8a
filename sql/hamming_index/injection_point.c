/*
 * Injection points of a library built for tests.
 *
 * PostgreSQL has injection points since version 17, but only in servers configured with them, and no
 * packaged server is.  Here a session sets
 *
 *     dcsh_hamming.stop_at      the name of an injection point
 *     dcsh_hamming.stop_after   how often to pass it before waiting
 *     dcsh_hamming.stop_while   wait while this file exists
 *
 * and has the wait event type Extension while it waits.  Injection points may lie in critical sections
 * and under buffer locks, so waiting allocates no memory and raises no error.
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
hamming_define_injection_points(void)
{
	DefineCustomStringVariable("dcsh_hamming.stop_at", "Injection point where this session waits.", NULL,
							   &stop_at, "", PGC_SUSET, 0, NULL, start_counting, NULL);
	DefineCustomIntVariable("dcsh_hamming.stop_after",
							"How often this session passes the injection point before it waits.", NULL,
							&stop_after, 0, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dcsh_hamming.stop_while",
							   "File whose existence keeps the session waiting.", NULL,
							   &stop_while, "", PGC_SUSET, 0, NULL, NULL, NULL);
}

void
hamming_injection_point(const char *name)
{
	if (strcmp(name, stop_at) != 0 || passes++ < stop_after)
		return;
	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	while (access(stop_while, F_OK) == 0)
		pg_usleep(POLL_MICROSECONDS);
	pgstat_report_wait_end();
}
