/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Description: a VMM that breaks the rules of personality.so, one at a time,
 * and must hear of each.  To be run in the emulated host, parameter on and
 * off; the argument is the library.
 *
 * A case is a process of its own, which prints what the call in question
 * returned; the complaints come on its stderr.
 */
#include <sys/wait.h>
#include "test.h"

static size_t read_all(int fd, char *text, size_t size)
{
    size_t n = 0;
    ssize_t r;

    while (n + 1 < size && (r = read(fd, text + n, size - n - 1)) > 0) {
        n += r;
    }
    text[n] = 0;
    return n;
}

/* Returns its exit code; @out and @err is what it wrote. */
static int run_case(const char *library, const Case *c, char *out, char *err,
                    size_t size)
{
    int to[2], te[2], status;
    pid_t pid;

    if (pipe(to) < 0 || pipe(te) < 0 || (pid = fork()) < 0) {
        perror("personality-test");
        exit(2);
    }
    if (pid == 0) {
        dup2(to[1], 1);
        dup2(te[1], 2);
        setenv("LD_PRELOAD", library, 1);
        setenv("PERSONALITY", c->words ? c->words : "", 1);
        execl("/proc/self/exe", "personality-test", library, c->name, NULL);
        _exit(127);
    }
    close(to[1]);
    close(te[1]);
    read_all(to[0], out, size);
    read_all(te[0], err, size);
    close(to[0]);
    close(te[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool as_expected(const Case *c, int code, const char *out, const char *err)
{
    const char *first = strstr(err, "personality: ");

    if (code || !out[0] || atol(out) != c->want) {
        return false;
    }
    if (!c->complaint) {
        return !err[0];
    }
    /* That one, and no other. */
    return first == err && strstr(err, c->complaint) &&
           !strstr(first + 1, "personality: ");
}

static bool host_in_place(void)
{
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    create_vm(KVM_X86_SW_PROTECTED_VM);
    close(vm_fd);
    return in_place;
}

/* Run the cases of a table that are for this mode. */
static void run_table(const Case *c, const char *library, int mode,
                      unsigned *n, unsigned *failures)
{
    static char out[4096], err[4096];

    for (; c->name; c++) {
        int code;
        bool ok;

        if (!(c->modes & mode)) {
            continue;
        }
        code = run_case(library, c, out, err, sizeof(out));
        ok = as_expected(c, code, out, err);
        *failures += !ok;
        printf("%s %u - personality %s (%s)\n", ok ? "ok" : "not ok", ++*n,
               c->name, mode == IN_PLACE ? "in place" : "dual-backed");
        if (!ok) {
            out[strcspn(out, "\n")] = 0;
            printf("# exit code %d, result \"%s\", wanted %ld and \"%s\"\n# %s\n",
                   code, out, c->want,
                   c->complaint ? c->complaint : "no complaint", err);
        }
        fflush(stdout);
    }
}

/* A name stands twice if the modes differ. */
static const Case *find(const Case *c, const char *name)
{
    while (c->name && strcmp(c->name, name)) {
        c++;
    }
    return c->name ? c : NULL;
}

int main(int argc, char **argv)
{
    unsigned n = 0, failures = 0;
    int mode;

    if (argc == 3) {
        const Case *c = find(snp_cases, argv[2]);

        c = c ? c : find(tdx_cases, argv[2]);
        alarm(60);
        kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        printf("%ld\n", c->run());
        return 0;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: personality-test LIBRARY\n");
        return 2;
    }
    mode = host_in_place() ? IN_PLACE : DUAL;
    run_table(snp_cases, argv[1], mode, &n, &failures);
    run_table(tdx_cases, argv[1], mode, &n, &failures);
    printf("1..%u\n", n);
    return failures != 0;
}
