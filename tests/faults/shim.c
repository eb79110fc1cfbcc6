/* Stands between dtar and the kernel, for tests/faults: records the system
 * calls that change files, and lets chosen ones fail.
 *
 * It is loaded with LD_PRELOAD, but replaces no function: a seccomp filter
 * turns each call of interest into SIGSYS unless it is made by the one
 * instruction in `shim_syscall`, and the handler of that signal does what was
 * asked, or says that it failed. So nothing passes by it, neither what libc
 * does inside nor what a crate does without libc; that a file is mapped
 * writable, by which it could be changed without a call, is recorded too.
 *
 * SHIM_ROOT   calls on paths below this folder are counted and recorded
 * SHIM_LOG    the file of records (struct record, then path, second path, data)
 * SHIM_DATA   if set, the bytes that were written are recorded too
 * SHIM_READS  if set, calls that read are counted as well
 * SHIM_AT     the call that fails, counted from 1
 * SHIM_FAULT  with which errno; 0: a write that is done by half
 * SHIM_SCOPE  once: that call alone; space: it and all later ones that need
 *             room; all: it and all later ones that change something
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

/* The one place from which system calls of interest may come. */
long shim_syscall(long number, const long *arguments);
extern const char shim_syscall_end[];

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
__asm__(".text\n.globl shim_syscall\n.type shim_syscall,@function\nshim_syscall:\n"
        "mov %rdi, %rax\nmov %rsi, %r11\nmov 0(%r11), %rdi\nmov 8(%r11), %rsi\n"
        "mov 16(%r11), %rdx\nmov 24(%r11), %r10\nmov 32(%r11), %r8\nmov 40(%r11), %r9\n"
        "syscall\n.globl shim_syscall_end\nshim_syscall_end:\nret\n");
static long argument(const ucontext_t *context, int number) {
    static const int registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    return context->uc_mcontext.gregs[registers[number]];
}
static void answer(ucontext_t *context, long result) {
    context->uc_mcontext.gregs[REG_RAX] = result;
}
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
__asm__(".text\n.globl shim_syscall\n.type shim_syscall,@function\nshim_syscall:\n"
        "mov x8, x0\nmov x9, x1\nldp x0, x1, [x9]\nldp x2, x3, [x9, 16]\nldp x4, x5, [x9, 32]\n"
        "svc #0\n.globl shim_syscall_end\nshim_syscall_end:\nret\n");
static long argument(const ucontext_t *context, int number) {
    return context->uc_mcontext.regs[number];
}
static void answer(ucontext_t *context, long result) {
    context->uc_mcontext.regs[0] = result;
}
#else
#error "the shim knows x86-64 and AArch64"
#endif

#define CALL(number, ...) shim_syscall(number, (const long[6]){__VA_ARGS__})

enum kind {
    OPEN = 1, WRITE, SYNC, RENAME, UNLINK, RMDIR, MKDIR, LINK, TRUNCATE, MODE, MAP, OTHER,
    OPEN_TO_READ, READ, LIST
};
enum flag { CREATED = 1, INJECTED = 2, SYNCHRONOUS = 4, FOLDER = 8, EMPTIED = 16 };

struct record {
    uint32_t kind, flags;
    int64_t result;
    uint64_t inode, offset;
    uint32_t path_length, second_length;
    uint64_t data_length;
};

#define MOST 4096
struct path { char text[MOST]; size_t length; };

static char root[MOST];
static size_t root_length;
static int log_file = -1, with_data, with_reads;
static long fail_at, fault;
static char scope;
static long counted;
static int lock;

static void enter(void) {
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        CALL(SYS_sched_yield, 0);
}

static void leave(void) { __atomic_store_n(&lock, 0, __ATOMIC_RELEASE); }

static void emit(const void *bytes, size_t length) {
    while (length > 0) {
        long done = CALL(SYS_write, log_file, (long)bytes, length);
        if (done <= 0)
            abort();
        bytes = (const char *)bytes + done;
        length -= done;
    }
}

static long find(struct path *path, const char *link) {
    long length = CALL(SYS_readlinkat, AT_FDCWD, (long)link, (long)path->text, MOST - 1);
    path->length = length > 0 ? length : 0;
    path->text[path->length] = 0;
    return length;
}

