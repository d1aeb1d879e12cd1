/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU under test; see vm.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vm.h"

#define PROMPT  "(qemu) "

enum { CONTROL, TAP, MONITOR, QMP, CHANNELS };

static const char *const channel_names[CHANNELS] = {
    [CONTROL] = "control",
    [TAP] = "tap",
    [MONITOR] = "monitor",
    [QMP] = "qmp",
};

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void add(GPtrArray *argv, const char *first, ...)
{
    va_list ap;

    va_start(ap, first);
    for (const char *a = first; a; a = va_arg(ap, const char *)) {
        g_ptr_array_add(argv, g_strdup(a));
    }
    va_end(ap);
}

static void add_f(GPtrArray *argv, const char *option, const char *f, ...)
    G_GNUC_PRINTF(3, 4);

static void add_f(GPtrArray *argv, const char *option, const char *f, ...)
{
    va_list ap;

    va_start(ap, f);
    g_ptr_array_add(argv, g_strdup(option));
    g_ptr_array_add(argv, g_strdup_vprintf(f, ap));
    va_end(ap);
}

static const char *guest_object(const char *guest)
{
    if (g_str_equal(guest, "snp")) {
        return "sev-snp-guest,id=cgs0,cbitpos=51,reduced-phys-bits=1";
    }
    return g_str_equal(guest, "tdx") ? "tdx-guest,id=cgs0"
                                     : "x86-sw-protected-vm,id=cgs0";
}

static char **command_line(const Scenario *s, const LabPaths *paths,
                           const char *trace_path, char **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) more = NULL;
    g_autoptr(GError) err = NULL;
    bool kvm = g_str_has_prefix(s->accel, "kvm");

    add(argv, paths->qemu, "-accel", s->accel, "-nodefaults", "-nographic",
        "-no-reboot", "-L", paths->roms, "-bios", paths->payload,
        "-msg", "timestamp=on", "-D", trace_path, NULL);
    add_f(argv, "-machine", "q35%s%s%s",
          s->protected_vm ? ",confidential-guest-support=cgs0" : "",
          s->machine ? "," : "", s->machine ? s->machine : "");
    if (s->protected_vm) {
        add_f(argv, "-object", "%s%s%s", guest_object(s->guest),
              s->object ? "," : "", s->object ? s->object : "");
    }
    if (kvm) {
        add(argv, "-cpu", "host", NULL);
        add(argv, "-trace", s->trace, NULL);
    }
    for (int i = 0; i < CHANNELS; i++) {
        add_f(argv, "-chardev", "socket,id=%s,path=%s/%s", channel_names[i],
              paths->work, channel_names[i]);
    }
    add(argv, "-mon", "chardev=monitor,mode=readline",
        "-mon", "chardev=qmp,mode=control",
        "-device", "isa-serial,index=0,chardev=control",
        "-device", "isa-debugcon,iobase=0xe9,chardev=tap",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4", NULL);
    if (s->payload) {
        add_f(argv, "-fw_cfg", "name=opt/org.qemu-gmem/scenario,string=%s",
              s->payload);
    }
    if (s->qemu) {
        if (!g_shell_parse_argv(s->qemu, NULL, &more, &err)) {
            *error = g_strdup_printf("%s: qemu = %s: %s", s->name, s->qemu,
                                     err->message);
            return NULL;
        }
        for (guint i = 0; more[i]; i++) {
            add(argv, more[i], NULL);
        }
    }
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&argv), FALSE);
}

