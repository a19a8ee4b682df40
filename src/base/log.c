/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

/* The journal's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL) is a datagram of
 * "FIELD=value\n" lines. It is written here and not by libsystemd, because that library with what it
 * pulls in costs an idle process 1.2 MB of resident memory (measured, libsystemd 252), for this one function.
 */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

#define RECORD_LIMIT ((size_t)60 << 10) /* bytes of one record; fits a datagram at the default wmem */
#define VALUE_LIMIT ((size_t)8 << 10)   /* bytes of one value; longer ones are cut */
#define PAIRS_MAX 32
#define CONTEXT_MAX 16
#define CONTEXT_BYTES 256

struct context_field {
        char key[64];
        char value[CONTEXT_BYTES];
};

/* The one piece of process-wide state: where the process's log goes belongs to the process. */
static struct {
        pthread_mutex_t lock;
        atomic_int max_level;
        char program[64];
        int journal; /* a connected socket, or -1: standard error */
        struct context_field context[CONTEXT_MAX];
        size_t n_context;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .max_level = LOG_LEVEL_INFO, .journal = -1};

static const struct {
        const char *name;
        int priority;
} levels[] = {
        [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
        [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
        [LOG_LEVEL_INFO] = {"info", LOG_INFO},
        [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

/* systemd sets JOURNAL_STREAM to "device:inode" of the stream it connected; only when standard error is
 * still that stream does our output end in the journal. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        uint64_t device, inode;
        struct stat st;
        const char *colon = stream ? strchr(stream, ':') : NULL;
        if (!colon)
                return false;
        _cleanup_(x_freep) char *first = str_dup_n(stream, (size_t)(colon - stream));
        if (!first || str_to_u64(first, &device) < 0 || str_to_u64(colon + 1, &inode) < 0)
                return false;
        return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

static int journal_connect(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                (void)close(fd);
                fd = -1;
        }
        return fd;
}

void log_init(const char *program, enum log_level max) {
        pthread_mutex_lock(&logger.lock);
        (void)snprintf(logger.program, sizeof(logger.program), "%s", program);
        if (logger.journal < 0 && stderr_is_journal())
                logger.journal = journal_connect();
        pthread_mutex_unlock(&logger.lock);
        log_set_max_level(max);
}

int log_level_from_string(const char *s, enum log_level *ret) {
        for (size_t i = 0; s && i < ARRAY_SIZE(levels); i++)
                if (strcasecmp(s, levels[i].name) == 0) {
                        *ret = (enum log_level)i;
                        return 0;
                }
        return -EINVAL;
}

void log_set_max_level(enum log_level max) {
        atomic_store(&logger.max_level, (int)max);
}

void log_context_set(const char *key, const char *value) {
        pthread_mutex_lock(&logger.lock);
        size_t i = 0;
        while (i < logger.n_context && !str_eq(logger.context[i].key, key))
                i++;
        if (!value && i < logger.n_context) {
                memmove(&logger.context[i], &logger.context[i + 1],
                        (logger.n_context - i - 1) * sizeof(logger.context[0]));
                logger.n_context--;
        } else if (value && i < CONTEXT_MAX) {
                if (i == logger.n_context)
                        logger.n_context++;
                (void)snprintf(logger.context[i].key, sizeof(logger.context[i].key), "%s", key);
                (void)snprintf(logger.context[i].value, sizeof(logger.context[i].value), "%s", value);
        }
        pthread_mutex_unlock(&logger.lock);
}

static size_t value_len(const char *value) {
        size_t len = strnlen(value, VALUE_LIMIT);
        /* Not in the middle of a UTF-8 sequence. */
        if (len == VALUE_LIMIT)
                while (len > VALUE_LIMIT - 4 && ((unsigned char)value[len] & 0xc0) == 0x80)
                        len--;
        return len;
}

/* Control bytes would forge lines, or write to the reader's terminal. */
static void put_escaped(struct buf *b, const char *s, size_t len, bool quote) {
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)s[i];
                if (c == '\n')
                        buf_puts(b, "\\n");
                else if (c == '\t')
                        buf_puts(b, "\\t");
                else if (c < 0x20 || c == 0x7f)
                        buf_printf(b, "\\x%02x", c);
                else if (quote && (c == '"' || c == '\\'))
                        buf_append(b, (char[]){'\\', (char)c}, 2);
                else
                        buf_putc(b, (char)c);
        }
}

static void put_pair(struct buf *b, const char *key, const char *value) {
        size_t len = value_len(value);
        bool quote = len == 0;
        for (size_t i = 0; i < len && !quote; i++)
                quote = (unsigned char)value[i] <= ' ' || strchr("\"\\=\x7f", value[i]);
        buf_printf(b, " %s=", key);
        if (quote)
                buf_putc(b, '"');
        put_escaped(b, value, len, quote);
        if (quote)
                buf_putc(b, '"');
}

static void journal_field(struct buf *b, const char *key, const char *value, size_t len) {
        if (!memchr(value, '\n', len)) {
                buf_printf(b, "%s=", key);
                buf_append(b, value, len);
                buf_putc(b, '\n');
                return;
        }
        /* A value with newlines: name, newline, length as 64-bit little endian, value, newline. */
        buf_printf(b, "%s\n", key);
        for (unsigned i = 0; i < 8; i++)
                buf_putc(b, (char)((uint64_t)len >> (8 * i) & 0xff));
        buf_append(b, value, len);
        buf_putc(b, '\n');
}

/* "rollout" becomes SKERRY_ROLLOUT: the prefix keeps us out of the way of other people's fields. */
static void journal_own_field(struct buf *b, const char *key, const char *value) {
        char name[64 + sizeof("SKERRY_")];
        size_t n = (size_t)snprintf(name, sizeof(name), "SKERRY_%.63s", key);
        for (size_t i = 0; i < n; i++) {
                char c = name[i];
                bool lower = c >= 'a' && c <= 'z', fine = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
                name[i] = lower ? (char)(c - 'a' + 'A') : fine ? c : '_';
        }
        journal_field(b, name, value, value_len(value));
}

struct record {
        enum log_level level;
        const char *message;
        const char *keys[PAIRS_MAX], *values[PAIRS_MAX];
        size_t n;
};

/* What a record says itself wins over a field of the process. */
static bool says_itself(const struct record *r, const char *key) {
        for (size_t i = 0; i < r->n; i++)
                if (str_eq(r->keys[i], key))
                        return true;
        return false;
}

/* With the lock held. False: the journal did not take it. */
static bool write_journal(const struct record *r) {
        _cleanup_(buf_done) struct buf b = BUF_INIT, text = BUF_INIT;
        b.limit = text.limit = RECORD_LIMIT;
        /* journalctl shows only MESSAGE by default, so what the message is about goes there as well. */
        buf_append(&text, r->message, value_len(r->message));
        for (size_t i = 0; i < r->n; i++)
                put_pair(&text, r->keys[i], r->values[i]);
        journal_field(&b, "MESSAGE", buf_str(&text), text.len);
        buf_printf(&b, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nSYSLOG_PID=%d\n", levels[r->level].priority,
                   logger.program, (int)getpid());
        for (size_t i = 0; i < logger.n_context; i++)
                if (!says_itself(r, logger.context[i].key))
                        journal_own_field(&b, logger.context[i].key, logger.context[i].value);
        for (size_t i = 0; i < r->n; i++)
                journal_own_field(&b, r->keys[i], r->values[i]);
        for (;;) {
                if (send(logger.journal, b.data, b.len, MSG_NOSIGNAL) >= 0)
                        return true;
                if (errno != EINTR)
                        break;
        }
        /* journald was restarted: its socket is another one now. */
        int fd = journal_connect();
        if (fd < 0)
                return false;
        (void)close(logger.journal);
        logger.journal = fd;
        return send(logger.journal, b.data, b.len, MSG_NOSIGNAL) >= 0;
}

static void write_stderr(const struct record *r) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        char now[TIME_TEXT_SIZE];
        b.limit = RECORD_LIMIT;
        buf_printf(&b, "%s %-7s ", time_format(clock_wall_ms(clock_system()), now), levels[r->level].name);
        put_escaped(&b, r->message, value_len(r->message), false);
        for (size_t i = 0; i < r->n; i++)
                put_pair(&b, r->keys[i], r->values[i]);
        for (size_t i = 0; i < logger.n_context; i++)
                if (!says_itself(r, logger.context[i].key))
                        put_pair(&b, logger.context[i].key, logger.context[i].value);
        /* A record over the limit lost its tail; its line still ends. */
        b.limit = 0;
        b.failed = 0;
        buf_putc(&b, '\n');
        /* One write, so that lines of several processes do not mix. */
        const char *p = b.data;
        for (size_t left = b.len; left > 0;) {
                ssize_t n = write(STDERR_FILENO, p, left);
                if (n < 0 && errno != EINTR)
                        return;
                if (n > 0) {
                        p += n;
                        left -= (size_t)n;
                }
        }
}

void log_write(enum log_level level, const char *message, ...) {
        if ((int)level > atomic_load(&logger.max_level))
                return;
        int saved = errno;
        struct record r = {.level = level, .message = message ? message : ""};
        va_list ap;
        va_start(ap, message);
        for (const char *key; (key = va_arg(ap, const char *));) {
                const char *value = va_arg(ap, const char *);
                if (value && r.n < PAIRS_MAX) {
                        r.keys[r.n] = key;
                        r.values[r.n++] = value;
                }
        }
        va_end(ap);
        pthread_mutex_lock(&logger.lock);
        if (logger.journal < 0 || !write_journal(&r))
                write_stderr(&r);
        pthread_mutex_unlock(&logger.lock);
        errno = saved;
}
