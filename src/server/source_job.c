/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_job.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/fs.h"
#include "fleet/catalog.h"
#include "server/memory.h"

struct source_threads {
        struct loop *loop;
        pthread_mutex_t mutex;
        pthread_cond_t ended;
        size_t running;
};

struct start {
        struct source_threads *threads;
        struct source_job *job;
};

struct source_threads *source_threads_new(struct loop *l) {
        struct source_threads *t = NEW(struct source_threads);
        t->loop = l;
        pthread_mutex_init(&t->mutex, NULL);
        pthread_cond_init(&t->ended, NULL);
        return t;
}

void source_threads_wait(struct source_threads *t) {
        pthread_mutex_lock(&t->mutex);
        while (t->running > 0)
                pthread_cond_wait(&t->ended, &t->mutex);
        pthread_mutex_unlock(&t->mutex);
}

struct source_threads *source_threads_free(struct source_threads *t) {
        if (!t)
                return NULL;
        source_threads_wait(t);
        pthread_cond_destroy(&t->ended);
        pthread_mutex_destroy(&t->mutex);
        free(t);
        return NULL;
}

struct source_job *source_job_free(struct source_job *job) {
        if (!job)
                return NULL;
        free(job->source);
        free(job->folder);
        free(job->previous);
        source_spec_done(&job->spec);
        arena_free(job->arena);
        catalog_unref(job->catalog);
        free(job->why_no_catalog);
        git_fetched_done(&job->fetched);
        git_signer_done(&job->signer);
        compiled_free(job->compiled);
        err_free(job->error);
        free(job);
        return NULL;
}

static int job_compile(struct source_job *job, struct err **err) {
        _cleanup_(git_source_tree_closep) struct fleet_tree *tree = NULL;
        int r = git_source_tree_open(job->folder, job->fetched.tree, &tree, err);
        if (r < 0)
                return r;
        struct compile_input input = {.source = job->source,
                                      .commit = job->fetched.id,
                                      .subject = job->fetched.subject,
                                      .author = job->fetched.author,
                                      .tree = tree,
                                      .inventory = job->inventory,
                                      .n_inventory = job->n_inventory,
                                      .cache = job->cache,
                                      .catalog = job->catalog,
                                      .why_no_catalog = job->why_no_catalog,
                                      .objects = job->objects};
        return compile_run(&input, &job->compiled, err);
}

/* Before anything of the commit is read any further. */
static int job_check_signature(struct source_job *job, struct err **err) {
        const struct git_fetched *f = &job->fetched;
        const struct git_signed_policy policy = {job->spec.allowed_signers_file, job->spec.keyring_file};
        char question[65];
        int r = git_signed_question(f->object, f->tag, &policy, question, err);
        if (r >= 0 && strcmp(question, job->accepted) != 0)
                r = git_signed_check(job->folder, f->object, f->tag, &policy, clock_wall_ms(clock_system()),
                                     job->cancelled, &job->signer, err);
        if (r == -EKEYREJECTED) {
                job->is_refused = true;
                _cleanup_(x_freep) char *why = copy_text(err ? err_message(*err) : "");
                if (err)
                        *err = err_free(*err);
                return err_set(err, EKEYREJECTED,
                               "%s%s%scommit %.9s (%.80s) is refused: %s; nothing of it is used. Push one "
                               "that is signed "
                               "(%s) with a key that counts, or let this key in",
                               f->tag ? "tag " : "", f->tag ? f->tag : "", f->tag ? ", " : "", f->id,
                               f->subject, why, f->tag ? "git tag -s" : "git commit -S");
        }
        if (r < 0)
                return err_wrap(err, "check the signature of commit %.9s", f->id);
        memcpy(job->question, question, sizeof(job->question));
        return 0;
}

static void job_run(struct source_job *job) {
        const struct clock *clock = clock_system();
        msec_t began = clock_mono_ms(clock);
        struct git_fetch fetch = {.folder = job->folder,
                                  .url = job->spec.url,
                                  .branch = job->spec.branch,
                                  .tags = job->spec.tags,
                                  .tag_prefix = job->spec.tag_prefix,
                                  .limit = (uint64_t)job->spec.fetch_megabytes << 20,
                                  .path = job->spec.path,
                                  .ca_file = job->spec.ca_file,
                                  .ssh_key_file = job->spec.ssh_key_file,
                                  .known_hosts_file = job->spec.known_hosts_file,
                                  .username_file = job->spec.username_file,
                                  .password_file = job->spec.password_file,
                                  .previous = job->previous,
                                  .cancelled = job->cancelled};
        int r = git_source_fetch(&fetch, &job->fetched, &job->error);
        job->fetch_ms = clock_mono_ms(clock) - began;
        job->fetched_at = clock_wall_ms(clock);
        if (r >= 0 && source_spec_needs_signatures(&job->spec))
                r = job_check_signature(job, &job->error);
        if (r < 0 || strcmp(job->fetched.tree, job->compiled_tree) == 0)
                return;
        r = job_compile(job, &job->error);
        job->compile_ms = clock_mono_ms(clock) - began - job->fetch_ms;
        /* The copy may be damaged: the next fetch makes a whole one. */
        if (r == -EIO && !(job->cancelled && atomic_load(job->cancelled)))
                (void)path_remove(job->folder, NULL);
        if (r < 0 && !job->error)
                (void)err_set_errno(&job->error, -r, "compile");
}

static void job_ended(void *arg) {
        struct source_job *job = arg;
        job->done(job->arg, job);
}

static void *thread_main(void *arg) {
        struct start start = *(struct start *)arg;
        struct source_threads *t = start.threads;
        free(arg);
        job_run(start.job);
        must_do(loop_post(t->loop, job_ended, start.job));
        pthread_mutex_lock(&t->mutex);
        t->running--;
        pthread_cond_signal(&t->ended);
        pthread_mutex_unlock(&t->mutex);
        return NULL;
}

int source_job_start(struct source_threads *t, struct source_job *job) {
        struct start *start = NEW(struct start);
        pthread_attr_t attributes;
        pthread_t thread;
        *start = (struct start){t, job};
        pthread_mutex_lock(&t->mutex);
        t->running++;
        pthread_mutex_unlock(&t->mutex);
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        int r = pthread_create(&thread, &attributes, thread_main, start);
        pthread_attr_destroy(&attributes);
        if (r != 0) {
                pthread_mutex_lock(&t->mutex);
                t->running--;
                pthread_mutex_unlock(&t->mutex);
                free(start);
                return -r;
        }
        return 0;
}
