# Sourced by run.sh: the container engine at $DOCKER_SOCKET. Starts one when none answers, and ends
# only the one it started.
#
# Needs: $DOCKER_SOCKET, $home (a folder of our own), functions say and fail.

engine_home=$home/engine
engine_pid=

# engine METHOD PATH [curl option...] sends one request to the engine.
engine() {
	local method=$1 path=$2
	shift 2
	curl --silent --show-error --fail-with-body --max-time 60 --unix-socket "$DOCKER_SOCKET" \
		--request "$method" "http://engine$path" "$@"
}

engine_answers() { curl --silent --fail --max-time 5 --unix-socket "$DOCKER_SOCKET" http://engine/_ping >/dev/null 2>&1; }

# engine_up starts an engine whose data, firewall rules and processes end with engine_down.
engine_up() {
	local patience=600
	"$host/need.sh" dockerd containerd runc iptables ip
	mkdir -p "$engine_home"
	network_before
	setsid setpriv --pdeathsig TERM dockerd --host "unix://$DOCKER_SOCKET" --log-level warn \
		--data-root "$engine_home/data" --exec-root "$engine_home/run" --pidfile "$engine_home/pid" \
		>"$engine_home/log" 2>&1 9<&- &
	engine_pid=$!
	say "waiting for the engine (dockerd, process $engine_pid) to answer on $DOCKER_SOCKET"
	until engine_answers; do
		if ! kill -0 $engine_pid 2>/dev/null || [ $((patience--)) = 0 ]; then
			tail -n 15 "$engine_home/log" >&2
			fail "the engine did not start; the last lines of its log are above"
		fi
		sleep 0.1
	done
}

# engine_down ends the engine of this or of a killed run and removes what it left on the machine. It
# goes on when a part of it is gone already: call it without set -e.
engine_down() {
	local pid point
	pid=$(cat "$engine_home/pid" 2>/dev/null || echo "$engine_pid")
	if [ -n "$pid" ] && grep -aqF "$engine_home" "/proc/$pid/cmdline" 2>/dev/null; then
		end "$pid" 40
	fi
	for pid in $(pgrep -f -- "$engine_home/run"); do # a containerd or shim that outlived a killed dockerd
		pkill -KILL -P "$pid"
		kill -KILL "$pid" 2>/dev/null
	done
	awk -v under="$engine_home/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r point; do
		umount --lazy "$point"
	done
	rm -rf "$engine_home"
	[ ! -d "$home/network" ] || network_after
	engine_pid=
}

# network_before keeps what network_after needs to take an engine's traces off the network.
network_before() {
	mkdir -p "$home/network"
	iptables --table filter --list-rules >"$home/network/filter"
	iptables --table nat --list-rules >"$home/network/nat"
	links >"$home/network/links"
	cat /proc/sys/net/ipv4/ip_forward >"$home/network/forwarding"
}

# network_after removes the bridges, rules and chains that an engine which has ended added since
# network_before, and sets forwarding back.
network_after() {
	local table link rule marks='DOCKER|docker0|supervisor0|br-[0-9a-f]{12}' before=$home/network
	for table in filter nat; do
		iptables --table $table --list-rules | grep -Fxv -f "$before/$table" | grep -E "$marks" >"$before/added"
		sed -n 's/^-A/-D/p' "$before/added" | while read -r rule; do iptables --table $table $rule; done
		sed -n 's/^-N/-X/p' "$before/added" | while read -r rule; do iptables --table $table $rule; done
	done
	links | grep -Fxv -f "$before/links" | grep -Ex "$marks" | while read -r link; do
		ip link delete "$link"
	done
	iptables $(grep '^-P FORWARD' "$before/filter")
	cat "$before/forwarding" >/proc/sys/net/ipv4/ip_forward
	rm -rf "$before"
}

links() { ip -oneline link show | sed 's/^[0-9]*: \([^:@]*\).*/\1/'; }

# end PROCESS SECONDS asks a process to end, and after some seconds makes it.
end() {
	local patience=$(($2 * 10))
	kill -TERM "$1" 2>/dev/null || return 0
	while kill -0 "$1" 2>/dev/null; do
		if [ $((patience--)) = 0 ]; then
			kill -KILL "$1" 2>/dev/null || true
			return 0
		fi
		sleep 0.1
	done
}
