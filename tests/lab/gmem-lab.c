/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gmem-lab: run scenarios in the emulated host.
 *
 * A scenario starts one QEMU, serves the requests of the payload in it,
 * collects its TAP, and compares the end with what the scenario expects.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include "assign.h"
#include "control.h"
#include "verdict.h"

#define EXIT_PAYLOAD_PASS   33      /* isa-debug-exit; see payload/io.c */
#define EXIT_PAYLOAD_FAIL   35
#define QUIT_LIMIT_MS       5000    /* the page is held for ever */
#define TICK_MS             5

#define PARAMETER_FILE "/sys/module/kvm/parameters/gmem_in_place_conversion"

static char *opt_qemu, *opt_roms, *opt_payload, *opt_work, *opt_parameter,
            *opt_set, *opt_kernel;
static char **opt_params;
static gboolean opt_demo, opt_verbose;

static const GOptionEntry options[] = {
    { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &opt_qemu, "program to test", "F" },
    { "roms", 0, 0, G_OPTION_ARG_FILENAME, &opt_roms, "its ROMs", "DIR" },
    { "payload", 0, 0, G_OPTION_ARG_FILENAME, &opt_payload, "image", "F" },
    { "work", 0, 0, G_OPTION_ARG_FILENAME, &opt_work, "sockets, logs", "DIR" },
    { "parameter", 0, 0, G_OPTION_ARG_STRING, &opt_parameter,
      "run scenarios for kvm.gmem_in_place_conversion on or off only", "on|off" },
    { "set", 0, 0, G_OPTION_ARG_STRING, &opt_set,
      "run scenarios of this set only", "core|full|trace|demo" },
    { "kernel", 0, 0, G_OPTION_ARG_STRING, &opt_kernel,
      "run scenarios for this kernel only", "ours|base" },
    { "param", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt_params,
      "a parameter of the payload, instead of the scenario's", "NAME=VALUE" },
    { "demo", 0, 0, G_OPTION_ARG_NONE, &opt_demo, "print for people", NULL },
    { "verbose", 'v', 0, G_OPTION_ARG_NONE, &opt_verbose,
      "print command lines and what QEMU said", NULL },
    { NULL }
};

