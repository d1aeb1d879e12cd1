#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue-each.sh qemu            builds the tree TREE in OUT
# queue-each.sh linux CONFIG base|patch
#                               builds as much of TREE as the queue touches
#
# For "queue check --each".  CONFIG is one of scripts/each/*.config, or
# "selftests".  TREE is at the base, or at one patch; OUT is kept from one call
# to the next, so that only what a patch changes is compiled again.  Lists of
# paths, one per line:
#   FILES  what this patch touches
#   ALL    what the queue touches
# "base" notes down what the compiler (W=1) and sparse say about the base;
# "patch" fails if they say more, in lines "new: ...".
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/kconfig.sh"

: "${TREE:?}" "${OUT:?}"
export CCACHE_DIR="${CCACHE_DIR:-$BUILD/ccache}"
if [ "$1" = qemu ]; then
    # Nobody runs these, and this takes six tenths of the time.
    export QEMU_OPTIONS="-Doptimization=0 --disable-debug-info"
    exec "$SCRIPTS/build-qemu.sh"
fi

: "${FILES:?}" "${ALL:?}"
config=$2
mode=$3
fragment=$SCRIPTS/each/$config.config
LOGFILE=$OUT/.gmem-make
mkdir -p "$OUT"

case $config in
arm64)
    arch=arm64
    compiler="ccache aarch64-linux-gnu-gcc"
    set -- ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-
    ;;
*)
    arch=x86
    compiler="ccache gcc"
    set -- ARCH=x86
    ;;
esac
KMAKE_ARCH=$*
# shellcheck disable=SC2086 # words
kmake() { make -C "$TREE" O="$OUT" $KMAKE_ARCH CC="$compiler" HOSTCC="ccache gcc" -j "$JOBS" "$@"; }

# noted COMMAND...: runs it; what it printed is shown, and added to LOGFILE.
noted() {
    local rc=0
    "$@" >"$OUT/.gmem-out" 2>&1 || rc=$?
    cat "$OUT/.gmem-out"
    cat "$OUT/.gmem-out" >>"$LOGFILE"
    return "$rc"
}

# findings: the warnings in LOGFILE, as one can compare them: paths from the top
# of the tree, no line numbers.  One in a header is said once per file that
# includes it, so there it counts once.
findings() {
    grep -iE '(warning|error):' "$LOGFILE" | grep -vE '^make(\[[0-9]+\])?: ' |
        sed -E -e "s|$TREE/||g" -e 's|(\.\./)+[^ ]*each-linux/||g' -e 's|(\.\./)+||g' \
            -e 's/:[0-9]+(:[0-9]+)?:/:/g' -e 's/:[0-9]+ / /g' -e 's/ at line [0-9]+//' -e 's/[[:space:]]+/ /g' |
        LC_ALL=C sort | awk '/^[^ ]*\.h:/ && $0 == last { next } { print; last = $0 }'
}

# compare BASE: prints what is there now and not in the file BASE.
compare() {
    findings >"$OUT/.gmem-now"
    LC_ALL=C comm -13 "$1" "$OUT/.gmem-now" | sed 's/^/new: /' >"$OUT/.gmem-new"
    cat "$OUT/.gmem-new"
    [ ! -s "$OUT/.gmem-new" ]
}