static void path_of_file(struct path *path, long file) {
    char link[40] = "/proc/self/fd/", digits[20];
    int count = 0, end = strlen(link);
    unsigned long rest = file;
    do digits[count++] = '0' + rest % 10; while (rest /= 10);
    while (count) link[end++] = digits[--count];
    link[end] = 0;
    find(path, link);
}

static void append(struct path *path, const char *text) {
    size_t length = strlen(text);
    if (path->length + length + 2 > MOST)
        abort();
    if (path->length)
        path->text[path->length++] = '/';
    memcpy(path->text + path->length, text, length + 1);
    path->length += length;
}

static void path_at(struct path *path, long folder, const char *text) {
    path->length = 0;
    path->text[0] = 0;
    if (*text == '/') {
        path->length = strlen(text);
        if (path->length >= MOST)
            abort();
        memcpy(path->text, text, path->length + 1);
        return;
    }
    /* The kernel looks at 32 bits of it; a program need not fill the others. */
    if ((int)folder == AT_FDCWD)
        find(path, "/proc/self/cwd");
    else
        path_of_file(path, folder);
    append(path, text);
}

static int watched(const struct path *path) {
    return root_length > 0 && path->length >= root_length &&
           memcmp(path->text, root, root_length) == 0 &&
           (path->text[root_length] == '/' || path->text[root_length] == 0);
}

static int look(struct stat *found, const char *path) {
    return CALL(SYS_newfstatat, AT_FDCWD, (long)path, (long)found, AT_SYMLINK_NOFOLLOW);
}

/* What is being done, and to what. */
struct call {
    enum kind kind;
    uint32_t flags;
    struct path path, second;
    uint64_t inode, offset;
    long file;
};

