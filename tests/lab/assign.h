/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of a scenario: devices to assign, files of /sys and /proc. */
#ifndef LAB_ASSIGN_H
#define LAB_ASSIGN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * assign_bind: give PCI devices to vfio-pci, so that QEMU can have them.
 *
 * @devices: addresses as in /sys/bus/pci/devices, separated by blanks.
 * A device that vfio-pci has already stays as it is.  Returns false with
 * *@error set, which names the device.
 */
bool assign_bind(const char *devices, char **error);

/* What host_files_write() has replaced; gives it back. */
typedef struct HostFiles HostFiles;

/*
 * host_files_write: write values to files of the host, remember what was there.
 *
 * @words: "PATH VALUE PATH VALUE ...".  Returns NULL with *@error set, and
 * everything as it was, if one of them cannot be written.
 */
HostFiles *host_files_write(const char *words, char **error);

/* host_files_restore: write the old values again and free @h; NULL is fine. */
void host_files_restore(HostFiles *h);

/* What the kernel's log says about accesses that the IOMMU has refused. */
typedef struct DmaFaults DmaFaults;

DmaFaults *dma_faults_new(void);
void dma_faults_free(DmaFaults *f);

/* dma_faults_mark: from here on they count. */
void dma_faults_mark(DmaFaults *f);

/*
 * dma_faults_count: how many were at addresses from @iova to @iova + @size - 1
 * since the mark.  The kernel prints no more than ten in five seconds, so this
 * tells whether there were any, not how many.
 */
unsigned dma_faults_count(DmaFaults *f, uint64_t iova, uint64_t size);

#endif
