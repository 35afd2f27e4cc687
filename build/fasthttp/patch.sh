#!/bin/sh
# patch.sh GO DIRECTORY makes a copy of fasthttp in DIRECTORY that does without net/http and without a gzip
# of its own, and prints the name of a go.mod that names it, for go build -modfile.
#
# Of net/http fasthttp needs two functions: one that reads dates, and one that guesses the type of a file
# for a file server that we do not have. For them all of net/http is linked, and set up at every start.
# Two lines of two files change. Where they are not found as expected, as after an update of fasthttp, this
# fails. The gzip of the standard library has the same names, and is linked anyhow. A plain `go build`
# works without all this, and makes a larger program.
set -eu
go=$1 to=$2
cd "$(dirname "$0")/../.."
from=$(cd / && GOFLAGS='' "$go" -C "$OLDPWD" mod download -json github.com/valyala/fasthttp | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -n "$from" ] || { echo "patch.sh: fasthttp is not to be had" >&2; exit 1; }

stamp="$from $(sha256sum go.mod go.sum build/fasthttp/patch.sh | sha256sum)"
if [ "$(cat "$to/stamp" 2>/dev/null)" != "$stamp" ]; then
	rm -rf "$to"
	mkdir -p "$to"
	(cd "$from" && find . -name '*.go' ! -name '*_test.go' ! -path './examples/*' ! -path './fasthttpadaptor/*' -print0 |
		xargs -0 cp --parents --no-preserve=mode -t "$OLDPWD/$to" go.mod LICENSE)

	# change FILE IN OUT changes every line that says IN, and drops the import of net/http.
	change() {
		grep -qF "$2" "$from/$1" || { echo "patch.sh: $1 of fasthttp does not say $2 any more" >&2; exit 1; }
		sed -e '/^\t"net\/http"$/d' -e "s|$2|$3|" "$from/$1" >"$to/$1"
	}
	change bytesconv.go 'http.ParseTime(b2s(date))' 'time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", b2s(date))'
	change fs.go 'contentType = http.DetectContentType(data)' 'contentType, _ = "application/octet-stream", data'
	for file in compress.go fs.go; do
		sed -i 's#"github.com/klauspost/compress/\(flate\|gzip\|zlib\)"#"compress/\1"#' "$to/$file"
	done
	! grep -rl '^\t"net/http"$' "$to" --include='*.go' || { echo "patch.sh: fasthttp uses more of net/http" >&2; exit 1; }

	{ cat go.mod; echo "replace github.com/valyala/fasthttp => ./$to"; } >"$to/product.mod"
	cp go.sum "$to/product.sum"
	echo "$stamp" >"$to/stamp"
fi
echo "$to/product.mod"
