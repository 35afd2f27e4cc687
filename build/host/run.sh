#!/bin/bash
# Runs the supervisor on this machine with a demo app on it: what `make run` does. It needs root and
# dist/resin-supervisor. Ctrl-C takes away everything it started.
#
# The supervisor's own files are in a folder of this script, and it finds no system bus, so that an
# API call such as reboot cannot reach the machine.
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

host=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$host/../..")
home=/var/lib/resin-supervisor-demo # of this script alone: what is found in it is left from a killed run
export DOCKER_SOCKET=${DOCKER_SOCKET:-/var/run/docker.sock}

image=resin-supervisor-demo:latest
app=1
app_uuid=de30de30de30de30de30de30de30de30
supervisor=$top/dist/resin-supervisor
supervisor_pid=

say() { printf '==> %s\n' "$*"; }
fail() {
	printf 'make run: %s\n' "$*" >&2
	exit 1
}

. "$host/engine.sh"

# supervised KIND lists the engine's supervised objects of a kind: containers, networks or volumes.
supervised() {
	local path=/$1 filter='{"label":["io.balena.supervised"]}'
	[ "$1" != containers ] || path=/containers/json
	engine GET "$path" --get --data-urlencode "filters=$filter" --data all=1 |
		jq --raw-output 'if type == "object" then (.Volumes // [])[].Name else .[].Id end'
}

# remove_app takes everything that the demo's supervisor made off the engine.
remove_app() {
	local id
	for id in $(supervised containers); do engine DELETE "/containers/$id?force=1&v=1" >/dev/null; done
	for id in $(supervised networks); do engine DELETE "/networks/$id" >/dev/null; done
	for id in $(supervised volumes); do engine DELETE "/volumes/$id?force=1" >/dev/null; done
	[ -e "$home/network-was-there" ] || engine DELETE /networks/supervisor0 >/dev/null 2>&1
	engine DELETE "/images/$image?force=1" >/dev/null 2>&1
}

# remove_firewall takes away the rules by which the supervisor says who reaches its API.
remove_firewall() {
	local family
	for family in iptables ip6tables; do
		$family --delete INPUT --jump BALENA-FIREWALL
		$family --flush BALENA-FIREWALL
		$family --delete-chain BALENA-FIREWALL
	done 2>/dev/null
}

