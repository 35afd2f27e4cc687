package api

import (
	"strings"
)

// route is one row of the route table.
type route struct {
	method  string
	path    string
	scope   scope
	body    bodyKind
	handler func(*handlers, *call) Answer
}

// bodyKind says how the body is read before the handler runs; limitsOf says what is kept of it.
type bodyKind uint8

const (
	ignored bodyKind = iota // even a malformed body is accepted (docs/spec/device-api.md 1.5)
	parsed                  // a malformed body is an error, even if the handler uses no field
	hostBody
	tagsBody
	targetBody
)

// routes is the API. Any other request is answered with 404. GET rows serve HEAD, too.
var routes = []route{
	{"GET", "/ping", open, ignored, (*handlers).ping},

	{"GET", "/v1/healthy", open, ignored, (*handlers).healthy},
	{"GET", "/v1/device", anyKey, parsed, (*handlers).device},
	{"GET", "/v1/device/host-config", anyKey, parsed, (*handlers).hostConfig},
	{"PATCH", "/v1/device/host-config", anyKey, hostBody, (*handlers).setHostConfig},
	{"POST", "/v1/blink", anyKey, ignored, (*handlers).blink},
	{"POST", "/v1/tcp-ping", anyKey, ignored, (*handlers).enablePing},
	{"DELETE", "/v1/tcp-ping", anyKey, ignored, (*handlers).disablePing},
	{"POST", "/v1/update", anyKey, parsed, (*handlers).update},
	{"POST", "/v1/restart", restartBody, parsed, (*handlers).restartV1},
	{"POST", "/v1/purge", purgeBody, parsed, (*handlers).purgeV1},
	{"POST", "/v1/reboot", anyKey, parsed, (*handlers).reboot},
	{"POST", "/v1/shutdown", anyKey, parsed, (*handlers).shutdown},
	{"GET", "/v1/apps/:appId", readPath, parsed, (*handlers).app},
	{"POST", "/v1/apps/:appId/start", singlePath, parsed, (*handlers).startApp},
	{"POST", "/v1/apps/:appId/stop", singlePath, parsed, (*handlers).stopApp},
	{"POST", "/v1/regenerate-api-key", anyKey, ignored, (*handlers).regenerate},

	{"GET", "/v2/version", anyKey, parsed, (*handlers).version},
	{"GET", "/v2/state/status", anyKey, parsed, (*handlers).stateStatus},
	{"GET", "/v2/applications/state", anyKey, parsed, (*handlers).appsState},
	{"GET", "/v2/applications/:appId/state", statePath, parsed, (*handlers).appState},
	{"POST", "/v2/applications/:appId/restart", appPath, parsed, (*handlers).restart},
	{"POST", "/v2/applications/:appId/purge", appPath, parsed, (*handlers).purge},
	{"POST", "/v2/applications/:appId/restart-service", servicePath, parsed, (*handlers).restartService},
	{"POST", "/v2/applications/:appId/start-service", servicePath, parsed, (*handlers).startService},
	{"POST", "/v2/applications/:appId/stop-service", servicePath, parsed, (*handlers).stopService},
	{"GET", "/v2/containerId", anyKey, parsed, (*handlers).containerID},
	{"GET", "/v2/device/name", anyKey, parsed, (*handlers).deviceName},
	{"GET", "/v2/device/vpn", anyKey, parsed, (*handlers).vpn},
	{"GET", "/v2/device/tags", anyKey, parsed, (*handlers).tags},
	{"PATCH", "/v2/device/tags", anyKey, tagsBody, (*handlers).setTags},
	{"GET", "/v2/cleanup-volumes", changingGet, parsed, (*handlers).cleanUpVolumes},
	{"POST", "/v2/journal-logs", anyKey, parsed, (*handlers).journalLogs},
	{"GET", "/v2/local/logs", anyKey, parsed, (*handlers).localLogs},
	{"GET", "/v2/local/target-state", anyKey, parsed, (*handlers).localTarget},
	{"POST", "/v2/local/target-state", globalKey, targetBody, (*handlers).setLocalTarget},
	{"GET", "/v2/local/device-info", anyKey, parsed, (*handlers).deviceInfo},

	{"GET", "/metrics", anyKey, parsed, (*handlers).metrics},
	{"GET", "/supervisor/v1/status", globalKey, parsed, (*handlers).overview},
}

// find returns the row for a request, nil when there is none, and the raw parameter of its path.
func find(method, path string) (*route, string) {
	if method == "HEAD" {
		method = "GET"
	}
	for i := range routes {
		if routes[i].method != method {
			continue
		}
		if param, ok := match(routes[i].path, path); ok {
			return &routes[i], param
		}
	}
	return nil, ""
}

// allowed lists the methods of a path, comma-separated. It is empty when the path is in no row.
func allowed(path string) string {
	var methods []string
	for _, r := range routes {
		if _, ok := match(r.path, path); !ok {
			continue
		}
		methods = append(methods, r.method)
		if r.method == "GET" {
			methods = append(methods, "HEAD")
		}
	}
	return strings.Join(methods, ",")
}
