# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# git for the prepared trees.  Sourced.
#
# The user's own git settings could change what a patch file looks like, so
# they are left out; so are hooks and signing.

export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_COMMITTER_NAME=qemu-gmem GIT_COMMITTER_EMAIL=queue@localhost
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# tree_git TREE ARGS...
tree_git() {
    local tree="$1"
    shift
    git -C "$tree" -c gc.auto=0 -c core.autocrlf=false "$@"
}

# A fixed author and date: the same source gives the same commit everywhere.
tree_init() {
    git init -q -b gmem-base-import "$1"
    # Kept in the tree: a background gc during somebody's rebase helps nobody.
    git -C "$1" config gc.auto 0
    git -C "$1" config core.autocrlf false
    git -C "$1" config core.looseCompression 1
    export GIT_AUTHOR_NAME=qemu-gmem GIT_AUTHOR_EMAIL=queue@localhost
    export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
}