# objects LIST: the objects of KVM, and of those files of the list that are built
# one by one, because their folder would take long.
objects() {
    local f
    [ "$config" = x86 ] || return 0
    while read -r f; do
        case $f in
        lib/*.c | mm/*.c | fs/*.c | kernel/*.c) [ ! -f "$TREE/$f" ] || printf '%s\n' "${f%.c}.o" ;;
        esac
    done <"$1"
}

# checked LIST: the objects of the list for sparse.  One that this configuration
# does not have does no harm: it is not made.
checked() {
    local f
    while read -r f; do
        case $f in
        virt/kvm/*.c | arch/"$arch"/*.c) printf '%s\n' "${f%.c}.o" ;;
        esac
    done <"$1"
    objects "$1"
}

# The configuration depends on every Kconfig of the tree.
configure() {
    local now
    now=$({ git -C "$TREE" ls-files -s -- '*Kconfig*' && cat "$fragment" "$SCRIPTS/kconfig.sh"; } | hash_of)
    [ "$(cat "$OUT/.gmem-kconfig" 2>/dev/null)" != "$now" ] || return 0
    # Symbols of patches that come later in the queue.
    KCONFIG_MAY_LACK=1
    configure_kernel "$TREE" "$OUT" kmake "$fragment"
    printf '%s\n' "$now" >"$OUT/.gmem-kconfig"
}

# sparse LIST: checks these files, whether they were compiled just now or not.
# make runs the checker when it compiles, so the objects go first.
sparse() {
    local list
    : >"$LOGFILE"
    list=$(checked "$1")
    [ -n "$list" ] || return 0
    # shellcheck disable=SC2086 # a list of words
    (cd "$OUT" && rm -f $list)
    # shellcheck disable=SC2046
    noted kmake W=1 C=1 CHECK=sparse "arch/$arch/kvm/" $(objects "$1")
}

# build TARGET...: with the compiler's warnings noted.
build() {
    : >"$LOGFILE"
    noted kmake W=1 "$@"
}

note_base() {
    local stamp list
    stamp=$({ git -C "$TREE" rev-parse HEAD && cat "$fragment" "$0"; } | hash_of)
    if [ "$(cat "$OUT/.gmem-base" 2>/dev/null)" != "$stamp" ]; then
        # All of it once more: what is built already says nothing.
        rm -rf "$OUT"
        mkdir -p "$OUT"
        configure
        build "arch/$arch/kvm/"
        findings >"$OUT/.gmem-base-kvm"
        printf '%s\n' "$stamp" >"$OUT/.gmem-base"
        rm -f "$OUT/.gmem-base-files"
    fi
    stamp=$(hash_of <"$ALL")
    [ "$(cat "$OUT/.gmem-base-files" 2>/dev/null)" != "$stamp" ] || return 0
    configure
    list=$(objects "$ALL")
    : >"$OUT/.gmem-base-other"
    if [ -n "$list" ]; then
        # shellcheck disable=SC2086 # a list of words
        (cd "$OUT" && rm -f $list)
        # shellcheck disable=SC2086
        build $list
        findings >"$OUT/.gmem-base-other"
    fi
    LC_ALL=C sort "$OUT/.gmem-base-kvm" "$OUT/.gmem-base-other" >"$OUT/.gmem-base-compiler"
    sparse "$ALL"
    findings >"$OUT/.gmem-base-sparse"
    printf '%s\n' "$stamp" >"$OUT/.gmem-base-files"
}

each_patch() {
    local rc=0
    configure
    # shellcheck disable=SC2046 # a list of words
    build "arch/$arch/kvm/" $(objects "$ALL")
    compare "$OUT/.gmem-base-compiler" || rc=1
    sparse "$FILES"
    compare "$OUT/.gmem-base-sparse" || rc=1
    return "$rc"
}

# Those that the patch touches; all of the lab's, if it touches what they share.
# There must be no warning: the base has none.
selftests() {
    local dir=tools/testing/selftests/kvm f list=
    if [ ! -e "$OUT/hdr/include" ] || grep -qE "^(include|arch/x86/include)/uapi/" "$FILES"; then
        make -C "$TREE" O="$OUT/headers" ARCH=x86 -j "$JOBS" -s headers_install INSTALL_HDR_PATH="$OUT/hdr"
    fi
    if grep -qE "^$dir/(lib/|include/|Makefile)" "$FILES"; then
        f=$(sed -n 's/^\([^# ][^ ]*\).*/\1/p' "$ROOT/tests/lab/selftests.list")
    fi
    for f in ${f:-} $(sed -n "s|^$dir/\(.*\)\.c\$|\1|p" "$FILES"); do
        case $f in
        lib/* | arm64/* | riscv/* | s390/* | loongarch/*) continue ;;
        esac
        [ ! -f "$TREE/$dir/$f.c" ] || list="$list $OUT/$f"
    done
    [ -n "$list" ] || return 0
    mkdir -p "$OUT/x86"
    : >"$LOGFILE"
    # shellcheck disable=SC2086 # a list of words
    noted make -C "$TREE/$dir" OUTPUT="$OUT" ARCH=x86 CC="ccache gcc" \
        KHDR_INCLUDES="-isystem $OUT/hdr/include" -j "$JOBS" $list
    findings | sed 's/^/new: /' >"$OUT/.gmem-new"
    cat "$OUT/.gmem-new"
    [ ! -s "$OUT/.gmem-new" ]
}

case $config:$mode in
selftests:base) ;;
selftests:*) selftests ;;
*:base) note_base ;;
*) each_patch ;;
esac