static bool send_answer(Vm *vm, char *answer)
{
    g_autofree char *line = g_strconcat(answer, "\n", NULL);
    size_t left = strlen(line);
    const char *p = line;

    g_free(answer);
    while (left) {
        ssize_t n = send(vm->control, p, left, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        p += n;
        left -= n;
    }
    return true;
}

/* Bytes from COM1: a request per line. */
static void serve(Vm *vm, Control *c, GString *partial)
{
    char buf[512];
    ssize_t n = read(vm->control, buf, sizeof(buf));
    char *end;

    if (n <= 0) {
        return;
    }
    g_string_append_len(partial, buf, n);
    while ((end = strchr(partial->str, '\n'))) {
        char *answer;

        *end = 0;
        answer = control_request(c, partial->str);
        if (opt_verbose) {
            printf("# %.3f %s -> %s\n", g_get_monotonic_time() / 1e6,
                   partial->str, answer ? answer : "(later)");
        }
        if (answer) {
            send_answer(vm, answer);
        }
        g_string_erase(partial, 0, end - partial->str + 1);
    }
}

static void read_tap(Vm *vm, Verdict *v)
{
    char buf[1024];
    ssize_t n;

    while ((n = recv(vm->tap, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        verdict_feed(v, buf, n);
    }
}

/* KVM's and QEMU's way to say that a vCPU cannot go on: a register dump. */
static bool vm_is_dead(Vm *vm)
{
    return strstr(vm->error_text->str, "RAX=") ||
           strstr(vm->error_text->str, "EAX=");
}

/*
 * Serve the payload until QEMU has ended.  Returns NULL, or why it was given
 * up before.
 */
static const char *serve_until_end(Vm *vm, Control *c, Verdict *v, int seconds)
{
    g_autoptr(GString) partial = g_string_new(NULL);
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    while (!vm->ended) {
        struct pollfd p[] = {
            { vm->control, POLLIN, 0 },
            { vm->tap, POLLIN, 0 },
            { vm->errors, POLLIN, 0 },
            { vm->pidfd, POLLIN, 0 },
        };
        char *answer;

        /* A channel that QEMU has closed would be ready for ever. */
        poll(p, G_N_ELEMENTS(p), control_busy(c) ? TICK_MS : 100);
        if (p[0].revents & POLLIN) {
            serve(vm, c, partial);
        }
        read_tap(vm, v);
        vm_read_errors(vm);
        answer = control_tick(c);
        if (answer) {
            send_answer(vm, answer);
        }
        if (p[3].revents) {
            vm_wait(vm, 0);
        }
        if (vm_is_dead(vm)) {
            return "QEMU has stopped the VM and dumped its registers";
        }
        if (g_get_monotonic_time() > end) {
            return "not done within the scenario's time limit";
        }
    }
    read_tap(vm, v);
    return NULL;
}

/* --- expectations --------------------------------------------------------- */

static int exit_code(Vm *vm)
{
    return WIFEXITED(vm->status) ? WEXITSTATUS(vm->status)
                                 : 128 + WTERMSIG(vm->status);
}

/* The lines that QEMU wrote to stderr, on one line each, as diagnostics. */
static void print_stderr(const Scenario *s, Vm *vm)
{
    g_auto(GStrv) lines = g_strsplit(vm->error_text->str, "\n", -1);

    for (guint i = 0; lines[i]; i++) {
        if (*g_strstrip(lines[i])) {
            printf("# %s: QEMU: %s\n", s->name, lines[i]);
        }
    }
}

/* What the personality heard last */
static void print_calls(const Scenario *s, Vm *vm)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint n;

    if (!g_file_get_contents(vm->calls_path, &text, NULL, NULL)) {
        return;
    }
    lines = g_strsplit(g_strchomp(text), "\n", -1);
    n = g_strv_length(lines);
    for (guint i = n > 12 ? n - 12 : 0; i < n; i++) {
        printf("# %s: KVM: %s\n", s->name, lines[i]);
    }
}

/*
 * The first line that matches, or NULL, and how many lines are besides that
 * the scenario does not allow.
 */
static char *matching_line(const Scenario *s, Vm *vm, unsigned *others)
{
    g_auto(GStrv) lines = g_strsplit(vm->error_text->str, "\n", -1);
    char *found = NULL;

    *others = 0;
    for (guint i = 0; lines[i]; i++) {
        if (!*g_strstrip(lines[i])) {
            continue;
        }
        if (!found && s->line &&
            g_regex_match_simple(s->line, lines[i], 0, 0)) {
            found = g_strdup(lines[i]);
        } else if (!s->allow ||
                   !g_regex_match_simple(s->allow, lines[i], 0, 0)) {
            ++*others;
        }
    }
    return found;
}

static void check_stderr(const Scenario *s, Vm *vm, Verdict *v)
{
    unsigned others;
    g_autofree char *found = matching_line(s, vm, &others);

    if (s->line && !found) {
        verdict_report(v, false, "no line of QEMU matches /%s/", s->line);
    } else if (others && !s->stderr_allowed) {
        verdict_report(v, false, "%u unexpected lines on stderr", others);
    }
}

/* @what: "refused", "ended" */
static void check_error(const Scenario *s, Vm *vm, Verdict *v, const char *what)
{
    unsigned others;
    g_autofree char *found = matching_line(s, vm, &others);

    if (found && !others && exit_code(vm) == 1) {
        const char *text = strstr(found, "qemu-system-");

        verdict_report(v, true, "%s: %s", what, text ? text : found);
    } else {
        verdict_report(v, false, "QEMU must have %s with one line: exit code "
                       "%d, line /%s/ %s, %u other lines", what, exit_code(vm),
                       s->line, found ? "found" : "not found", others);
    }
}

static void check_refused(const Scenario *s, Vm *vm, Verdict *v)
{
    if (vm->ended) {
        check_error(s, vm, v, "refused");
    } else {
        verdict_report(v, false, "QEMU started, but should have refused");
    }
}

/* One line, nothing else, and the signal that a private page raises */
static void check_died(const Scenario *s, Vm *vm, Verdict *v)
{
    unsigned others;
    g_autofree char *found = matching_line(s, vm, &others);

    if (found && !others && WIFSIGNALED(vm->status) &&
        WTERMSIG(vm->status) == SIGBUS) {
        verdict_report(v, true, "%s", found);
    } else {
        verdict_report(v, false, "QEMU must end by SIGBUS with one line: exit "
                       "code %d, line /%s/ %s, %u other lines", exit_code(vm),
                       s->line, found ? "found" : "not found", others);
    }
}

static void check_mode(const Scenario *s, QTrace *trace, Verdict *v)
{
    g_autofree char *mode = qtrace_line(trace, "kvm_gmem_mode");
    g_autofree char *want = g_strdup_printf("mode %s:", s->mode);

    if (!mode || !g_str_has_prefix(mode, want)) {
        verdict_report(v, false, "QEMU chose \"%s\", not %s",
                       mode ? mode : "(no trace of a mode)", s->mode);
    } else if (s->why && !g_regex_match_simple(s->why, mode, 0, 0)) {
        verdict_report(v, false, "\"%s\" does not match /%s/", mode, s->why);
    } else if (!v->demo) {
        verdict_report(v, true, "%s", mode);
    }
}

static void check_end(const Scenario *s, Vm *vm, Verdict *v, double quit_ms)
{
    int code = exit_code(vm);

    switch (s->expect) {
    case EXPECT_PASS:
        if (!v->bailed && (code != EXIT_PAYLOAD_PASS || !v->planned)) {
            if (code != EXIT_PAYLOAD_FAIL || !v->failed) {
                verdict_report(v, false, "QEMU ended with %d before the payload "
                               "was done (%u steps)", code, v->steps);
            }
        }
        check_stderr(s, vm, v);
        break;
    case EXPECT_QUIT:
        verdict_report(v, quit_ms >= 0 && quit_ms < QUIT_LIMIT_MS && code == 0,
                       "QEMU ended %.0f ms after quit (exit code %d)", quit_ms,
                       code);
        check_stderr(s, vm, v);
        break;
    case EXPECT_FAIL:
        verdict_report(v, code == EXIT_PAYLOAD_FAIL && (v->failed || v->bailed),
                       "what is wrong is found (exit code %d)", code);
        break;
    case EXPECT_ERROR:
        check_error(s, vm, v, "ended");
        break;
    case EXPECT_DIE:
        check_died(s, vm, v);
        break;
    case EXPECT_REFUSE:
        break;
    }
}

/* --- the demo's first lines ---------------------------------------------- */

static char *first_line_of(const char *program)
{
    g_autofree char *out = NULL;
    char *argv[] = { (char *)program, (char *)"--version", NULL };

    if (!g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, &out, NULL, NULL,
                      NULL) || !out) {
        return g_strdup("?");
    }
    out[strcspn(out, "\n")] = 0;
    return g_steal_pointer(&out);
}

static void print_demo_head(const LabPaths *paths, QTrace *trace)
{
    g_autofree char *version = first_line_of(paths->qemu);
    g_autofree char *probe = qtrace_line(trace, "kvm_gmem_probe");
    g_autofree char *mode = qtrace_line(trace, "kvm_gmem_mode");
    g_autofree char *parameter = NULL;
    struct utsname u;

    uname(&u);
    g_file_get_contents(PARAMETER_FILE, &parameter, NULL, NULL);
    printf("host     Linux %s, kvm.gmem_in_place_conversion=%s, emulated AMD SVM\n"
           "guest    %s, x86-sw-protected-vm\n"
           "probe    %s\n"
           "choice   %s\n", u.release,
           parameter ? g_strstrip(parameter) : "(no such parameter)", version,
           probe ? probe : "(no trace)", mode ? mode : "(no trace)");
}

/* --- one scenario --------------------------------------------------------- */

static unsigned run_scenario(const Scenario *s, const LabPaths *paths,
                             unsigned *count)
{
    g_autofree char *error = NULL;
    gint64 start = g_get_monotonic_time();
    HostFiles *files = NULL;
    QTrace *trace = NULL;
    const char *why;
    Control *control;
    unsigned failures;
    Verdict v;
    Vm *vm;

    verdict_init(&v, s->name, opt_demo, count);
    v.expect_fail = s->expect == EXPECT_FAIL;
    if ((s->host_files &&
         !(files = host_files_write(s->host_files, &error))) ||
        (s->assign && !assign_bind(s->assign, &error))) {
        verdict_report(&v, false, "%s", error);
        goto out;
    }
    vm = vm_start(s, paths, &error);
    if (!vm) {
        verdict_report(&v, false, "%s", error);
        goto out;
    }
    trace = qtrace_new(vm->trace_path);
    if (opt_verbose) {
        printf("# %s\n", vm->command);
    }
    if (opt_demo) {
        print_demo_head(paths, trace);
    }
    if (s->expect == EXPECT_REFUSE) {
        vm_wait(vm, s->timeout * 1000);
        check_refused(s, vm, &v);
    } else if (vm->ended) {
        verdict_report(&v, false, "QEMU did not start (exit code %d)",
                       exit_code(vm));
    } else {
        control = control_new(vm, trace);
        why = serve_until_end(vm, control, &v, s->timeout);
        if (why) {
            verdict_report(&v, false, "%s", why);
        } else {
            check_end(s, vm, &v, control_quit_ms(control));
        }
        control_free(control);
    }
    if (s->mode) {
        check_mode(s, trace, &v);
    }
    if (v.reported || opt_verbose) {
        printf("# %s: %s\n", s->name, vm->command);
        print_stderr(s, vm);
        print_calls(s, vm);
    }
    vm_end(vm);
out:
    host_files_restore(files);
    if (!opt_demo) {
        printf("# %s: %.1f s\n", s->name,
               (g_get_monotonic_time() - start) / 1e6);
    }
    failures = v.reported;
    qtrace_free(trace);
    verdict_clear(&v);
    fflush(stdout);
    return failures;
}

/* The payload takes the first word of a name that it finds. */
static void apply_params(Scenario *s)
{
    for (guint i = 0; s->payload && opt_params && opt_params[i]; i++) {
        char *payload = g_strconcat(opt_params[i], " ", s->payload, NULL);

        g_free(s->payload);
        s->payload = payload;
    }
}

static bool wanted(const Scenario *s)
{
    return (!opt_parameter || g_str_equal(s->parameter, "any") ||
            g_str_equal(s->parameter, opt_parameter)) &&
           (!opt_set || g_str_equal(s->set, opt_set)) &&
           (!opt_kernel || g_str_equal(s->kernel, opt_kernel));
}

int main(int argc, char **argv)
{
    g_autoptr(GOptionContext) ctx = g_option_context_new(
        "run SCENARIO-FILE... - run scenarios of the emulated host");
    g_autoptr(GError) err = NULL;
    unsigned count = 0, failures = 0, bad_files = 0;
    LabPaths paths;

    g_option_context_add_main_entries(ctx, options, NULL);
    if (!g_option_context_parse(ctx, &argc, &argv, &err) || argc < 3 ||
        !g_str_equal(argv[1], "run")) {
        fprintf(stderr, "gmem-lab: %s\n", err ? err->message
                : "usage: gmem-lab [OPTION...] run SCENARIO-FILE...; "
                  "--help lists the options");
        return 2;
    }
    paths = (LabPaths) {
        .qemu = opt_qemu ? opt_qemu : "/lab/bin/qemu-system-x86_64",
        .roms = opt_roms ? opt_roms : "/lab/roms",
        .payload = opt_payload ? opt_payload : "/lab/payload.bin",
        .work = opt_work ? opt_work : "/tmp",
    };
    /* A pin's child may be gone when it is written to. */
    signal(SIGPIPE, SIG_IGN);
    for (int i = 2; i < argc; i++) {
        g_autofree char *error = NULL;
        g_autoptr(Scenario) s = scenario_read(argv[i], &error);

        if (!s) {
            printf("not ok %u - %s\n", ++count, error);
            bad_files++;
        } else if (wanted(s)) {
            apply_params(s);
            failures += run_scenario(s, &paths, &count);
        }
    }
    if (!opt_demo) {
        printf("1..%u\n", count);
    }
    return failures || bad_files ? 1 : 0;
}
