# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel configuration out of "make tinyconfig" and fragments.  Sourced, after
# lib.sh.

# check_config TREE CONFIG FRAGMENT: what the fragment says is in CONFIG.
#
# A symbol that olddefconfig drops would make a build something else than it
# says.  With KCONFIG_MAY_LACK=1 a symbol that no Kconfig of TREE has is no
# mistake (a commit before the one that brings it in).
check_config() {
    local tree="$1" config="$2" fragment="$3" line symbol lost=
    while read -r line; do
        case $line in
        CONFIG_*=n) symbol=${line%=n} ;;
        CONFIG_*) grep -qxF "$line" "$config" && continue; symbol=${line%%=*} ;;
        '# CONFIG_'*' is not set') symbol=${line#\# } && symbol=${symbol%% *} ;;
        *) continue ;;
        esac
        case $line in
        CONFIG_*=n | '#'*) grep -q "^$symbol=" "$config" || continue ;;
        esac
        if [ -n "${KCONFIG_MAY_LACK:-}" ] &&
            ! grep -rqx --include='Kconfig*' "\(menu\)\{0,1\}config ${symbol#CONFIG_}" "$tree"; then
            continue
        fi
        lost="$lost $symbol"
    done <"$fragment"
    [ -z "$lost" ] ||
        die "the kernel's configuration does not take these lines of the fragments:$lost" \
            "see what they depend on (make menuconfig, '/'), and add it to the fragment"
}

# configure_kernel TREE OUT MAKE FRAGMENT...: makes OUT/.config.
#
# MAKE is a command that runs make on TREE with O=OUT.  A later fragment
# overrides an earlier one.  .config is touched only if it really changes, or
# everything would be built again.
configure_kernel() {
    local tree="$1" out="$2" make="$3" new="$2/.config.gmem"
    shift 3
    mkdir -p "$out"
    rm -f "$new"*
    # The last word on each symbol.
    awk '
        match($0, /^(# )?CONFIG_[A-Za-z0-9_]+/) {
            symbol = substr($0, 1, RLENGTH)
            sub(/^# /, "", symbol)
            if (!(symbol in last)) order[n++] = symbol
            last[symbol] = $0
        }
        END { for (i = 0; i < n; i++) print last[order[i]] }' "$@" >"$out/.fragment.gmem"
    "$make" -s KCONFIG_CONFIG=.config.gmem tinyconfig
    cat "$out/.fragment.gmem" >>"$new"
    "$make" -s KCONFIG_CONFIG=.config.gmem olddefconfig
    check_config "$tree" "$new" "$out/.fragment.gmem"
    cmp -s "$new" "$out/.config" || mv "$new" "$out/.config"
    rm -f "$new"* "$out/.fragment.gmem"
}
