#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-linux-deb.sh deb CONFIG   build/linux -> Debian packages in build/linux-deb
# build-linux-deb.sh kvm CONFIG   only KVM's modules, and whether the rest of the
#                                 kernel exports all that they need
#
# CONFIG is a complete configuration, as /boot/config-* is; the series' new symbols
# take their defaults.
set -eu
. "$(dirname "$0")/lib.sh"

what=${1:-}
config=${2:-}
TREE=$BUILD/linux
DEB=$BUILD/linux-deb
# bindeb-pkg leaves its packages in the folder above.
OUT=$DEB/build

[ -f "$config" ] || die "there is no file '$config'"

# A name of its own: it is installed beside the distribution's kernel.
kmake() { make -C "$TREE" O="$OUT" CC="ccache gcc" HOSTCC="ccache gcc" LOCALVERSION=-gmem "$@"; }

# clear_missing SYMBOL: a configuration may name files of its distribution's
# source package, as Debian's does with its certificates.
clear_missing() {
    local file
    file=$(sed -n "s/^CONFIG_$1=\"\(..*\)\"/\1/p" "$OUT/.config.gmem")
    if [ -z "$file" ] || [ -e "$TREE/$file" ] || [ "$file" = certs/signing_key.pem ]; then return 0; fi
    say "note: CONFIG_$1=\"$file\" is not in this source; cleared"
    sed -i "s|^CONFIG_$1=.*|CONFIG_$1=\"\"|" "$OUT/.config.gmem"
}

# What CONFIG asks for and this source, compiler or machine cannot give, as BTF
# where no pahole is installed.
say_lost() {
    sed -n 's/^\(CONFIG_[A-Za-z0-9_]*\)=[ym]$/\1/p' "$config" | sort >"$DEB/asked"
    sed -n 's/^\(CONFIG_[A-Za-z0-9_]*\)=[ym]$/\1/p' "$OUT/.config" | sort | comm -23 "$DEB/asked" - >"$DEB/lost"
    rm -f "$DEB/asked"
    [ ! -s "$DEB/lost" ] || say "note: $(wc -l <"$DEB/lost") symbols of it are off here: $(rel "$DEB")/lost"
}

configure() {
    mkdir -p "$OUT"
    cp "$config" "$OUT/.config.gmem"
    clear_missing SYSTEM_TRUSTED_KEYS
    clear_missing SYSTEM_REVOCATION_KEYS
    clear_missing MODULE_SIG_KEY
    # The number of the commit in the name would make each build another kernel.
    sed -i '/CONFIG_LOCALVERSION_AUTO[= ]/d' "$OUT/.config.gmem"
    echo '# CONFIG_LOCALVERSION_AUTO is not set' >>"$OUT/.config.gmem"
    kmake -s KCONFIG_CONFIG=.config.gmem olddefconfig
    # Untouched if nothing changes, or everything would be built again.
    cmp -s "$OUT/.config.gmem" "$OUT/.config" || mv "$OUT/.config.gmem" "$OUT/.config"
    rm -f "$OUT"/.config.gmem*
    grep -q '^CONFIG_KVM=[ym]' "$OUT/.config" ||
        die "this configuration has no KVM" "enable CONFIG_KVM, and CONFIG_KVM_AMD or CONFIG_KVM_INTEL"
    say_lost
    say "of KVM:"
    grep -E 'CONFIG_KVM(_AMD|_INTEL|_SW_PROTECTED_VM|_VM_MEMORY_ATTRIBUTES|_GUEST_MEMFD|_AMD_SEV|_INTEL_TDX)?[= ]' "$OUT/.config" | sed 's/^/  /'
}

deb() {
    local image
    rm -f "$DEB"/linux-*
    # Without the package of debug information, which takes as long again.
    kmake -j "$JOBS" bindeb-pkg DEB_BUILD_PROFILES=pkg.linux-upstream.nokerneldbg
    image=$(find "$DEB" -maxdepth 1 -name 'linux-image-*.deb')
    [ -n "$image" ] || die "bindeb-pkg made no package of the kernel image"
    # Not into a pipe: grep -q would end it early.
    dpkg-deb -c "$image" >"$DEB/contents"
    grep ' \./boot/vmlinuz-' "$DEB/contents" || die "$(rel "$image") has no kernel image"
    # In the kernel's own, or in /usr/lib/modules.
    if grep -q '^CONFIG_KVM=m' "$OUT/.config"; then
        grep '/kvm/kvm\.ko' "$DEB/contents" || die "$(rel "$image") has no module of KVM"
    fi
    rm -f "$DEB/contents"
}

# exports: what the source of x86 exports, as regular expressions.  A name that
# a macro pastes together (param_get_##name) stands for all with the same fixed parts.
exports() {
    git -C "$TREE" grep -hoE '(__EXPORT_THUNK|EXPORT_[A-Z_]*|[A-Z_]*_EXPORT)\( *[A-Za-z0-9_]+( *## *[A-Za-z0-9_]+)*' \
        -- '*.c' '*.S' '*.h' ':!arch/[!x]*' |
        sed -e 's/.*( *//' -e 's/ //g' | awk -F'##' '{
            line = $1
            for (i = 1; NF > 1 && i <= NF; i++) {
                part = $i ~ /_/ && length($i) > 3 ? $i : "[A-Za-z0-9_]*"
                line = i == 1 ? part : line part
            }
            if (NF == 1 || line ~ /[A-Za-z0-9]_|_[A-Za-z0-9]/) print line
        }' | sort -u
}

# The whole kernel has not been built, so modpost cannot tell what it exports
# (and names ten symbols a module at most).  The source can.
kvm() {
    local lost modules='' m
    for m in kvm:KVM kvm-amd:KVM_AMD kvm-intel:KVM_INTEL; do
        ! grep -q "^CONFIG_${m#*:}=m" "$OUT/.config" || modules="$modules arch/x86/kvm/${m%:*}.ko"
    done
    [ -n "$modules" ] || die "KVM is no module in this configuration; there is nothing to check"
    # shellcheck disable=SC2086  # words
    kmake -j "$JOBS" KBUILD_MODPOST_WARN=1 $modules || die "KVM's modules do not build with this configuration"
    # What they export to each other is not the kernel's business.
    # shellcheck disable=SC2086
    (cd "$OUT" && nm $modules) >"$DEB/symbols"
    awk '$1 == "U" { print $2 }' "$DEB/symbols" | sort -u >"$DEB/undefined"
    sed -n 's/.* __ksymtab_//p' "$DEB/symbols" | sort -u | comm -23 "$DEB/undefined" - >"$DEB/needed"
    [ -s "$DEB/needed" ] || die "the modules need nothing of the kernel; that cannot be"
    exports >"$DEB/exports"
    # A static call is exported by the name of its function.  grep fails if nothing
    # is left, which is how it should be.
    lost=$(sed 's/^__SC[TK]__//' "$DEB/needed" | sort -u | grep -vxE -f "$DEB/exports" | tr '\n' ' ') || true
    say "modules:$modules"
    say "symbols of the kernel that they need: $(wc -l <"$DEB/needed")"
    [ -z "$lost" ] || die "the source exports nowhere: $lost"
    rm -f "$DEB/symbols" "$DEB/undefined" "$DEB/exports"
    say "all of them are exported"
}

case $what in
deb | kvm)
    configure
    "$what"
    ;;
*) die "usage: build-linux-deb.sh deb|kvm CONFIG" ;;
esac