static int listen_at(const char *dir, const char *name, char **error)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if ((size_t)snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name) >=
        sizeof(a.sun_path)) {
        *error = g_strdup_printf("%s is too long for a socket", dir);
        close(fd);
        return -1;
    }
    unlink(a.sun_path);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0) {
        *error = g_strdup_printf("%s: %s", a.sun_path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

/* Start @argv with stdout and stderr in a pipe; it dies with us. */
static bool spawn(Vm *vm, char **argv, const Scenario *s, char **error)
{
    g_autofree char *personality =
        g_strdup_printf("log=%s %s", vm->calls_path,
                        s->personality ? s->personality : "");
    int out[2];

    if (pipe2(out, O_CLOEXEC) < 0) {
        *error = g_strdup_printf("pipe: %s", strerror(errno));
        return false;
    }
    vm->pid = fork();
    if (vm->pid == 0) {
        int null = open("/dev/null", O_RDONLY);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        if (s->preload) {
            setenv("LD_PRELOAD", s->preload, 1);
            setenv("PERSONALITY", personality, 1);
            setenv("KVM_TRACE", vm->kvm_trace_path, 1);
        }
        execv(argv[0], argv);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(out[1]);
    vm->errors = out[0];
    fcntl(vm->errors, F_SETFL, O_NONBLOCK);
    if (vm->pid < 0) {
        *error = g_strdup_printf("fork: %s", strerror(errno));
        return false;
    }
    vm->pidfd = syscall(SYS_pidfd_open, vm->pid, 0);
    return true;
}

/* Wait for QEMU's connections; its end is an answer too. */
static bool accept_all(Vm *vm, const int *listeners, int seconds, char **error)
{
    int *fds[CHANNELS] = {
        &vm->control, &vm->tap, &vm->monitor, &vm->qmp,
    };
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    while (vm->control < 0 || vm->tap < 0 || vm->monitor < 0 || vm->qmp < 0) {
        struct pollfd p[CHANNELS + 1];

        for (int i = 0; i < CHANNELS; i++) {
            p[i] = (struct pollfd) { *fds[i] < 0 ? listeners[i] : -1, POLLIN, 0 };
        }
        p[CHANNELS] = (struct pollfd) { vm->pidfd, POLLIN, 0 };
        poll(p, CHANNELS + 1, 100);
        vm_read_errors(vm);
        if (p[CHANNELS].revents) {
            return vm_wait(vm, 0);
        }
        for (int i = 0; i < CHANNELS; i++) {
            if (p[i].revents) {
                *fds[i] = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC);
            }
        }
        if (g_get_monotonic_time() > end) {
            *error = g_strdup_printf("QEMU did not come up within %d s: %s",
                                     seconds, vm->error_text->str);
            return false;
        }
    }
    return true;
}

#define QCOW2_CLUSTER_BITS  16
#define QCOW2_CLUSTER(n)    ((uint64_t)(n) << QCOW2_CLUSTER_BITS)

/*
 * An image that has nothing allocated, as docs/interop/qcow2.rst of QEMU
 * describes it.  Its four clusters: header, refcount table, refcount block, L1
 * table.
 */
static bool write_qcow2(int fd, uint64_t size)
{
    static const uint16_t refcounts[] = {
        GUINT16_TO_BE(1), GUINT16_TO_BE(1), GUINT16_TO_BE(1), GUINT16_TO_BE(1)
    };
    const uint64_t block = GUINT64_TO_BE(QCOW2_CLUSTER(2));
    const struct {
        uint32_t magic, version;
        uint64_t backing_offset;
        uint32_t backing_size, cluster_bits;
        uint64_t size;
        uint32_t crypt_method, l1_size;
        uint64_t l1_table, refcount_table;
        uint32_t refcount_clusters, nb_snapshots;
        uint64_t snapshots, incompatible, compatible, autoclear;
        uint32_t refcount_order, header_length;
    } header = {
        .magic = GUINT32_TO_BE(0x514649fbu),
        .version = GUINT32_TO_BE(3),
        .cluster_bits = GUINT32_TO_BE(QCOW2_CLUSTER_BITS),
        .size = GUINT64_TO_BE(size),
        .l1_size = GUINT32_TO_BE(1),        /* enough for 512 MiB */
        .l1_table = GUINT64_TO_BE(QCOW2_CLUSTER(3)),
        .refcount_table = GUINT64_TO_BE(QCOW2_CLUSTER(1)),
        .refcount_clusters = GUINT32_TO_BE(1),
        .refcount_order = GUINT32_TO_BE(4),
        .header_length = GUINT32_TO_BE(104),
    };

    G_STATIC_ASSERT(sizeof(header) == 104);
    return ftruncate(fd, QCOW2_CLUSTER(4)) == 0 &&
           pwrite(fd, &header, sizeof(header), 0) == sizeof(header) &&
           pwrite(fd, &block, sizeof(block),
                  QCOW2_CLUSTER(1)) == sizeof(block) &&
           pwrite(fd, refcounts, sizeof(refcounts),
                  QCOW2_CLUSTER(2)) == sizeof(refcounts);
}

/* An image of zeros for "-drive file=WORK/disk" */
static bool make_disk(const char *dir, const Scenario *s, char **error)
{
    g_autofree char *path = g_strdup_printf("%s/disk", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    off_t size = (off_t)s->disk << 20;

    if (fd < 0 || (s->qcow2 ? !write_qcow2(fd, size)
                            : ftruncate(fd, size) < 0)) {
        *error = g_strdup_printf("%s: %s", path, strerror(errno));
    }
    close_fd(fd);
    return !*error;
}

Vm *vm_start(const Scenario *s, const LabPaths *paths, char **error)
{
    Vm *vm = g_new0(Vm, 1);
    int listeners[CHANNELS] = { -1, -1, -1, -1 };
    g_auto(GStrv) argv = NULL;
    bool ok = true;

    vm->pidfd = vm->control = vm->tap = vm->monitor = vm->qmp = vm->errors = -1;
    vm->error_text = g_string_new(NULL);
    vm->trace_path = g_strdup_printf("%s/%s.trace", paths->work, s->name);
    vm->calls_path = g_strdup_printf("%s/%s.calls", paths->work, s->name);
    vm->kvm_trace_path = g_strdup_printf("%s/%s.kvm", paths->work, s->name);
    unlink(vm->trace_path);
    unlink(vm->kvm_trace_path);
    unlink(vm->calls_path);
    argv = command_line(s, paths, vm->trace_path, error);
    ok = argv != NULL && (!s->disk || make_disk(paths->work, s, error));
    for (int i = 0; ok && i < CHANNELS; i++) {
        listeners[i] = listen_at(paths->work, channel_names[i], error);
        ok = listeners[i] >= 0;
    }
    if (ok) {
        vm->command = g_strjoinv(" ", argv);
        ok = spawn(vm, argv, s, error) &&
             accept_all(vm, listeners, s->timeout, error);
    }
    for (int i = 0; i < CHANNELS; i++) {
        if (listeners[i] >= 0) {
            close(listeners[i]);
        }
    }
    if (!ok) {
        vm_end(vm);
        return NULL;
    }
    return vm;
}

void vm_read_errors(Vm *vm)
{
    char buf[4096];
    ssize_t n;

    while ((n = read(vm->errors, buf, sizeof(buf))) > 0) {
        g_string_append_len(vm->error_text, buf, n);
    }
}

bool vm_wait(Vm *vm, int ms)
{
    struct pollfd p = { vm->pidfd, POLLIN, 0 };

    if (vm->ended || vm->pid <= 0) {
        return true;
    }
    if (poll(&p, 1, ms) > 0 && waitpid(vm->pid, &vm->status, 0) == vm->pid) {
        vm->ended = true;
        vm_read_errors(vm);
    }
    return vm->ended;
}

/* Read from the monitor until the prompt comes; false: not in time. */
static bool read_to_prompt(Vm *vm, GString *text, bool behind_echo, int ms)
{
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

    for (;;) {
        struct pollfd p = { vm->monitor, POLLIN, 0 };
        gint64 left = (end - g_get_monotonic_time()) / 1000;
        char buf[1024];
        ssize_t n;

        if (g_str_has_suffix(text->str, PROMPT) &&
            (!behind_echo || strchr(text->str, '\n'))) {
            return true;
        }
        if (left < 0 || poll(&p, 1, left) <= 0) {
            return false;
        }
        n = read(vm->monitor, buf, sizeof(buf));
        if (n <= 0) {
            return false;
        }
        g_string_append_len(text, buf, n);
    }
}

char *vm_hmp(Vm *vm, const char *command, int ms)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *line = g_strconcat(command, "\n", NULL);
    struct pollfd p = { vm->monitor, POLLIN, 0 };
    char *start;

    /* The banner, or an answer that came too late for its command. */
    while (poll(&p, 1, 0) > 0) {
        char buf[1024];

        if (read(vm->monitor, buf, sizeof(buf)) <= 0) {
            return NULL;
        }
    }
    if (send(vm->monitor, line, strlen(line), MSG_NOSIGNAL) < 0 ||
        !read_to_prompt(vm, text, true, ms)) {
        return NULL;
    }
    g_string_truncate(text, text->len - strlen(PROMPT));
    start = strchr(text->str, '\n') + 1;
    return g_strdup(g_strstrip(start));
}

void vm_end(Vm *vm)
{
    if (vm->pid > 0 && !vm->ended) {
        kill(vm->pid, SIGTERM);
        if (!vm_wait(vm, 5000)) {
            kill(vm->pid, SIGKILL);
            waitpid(vm->pid, &vm->status, 0);
        }
    }
    close_fd(vm->control);
    close_fd(vm->tap);
    close_fd(vm->monitor);
    close_fd(vm->qmp);
    close_fd(vm->errors);
    close_fd(vm->pidfd);
    g_string_free(vm->error_text, TRUE);
    g_free(vm->trace_path);
    g_free(vm->calls_path);
    g_free(vm->kvm_trace_path);
    g_free(vm->command);
    g_free(vm);
}
