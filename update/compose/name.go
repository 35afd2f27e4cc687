package compose

import (
	"strconv"
	"strings"
)

// ContainerName is the engine's name for the container of a service (docs/spec/engine.md 2.5).
func ContainerName(service string, imageID, releaseID int, commit string) string {
	return service + "_" + strconv.Itoa(imageID) + "_" + strconv.Itoa(releaseID) + "_" + commit
}

// ParseContainerName parses a container's name, also with the leading slash of an inspection. Commit is empty on very
// old containers. During a hand-over the service of the old container has the prefix old_. The label
// io.balena.service-name has the real name.
func ParseContainerName(name string) (service string, imageID, releaseID int, commit string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(name, "/"), "_")
	// Ids followed by a commit win over ids at the end of the name, and later ids over earlier ones. Service names may
	// contain underscores and digits, commits do not.
	for _, tail := range [...]int{3, 2} {
		for at := len(parts) - tail; at >= 1; at-- {
			image, imageOK := parseID(parts[at])
			release, releaseOK := parseID(parts[at+1])
			if imageOK && releaseOK {
				return strings.Join(parts[:at], "_"), image, release, strings.Join(parts[at+2:], "_"), true
			}
		}
	}
	return "", 0, 0, "", false
}

// parseID reads an id of the cloud: digits only.
func parseID(s string) (int, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// NetworkName is the engine's name for an app's network (docs/spec/engine.md 3.2). In local mode the app
// id takes the place of the uuid.
func NetworkName(appUUID, name string) string { return appUUID + "_" + name }

// ParseNetworkName finds the app of an engine network. Old names have the app id, and appUUID is then empty. New names
// have the uuid, and appID is then that of the label, 0 without one.
func ParseNetworkName(name string, labels map[string]string) (appID int, appUUID, network string, ok bool) {
	owner, network, found := strings.Cut(name, "_")
	if !found || network == "" {
		return 0, "", "", false
	}
	labelled, hasLabel := parseID(NormaliseLabels(labels)[labelAppID])
	if id, digits := parseID(owner); digits && !hasLabel {
		return id, "", network, true
	}
	// Single-container apps have the uuid user-app, which is not hex. The label then says that it is a uuid.
	if owner == "" || !hasLabel && strings.Trim(owner, "0123456789abcdefABCDEF") != "" {
		return 0, "", "", false
	}
	return labelled, owner, network, true
}

// VolumeName is the engine's name for an app's volume (docs/spec/engine.md 3.1).
func VolumeName(appID int, name string) string { return strconv.Itoa(appID) + "_" + name }

// ParseVolumeName finds the app of an engine volume by its name: digits, underscore, rest. The name alone does not prove
// that the volume is ours (docs/spec/engine.md D15).
func ParseVolumeName(s string) (appID int, name string, ok bool) {
	owner, name, _ := strings.Cut(s, "_")
	appID, ok = parseID(owner)
	if !ok || name == "" {
		return 0, "", false
	}
	return appID, name, true
}

// isName checks a service, volume or network name: [a-zA-Z0-9][a-zA-Z0-9_.-]*.
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return s != ""
}
