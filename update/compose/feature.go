package compose

import (
	"strconv"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// ExtraFirmwareVolume is the volume that the feature extra-firmware mounts. It belongs to the device and to no app, so
// its name has no prefix (docs/spec/engine.md 3.1).
const ExtraFirmwareVolume = "extra-firmware"

// engineSocketInside is the path of the engine's socket in a container with the feature balena-socket.
const engineSocketInside = "/host/run/balena-engine.sock"

const defaultListenPort = 48484

// extras is what the feature labels of a service add to its container (docs/spec/engine.md 2.6).
type extras struct {
	binds   []string
	mounts  []doc.Mount
	devices []doc.DeviceRequest
	env     map[string]string
}

func (r *resolver) features(service string, labels map[string]string, hostMode bool) extras {
	on := func(name string) bool { return target.Truthy(labels[featurePrefix+name]) }
	x := extras{env: map[string]string{}}
	bindIf := func(condition bool, binds ...string) {
		if condition {
			x.binds = append(x.binds, binds...)
		}
	}
	bindIf(on("dbus"), "/run/dbus:/host/run/dbus")
	bindIf(on("kernel-modules") && r.facts.KernelModules, "/lib/modules:/lib/modules")
	bindIf(on("firmware") && r.facts.Firmware, "/lib/firmware:/lib/firmware")
	bindIf(on("journal-logs"), "/var/log/journal:/var/log/journal:ro",
		"/run/log/journal:/run/log/journal:ro", "/etc/machine-id:/etc/machine-id:ro")
	bindIf(on("procfs"), "/proc:/proc")
	bindIf(on("sysfs"), "/sys:/sys")
	if on("balena-socket") {
		x.addEngineSocket(r.facts.EngineSocket)
	}
	if on("supervisor-api") {
		r.addSupervisorAPI(x.env, service, hostMode)
	}
	if on("balena-api") {
		setBoth(x.env, "API_KEY", r.facts.DeviceAPIKey)
		setBoth(x.env, "API_URL", r.facts.APIEndpoint)
	}
	if on("gpu") {
		x.devices = append(x.devices, doc.DeviceRequest{Count: 1, Capabilities: [][]string{{"gpu"}}})
	}
	if on("host-os.board-rev") && r.facts.BoardRev != "" {
		setBoth(x.env, "HOST_OS_BOARD_REV", r.facts.BoardRev)
		setBoth(x.env, "HOST_OS_BUILD", r.facts.BoardRev)
	}
	if on("extra-firmware") {
		x.mounts = append(x.mounts, doc.Mount{Type: "volume", Source: ExtraFirmwareVolume, Target: "/extra-firmware"})
	}
	return x
}

// UsesExtraFirmware reports whether the service mounts the volume of extra firmware.
func (s *Service) UsesExtraFirmware() bool {
	for _, m := range s.Container.Doc.HostConfig.Mounts {
		if m.Type == "volume" && m.Source == ExtraFirmwareVolume {
			return true
		}
	}
	return false
}

func usesSupervisorAPI(labels map[string]string) bool {
	return target.Truthy(labels[featurePrefix+"supervisor-api"])
}

func (x *extras) addEngineSocket(socket string) {
	if socket == "" {
		socket = "/var/run/docker.sock"
	}
	targets := []string{engineSocketInside, socket, "/var/run/balena.sock"}
	for _, inside := range sortedSet(targets) {
		x.mounts = append(x.mounts, doc.Mount{Type: "bind", Source: socket, Target: inside})
	}
	x.env["DOCKER_HOST"] = "unix://" + engineSocketInside
}

func (r *resolver) addSupervisorAPI(env map[string]string, service string, hostMode bool) {
	host, port := r.facts.Gateway, r.facts.ListenPort
	if hostMode || host == "" {
		host = "127.0.0.1"
	}
	if port == 0 {
		port = defaultListenPort
	}
	key := ""
	if r.facts.ServiceKey != nil {
		key = r.facts.ServiceKey(r.app.ID, service)
	}
	setBoth(env, "SUPERVISOR_API_KEY", key)
	setBoth(env, "SUPERVISOR_HOST", host)
	setBoth(env, "SUPERVISOR_PORT", strconv.Itoa(port))
	setBoth(env, "SUPERVISOR_ADDRESS", "http://"+host+":"+strconv.Itoa(port))
}
