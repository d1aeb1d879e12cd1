/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices to assign, files of the host, refused accesses; see assign.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "assign.h"

#define PCI         "/sys/bus/pci"
#define DRIVER      "vfio-pci"

/* One write(2): that is how the files of /sys want it.  Returns an errno. */
static int write_file(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int err = 0;

    if (fd < 0) {
        return errno;
    }
    if (write(fd, value, strlen(value)) < 0) {
        err = errno;
    }
    close(fd);
    return err;
}

/* The name of the driver that has the device, or NULL. */
static char *driver_of(const char *device)
{
    g_autofree char *path = g_strdup_printf(PCI "/devices/%s/driver", device);
    g_autofree char *target = g_file_read_link(path, NULL);

    return target ? g_path_get_basename(target) : NULL;
}

static bool bind_one(const char *device, char **error)
{
    g_autofree char *folder = g_strdup_printf(PCI "/devices/%s", device);
    g_autofree char *override = g_strconcat(folder, "/driver_override", NULL);
    g_autofree char *unbind = g_strconcat(folder, "/driver/unbind", NULL);
    g_autofree char *old = driver_of(device);
    g_autofree char *now = NULL;
    int err;

    if (old && g_str_equal(old, DRIVER)) {
        return true;
    }
    if (!g_file_test(folder, G_FILE_TEST_EXISTS)) {
        *error = g_strdup_printf("the emulated host has no device %s", device);
        return false;
    }
    if (old) {
        write_file(unbind, device);
    }
    err = write_file(override, DRIVER);
    if (!err) {
        err = write_file(PCI "/drivers_probe", device);
    }
    now = driver_of(device);
    if (!now || !g_str_equal(now, DRIVER)) {
        *error = g_strdup_printf("%s does not take %s: %s (is there an IOMMU, "
                                 "and the driver?)", DRIVER, device,
                                 strerror(err));
        return false;
    }
    return true;
}

bool assign_bind(const char *devices, char **error)
{
    g_auto(GStrv) list = g_strsplit(devices, " ", -1);

    for (guint i = 0; list[i]; i++) {
        if (*list[i] && !bind_one(list[i], error)) {
            return false;
        }
    }
    return true;
}

/* --- files ---------------------------------------------------------------- */

struct HostFiles {
    GPtrArray *words;       /* path, old value, path, old value ... */
};

void host_files_restore(HostFiles *h)
{
    if (!h) {
        return;
    }
    for (guint i = 0; i + 1 < h->words->len; i += 2) {
        write_file(h->words->pdata[i], h->words->pdata[i + 1]);
    }
    g_ptr_array_unref(h->words);
    g_free(h);
}

HostFiles *host_files_write(const char *words, char **error)
{
    g_auto(GStrv) w = g_strsplit(words, " ", -1);
    HostFiles *h = g_new0(HostFiles, 1);

    h->words = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; w[i]; i += 2) {
        g_autofree char *old = NULL;
        int err = EINVAL;

        if (w[i + 1] && g_file_get_contents(w[i], &old, NULL, NULL)) {
            err = write_file(w[i], w[i + 1]);
        }
        if (err) {
            *error = g_strdup_printf("cannot write \"%s\" to %s: %s",
                                     w[i + 1] ? w[i + 1] : "", w[i],
                                     old ? strerror(err) : "cannot read it");
            host_files_restore(h);
            return NULL;
        }
        g_ptr_array_add(h->words, g_strdup(w[i]));
        g_ptr_array_add(h->words, g_strdup(g_strchomp(old)));
    }
    return h;
}

/* --- accesses that the IOMMU has refused ---------------------------------- */

/*
 * The kernel's log is opened once: each reader has its own position.  What was
 * read since the mark is kept, as a count may be asked for several times.
 */
struct DmaFaults {
    int fd;
    GArray *iovas;          /* uint64_t */
};

DmaFaults *dma_faults_new(void)
{
    DmaFaults *f = g_new0(DmaFaults, 1);

    f->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    f->iovas = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    dma_faults_mark(f);
    return f;
}

void dma_faults_free(DmaFaults *f)
{
    if (f) {
        if (f->fd >= 0) {
            close(f->fd);
        }
        g_array_unref(f->iovas);
        g_free(f);
    }
}

void dma_faults_mark(DmaFaults *f)
{
    if (f->fd >= 0) {
        lseek(f->fd, 0, SEEK_END);
    }
    g_array_set_size(f->iovas, 0);
}

/* A record a read; EPIPE: some were overwritten before we came. */
static void dma_faults_read(DmaFaults *f)
{
    char record[2048];
    ssize_t n;

    while (f->fd >= 0) {
        const char *at;

        n = read(f->fd, record, sizeof(record) - 1);
        if (n < 0 && errno == EPIPE) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        record[n] = 0;
        at = strstr(record, "fault addr 0x");
        if (at && strstr(record, "DMAR: [DMA ")) {
            uint64_t iova = strtoull(at + strlen("fault addr "), NULL, 16);

            g_array_append_val(f->iovas, iova);
        }
    }
}

unsigned dma_faults_count(DmaFaults *f, uint64_t iova, uint64_t size)
{
    unsigned n = 0;

    dma_faults_read(f);
    for (guint i = 0; i < f->iovas->len; i++) {
        n += g_array_index(f->iovas, uint64_t, i) - iova < size;
    }
    return n;
}
