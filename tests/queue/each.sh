#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: "queue check linux --each" tells what a patch adds to what the
# compiler and sparse say, and not what the base says already.
#
# On a tree of two files whose Makefile plays the kernel's: a file says what
# stands in its lines "warn: TEXT" (compiler) and "sparse: TEXT".
set -eu

SRC=$(cd "$(dirname "$0")/../.." && pwd -P)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export ROOT="$WORK/repo" BUILD="$WORK/repo/build"
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
export TREE="$WORK/each-linux" OUT="$WORK/out" FILES="$WORK/files" ALL="$WORK/all"
N=0
BAD=0

report() { # report TITLE PASSED
    N=$((N + 1))
    if [ "$2" = yes ]; then
        echo "ok $N - $1"
    else
        BAD=1
        echo "not ok $N - $1"
        sed 's/^/#   /' "$WORK/log" | tail -n 20
    fi
}

# each MODE: one run, with its output in WORK/log
each() { "$ROOT/scripts/queue-each.sh" linux x86 "$1" >"$WORK/log" 2>&1; }

passes() {
    if each patch; then report "$1" yes; else report "$1" no; fi
}

# finds TITLE TEXT: it fails, and TEXT is all that is new
finds() {
    if each patch; then
        report "$1 (it passed)" no
    elif [ "$(sed -n 's/^new: //p' "$WORK/log" | sort -u)" = "$2" ]; then
        report "$1" yes
    else
        report "$1" no
    fi
}

mkdir -p "$ROOT" "$TREE/virt/kvm" "$TREE/arch/x86/kvm" "$TREE/lib" "$BUILD"
cp -r "$SRC/scripts" "$ROOT/"
echo CONFIG_KVM=y >"$ROOT/scripts/each/x86.config"
cat >"$TREE/Makefile" <<'EOF'
MAKEFLAGS += -r
SRCS := $(wildcard virt/kvm/*.c arch/x86/kvm/*.c)
OBJS := $(patsubst %.c,$(O)/%.o,$(SRCS))
tinyconfig:
	@: >$(O)/$(KCONFIG_CONFIG)
olddefconfig:
	@sort -u -o $(O)/$(KCONFIG_CONFIG) $(O)/$(KCONFIG_CONFIG)
arch/x86/kvm/: $(OBJS)
lib/%.o: $(O)/lib/%.o ;
$(O)/%.o: %.c
	@mkdir -p $(dir $@)
	@echo "  CC      $*.o"
	@! grep -H -n 'error:' $(CURDIR)/$<
	@test -z "$(W)" || sed -n 's|.*warn: \(.*\)|../each-linux/$<:1:2: warning: \1|p' $<
	@test -z "$(C)" || sed -n 's|.*sparse: \(.*\)|$(CURDIR)/$<:3:4: warning: \1|p' $<
	@touch $@
.PHONY: tinyconfig olddefconfig arch/x86/kvm/
EOF
printf 'warn: old\nsparse: old too\n' >"$TREE/virt/kvm/a.c"
echo 'int b;' >"$TREE/arch/x86/kvm/b.c"
echo 'int c;' >"$TREE/lib/c.c"
git -C "$TREE" init -q
git -C "$TREE" add -A
git -C "$TREE" commit -q -m base
printf 'virt/kvm/a.c\narch/x86/kvm/b.c\nlib/c.c\n' >"$ALL"
: >"$FILES"
# What make compares are times; these are all older than any object.
find "$TREE" -name '*.c' -exec touch -d '1 hour ago' {} +

if each base; then report "the base is noted" yes; else report "the base is noted" no; fi
echo virt/kvm/a.c >"$FILES"
passes "what the base says is not new"

edit() { # edit FILE LINE
    printf '%s\n' "$2" >>"$TREE/$1"
    echo "$1" >"$FILES"
}
undo() { git -C "$TREE" checkout -q -f; }

edit virt/kvm/a.c '/* moves nothing */'
passes "a patch without a warning"
edit virt/kvm/a.c 'warn: fresh'
finds "a new warning of the compiler" "virt/kvm/a.c: warning: fresh"
undo
edit virt/kvm/a.c 'warn: old'
finds "one more of the same kind in the same file" "virt/kvm/a.c: warning: old"
undo
edit arch/x86/kvm/b.c 'sparse: fresh'
finds "a new warning of sparse" "arch/x86/kvm/b.c: warning: fresh"
undo
edit lib/c.c 'warn: in lib'
finds "a new warning in a file outside of KVM" "lib/c.c: warning: in lib"
undo
edit arch/x86/kvm/b.c 'error: it does not compile'
if each patch; then report "a patch that does not build (it passed)" no; else report "a patch that does not build" yes; fi
undo
passes "and all is well again"

echo "1..$N"
exit "$BAD"
