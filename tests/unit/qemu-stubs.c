/*
 * Description: QemuMutex for the host build.  QEMU's own file brings the main
 * loop, the BQL and the trace back ends along, which a library of two files
 * has no use for; what counts is that sanitizers see a pthread mutex.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/thread.h"

/* An error-checking mutex: a test that takes the lock twice must not hang */
void qemu_mutex_init(QemuMutex *mutex)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&mutex->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    mutex->initialized = true;
}

void qemu_mutex_destroy(QemuMutex *mutex)
{
    assert(mutex->initialized);
    mutex->initialized = false;
    pthread_mutex_destroy(&mutex->lock);
}

void qemu_mutex_lock_impl(QemuMutex *mutex, const char *file, const int line)
{
    int err = pthread_mutex_lock(&mutex->lock);

    if (err) {
        g_error("%s:%d: cannot lock: %s", file, line, g_strerror(err));
    }
}

int qemu_mutex_trylock_impl(QemuMutex *mutex, const char *file, const int line)
{
    return -pthread_mutex_trylock(&mutex->lock);
}

void qemu_mutex_unlock_impl(QemuMutex *mutex, const char *file, const int line)
{
    int err = pthread_mutex_unlock(&mutex->lock);

    if (err) {
        g_error("%s:%d: cannot unlock: %s", file, line, g_strerror(err));
    }
}

QemuMutexLockFunc qemu_mutex_lock_func = qemu_mutex_lock_impl;
QemuMutexTrylockFunc qemu_mutex_trylock_func = qemu_mutex_trylock_impl;