static void opens(struct call *call, long flags) {
    struct stat found;
    int changes = (flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY;
    /* A file without a name is what the records do not tell. */
    int strange = (flags & O_TMPFILE) == O_TMPFILE;
    call->kind = strange ? OTHER : changes ? OPEN : OPEN_TO_READ;
    call->flags |= flags & O_TRUNC ? EMPTIED : 0;
    if ((flags & O_CREAT) && look(&found, call->path.text) == -ENOENT)
        call->flags |= CREATED;
}

static void classify(struct call *call, long number, const long *a) {
    call->file = -1;
    switch (number) {
#ifdef SYS_open
    case SYS_open:
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        opens(call, a[1]);
        return;
#endif
    case SYS_openat:
        path_at(&call->path, a[0], (const char *)a[1]);
        opens(call, a[2]);
        return;
#ifdef SYS_creat
    case SYS_creat:
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        call->kind = OTHER;
        return;
#endif
    case SYS_write: case SYS_writev: case SYS_pwrite64: case SYS_pwritev: case SYS_pwritev2:
        call->kind = WRITE;
        call->file = a[0];
        break;
    case SYS_read: case SYS_readv: case SYS_pread64: case SYS_preadv:
        call->kind = READ;
        call->file = a[0];
        break;
    case SYS_getdents64:
        call->kind = LIST;
        call->file = a[0];
        break;
    case SYS_fsync: case SYS_fdatasync:
        call->kind = SYNC;
        call->file = a[0];
        break;
    case SYS_ftruncate:
        call->kind = TRUNCATE;
        call->file = a[0];
        call->offset = a[1];
        break;
    case SYS_fallocate: case SYS_copy_file_range: case SYS_sendfile: case SYS_splice:
    case SYS_sync_file_range:
        call->kind = OTHER;
        call->file = number == SYS_copy_file_range || number == SYS_splice ? a[2] : a[0];
        break;
    case SYS_fchmod:
        call->kind = MODE;
        call->file = a[0];
        break;
    case SYS_fchmodat:
        call->kind = MODE;
        path_at(&call->path, a[0], (const char *)a[1]);
        return;
    case SYS_mmap:
        call->kind = MAP;
        call->file = a[4];
        break;
#ifdef SYS_rename
    case SYS_rename:
        call->kind = RENAME;
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        path_at(&call->second, AT_FDCWD, (const char *)a[1]);
        return;
    case SYS_unlink:
        call->kind = UNLINK;
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        return;
    case SYS_rmdir:
        call->kind = RMDIR;
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        return;
    case SYS_mkdir:
        call->kind = MKDIR;
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        return;
    case SYS_link:
        call->kind = LINK;
        path_at(&call->path, AT_FDCWD, (const char *)a[0]);
        path_at(&call->second, AT_FDCWD, (const char *)a[1]);
        return;
    case SYS_symlink: case SYS_chmod: case SYS_truncate:
        call->kind = number == SYS_chmod ? MODE : OTHER;
        path_at(&call->path, AT_FDCWD, (const char *)a[number == SYS_symlink]);
        return;
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2: case SYS_linkat:
        call->kind = number == SYS_linkat ? LINK : RENAME;
        path_at(&call->path, a[0], (const char *)a[1]);
        path_at(&call->second, a[2], (const char *)a[3]);
        return;
    case SYS_unlinkat:
        call->kind = a[2] & AT_REMOVEDIR ? RMDIR : UNLINK;
        path_at(&call->path, a[0], (const char *)a[1]);
        return;
    case SYS_mkdirat:
        call->kind = MKDIR;
        path_at(&call->path, a[0], (const char *)a[1]);
        return;
    case SYS_symlinkat:
        call->kind = OTHER;
        path_at(&call->path, a[1], (const char *)a[2]);
        return;
    default:
        call->kind = OTHER;
        return;
    }
    path_of_file(&call->path, call->file);
}

/* Whether this call is to fail. */
static int chosen(const struct call *call) {
    if (fail_at == 0 || counted < fail_at)
        return 0;
    if (scope == 'o')
        return counted == fail_at;
    if (call->kind >= OPEN_TO_READ)
        return 0;
    if (scope == 'a')
        return call->kind != MAP && (call->kind != OPEN || call->flags & CREATED);
    return call->kind == WRITE || call->kind == MKDIR || call->kind == LINK ||
           (call->kind == OPEN && call->flags & CREATED) ||
           (call->kind == TRUNCATE);
}

/* Half of a write, at least one byte. */
static long half(long number, const long *a) {
    long b[6];
    memcpy(b, a, sizeof b);
    if (number == SYS_write || number == SYS_pwrite64) {
        b[2] = (a[2] + 1) / 2;
        return shim_syscall(number, b);
    }
    const struct iovec *all = (const struct iovec *)a[1];
    struct iovec first = {all[0].iov_base, (all[0].iov_len + 1) / 2};
    b[1] = (long)&first;
    b[2] = 1;
    return shim_syscall(number, b);
}

static void emit_data(long number, const long *a, long length) {
    if (number == SYS_write || number == SYS_pwrite64) {
        emit((const void *)a[1], length);
        return;
    }
    for (const struct iovec *piece = (const struct iovec *)a[1]; length > 0; piece++) {
        long part = (long)piece->iov_len < length ? (long)piece->iov_len : length;
        emit(piece->iov_base, part);
        length -= part;
    }
}

static long perform(struct call *call, long number, const long *a) {
    struct stat found;
    long offset = 0;
    if (call->kind == WRITE) {
        long flags = CALL(SYS_fcntl, call->file, F_GETFL);
        call->flags |= flags & (O_SYNC | O_DSYNC) ? SYNCHRONOUS : 0;
        offset = number == SYS_write || number == SYS_writev
                     ? CALL(SYS_lseek, call->file, 0, SEEK_CUR) : a[3];
        if (flags & O_APPEND)
            offset = CALL(SYS_lseek, call->file, 0, SEEK_END);
        call->offset = offset;
    }
    if (call->file < 0 && look(&found, call->path.text) == 0)
        call->inode = found.st_ino;
    counted++;
    long result;
    if (!chosen(call))
        result = shim_syscall(number, a);
    else {
        call->flags |= INJECTED;
        result = fault ? -fault : call->kind == WRITE ? half(number, a) : -EIO;
    }
    if (call->file >= 0 && CALL(SYS_fstat, call->file, (long)&found) == 0) {
        call->inode = found.st_ino;
        call->flags |= S_ISDIR(found.st_mode) ? FOLDER : 0;
    } else if (call->file < 0 && call->inode == 0 && look(&found, call->path.text) == 0)
        call->inode = found.st_ino;
    long data = with_data && call->kind == WRITE && result > 0 ? result : 0;
    struct record record = {call->kind, call->flags, result, call->inode, call->offset,
                            call->path.length, call->second.length, data};
    emit(&record, sizeof record);
    emit(call->path.text, call->path.length);
    emit(call->second.text, call->second.length);
    if (data)
        emit_data(number, a, data);
    return result;
}

static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal;
    long a[6];
    for (int number = 0; number < 6; number++)
        a[number] = argument(context, number);
    long number = info->si_syscall;
    struct call call = {0};
    classify(&call, number, a);
    long result;
    int counts = watched(&call.path) || watched(&call.second) ||
                 (call.kind == OTHER && call.file < 0 && !call.path.length);
    if (!counts || (call.kind >= OPEN_TO_READ && !with_reads))
        result = shim_syscall(number, a);
    else {
        enter();
        result = perform(&call, number, a);
        leave();
    }
    answer(context, result);
}

