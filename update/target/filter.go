package target

import "maps"

// removeForeignServices removes the services that the agent must not run: parts of the host OS, and the agent itself
// (docs/spec/cloud.md 3.5).
func removeForeignServices(app *App) {
	if app.Release == nil {
		return
	}
	supervisor := isSupervisorApp(app.UUID)
	maps.DeleteFunc(app.Release.Services, func(name string, s *Service) bool {
		if supervisor && isAgent(name) {
			app.Release.Agent = s
			return true
		}
		return app.IsHost && !isDataService(s)
	})
}

// isDataService reports whether the agent runs a service of a host app.
func isDataService(s *Service) bool {
	class, hasClass := label(s, "image.class")
	store, hasStore := label(s, "image.store")
	return (!hasClass || class == "service") && (!hasStore || store == "data")
}

// label reads a label with its current or its old prefix.
func label(s *Service, name string) (value string, found bool) {
	if value, found = s.Labels["io.balena."+name]; found {
		return value, true
	}
	value, found = s.Labels["io.resin."+name]
	return value, found
}

// isSupervisorApp reports whether a uuid is one of the apps with the agent itself, one for each architecture.
func isSupervisorApp(uuid string) bool {
	switch uuid {
	case "52e35121417640b1b28a680504e4039b", // amd64
		"900de4f3cbac4b9bbd232885a35e407b", // aarch64
		"2e66a95795c149959c69472a8c2f92b8", // armv7hf
		"531b357e155c480cbec0fdd33041a1f5", // i386
		"6822565f766e413e96d9bebe2227cdcc": // rpi
		return true
	}
	return false
}

func isAgent(service string) bool {
	return service == "main" || service == "balena-supervisor" || service == "core"
}
