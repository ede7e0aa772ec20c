/* Ends a process between two file operations: `faults.py` loads this in front of the C library (LD_PRELOAD).

   Counted are the operations that change a file below FAULTS_BELOW: each adds a byte to the file FAULTS_LOG, its kind.
   Before number FAULTS_AT (from 1; 0 for never) the process kills itself with SIGKILL; with FAULTS_HALF, a write writes
   half of its bytes first. A forked process counts anew, with the environment that it has at its first operation. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *below;
static long at;
static int half, log_fd = -1;
static int count, is_ready;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static void forked(void) { is_ready = 0; }

__attribute__((constructor)) static void load(void) {
  real_write = REAL(ssize_t, write, int, const void *, size_t);
  real_pwrite = REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
  pthread_atfork(NULL, NULL, forked);
}

static void start(void) {
  const char *number = getenv("FAULTS_AT"), *log = getenv("FAULTS_LOG");
  count = 0;
  at = number ? atol(number) : 0;
  half = getenv("FAULTS_HALF") != NULL;
  if (log) log_fd = REAL(int, open, const char *, int, ...)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  below = getenv("FAULTS_BELOW");
  is_ready = 1;
}

static const char *watched(void) {
  if (!is_ready) start();
  return below;
}

static int is_below(const char *path) {
  char full[PATH_MAX], here[PATH_MAX];
  if (!watched() || !path) return 0;
  if (path[0] != '/') {
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(full, sizeof full, "%s/%s", here, path);
    path = full;
  }
  return !strncmp(path, below, strlen(below));
}

static int fd_is_below(int fd) {
  char link[64], path[PATH_MAX];
  if (!watched() || fd < 3 || fd == log_fd) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return is_below(path);
}

/* Of a path in an open folder. */
static int is_below_at(int folder, const char *path) {
  char link[64], full[PATH_MAX], here[PATH_MAX];
  if (!path || path[0] == '/' || folder == AT_FDCWD) return is_below(path);
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t size = readlink(link, here, sizeof here - 1);
  if (size < 0) return 0;
  here[size] = 0;
  snprintf(full, sizeof full, "%s/%s", here, path);
  return is_below(full);
}

/* Whether this is the operation at which the process ends. */
static int is_due(char kind) {
  int number = __sync_add_and_fetch(&count, 1);
  if (log_fd >= 0) real_write(log_fd, &kind, 1);
  return number == at;
}

static void end(void) { kill(getpid(), SIGKILL); for (;;) pause(); }
static void step(int counts, char kind) { if (counts && is_due(kind)) end(); }

ssize_t write(int fd, const void *data, size_t size) {
  if (fd_is_below(fd) && is_due('w')) { if (half) real_write(fd, data, size / 2); end(); }
  return real_write(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t place) {
  if (fd_is_below(fd) && is_due('w')) { if (half) real_pwrite(fd, data, size / 2, place); end(); }
  return real_pwrite(fd, data, size, place);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t place) {
  return pwrite(fd, data, size, place);
}
ssize_t writev(int fd, const struct iovec *parts, int number) {
  step(fd_is_below(fd), 'w');
  return REAL(ssize_t, writev, int, const struct iovec *, int)(fd, parts, number);
}
ssize_t sendfile(int out, int in, off_t *place, size_t size) {
  step(fd_is_below(out), 'w');
  return REAL(ssize_t, sendfile, int, int, off_t *, size_t)(out, in, place, size);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
  step(fd_is_below(out), 'w');
  return REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned)(in, from, out, to, size, flags);
}

#define OPENS(name)                                                                   \
  int name(const char *path, int flags, ...) {                                        \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    step((flags & (O_CREAT | O_TRUNC)) && is_below(path), 'o');                       \
    return REAL(int, name, const char *, int, ...)(path, flags, mode);                \
  }
OPENS(open)
OPENS(open64)
#define OPENS_AT(name)                                                                \
  int name(int folder, const char *path, int flags, ...) {                            \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    step((flags & (O_CREAT | O_TRUNC)) && is_below_at(folder, path), 'o');            \
    return REAL(int, name, int, const char *, int, ...)(folder, path, flags, mode);   \
  }
OPENS_AT(openat)
OPENS_AT(openat64)

int rename(const char *from, const char *to) {
  step(is_below(to), 'r');
  return REAL(int, rename, const char *, const char *)(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
  step(is_below_at(b, to), 'r');
  return REAL(int, renameat, int, const char *, int, const char *)(a, from, b, to);
}
int link(const char *from, const char *to) {
  step(is_below(to), 'l');
  return REAL(int, link, const char *, const char *)(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
  step(is_below_at(b, to), 'l');
  return REAL(int, linkat, int, const char *, int, const char *, int)(a, from, b, to, flags);
}
int symlink(const char *target, const char *path) {
  step(is_below(path), 'l');
  return REAL(int, symlink, const char *, const char *)(target, path);
}
int symlinkat(const char *target, int folder, const char *path) {
  step(is_below_at(folder, path), 'l');
  return REAL(int, symlinkat, const char *, int, const char *)(target, folder, path);
}
int rmdir(const char *path) {
  step(is_below(path), 'u');
  return REAL(int, rmdir, const char *)(path);
}
int unlinkat(int folder, const char *path, int flags) {
  step(is_below_at(folder, path), 'u');
  return REAL(int, unlinkat, int, const char *, int)(folder, path, flags);
}
int unlink(const char *path) {
  step(is_below(path), 'u');
  return REAL(int, unlink, const char *)(path);
}
int mkdir(const char *path, mode_t mode) {
  step(is_below(path), 'm');
  return REAL(int, mkdir, const char *, mode_t)(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
  step(is_below_at(folder, path), 'm');
  return REAL(int, mkdirat, int, const char *, mode_t)(folder, path, mode);
}
int ftruncate(int fd, off_t size) {
  step(fd_is_below(fd), 't');
  return REAL(int, ftruncate, int, off_t)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
  step(fd_is_below(fd), 't');
  return REAL(int, ftruncate64, int, off64_t)(fd, size);
}
int truncate(const char *path, off_t size) {
  step(is_below(path), 't');
  return REAL(int, truncate, const char *, off_t)(path, size);
}
int truncate64(const char *path, off64_t size) {
  step(is_below(path), 't');
  return REAL(int, truncate64, const char *, off64_t)(path, size);
}
int fsync(int fd) {
  step(fd_is_below(fd), 's');
  return REAL(int, fsync, int)(fd);
}
int fdatasync(int fd) {
  step(fd_is_below(fd), 's');
  return REAL(int, fdatasync, int)(fd);
}
