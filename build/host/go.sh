#!/bin/sh
# Prints the path of a Go that can build this tree: one on the PATH or in the place where Go's own
# installer puts it. Says what is missing otherwise. Downloads nothing.
set -eu
cd "$(dirname "$0")/../.."
want=$(sed -n 's/^go //p' go.mod)
seen=

# atLeast reports whether version $1 is $2 or newer.
atLeast() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
	[ -n "$go" ] && [ -x "$go" ] || continue
	case $seen in *" $go "*) continue ;; esac
	have=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null | sed 's/^go//; s/[ -].*//') || continue
	[ -n "$have" ] || continue
	if atLeast "$have" "$want"; then
		echo "$go"
		exit 0
	fi
	seen="$seen $go is Go $have."
done
{
	echo "resin-supervisor needs Go $want or newer to build.${seen:-" No Go was found on the PATH or in /usr/local/go."}"
	echo "Debian 12 packages Go 1.19, which is too old: install the archive from https://go.dev/dl/ in /usr/local/go."
} >&2
exit 1
