#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-linux.sh linux        build/linux -> build/linux-build, build/linux-hdr
# build-linux.sh linux-base   the base without our series -> build/linux-base-build
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/git.sh"

variant=${1:-linux}
TREE=$BUILD/$variant
OUT=$BUILD/$variant-build
FRAGMENT=$ROOT/tests/lab/kernel.config

# The same source gives the same kernel, and ccache can help.
export KBUILD_BUILD_USER=gmem KBUILD_BUILD_HOST=lab KBUILD_BUILD_TIMESTAMP='2026-01-01'

kmake() { make -C "$TREE" O="$OUT" CC="ccache gcc" HOSTCC="ccache gcc" -j "$JOBS" "$@"; }

if [ "$variant" = linux-base ]; then
    base=$(git -C "$BUILD/linux" rev-parse 'gmem-base^{commit}')
    if [ "$(git -C "$TREE" rev-parse HEAD 2>/dev/null)" != "$base" ]; then
        rm -rf "$TREE"
        git -C "$BUILD/linux" worktree prune
        git -C "$BUILD/linux" worktree add -q --detach "$TREE" "$base"
    fi
fi

# A symbol that olddefconfig drops would make the lab test something else than
# it says.  Only the unpatched kernel may lack what our series brings.
check_config() {
    local line symbol lost=
    while read -r line; do
        case $line in
        CONFIG_*=n) symbol=${line%=n} ;;
        CONFIG_*) grep -qxF "$line" "$1" && continue; symbol=${line%%=*} ;;
        '# CONFIG_'*' is not set') symbol=${line#\# } && symbol=${symbol%% *} ;;
        *) continue ;;
        esac
        case $line in
        CONFIG_*=n | '#'*) grep -q "^$symbol=" "$1" || continue ;;
        esac
        if [ "$variant" = linux-base ] &&
            ! grep -rqx --include='Kconfig*' "\(menu\)\{0,1\}config ${symbol#CONFIG_}" "$TREE"; then
            continue
        fi
        lost="$lost $symbol"
    done <"$FRAGMENT"
    [ -z "$lost" ] ||
        die "the kernel's configuration does not take these lines of $(rel "$FRAGMENT"):$lost" \
            "see what they depend on (make menuconfig, '/'), and add it to the fragment"
}

# Under another name first: .config is touched only if it really changes.
mkdir -p "$OUT"
rm -f "$OUT"/.config.gmem*
kmake -s KCONFIG_CONFIG=.config.gmem tinyconfig
cat "$FRAGMENT" >>"$OUT/.config.gmem"
kmake -s KCONFIG_CONFIG=.config.gmem olddefconfig
check_config "$OUT/.config.gmem"
cmp -s "$OUT/.config.gmem" "$OUT/.config" || mv "$OUT/.config.gmem" "$OUT/.config"
rm -f "$OUT"/.config.gmem*

kmake bzImage
if [ "$variant" = linux ]; then
    kmake headers_install INSTALL_HDR_PATH="$BUILD/linux-hdr"
fi
