/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports: TAP goes out on the debug port, requests to gmem-lab over COM1, the
 * scenario comes in by fw_cfg.  All of it is plain IN and OUT of one byte:
 * string instructions would go through KVM's emulator.
 */
#include "payload.h"

#define PORT_DEBUG          0xe9
#define PORT_EXIT           0xf4
#define PORT_COM1           0x3f8
#define COM_LSR             5
#define LSR_DATA_READY      0x01
#define LSR_THR_EMPTY       0x20
#define PORT_FW_CFG_SEL     0x510
#define PORT_FW_CFG_DATA    0x511
#define FW_CFG_FILE_DIR     0x19

#define SCENARIO_FILE       "opt/org.qemu-gmem/scenario"

static char scenario[1024];
static char answer[1024];

void debug_puts(const char *s)
{
    while (*s) {
        outb(PORT_DEBUG, *s++);
    }
}

static uint32_t fw_cfg_be(unsigned bytes)
{
    uint32_t v = 0;

    while (bytes--) {
        v = v << 8 | inb(PORT_FW_CFG_DATA);
    }
    return v;
}

bool fw_cfg_find(const char *name, uint16_t *key, uint32_t *size)
{
    uint32_t count, i;

    outw(PORT_FW_CFG_SEL, FW_CFG_FILE_DIR);
    count = fw_cfg_be(4);
    for (i = 0; i < count; i++) {
        char entry[56];
        size_t k;

        *size = fw_cfg_be(4);
        *key = fw_cfg_be(2);
        fw_cfg_be(2);
        for (k = 0; k < sizeof(entry); k++) {
            entry[k] = inb(PORT_FW_CFG_DATA);
        }
        if (str_equal(entry, name)) {
            return true;
        }
    }
    return false;
}

void fw_cfg_read(uint16_t key, void *buf, size_t size)
{
    outw(PORT_FW_CFG_SEL, key);
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)buf)[i] = inb(PORT_FW_CFG_DATA);
    }
}

bool fw_cfg_string(const char *name, char *buf, size_t size)
{
    uint16_t key;
    uint32_t len;

    if (!fw_cfg_find(name, &key, &len)) {
        return false;
    }
    len = len < size ? len : size - 1;
    fw_cfg_read(key, buf, len);
    buf[len] = 0;
    return true;
}

static void com_put(char c)
{
    while (!(inb(PORT_COM1 + COM_LSR) & LSR_THR_EMPTY)) {
        /* polled: no interrupt is ever enabled */
    }
    outb(PORT_COM1, c);
}

static char com_get(void)
{
    while (!(inb(PORT_COM1 + COM_LSR) & LSR_DATA_READY)) {
        asm volatile("pause");
    }
    return inb(PORT_COM1);
}

const char *ask(const char *f, ...)
{
    char request[256];
    va_list ap;
    size_t n;
    char c;

    va_start(ap, f);
    fmt_v(request, sizeof(request), f, ap);
    va_end(ap);
    for (n = 0; request[n]; n++) {
        com_put(request[n]);
    }
    com_put('\n');
    n = 0;
    while ((c = com_get()) != '\n') {
        if (n + 1 < sizeof(answer)) {
            answer[n++] = c;
        }
    }
    answer[n] = 0;
    if (starts_with(answer, "ok ")) {
        return answer + 3;
    }
    if (str_equal(answer, "ok")) {
        return answer + 2;
    }
    check(false, "\"%s\" answered \"%s\"", request, answer);
    return "";
}

const char *param_text(const char *name, const char *absent)
{
    const char *v;

    if (!scenario[0] &&
        !fw_cfg_string(SCENARIO_FILE, scenario, sizeof(scenario))) {
        debug_puts("Bail out! no fw_cfg file " SCENARIO_FILE "\n");
        quit(false);
    }
    v = word_value(scenario, name);
    return v ? v : absent;
}

uint64_t param(const char *name, uint64_t absent)
{
    const char *v = param_text(name, NULL);

    return v ? number(v) : absent;
}

void quit(bool pass)
{
    /* isa-debug-exit: QEMU's exit code is value * 2 + 1. */
    outl(PORT_EXIT, pass ? 16 : 17);
    for (;;) {
        asm volatile("cli; hlt");
    }
}
