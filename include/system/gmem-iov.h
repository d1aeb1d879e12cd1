/*
 * guest_memfd in-place conversion: buffers of a request that is under way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the data of a request to a disk goes from or to guest memory
 * that the device has mapped.  A page of it can turn private until the request
 * is done.  A system call answers EFAULT then; what QEMU itself copies or
 * fills would end in SIGBUS.  These functions answer -EFAULT, too, and the
 * request becomes an I/O error.
 *
 * They take any memory, and cost a few instructions more than memcpy().
 *
 * gmem_iov_move() and gmem_iov_set() are what util/iov.c is made of, so that
 * its callers, devices and block drivers, live on, too: they see that a buffer
 * is shorter than they thought.
 */

#ifndef SYSTEM_GMEM_IOV_H
#define SYSTEM_GMEM_IOV_H

/**
 * gmem_iov_zero: fill a part of a request's buffers with zeros
 *
 * @iov, @niov: the buffers
 * @offset, @bytes: the part, in bytes from the beginning of the first buffer;
 *   must be inside of all of them
 *
 * May be called from any thread, with any lock, in a coroutine.
 *
 * Returns 0, or -EFAULT if a page of it is private; what is in front of that
 * page has been filled.
 */
int gmem_iov_zero(const struct iovec *iov, unsigned niov, size_t offset,
                  size_t bytes);

/**
 * gmem_iov_copy: copy between a request's buffers, from their beginning, and
 * memory of QEMU
 *
 * @iov, @niov: the buffers
 * @buf, @bytes: memory that no guest has, and how much; not more than all of
 *   the buffers hold
 * @to_iov: to the buffers; else from them
 *
 * May be called as gmem_iov_zero().
 *
 * Returns 0, or -EFAULT if a page of the buffers is private; what is in front
 * of that page has been copied, and @buf is defined as a whole.
 */
int gmem_iov_copy(const struct iovec *iov, unsigned niov, void *buf,
                  size_t bytes, bool to_iov);

/**
 * gmem_iov_move: copy between one buffer of a request and memory of QEMU
 *
 * @base: the buffer
 * @buf, @bytes: memory that no guest has; how much
 * @to_iov: to the buffer; else from it
 *
 * May be called as gmem_iov_zero().  A plain memcpy() if there is no in-place
 * memory.
 *
 * Returns false if a page of the buffer is private; what is in front of that
 * page has been copied, and @buf is defined as a whole.
 */
bool gmem_iov_move(void *base, void *buf, size_t bytes, bool to_iov);

/**
 * gmem_iov_set: memset() of one buffer of a request
 *
 * @base, @bytes: the buffer
 * @c: what to fill it with
 *
 * May be called as gmem_iov_zero().  A plain memset() if there is no in-place
 * memory.
 *
 * Returns false if a page of the buffer is private; what is in front of that
 * page has been filled.
 */
bool gmem_iov_set(void *base, int c, size_t bytes);

/**
 * gmem_iov_guests_fault: did a request fail because its buffers are private?
 *
 * @error: the errno with which it failed, positive
 *
 * No disk has failed then.  The guest gave a buffer that nobody can reach, and
 * the same request would fail again.  May be called from any thread.
 *
 * Returns false if there is no in-place memory.
 */
bool gmem_iov_guests_fault(int error);

#endif /* SYSTEM_GMEM_IOV_H */
