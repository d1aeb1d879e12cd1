/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text and memory helpers of the payload; see payload.h. */
#include "payload.h"

/* The compiler may call these two on its own, even when freestanding. */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);

void *memcpy(void *dst, const void *src, size_t n)
{
    void *d = dst;

    asm volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
    return dst;
}

void *memset(void *dst, int c, size_t n)
{
    void *d = dst;

    asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return dst;
}

typedef struct Out {
    char *buf;
    size_t size;
    size_t len;
} Out;

static void put(Out *o, char c)
{
    if (o->len + 1 < o->size) {
        o->buf[o->len++] = c;
    }
}

static void put_number(Out *o, uint64_t v, unsigned base)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n) {
        put(o, digits[--n]);
    }
}

size_t fmt_v(char *buf, size_t size, const char *f, va_list ap)
{
    Out o = { buf, size, 0 };

    for (; *f; f++) {
        bool is_long = false;

        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        f++;
        while (*f == 'l') {
            is_long = true;
            f++;
        }
        switch (*f) {
        case 's': {
            const char *s = va_arg(ap, const char *);

            while (*s) {
                put(&o, *s++);
            }
            break;
        }
        case 'c':
            put(&o, va_arg(ap, int));
            break;
        case 'd': {
            long v = is_long ? va_arg(ap, long) : va_arg(ap, int);

            if (v < 0) {
                put(&o, '-');
            }
            put_number(&o, v < 0 ? -(uint64_t)v : (uint64_t)v, 10);
            break;
        }
        case 'u':
        case 'x': {
            uint64_t v = is_long ? va_arg(ap, unsigned long)
                                 : va_arg(ap, unsigned int);

            put_number(&o, v, *f == 'x' ? 16 : 10);
            break;
        }
        default:
            put(&o, *f);
        }
    }
    buf[o.len] = 0;
    return o.len;
}

size_t fmt(char *buf, size_t size, const char *f, ...)
{
    va_list ap;
    size_t n;

    va_start(ap, f);
    n = fmt_v(buf, size, f, ap);
    va_end(ap);
    return n;
}

bool starts_with(const char *s, const char *prefix)
{
    while (*prefix) {
        if (*s++ != *prefix++) {
            return false;
        }
    }
    return true;
}

bool str_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool str_contains(const char *s, const char *part)
{
    for (; *s; s++) {
        if (starts_with(s, part)) {
            return true;
        }
    }
    return false;
}

const char *word_value(const char *line, const char *name)
{
    const char *p = line;

    while (*p) {
        while (*p == ' ') {
            p++;
        }
        if (starts_with(p, name)) {
            const char *q = p;
            const char *n = name;

            while (*n) {
                n++;
                q++;
            }
            if (*q == '=') {
                return q + 1;
            }
        }
        while (*p && *p != ' ') {
            p++;
        }
    }
    return NULL;
}

uint64_t number(const char *s)
{
    unsigned base = 10;
    uint64_t v = 0;

    if (starts_with(s, "0x")) {
        base = 16;
        s += 2;
    }
    for (;; s++) {
        unsigned d;

        if (*s >= '0' && *s <= '9') {
            d = *s - '0';
        } else if (base == 16 && *s >= 'a' && *s <= 'f') {
            d = *s - 'a' + 10;
        } else {
            return v;
        }
        v = v * base + d;
    }
}

bool word_is(const char *line, const char *name, const char *value)
{
    const char *p = word_value(line, name);

    while (p && *value && *p == *value) {
        p++;
        value++;
    }
    return p && !*value && (*p == ' ' || *p == 0);
}

uint64_t word_number(const char *line, const char *name, uint64_t absent)
{
    const char *v = word_value(line, name);

    return v ? number(v) : absent;
}
