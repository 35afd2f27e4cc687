package compose

import (
	"strconv"
	"strings"

	"resin-supervisor/update/target"
)

// The variables that hold the device's name at creation. They are never compared, so a renamed device keeps its
// containers (docs/spec/engine.md 2.5).
const (
	nameAtInit      = "BALENA_DEVICE_NAME_AT_INIT"
	nameAtInitResin = "RESIN_DEVICE_NAME_AT_INIT"
)

// environment merges the variables of a service (docs/spec/engine.md 2.5). Variables of its features win over its own,
// these over ours, and these over the image's.
func (r *resolver) environment(svc *target.Service, own, image, features map[string]string) map[string]string {
	env := map[string]string{}
	for name, value := range own {
		if name != "" && !strings.ContainsAny(name, "=\x00") {
			env[name] = value
		}
	}
	addMissing(env, r.defaultEnvironment(svc.Name))
	addMissing(env, image)
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
	setBoth(env, "APP_ID", strconv.Itoa(r.app.ID))
	setBoth(env, "APP_UUID", r.uuid)
	setBoth(env, "APP_NAME", r.app.Name)
	setBoth(env, "SERVICE_NAME", service)
	setBoth(env, "DEVICE_UUID", r.facts.UUID)
	setBoth(env, "DEVICE_TYPE", r.facts.DeviceType)
	setBoth(env, "DEVICE_ARCH", r.facts.Arch)
	setBoth(env, "HOST_OS_VERSION", r.facts.OSVersion)
	setBoth(env, "APP_LOCK_PATH", "/tmp/balena/updates.lock")
	return env
}

// setBoth sets a variable with both prefixes, BALENA_ and RESIN_.
func setBoth(env map[string]string, name, value string) {
	env["BALENA_"+name] = value
	env["RESIN_"+name] = value
}

// atCreate holds the variables that are added only at creation.
func atCreate(deviceName string) map[string]string {
	return map[string]string{nameAtInit: deviceName, nameAtInitResin: deviceName}
}

// splitEnv turns an engine's list into a map. It skips entries without =. The last of equal names counts.
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
