package compose

import (
	"strconv"
	"strings"

	"resin-supervisor/update/target"
)

// The variables that hold the device's name at creation. They never take part in a comparison: a
// renamed device keeps its containers (docs/spec/engine.md 2.5).
const (
	nameAtInit      = "BALENA_DEVICE_NAME_AT_INIT"
	nameAtInitResin = "RESIN_DEVICE_NAME_AT_INIT"
)

// environment is what a service gets: its own variables, ours where it has none, the image's where
// neither has, and what its features bring above all (docs/spec/engine.md 2.5).
func (r *resolver) environment(svc *target.Service, own, image, features map[string]string) map[string]string {
	env := map[string]string{}
	for name, value := range own {
		if name != "" && !strings.ContainsAny(name, "=\x00") {
			env[name] = value
		}
	}
	fill(env, r.defaultEnvironment(svc.Name))
	fill(env, image)
	if _, set := env["DOCKER_HOST"]; set {
		delete(features, "DOCKER_HOST")
	}
	overlay(env, features)
	delete(env, nameAtInit)
	delete(env, nameAtInitResin)
	return env
}

func (r *resolver) defaultEnvironment(service string) map[string]string {
	env := map[string]string{
		"BALENA":                                "1",
		"RESIN":                                 "1",
		"USER":                                  "root",
		"BALENA_SERVICE_HANDOVER_COMPLETE_PATH": "/tmp/balena/handover-complete",
		"RESIN_SERVICE_KILL_ME_PATH":            "/tmp/balena/handover-complete",
	}
	twins(env, "APP_ID", strconv.Itoa(r.app.ID))
	twins(env, "APP_UUID", r.uuid)
	twins(env, "APP_NAME", r.app.Name)
	twins(env, "SERVICE_NAME", service)
	twins(env, "DEVICE_UUID", r.facts.UUID)
	twins(env, "DEVICE_TYPE", r.facts.DeviceType)
	twins(env, "DEVICE_ARCH", r.facts.Arch)
	twins(env, "HOST_OS_VERSION", r.facts.OSVersion)
	twins(env, "APP_LOCK_PATH", "/tmp/balena/updates.lock")
	return env
}

// twins sets a variable under both of the product's names.
func twins(env map[string]string, name, value string) {
	env["BALENA_"+name] = value
	env["RESIN_"+name] = value
}

// atCreate is the environment that only creation adds.
func atCreate(deviceName string) map[string]string {
	return map[string]string{nameAtInit: deviceName, nameAtInitResin: deviceName}
}

// splitEnv turns an engine's list into a map; entries without = are skipped, the last of equal names
// counts.
func splitEnv(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, entry := range list {
		if name, value, found := strings.Cut(entry, "="); found && name != "" {
			env[name] = value
		}
	}
	return env
}

// joinEnv is the inverse of splitEnv, in name order.
func joinEnv(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, name := range sortedKeys(env) {
		out = append(out, name+"="+env[name])
	}
	return out
}
