// Package target is the model of the target state: what the device must run. It is the only package that reads it from
// JSON: the cloud's v3 document, the v2 document of local mode, and the preload file. It is pure: no I/O, no clock.
package target

// State is a decoded target state of this device (docs/spec/cloud.md 3.5).
type State struct {
	Name   string            // device name, may be empty
	Config map[string]string // configuration variables with their prefixes
	Apps   map[string]*App   // by app uuid
}

// UnknownID is the id of an app that could not be read, except for its key.
const UnknownID = -1

// App is one app of the target state. Its Release is nil when there is nothing to run.
type App struct {
	UUID    string
	ID      int
	Name    string
	Class   string // fleet, app or block
	IsHost  bool
	Release *Release
	// Rejected is the reason why the app cannot be applied (bad definition, unmet contract), empty when it can. The
	// planner never changes a rejected app, so its containers stay.
	Rejected string
}

// Release is the release of an app that should run.
type Release struct {
	Commit   string
	ID       int
	Services map[string]*Service // by service name
	Agent    *Service            // the agent itself, which it does not start; nil in other apps
	Volumes  map[string]Map      // by compose volume name
	Networks map[string]Map      // by compose network name
}

// Service is one service of a release. Composition is the free-form compose map, which only package compose checks.
type Service struct {
	Name        string
	ID          int
	ImageID     int
	Image       string // normalised reference (docs/spec/engine.md 8.1)
	Running     bool
	Environment map[string]string
	Labels      map[string]string
	Composition Map
	Contract    Map
}

// Map is a free-form JSON object with values of string, float64, bool, nil, []any or map[string]any. It is an alias, so
// that decoders and compose need no conversion.
type Map = map[string]any
