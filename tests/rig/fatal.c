/* Kills a process before its n-th call that changes the disk, for tests of what a kill leaves behind.
 *
 * Preloaded (LD_PRELOAD) into a program, it counts the calls of all its threads on files below a directory in their
 * order, and sends SIGKILL instead of making the n-th. It prints the name of that call on stderr.
 *
 *   FATAL_BELOW   the directory, absolute
 *   FATAL_AT      n, from 1; 0: never, until fatal_from_now() is called
 *
 * It counts opening (also of a directory, for its sync), writing, syncing, truncating, linking, renaming, deleting, and
 * making a directory. Reading and closing change nothing.
 *
 * Built by compiled.py:  gcc -shared -fPIC -O2 -o ... fatal.c -ldl
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
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

static const char *below;
static long fatal_at;
static atomic_long calls;

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("FATAL_AT");

    below = getenv("FATAL_BELOW");
    fatal_at = at ? atol(at) : 0;
}

/* For a program that forks: be killed before the n-th call from now on. */
void fatal_from_now(long n)
{
    calls = 0;
    fatal_at = n;
}

static void count(const char *what, const char *path)
{
    if (below == NULL || strncmp(path, below, strlen(below)) != 0)
        return;
    if (atomic_fetch_add(&calls, 1) + 1 == fatal_at) {
        dprintf(2, "fatal: killed before %s of %s\n", what, path);
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
}

static void count_fd(const char *what, int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        count(what, path);
    }
}

static void count_at(const char *what, int directory, const char *path)
{
    if (path[0] == '/' || directory == AT_FDCWD)
        count(what, path);
    else
        count_fd(what, directory);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The mode is passed on even if there is none: it is some value in a register then, and nobody uses it. */
#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        mode_t mode;                                                                                                   \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
        count("open", path);                                                                                           \
        return REAL(name)(path, flags, mode);                                                                          \
    }

#define OPENAT(name)                                                                                                   \
    int name(int directory, const char *path, int flags, ...)                                                          \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        mode_t mode;                                                                                                   \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
        count_at("open", directory, path);                                                                             \
        return REAL(name)(directory, path, flags, mode);                                                               \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define OF_FD(type, name, what, parameters, ...)                                                                       \
    type name parameters                                                                                               \
    {                                                                                                                  \
        count_fd(what, fd);                                                                                            \
        return REAL(name)(__VA_ARGS__);                                                                                \
    }

OF_FD(ssize_t, write, "write", (int fd, const void *data, size_t size), fd, data, size)
OF_FD(ssize_t, pwrite64, "write", (int fd, const void *data, size_t size, off64_t at), fd, data, size, at)
OF_FD(ssize_t, writev, "write", (int fd, const struct iovec *pieces, int number), fd, pieces, number)
OF_FD(int, fsync, "sync", (int fd), fd)
OF_FD(int, fdatasync, "sync", (int fd), fd)
OF_FD(int, ftruncate64, "truncate", (int fd, off64_t size), fd, size)
OF_FD(int, posix_fallocate64, "allocate", (int fd, off64_t at, off64_t size), fd, at, size)

#define OF_PATH(name, what, parameters, ...)                                                                           \
    int name parameters                                                                                                \
    {                                                                                                                  \
        count(what, path);                                                                                             \
        return REAL(name)(__VA_ARGS__);                                                                                \
    }

OF_PATH(unlink, "unlink", (const char *path), path)
OF_PATH(rename, "rename", (const char *path, const char *to), path, to)
OF_PATH(link, "link", (const char *path, const char *to), path, to)
OF_PATH(mkdir, "mkdir", (const char *path, mode_t mode), path, mode)
OF_PATH(truncate64, "truncate", (const char *path, off64_t size), path, size)

#define OF_PATH_AT(name, what, parameters, ...)                                                                        \
    int name parameters                                                                                                \
    {                                                                                                                  \
        count_at(what, directory, path);                                                                               \
        return REAL(name)(__VA_ARGS__);                                                                                \
    }

OF_PATH_AT(unlinkat, "unlink", (int directory, const char *path, int flags), directory, path, flags)
OF_PATH_AT(renameat, "rename", (int directory, const char *path, int to_directory, const char *to), directory, path,
           to_directory, to)
OF_PATH_AT(linkat, "link", (int directory, const char *path, int to_directory, const char *to, int flags), directory,
           path, to_directory, to, flags)
OF_PATH_AT(mkdirat, "mkdir", (int directory, const char *path, mode_t mode), directory, path, mode)
