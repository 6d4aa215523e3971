/* Counts of live C objects, compiled in with EDGE_DEBUG=1 (setup.py) and absent otherwise.

   EDGE_LIVE_ADD("session") where an object of that kind is made, EDGE_LIVE_SUB("session") where it
   is freed. After every test all counts are zero (tests/conftest.py reads them through ext.live).

   Every extension module is a shared object of its own and includes this file, so the one table of
   the process cannot be a C global: it hangs as a capsule on the module `sys`, and each module
   looks it up once. Only threads that hold the GIL, or could take it, may call these. */

#ifndef EDGE_DEBUG_H
#define EDGE_DEBUG_H

#ifdef EDGE_DEBUG

#include <Python.h>
#include <stdlib.h>
#include <string.h>

#define EDGE_LIVE_ENABLED 1
#define EDGE_LIVE_KINDS_MAX 64
#define EDGE_LIVE_NAME_MAX 32
#define EDGE_LIVE_CAPSULE "_edge_live"

typedef struct {
    struct {
        char name[EDGE_LIVE_NAME_MAX];
        long count;
    } rows[EDGE_LIVE_KINDS_MAX];
    int used;
} edge_live_table;

static edge_live_table *edge_live_cached = NULL;

/* The table of this process; made by whoever asks first and never freed. */
static edge_live_table *edge_live(void) {
    if (edge_live_cached == NULL) {
        PyGILState_STATE gil = PyGILState_Ensure();
        PyObject *capsule = PySys_GetObject(EDGE_LIVE_CAPSULE);
        if (capsule != NULL) {
            edge_live_cached = PyCapsule_GetPointer(capsule, EDGE_LIVE_CAPSULE);
        } else {
            edge_live_cached = calloc(1, sizeof(edge_live_table));
            capsule = PyCapsule_New(edge_live_cached, EDGE_LIVE_CAPSULE, NULL);
            if (capsule == NULL || PySys_SetObject(EDGE_LIVE_CAPSULE, capsule) != 0)
                abort();
            Py_DECREF(capsule);
        }
        PyGILState_Release(gil);
        if (edge_live_cached == NULL)
            abort();
    }
    return edge_live_cached;
}

static void edge_live_change(const char *kind, long by) {
    edge_live_table *table = edge_live();
    int row = 0;
    while (row < table->used && strcmp(table->rows[row].name, kind) != 0)
        row++;
    if (row == table->used) {
        if (row == EDGE_LIVE_KINDS_MAX || strlen(kind) >= EDGE_LIVE_NAME_MAX)
            abort();
        strcpy(table->rows[row].name, kind);
        table->used++;
    }
    table->rows[row].count += by;
}

#define EDGE_LIVE_ADD(kind) edge_live_change((kind), 1)
#define EDGE_LIVE_SUB(kind) edge_live_change((kind), -1)
#define EDGE_LIVE_USED() (edge_live()->used)
#define EDGE_LIVE_NAME(row) (edge_live()->rows[row].name)
#define EDGE_LIVE_COUNT(row) (edge_live()->rows[row].count)

#else

#define EDGE_LIVE_ENABLED 0
#define EDGE_LIVE_ADD(kind) ((void)0)
#define EDGE_LIVE_SUB(kind) ((void)0)
#define EDGE_LIVE_USED() (0)
#define EDGE_LIVE_NAME(row) ("")
#define EDGE_LIVE_COUNT(row) (0L)

#endif
#endif
