#!/bin/bash
# bed.sh COMMAND... runs a command as root in a network and mount namespace of its own, with lo up and
# a /tmp/balena-supervisor of its own, so that container engines started by it touch nothing of the
# machine's network. Whatever it leaves running is ended with it.
#
# Tests use it as `go test -exec build/host/bed.sh`: one bed for each package.
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

if [ "${1:-}" != --inside ]; then
	[ $# -gt 0 ] || { echo "usage: bed.sh COMMAND..." >&2; exit 2; }
	[ "$(id -u)" = 0 ] || { echo "bed.sh: needs root to make namespaces" >&2; exit 1; }
	exec unshare --net --mount --propagation private "$(readlink -f "$0")" --inside "$@"
fi
shift

ip link set lo up
mkdir -p /tmp/balena-supervisor
mount -t tmpfs -o mode=755 bed /tmp/balena-supervisor

# others lists the processes in this network namespace, without this script and the command that
# asks.
others() {
	local own p
	own=$(readlink /proc/self/ns/net)
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		[ "$p" = $$ ] || [ "$p" = "$BASHPID" ] && continue
		[ "$(readlink "/proc/$p/ns/net" 2>/dev/null)" = "$own" ] && echo "$p"
	done
	return 0
}

# sweep ends what the command left behind: engines first and gently, since they end their
# containers; then the rest, with the containers of a shim whose engine is gone.
sweep() {
	local left p name patience=100
	for p in $(others); do
		name=$(cat "/proc/$p/comm" 2>/dev/null) || continue
		[ "$name" != dockerd ] || kill -TERM "$p" 2>/dev/null || true
	done
	while pgrep --ns $$ --nslist net -x dockerd >/dev/null && [ $((patience--)) -gt 0 ]; do
		sleep 0.1
	done
	left=$(others)
	for p in $left; do
		name=$(cat "/proc/$p/comm" 2>/dev/null) || continue
		case $name in containerd-shim*) pkill -KILL -P "$p" || true ;; esac
	done
	[ -z "$left" ] || kill -KILL $left 2>/dev/null || true
}
trap sweep EXIT

set -m # in a group of its own, where it is not deaf to SIGINT
"$@" &
command=$!
set +m
trap 'kill -INT $command' INT
trap 'kill -TERM $command' TERM
trap 'kill -QUIT $command' QUIT # how go test asks a hanging test for its stacks
code=0
while wait $command || code=$?; kill -0 $command 2>/dev/null; do
	code=0 # a signal ended the wait, not the command
done
exit $code
