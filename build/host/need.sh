#!/bin/sh
# need.sh PROGRAM... makes sure that programs are there: installs the Debian packages of those that
# are missing when run as root, else prints the line that installs them and fails.
#
# Services that come with a package are not started: what needs one starts its own.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# package prints the Debian package of a program.
package() {
	case $1 in
	dockerd) echo docker.io ;;
	busybox) echo busybox-static ;;
	qemu-arm-static | qemu-aarch64-static) echo qemu-user-static ;;
	dbus-daemon) echo dbus-daemon ;;
	xz) echo xz-utils ;;
	ip | ss) echo iproute2 ;;
	pgrep | pkill) echo procps ;;
	mkfs.ext4) echo e2fsprogs ;;
	mkfs.vfat) echo dosfstools ;;
	mcopy) echo mtools ;;
	gcc) echo gcc libc6-dev ;;
	journalctl) echo systemd ;;
	tinyproxy) echo tinyproxy-bin ;;
	unshare | nsenter | flock | setpriv) echo util-linux ;;
	# A trust store for the engine's and the agent's TLS, not a program: its bundle is looked for.
	ca-certificates) echo ca-certificates ;;
	*) echo "$1" ;;
	esac
}

there() {
	case $1 in
	ca-certificates) [ -s /etc/ssl/certs/ca-certificates.crt ] ;;
	gcc) command -v gcc >/dev/null && [ -e /usr/include/stdlib.h ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=
for program; do
	there "$program" || missing="$missing $(package "$program")"
done
[ -n "$missing" ] || exit 0

line="apt-get install --yes --no-install-recommends$missing"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing:$missing. On Debian, as root: $line" >&2
	exit 1
fi

# While packages are unpacked, a policy file tells them not to start their services.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
	trap 'exit 1' HUP INT TERM
fi
log=$(mktemp)
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
if ! { $line || { apt-get update && $line; }; } </dev/null >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	rm -f "$log"
	echo "could not install:$missing. The command was: $line" >&2
	exit 1
fi
rm -f "$log"
