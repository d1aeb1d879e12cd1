/*
 * Description: thousands of random schedules against the models of model.h.
 *
 *   --schedule=SEED    only this one, of the path chosen with -p
 *   --rounds=N         schedules of the engine, and a quarter as many of the
 *                      block, which take longer; also GMEM_PROPERTY_ROUNDS
 *
 * A schedule that fails prints the call that plays it again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <signal.h>
#include "model.h"

static uint64_t rounds = 10000;
static uint64_t only;
static bool have_only;
static char failure[128];

static void on_abort(int sig)
{
    ssize_t done = write(STDERR_FILENO, failure, strlen(failure));

    (void)done;
    raise(sig);
}

static void play(const char *path, uint64_t n, void (*model)(Source *src))
{
    uint64_t base = (uint64_t)g_test_rand_int() << 32, i;

    for (i = 0; i < (have_only ? 1 : n); i++) {
        Source src = { .state = have_only ? only : base + i };

        snprintf(failure, sizeof(failure),
                 "# to play it again: test-gmem-property -p %s "
                 "--schedule=0x%" PRIx64 "\n", path, src.state);
        model(&src);
    }
    g_test_message("%" PRIu64 " schedules", i);
}

static void test_engine(void)
{
    play("/gmem-property/engine", rounds, model_engine);
}

static void test_block(void)
{
    play("/gmem-property/block", MAX(rounds / 4, 1), model_block);
}

/* Ours out of the arguments, the rest is GLib's */
static void parse(int *argc, char **argv)
{
    const char *env = g_getenv("GMEM_PROPERTY_ROUNDS");
    int i, left = 1;

    if (env) {
        rounds = g_ascii_strtoull(env, NULL, 0);
    }
    for (i = 1; i < *argc; i++) {
        if (g_str_has_prefix(argv[i], "--schedule=")) {
            only = g_ascii_strtoull(strchr(argv[i], '=') + 1, NULL, 0);
            have_only = true;
        } else if (g_str_has_prefix(argv[i], "--rounds=")) {
            rounds = g_ascii_strtoull(strchr(argv[i], '=') + 1, NULL, 0);
        } else {
            argv[left++] = argv[i];
        }
    }
    *argc = left;
    argv[left] = NULL;
}

int main(int argc, char **argv)
{
    struct sigaction once = {
        .sa_handler = on_abort,
        .sa_flags = SA_RESETHAND | SA_NODEFER,
    };

    parse(&argc, argv);
    g_test_init(&argc, &argv, NULL);
    sigaction(SIGABRT, &once, NULL);
    g_test_add_func("/gmem-property/engine", test_engine);
    g_test_add_func("/gmem-property/block", test_block);
    return g_test_run();
}
