/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>

#include "base/str.h"

/* Were relocations written into its code? Then its pages differ from the file's. */
static bool has_text_relocations(const struct dl_phdr_info *info) {
        for (size_t i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *h = &info->dlpi_phdr[i];
                if (h->p_type != PT_DYNAMIC)
                        continue;
                const ElfW(Dyn) *d = (const ElfW(Dyn) *)(info->dlpi_addr + h->p_vaddr);
                for (; d->d_tag != DT_NULL; d++)
                        if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
                                return true;
        }
        return false;
}

/* Segments that were never writable hold exactly what the file holds, so their pages can be dropped. (What
 * was relocated and then made read-only, RELRO, lies in writable segments.) The loader's lock is held here:
 * nothing is mapped or unmapped meanwhile. */
static int drop_code(struct dl_phdr_info *info, size_t size, void *arg) {
        size_t page = *(const size_t *)arg;
        if (str_has_prefix(info->dlpi_name, "linux-vdso") || has_text_relocations(info))
                return 0;
        for (size_t i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *h = &info->dlpi_phdr[i];
                if (h->p_type != PT_LOAD || (h->p_flags & PF_W))
                        continue;
                uintptr_t start = (info->dlpi_addr + h->p_vaddr) & ~(page - 1);
                uintptr_t end = (info->dlpi_addr + h->p_vaddr + h->p_filesz) & ~(page - 1);
                if (end > start) /* the last, partial page may be shared with the next segment */
                        (void)madvise((void *)start, end - start, MADV_DONTNEED);
        }
        return 0;
}

void memory_give_back(void) {
        long page = sysconf(_SC_PAGESIZE);
        (void)malloc_trim(0);
        if (page > 0)
                (void)dl_iterate_phdr(drop_code, &(size_t){(size_t)page});
}
