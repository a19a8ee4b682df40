/* SPDX-License-Identifier: Apache-2.0 */
/* Small language helpers every floor uses: cleanup attributes, ownership transfer, attributes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX */
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _must_use_ __attribute__((warn_unused_result))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))
#define _const_ __attribute__((const))
#define _pure_ __attribute__((pure))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of TYPE whose MEMBER is at PTR. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Hand over ownership: yields the pointer and leaves NULL behind. */
#define TAKE_PTR(p)                                                                                          \
        __extension__({                                                                                      \
                __typeof__(p) _taken = (p);                                                                  \
                (p) = NULL;                                                                                  \
                _taken;                                                                                      \
        })

/* Hand over ownership of a descriptor: yields it and leaves -EBADF behind. */
static inline int take_fd(int *fd) {
        int taken = *fd;
        *fd = -9;
        return taken;
}
#define TAKE_FD(fd) take_fd(&(fd))

/* Cleanup for malloc'ed pointers of any type: `_cleanup_(x_freep) char *s = NULL;` */
static inline void x_freep(void *p) {
        free(*(void **)p);
}

/* Closes *fd when it is a descriptor: `_cleanup_(x_closep) int fd = -1;` */
static inline void x_closep(int *fd) {
        if (*fd >= 0)
                (void)close(*fd);
}

/* Defines `NAMEp` as cleanup for a type whose destructor takes a pointer and copes with NULL. */
#define DEFINE_CLEANUP(type, destructor)                                                                     \
        static inline void destructor##p(type **p) {                                                         \
                if (*p)                                                                                      \
                        (void)destructor(*p);                                                                \
        }