# clean undoes this run, or one that was killed: it goes by what is in $home, and on when a part of it
# is gone already.
clean() (
	set +e
	if [ -n "$supervisor_pid" ]; then
		say "stopping the supervisor"
		end "$supervisor_pid" 15
	fi
	DOCKER_SOCKET=$(cat "$home/used-engine" 2>/dev/null)
	# An engine of a killed run is ending, and goes with all it holds: whoever answers now is another.
	if [ -n "$DOCKER_SOCKET" ] && { [ ! -d "$engine_home" ] || [ -n "$engine_pid" ]; } && engine_answers; then
		say "removing the demo app, its networks and its image"
		remove_app
	fi
	if [ -d "$engine_home" ]; then
		say "stopping the engine that was started for the demo"
		engine_down
	fi
	[ ! -e "$home/firewall-was-not-there" ] || remove_firewall
	if [ -n "$DOCKER_SOCKET" ]; then
		rm -rf "/tmp/balena-supervisor/services/$app"
		[ -e "$home/locks-were-there" ] || rm -rf /tmp/balena-supervisor
	fi
	rm -rf "${home:?}"/*
)

# free PORT prints the first free TCP port from PORT on.
free() {
	local port=$1
	while [ -n "$(ss --no-header --listening --tcp --numeric "sport = :$port")" ]; do
		port=$((port + 1))
		[ $port -lt $(($1 + 100)) ] || fail "ports $1 to $port are all taken"
	done
	echo $port
}

# wait_for WHAT COMMAND... waits up to a minute until a command succeeds, and gives up at once when
# the supervisor has ended.
wait_for() {
	local what=$1 patience=300
	shift
	say "waiting for $what"
	until "$@" >/dev/null 2>&1; do
		kill -0 "$supervisor_pid" 2>/dev/null || give_up "the supervisor ended while waiting for $what"
		[ $((patience--)) -gt 0 ] || give_up "$what did not come within a minute"
		sleep 0.2
	done
}

give_up() {
	tail -n 20 "$home/supervisor.log" >&2
	fail "$1; the last lines of the supervisor's log are above"
}

get() { curl --silent --show-error --fail --max-time 5 "$@"; }

# The program starts here.
[ "$(id -u)" = 0 ] || fail "needs root: it starts a container engine (try: sudo make run)"
[ -x "$supervisor" ] || fail "$supervisor is not built (make build)"
"$host/need.sh" curl jq ss flock setpriv pgrep

mkdir -p -m 700 "$home"
exec 9<"$home"
flock --nonblock 9 || fail "another make run is at work on this machine"
trap 'trap "" INT TERM HUP; clean; rmdir "$home" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -n "$(ls -A "$home")" ]; then
	say "cleaning up after an earlier run that was killed"
	clean
fi

if engine_answers; then
	say "using the engine that answers on $DOCKER_SOCKET"
	for kind in containers networks volumes; do
		found=$(supervised $kind)
		[ -z "$found" ] || fail "this engine has $kind of another supervisor, which the demo would remove: $(echo $found)"
	done
	if engine GET /networks/supervisor0 >/dev/null 2>&1; then touch "$home/network-was-there"; fi
else
	say "no engine answers on $DOCKER_SOCKET: starting one"
	engine_up
fi
[ ! -e /tmp/balena-supervisor ] || touch "$home/locks-were-there"
iptables --list-rules BALENA-FIREWALL >/dev/null 2>&1 || touch "$home/firewall-was-not-there"
echo "$DOCKER_SOCKET" >"$home/used-engine"

say "making the demo app's image"
go=$("$host/go.sh")
mkdir -p "$home/demo"
(cd "$top" && export GOTOOLCHAIN=local CGO_ENABLED=0 &&
	"$go" build -trimpath -ldflags '-s -w' -o "$home/demo/demo" ./build/demo &&
	"$go" run ./build/image -o "$home/demo/image.tar" -platform "$("$go" env GOARCH)" -tag $image "$home/demo/demo")
engine POST /images/load --header 'Content-Type: application/x-tar' --data-binary "@$home/demo/image.tar" >/dev/null ||
	fail "the engine did not take the image"

api_port=$(free 48484)
page_port=$(free 8080)
mkdir -p "$home"/{boot,data,state,own,vpn}
echo "{\"listenPort\":$api_port}" >"$home/boot/config.json"
cat >"$home/data/apps.json" <<END
{"apps": {"$app_uuid": {"id": $app, "name": "demo", "class": "fleet", "releases": {"0000000000000000000000000000d001": {"id": 1,
  "services": {"page": {"id": 1, "image_id": 1, "image": "$image", "environment": {},
    "labels": {"io.balena.features.supervisor-api": "1"},
    "composition": {"ports": ["$page_port:80"], "restart": "always"}}}}}}}}
END
export LISTEN_PORT=$api_port ROOT_MOUNTPOINT=/ BOOT_MOUNTPOINT=$home/boot CONFIG_MOUNT_POINT=$home/boot/config.json \
	STATE_MOUNTPOINT=$home/state DATA_MOUNTPOINT=$home/data SUPERVISOR_STATE_DIR=$home/own HOST_OS_VERSION_PATH=/etc/os-release \
	VPN_STATUS_PATH=$home/vpn LED_FILE=$home/led DBUS_SYSTEM_BUS_ADDRESS=unix:path=$home/no-bus

say "starting the supervisor, $("$supervisor" version)"
setsid setpriv --pdeathsig TERM "$supervisor" >"$home/supervisor.log" 2>&1 9<&- &
supervisor_pid=$!
wait_for "the device API on port $api_port" get "http://127.0.0.1:$api_port/ping"
wait_for "the demo app on port $page_port" get "http://127.0.0.1:$page_port/"
key=$("$supervisor" api-key)

cat <<END

  The demo app        http://127.0.0.1:$page_port/
  Ask the supervisor  curl -H 'Authorization: Bearer $key' http://127.0.0.1:$api_port/v1/device
  Its log             tail -f $home/supervisor.log

  Ctrl-C stops it all and removes what it made.

END
code=0
wait "$supervisor_pid" || code=$?
give_up "the supervisor ended by itself with code $code"
