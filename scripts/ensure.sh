# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What each result needs, and whether it is up to date.  Sourced by cmd-*.sh,
# after lib.sh.  Each function does nothing if there is nothing to do.

. "$ROOT/BASE"

# begin WORDS...: the checks that every verb makes first.
begin() {
    check_distro
    take_lock "$@"
    check_disk
    export CCACHE_DIR="$BUILD/ccache"
    # The compiler's own list of headers is the key, so that nothing is preprocessed
    # only for the cache: a first build takes three quarters of the time.
    export CCACHE_DEPEND=1
    # Debian's own tools first: a python or meson from elsewhere would not see
    # the packages installed here.
    export PATH="/usr/bin:/bin:$PATH"
    export LC_ALL=C.UTF-8
    export QEMU_SRC="${QEMU_SRC:-}" LINUX_SRC="${LINUX_SRC:-}"
}

check_distro() {
    local id codename
    id=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null || true)
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
    [ "$(uname -m)" = x86_64 ] || die "this machine is $(uname -m); the build and the lab need x86_64"
    [ "$id $codename" != "debian bookworm" ] || return 0
    [ -z "${GMEM_ANY_DISTRO:-}" ] || return 0
    die "this is not Debian 12 (bookworm) but '$id $codename'; packages and their versions are those of Debian 12" \
        "use a Debian 12 machine or container," \
        "or install the packages that scripts/packages.sh names yourself and call with GMEM_ANY_DISTRO=1"
}

check_disk() {
    local need have
    have=$(df --output=avail -BG "$BUILD") || exit 1
    have=$(printf '%s\n' "$have" | tail -n 1 | tr -dc 0-9)
    if [ ! -e "$BUILD/linux/.git" ]; then
        need=12
    elif [ ! -e "$BUILD/linux-build/arch/x86/boot/bzImage" ] || [ ! -e "$BUILD/qemu-build/qemu-system-x86_64" ]; then
        need=5
    else
        need=1
    fi
    if [ "$have" -lt "$need" ]; then
        die "too little disk: this needs about $need GB free under $(rel "$BUILD")/, there are $have GB" \
            "free some, or make build/ a link to a folder on a larger disk"
    fi
    [ "$need" -lt 12 ] || say "first call here: needs about 12 GB of disk ($have GB are free) and some 20 minutes on two processors"
}

# install_packages [each]
install_packages() {
    local missing
    missing=$("$SCRIPTS/packages.sh" missing "$@")
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] ||
        die "these packages are missing: $missing" \
            "installing them needs root; call once as root: ./scripts/packages.sh install $*"
    # shellcheck disable=SC2034  # for step
    STEP_HINT="see that the machine has network and that 'apt-get update' works, then call the same command again"
    step packages "installing Debian packages: $missing" - "$SCRIPTS/packages.sh" install "$@"
}

ensure_packages() {
    [ -z "${PACKAGES_CHECKED:-}" ] || return 0
    PACKAGES_CHECKED=1
    install_packages
}

# What "queue check linux --each" needs besides: a cross compiler and sparse.
ensure_packages_each() { install_packages each; }

given_source() {
    case $1 in
    qemu) printf '%s' "$QEMU_SRC" ;;
    linux) printf '%s' "$LINUX_SRC" ;;
    esac
}

base_text() {
    local given
    given=$(given_source "$1")
    # What stands in BASE for the tree, without the comments.
    grep -i "^$1_" "$ROOT/BASE" || return
    if [ -e "$given" ]; then
        realpath "$given" || return
        stat -c '%s %Y' "$given" || return
        git -C "$given" rev-parse HEAD 2>/dev/null || true
    elif [ -n "$given" ]; then
        # tree.sh tells what is wrong with it.
        printf '%s\n' "$given"
    fi
}

base_hash() {
    local text
    text=$(base_text "$1") || exit 1
    printf '%s\n' "$text" | hash_of
}

ensure_base() {
    local name="$1" stamp
    stamp=$(base_hash "$name")
    if [ -e "$BUILD/$name/.git" ] && stamp_ok "tree-$name" "$stamp"; then return 0; fi
    if [ -z "$(given_source "$name")" ]; then
        STEP_HINT="see that 'apt-get update' works (network, mirror), or give the source: $(src_variable "$name")=TREE_OR_TARBALL"
        step "fetch-$name" "fetching the $name source" "size:$BUILD/download" "$SCRIPTS/fetch.sh" "$name"
    fi
    step "tree-$name" "unpacking $name into build/$name" "size:$BUILD/$name.new" "$SCRIPTS/tree.sh" "$name"
    stamp_set "tree-$name" "$stamp"
}

# The prepared tree with the queue on it.  Edits that are not in the queue yet
# are built as they are: that is what one works with.
ensure_tree() {
    local name="$1" status
    ensure_packages
    ensure_base "$name"
    [ ! -e "$BUILD/download/linux.other" ] || [ "$name" != linux ] ||
        say "WARNING: on Linux package $(cat "$BUILD/download/linux.other"), not $LINUX_PACKAGE_VERSION; only apt's signature vouches for it"
    status=$("$SCRIPTS/queue.sh" status "$name") || exit 1
    case $status in
    edited)
        say "note: build/$name has edits that are not in the queue; they are built too"
        return
        ;;
    both)
        die "patches/$name changed, and build/$name has edits that are not in the queue" \
            "keep the edits: ./run queue refresh $name --overwrite   (their state replaces patches/$name)" \
            "or drop them:   ./run queue apply $name --discard"
        ;;
    esac
    # shellcheck disable=SC2034  # for step
    STEP_HINT="correct the patch that the log names; build/$name was left as it is"
    step "queue-$name" "applying patches/$name" - "$SCRIPTS/queue.sh" apply "$name"
}

