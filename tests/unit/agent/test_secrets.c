/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "agent/secrets.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/age.h"

static char folder[64];

static int make_folder(void **state) {
        (void)state;
        (void)strcpy(folder, "/tmp/skerry-secrets-XXXXXX");
        if (!mkdtemp(folder))
                return -1;
        _cleanup_(x_freep) char *identity = path_join(folder, "identity");
        return dir_make(identity, 0700, NULL);
}

static int remove_folder(void **state) {
        (void)state;
        return path_remove(folder, NULL);
}

static void an_identity_is_made_once(void **state) {
        (void)state;
        _cleanup_(secrets_freep) struct secrets *s = NULL, *again = NULL;
        struct stat st;
        assert_int_equal(secrets_new(folder, NULL, &s, NULL), 0);
        assert_null(secrets_recipient(s));
        assert_int_equal(secrets_ensure_identity(s, NULL), 0);
        assert_true(age_recipient_is_valid(secrets_recipient(s)));
        assert_int_equal(secrets_new(folder, NULL, &again, NULL), 0);
        assert_string_equal(secrets_recipient(again), secrets_recipient(s));
        assert_int_equal(secrets_ensure_identity(again, NULL), 0);
        assert_string_equal(secrets_recipient(again), secrets_recipient(s));
        _cleanup_(x_freep) char *path = path_join(folder, "identity/age-identity.txt");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        /* One that cannot be read is not replaced: what is encrypted for it would be lost. */
        secrets_free(TAKE_PTR(again));
        assert_int_equal(file_write_atomic(path, "broken\n", 7, 0600, NULL), 0);
        assert_int_equal(secrets_new(folder, NULL, &again, NULL), -EINVAL);
}

static void only_swap_on_a_disk_counts(void **state) {
        (void)state;
        static const char head[] = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        _cleanup_(x_freep) char *zram = str_format("%s/dev/zram0 partition 1 0 100\n", head);
        _cleanup_(x_freep) char *disk = str_format("%s/dev/sda2 partition 1 0 -2\n", head);
        _cleanup_(x_freep) char *both =
                str_format("%s/dev/zram0 partition 1 0 100\n/swapfile file 1 0 -3\n", head);
        assert_false(secrets_swap_leads_to_disk(""));
        assert_false(secrets_swap_leads_to_disk(head));
        assert_false(secrets_swap_leads_to_disk(zram));
        assert_true(secrets_swap_leads_to_disk(disk));
        assert_true(secrets_swap_leads_to_disk(both));
}

static void a_folder_of_somebody_else_is_refused(void **state) {
        (void)state;
        _cleanup_(secrets_freep) struct secrets *s = NULL;
        _cleanup_(x_freep) char *link = path_join(folder, "link"), *made = NULL;
        assert_int_equal(symlink("/dev/shm", link), 0);
        assert_int_equal(secrets_new(folder, link, &s, NULL), 0);
        assert_true(secrets_make_folder(s, "web", &made, NULL) < 0);
        assert_null(made);
}

/* User-mode emulators take any advice about memory, and follow none. */
static bool advice_is_followed(void) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        void *p = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(p != MAP_FAILED);
        bool followed = madvise(p, page, INT_MAX) < 0;
        assert_int_equal(munmap(p, page), 0);
        return followed;
}

/* The child sees nothing of what is not meant for it. */
static void secret_memory_stays_with_us(void **state) {
        (void)state;
        bool wiped = advice_is_followed();
        _cleanup_(secret_freep) struct secret *own = secret_new(64, false), *handed = secret_new(64, true);
        int status;
        assert_non_null(own);
        assert_non_null(handed);
        memcpy(secret_data(own), "ebb", 4);
        memcpy(secret_data(handed), "flow", 5);
        pid_t pid = fork();
        if (pid == 0)
                _exit((!wiped || secret_text(own)[0] == '\0') && strcmp(secret_text(handed), "flow") == 0
                              ? 0
                              : 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_string_equal(secret_text(own), "ebb");
        secret_set_len(own, 2);
        assert_string_equal(secret_text(own), "eb");
        assert_int_equal(secret_data(own)[2], 0);
        assert_int_equal(secret_room(own), 64);
        secret_set_len(own, 1000);
        assert_int_equal(secret_len(own), 64);
        assert_null(secret_new(SECRET_MAX + 1, false));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(an_identity_is_made_once, make_folder, remove_folder),
                cmocka_unit_test(only_swap_on_a_disk_counts),
                cmocka_unit_test_setup_teardown(a_folder_of_somebody_else_is_refused, make_folder,
                                                remove_folder),
                cmocka_unit_test(secret_memory_stays_with_us),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
