#!/bin/sh
# Prints what the linker stamps into the program (see build/version): VERSION when it is set, else
# what git says of this tree, else nothing.
set -eu
cd "$(dirname "$0")/../.."
if [ -n "${VERSION:-}" ]; then
	number='(0|[1-9][0-9]*)'
	word='[0-9A-Za-z-]+'
	if ! printf '%s\n' "$VERSION" | grep -Eqx "v?$number\.$number\.$number(-$word(\.$word)*)?(\+$word(\.$word)*)?"; then
		echo "VERSION=$VERSION is not a version such as 20.1.0 or 20.1.0-rc.1" >&2
		exit 1
	fi
	printf '%s\n' "$VERSION"
	exit 0
fi
# A tree that was unpacked inside another project's checkout must not take that project's version.
[ -e .git ] || exit 0
git describe --tags --always --dirty --abbrev=7 --match 'v[0-9]*' 2>/dev/null || true