# Everything a build of this tree depends on: commits and uncommitted edits.
tree_hash() {
    local text="$BUILD/.tree-hash"
    git -C "$BUILD/$1" rev-parse 'HEAD^{tree}' >"$text" || exit 1
    git -C "$BUILD/$1" diff HEAD >>"$text" || exit 1
    hash_of <"$text"
    rm -f "$text"
}

ensure_roms() {
    stamp_ok roms 1 && [ -e "$BUILD/roms/bios-256k.bin" ] && return 0
    ensure_packages
    step roms "taking the firmware out of its packages" - "$SCRIPTS/fetch.sh" roms
    stamp_set roms 1
}

# For an installed QEMU; not if its source has the firmware.
ensure_firmware() {
    [ ! -e "$BUILD/qemu/pc-bios/bios-256k.bin" ] || return 0
    stamp_ok firmware 1 && [ -e "$BUILD/firmware/bios-256k.bin" ] && return 0
    step firmware "taking the firmware out of its packages" - "$SCRIPTS/fetch.sh" firmware
    stamp_set firmware 1
}

ensure_qemu() {
    ensure_tree qemu
    step build-qemu "building QEMU" ninja "$SCRIPTS/build-qemu.sh"
    ensure_roms
}

# Without our patches: what it does, ours must do where nothing is in place.
ensure_qemu_base() {
    ensure_tree qemu
    step build-qemu-base "building QEMU without our patches" ninja "$SCRIPTS/build-qemu.sh" base
}

ensure_host() {
    ensure_tree qemu
    step build-host "building library, tests and tools" ninja "$SCRIPTS/build-host.sh" host
}

ensure_host_san() {
    step build-host-san "building the tests with sanitizers" ninja "$SCRIPTS/build-host.sh" host-san
}

ensure_host_tsan() {
    step build-host-tsan "building the tests with the sanitizer of threads" ninja "$SCRIPTS/build-host.sh" host-tsan
}

ensure_host_fuzz() {
    install_packages fuzz
    step build-host-fuzz "building the fuzzers" ninja "$SCRIPTS/build-host.sh" host-fuzz
}

# stamp_of HASH FILE...: of a result that depends on these files, too.
stamp_of() {
    local text
    text=$(printf '%s\n' "$1" && shift && cat "$@") || exit 1
    printf '%s\n' "$text" | hash_of
}

# linux_image VARIANT: linux, linux-debug, linux-noattr or linux-base.
linux_image() { printf '%s' "$BUILD/$1-build/arch/x86/boot/bzImage"; }

# ensure_linux_variant VARIANT TITLE HASH FRAGMENT...: a kernel of its own, from
# the source that HASH stands for.
ensure_linux_variant() {
    local variant="$1" title="$2" stamp
    shift 2
    stamp=$(stamp_of "$@" "$SCRIPTS/build-linux.sh" "$SCRIPTS/kconfig.sh")
    if stamp_ok "$variant" "$stamp" && [ -e "$(linux_image "$variant")" ]; then return 0; fi
    step "build-$variant" "$title" make "$SCRIPTS/build-linux.sh" "$variant"
    stamp_set "$variant" "$stamp"
}

ensure_linux() {
    local stamp tree
    ensure_tree linux
    tree=$(tree_hash linux) || exit 1
    ensure_linux_variant linux "building Linux" "$tree" "$ROOT/tests/lab/kernel.config"
    stamp=$(stamp_of "$tree" "$SCRIPTS/build-selftests.sh" "$ROOT/tests/lab/selftests.list")
    if ! stamp_ok selftests "$stamp"; then
        step build-selftests "building the kernel's own tests" - "$SCRIPTS/build-selftests.sh"
        stamp_set selftests "$stamp"
    fi
}

# With the checking of locks and memory.
ensure_linux_debug() {
    local tree
    ensure_tree linux
    tree=$(tree_hash linux) || exit 1
    ensure_linux_variant linux-debug "building the debug kernel" "$tree" \
        "$ROOT/tests/lab/kernel.config" "$ROOT/tests/lab/kernel-debug.config"
}

# Without per-VM memory attributes.
ensure_linux_noattr() {
    local tree
    ensure_tree linux
    tree=$(tree_hash linux) || exit 1
    ensure_linux_variant linux-noattr "building Linux without per-VM attributes" "$tree" \
        "$ROOT/tests/lab/kernel.config" "$ROOT/tests/lab/kernel-noattr.config"
}

# The same kernel without our series: what plain QEMU's users have.
ensure_linux_base() {
    local base
    ensure_tree linux
    base=$(base_hash linux) || exit 1
    ensure_linux_variant linux-base "building Linux without our series" "$base" "$ROOT/tests/lab/kernel.config"
}

# Unpacked for the emulated host, whether or not this machine has one installed.
ensure_libvirt() {
    local stamp
    stamp=$(stamp_of libvirt "$SCRIPTS/libvirt.sh") || exit 1
    if stamp_ok libvirt "$stamp" && [ -e "$BUILD/libvirt-root/version" ]; then return 0; fi
    # shellcheck disable=SC2034 # for step
    STEP_HINT="see that the machine has network and that 'apt-get update' works, then call the same command again"
    step libvirt "fetching libvirt for the emulated host" - "$SCRIPTS/libvirt.sh"
    stamp_set libvirt "$stamp"
}

ensure_lab() {
    KERNEL=$(linux_image linux)
    KERNEL_NOATTR=$(linux_image linux-noattr)
    KERNEL_DEBUG=$(linux_image linux-debug)
    KERNEL_BASE=$(linux_image linux-base)
    export KERNEL KERNEL_NOATTR KERNEL_DEBUG KERNEL_BASE
    step build-lab "making the emulated host's root" - "$ROOT/tests/lab/lab.sh" build
}
