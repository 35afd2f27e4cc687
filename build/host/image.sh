#!/bin/sh
# image.sh GO ARCH FILE packs dist/resin-supervisor-linux-ARCH into the image FILE of a release. It has the
# time of the commit, so that the same commit gives the same image.
set -eu
go=$1 arch=$2 file=$3
program=dist/resin-supervisor-linux-$arch
version=$(dist/resin-supervisor version | awk '{ print $NF; exit }')
created=$(git log -1 --format=%ct 2>/dev/null || echo 0)
case $arch in armv*) platform=arm/${arch#arm} ;; *) platform=$arch ;; esac
exec "$go" run ./build/image -o "$file" -platform "$platform" -tag "resin-supervisor:$(echo "$version" | tr + _)" \
	-version "$version" -created "$created" -healthcheck '/resin-supervisor healthcheck' "$program"