static const int trapped[] = {
    SYS_openat, SYS_write, SYS_writev, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_fsync,
    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_copy_file_range, SYS_sendfile, SYS_splice,
    SYS_sync_file_range, SYS_fchmod, SYS_fchmodat, SYS_renameat2, SYS_linkat, SYS_unlinkat,
    SYS_mkdirat, SYS_symlinkat, SYS_io_uring_setup, SYS_openat2,
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_rename, SYS_unlink, SYS_rmdir, SYS_mkdir, SYS_link, SYS_symlink,
    SYS_chmod, SYS_truncate,
#endif
#ifdef SYS_renameat
    SYS_renameat,
#endif
};
static const int reading[] = {SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_getdents64};

#define LOW(member) (offsetof(struct seccomp_data, member))
#define FIELD(offset) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IF(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define SET(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, value, yes, no)
#define END(action) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, action)

static int install(void) {
    static struct sock_filter program[200];
    int length = 0;
    uint64_t end = (uint64_t)shim_syscall_end;
    program[length++] = FIELD(LOW(arch));
    program[length++] = IF(ARCHITECTURE, 1, 0);
    program[length++] = END(SECCOMP_RET_KILL_PROCESS);
    program[length++] = FIELD(LOW(instruction_pointer));
    program[length++] = IF((uint32_t)end, 0, 3);
    program[length++] = FIELD(LOW(instruction_pointer) + 4);
    program[length++] = IF((uint32_t)(end >> 32), 0, 1);
    program[length++] = END(SECCOMP_RET_ALLOW);
    program[length++] = FIELD(LOW(nr));
    for (size_t each = 0; each < sizeof trapped / sizeof *trapped; each++) {
        program[length++] = IF(trapped[each], 0, 1);
        program[length++] = END(SECCOMP_RET_TRAP);
    }
    for (size_t each = 0; with_reads && each < sizeof reading / sizeof *reading; each++) {
        program[length++] = IF(reading[each], 0, 1);
        program[length++] = END(SECCOMP_RET_TRAP);
    }
    program[length++] = IF(SYS_mmap, 0, 5);
    program[length++] = FIELD(LOW(args[2]));
    program[length++] = SET(PROT_WRITE, 0, 3);
    program[length++] = FIELD(LOW(args[3]));
    program[length++] = SET(MAP_SHARED, 0, 1);
    program[length++] = END(SECCOMP_RET_TRAP);
    program[length++] = END(SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {length, program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0;
}

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

__attribute__((constructor)) static void begin(void) {
    const char *below = setting("SHIM_ROOT", "");
    root_length = strlen(below);
    if (root_length == 0 || root_length >= MOST)
        return;
    memcpy(root, below, root_length + 1);
    with_data = getenv("SHIM_DATA") != NULL;
    with_reads = getenv("SHIM_READS") != NULL;
    fail_at = atol(setting("SHIM_AT", "0"));
    fault = atol(setting("SHIM_FAULT", "0"));
    scope = *setting("SHIM_SCOPE", "once");
    /* Out of the way, so that dtar gets the file numbers that it gets without the shim. */
    int file = open(setting("SHIM_LOG", "/dev/null"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    log_file = fcntl(file, F_DUPFD_CLOEXEC, 900);
    close(file);
    struct sigaction action = {0};
    action.sa_sigaction = on_call;
    action.sa_flags = SA_SIGINFO;
    sigfillset(&action.sa_mask);
    if (log_file < 0 || sigaction(SIGSYS, &action, NULL) != 0 || !install())
        _exit(99);
}
