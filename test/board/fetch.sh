#!/bin/bash
# fetch.sh ARCH DIR brings the newest kernel of Debian for a board, unpacked into DIR/k-ARCH: armel has that
# of the Pi Zero, armhf that of boards with a Cortex-A7. What is there is not brought again.
#
# It uses the machine's package sources and a state of apt's own, so that nothing is installed.
set -euo pipefail
arch=$1
mkdir -p "$2"
dir=$(readlink -f "$2")
[ ! -d "$dir/k-$arch" ] || exit 0

state=$dir/apt-$arch
rm -rf "$state"
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
touch "$state/status"
options=(-o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Dir::State="$state" -o Dir::State::status="$state/status"
	-o Dir::Cache="$state/cache" -o APT::Sandbox::User=root)
case $arch in armel) meta=linux-image-rpi ;; *) meta=linux-image-armmp ;; esac

apt-get -qq "${options[@]}" update || true # one index that is out of step does not matter
kernel=$(apt-cache "${options[@]}" depends $meta | sed -n 's/.*Depends: \(linux-image-[^ :]*\).*/\1/p' | head -1)
[ -n "$kernel" ] || { echo "fetch.sh: Debian has no $meta for $arch" >&2; exit 1; }
(cd "$state" && apt-get -qq "${options[@]}" download "$kernel")
dpkg-deb -x "$state"/linux-image-*.deb "$state/unpacked"
mv "$state/unpacked" "$dir/k-$arch"
rm -rf "$state"
