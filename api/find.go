package api

import (
	"slices"

	"resin-supervisor/update/view"
)

// How the endpoints choose an app or a container.

// isFleet tells whether a is an app of the user's fleet.
func isFleet(a *view.App) bool { return a.Class == "fleet" && !a.IsHost }

// mainApp is the app that device-wide answers show, among those that fit (docs/spec/device-api.md A18): a fleet app
// before other apps, then an app of the target before one that is being removed, then the smallest id. It is nil
// when no app fits.
func mainApp(state *view.State, fits func(*view.App) bool) *view.App {
	var best *view.App
	for i := range state.Apps {
		a := &state.Apps[i]
		if fits(a) && (best == nil || rank(a) > rank(best)) {
			best = a
		}
	}
	return best
}

func rank(a *view.App) int {
	r := 0
	if isFleet(a) {
		r += 2
	}
	if a.InTarget {
		r++
	}
	return r
}

// appByID is the app with an id, nil when the device has no such app.
func appByID(state *view.State, id int) *view.App {
	for i := range state.Apps {
		if state.Apps[i].ID == id {
			return &state.Apps[i]
		}
	}
	return nil
}

// serviceCount is how many services of a have containers. The two containers of a hand-over count once.
func serviceCount(a *view.App) int {
	seen := map[string]bool{}
	for _, c := range a.Containers {
		seen[c.ServiceName] = true
	}
	return len(seen)
}

// newest is the container of a that was created last, among those that fit; nil when none does.
func newest(a *view.App, fits func(*view.Container) bool) *view.Container {
	var best *view.Container
	for i := range a.Containers {
		c := &a.Containers[i]
		if fits(c) && (best == nil || c.CreatedAt.After(best.CreatedAt)) {
			best = c
		}
	}
	return best
}

func ofService(name string) func(*view.Container) bool {
	return func(c *view.Container) bool { return c.ServiceName == name }
}

func anyContainer(*view.Container) bool { return true }

// inTarget tells whether the target release of a has the service of c.
func inTarget(a *view.App, c *view.Container) bool {
	return slices.ContainsFunc(a.Services, func(s view.Service) bool {
		return s.Name == c.ServiceName || s.ImageID != 0 && s.ImageID == c.ImageID
	})
}

// isInstalled tells whether a has a container, or an image that is on the device or being downloaded.
func isInstalled(a *view.App) bool { return len(a.Containers)+len(a.Images) > 0 }
