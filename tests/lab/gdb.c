/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The few packets of the remote protocol that gdb_jump() needs; see gdb.h. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "gdb.h"

#define HMP_MS      5000
#define REPLY_MS    5000

/* Numbers of registers in the target description of x86-64 */
#define REG_RAX     0
#define REG_RIP     16

static int gdb_connect(Vm *vm, char **error)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    g_autofree char *work = g_path_get_dirname(vm->trace_path);
    g_autofree char *command = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s/gdb", work);
    unlink(a.sun_path);
    command = g_strdup_printf("gdbserver unix:%s,server=on,wait=off",
                              a.sun_path);
    g_free(vm_hmp(vm, command, HMP_MS));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        *error = g_strdup_printf("%s: %s", a.sun_path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

/* The contents of the next packet, which is acknowledged; NULL: none came */
static char *gdb_read(int fd)
{
    g_autoptr(GString) text = g_string_new(NULL);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int behind = -1;        /* digits of the checksum still to come */
    char c;

    while (behind && poll(&p, 1, REPLY_MS) > 0 && read(fd, &c, 1) == 1) {
        if (behind > 0) {
            behind--;
        } else if (c == '$') {
            g_string_truncate(text, 0);
        } else if (c == '#') {
            behind = 2;
        } else if (c != '+') {
            g_string_append_c(text, c);
        }
    }
    if (behind || write(fd, "+", 1) != 1) {
        return NULL;
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* Send @body; false unless the answer begins with @want ("": any) */
static bool gdb_command(int fd, const char *body, const char *want,
                        char **error)
{
    g_autofree char *packet = NULL;
    g_autofree char *reply = NULL;
    unsigned char sum = 0;

    for (const char *p = body; *p; p++) {
        sum += *p;
    }
    packet = g_strdup_printf("$%s#%02x", body, sum);
    if (write(fd, packet, strlen(packet)) == (ssize_t)strlen(packet)) {
        reply = gdb_read(fd);
    }
    if (!reply || !g_str_has_prefix(reply, want)) {
        *error = g_strdup_printf("gdbstub: %.20s was answered %.20s", body,
                                 reply ? reply : "not at all");
        return false;
    }
    return true;
}

static bool gdb_write_register(int fd, unsigned reg, uint64_t value,
                               char **error)
{
    g_autofree char *body = g_strdup_printf("P%x=%016" PRIx64, reg,
                                            GUINT64_SWAP_LE_BE(value));

    return gdb_command(fd, body, "OK", error);
}

char *gdb_jump(Vm *vm, uint64_t rax, uint64_t rip)
{
    char *error = NULL;
    int fd = gdb_connect(vm, &error);

    if (fd < 0) {
        return error;
    }
    /* The connection has stopped the VM; who writes registers reads them all. */
    if (gdb_command(fd, "g", "", &error) &&
        gdb_write_register(fd, REG_RAX, rax, &error) &&
        gdb_write_register(fd, REG_RIP, rip, &error)) {
        gdb_command(fd, "D", "OK", &error);
    }
    close(fd);
    return error;
}
