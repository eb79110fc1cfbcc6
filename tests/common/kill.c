// Ends the process by SIGKILL just before its nth call of a kind that leaves
// something behind: DTAR_KILL_AT=names:17 or writes:5. Preloaded by tests/common/kill.rs.
// DTAR_KILL_COUNT=FILE gets the numbers of calls, if the process ends by itself.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long names, writes;
static long names_at, writes_at;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("DTAR_KILL_AT");
    if (at && !strncmp(at, "names:", 6)) names_at = atol(at + 6);
    if (at && !strncmp(at, "writes:", 7)) writes_at = atol(at + 7);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("DTAR_KILL_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld %ld\n", atomic_load(&names), atomic_load(&writes));
    fclose(file);
}

static void count(atomic_long *calls, long at) {
    if (atomic_fetch_add(calls, 1) + 1 == at)
        for (;;) kill(getpid(), SIGKILL);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(type, name, kind, parameters, arguments)     \
    type name parameters {                                \
        static __typeof__(&name) next;                    \
        if (!next) next = NEXT(name);                     \
        count(&kind, kind##_at);                          \
        return next arguments;                            \
    }

WRAP(int, rename, names, (const char *from, const char *to), (from, to))
WRAP(int, linkat, names, (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e))
WRAP(int, unlink, names, (const char *path), (path))
WRAP(int, unlinkat, names, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(int, rmdir, names, (const char *path), (path))
WRAP(int, mkdir, names, (const char *path, mode_t mode), (path, mode))
WRAP(int, fsync, names, (int file), (file))
WRAP(int, fdatasync, names, (int file), (file))
WRAP(int, ftruncate, names, (int file, off_t length), (file, length))
WRAP(ssize_t, write, writes, (int file, const void *bytes, size_t length), (file, bytes, length))
WRAP(ssize_t, writev, writes, (int file, const struct iovec *v, int n), (file, v, n))
WRAP(ssize_t, pwrite, writes, (int file, const void *bytes, size_t length, off_t at), (file, bytes, length, at))
WRAP(ssize_t, pwrite64, writes, (int file, const void *bytes, size_t length, off64_t at), (file, bytes, length, at))

int open64(const char *path, int flags, ...) {
    static int (*next)(const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    if (!next) next = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    if (flags & O_CREAT) count(&names, names_at);
    return next(path, flags, mode);
}
