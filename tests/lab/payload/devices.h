/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drivers of emulated devices, just enough to have them do DMA.  There is no
 * firmware and no interrupt: addresses are fixed, everything is polled.
 */
#ifndef PAYLOAD_DEVICES_H
#define PAYLOAD_DEVICES_H

#include "payload.h"

#define SECTOR      512u

typedef enum DiskAnswer {
    DISK_DONE,
    DISK_ERROR,     /* the device says that the request has failed */
    DISK_SILENT,    /* it has given up, and wants to be reset */
} DiskAnswer;

/*
 * A disk.
 *
 * @start: find it and reset it; may be called again.  @mem: four pages for
 *   what it is controlled with.  False if there is none.
 * @io: one request of @bytes (a multiple of SECTOR) at @gpa
 * @kick: tell the device that there is something to do although there is
 *   nothing new: it looks at its ring or list
 * @control_at: requests and answers lie in these pages from now on; NULL: they
 *   cannot.  0: in @mem again.  As long as they are elsewhere, a disk of
 *   virtio-scsi answers the first request after a start with an error.
 * @ring_pages: how many pages of @mem, from its start on, the device keeps
 *   mapped while it works
 * @may_give_up: instead of failing a request it may want a reset
 */
typedef struct Disk {
    const char *name;
    bool (*start)(uint64_t mem);
    DiskAnswer (*io)(bool write, uint32_t sector, uint64_t gpa,
                     uint32_t bytes);
    void (*kick)(void);
    void (*control_at)(uint64_t header, uint64_t answer);
    unsigned ring_pages;
    bool may_give_up;
} Disk;

extern const Disk disk_ahci;
extern const Disk disk_ahci_pio;
extern const Disk disk_virtio;
extern const Disk disk_scsi;

/*
 * nic_start: the 82540EM, which sends every frame to itself.  @mem: two pages
 * for its rings.  False if there is none, or nothing comes back.
 *
 * nic_loop: send @bytes (60 to 1500) at @from and wait for them in the buffer
 * (2048 bytes) at @to.  Returns how many came, 0 if none.
 */
bool nic_start(uint64_t mem);
unsigned nic_loop(uint64_t from, uint64_t to, unsigned bytes);

/* A piece of a frame */
typedef struct GatherPiece {
    uint64_t gpa;
    uint16_t bytes;
} GatherPiece;

#define GATHER_PAGES    8u

/*
 * gather_start: have the 82574L gather a frame from three pieces.  @mem:
 * GATHER_PAGES pages for its ring, where the last piece comes long after the
 * others, which the device has mapped by then.  False if there is none.
 *
 * gather_send: let it send the frame.  Returns the number of frames that it
 * says it has sent: 1, or 0 if it had to drop it.
 */
bool gather_start(uint64_t mem, const GatherPiece piece[3]);
unsigned gather_send(void);

/* What a driver waits for, at most: some seconds in the emulated host. */
#define DEVICE_WAIT     200000

#endif
