// Package compose turns the services, networks and volumes of a target release into canonical engine documents. It
// reads engine objects back into the same form, and compares the two field by field (docs/spec/engine.md sections 2 to
// 4). It is pure: no I/O, no clock.
package compose

import (
	"time"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// Facts is what the device contributes to every container (docs/spec/engine.md 2.5 and 2.6).
type Facts struct {
	UUID          string // device uuid
	DeviceName    string
	DeviceType    string
	Arch          string
	OSVersion     string // os-release PRETTY_NAME
	BoardRev      string // os-release BALENA_BOARD_REV or RESIN_BOARD_REV, empty when absent
	Hostname      string // of the device, for services in host network mode
	APIEndpoint   string // cloud API origin
	DeviceAPIKey  string
	ListenPort    int    // of the device API
	Gateway       string // of network supervisor0
	EngineSocket  string // path of the engine's socket on the host
	KernelModules bool   // /lib/modules exists on the host
	Firmware      bool   // /lib/firmware exists on the host
	// Strategy and HandoverTimeout (milliseconds) are the device's configuration for services without these labels,
	// empty when it has none.
	Strategy        string
	HandoverTimeout string
	// ServiceKey returns the device API key of a service that uses the API.
	ServiceKey func(appID int, service string) string
}

// App is a target app, resolved to the documents for the engine.
type App struct {
	ID       int
	UUID     string
	Name     string
	Class    string
	IsHost   bool
	Source   *target.App
	Rejected string // why the app must not be touched, empty when it may
	Commit   string // empty when the target has no release for the app
	Release  int
	Services map[string]*Service // by service name
	Strategy Strategy            // of services that name none, and of services that left the target
	Networks map[string]*Network // by engine network name
	Volumes  map[string]*Volume  // by engine volume name
	Warnings []string            // ignored parts of the composition, one line each
}

// Service is one resolved target service.
type Service struct {
	Name            string
	ID              int
	ImageID         int
	Image           string // normalised registry reference
	Running         bool
	DependsOn       []Dependency
	Strategy        Strategy
	HandoverTimeout time.Duration
	RequiresReboot  bool
	RollbackTimeout time.Duration // 0: no health gate
	// PeerOf names the service whose network namespace this one uses (network_mode: service:x).
	PeerOf string
	// Container is the container to create. When ImageKnown is set, its Image is the engine's image id. Else it is
	// the registry reference, and the defaults of the image are missing.
	Container  *Container
	ImageKnown bool
	// AtCreate holds variables that a container gets at creation and that are never compared (the device name,
	// docs/spec/engine.md 2.5).
	AtCreate map[string]string
}

// Dependency is one depends_on entry.
type Dependency struct {
	Service   string
	Condition Condition
	Optional  bool // required: false
}

// Condition says when a dependency is met.
type Condition string

// The depends_on conditions.
const (
	Started   Condition = "service_started"
	Healthy   Condition = "service_healthy"
	Completed Condition = "service_completed_successfully"
)

// Strategy says how a service is replaced (docs/spec/engine.md 6).
type Strategy string

// The update strategies; anything else counts as DownloadThenKill.
const (
	DownloadThenKill   Strategy = "download-then-kill"
	KillThenDownload   Strategy = "kill-then-download"
	DeleteThenDownload Strategy = "delete-then-download"
	HandOver           Strategy = "hand-over"
)

// Container is a container's configuration in canonical form. Sets are sorted and have no duplicates. Missing, null,
// zero and default values are the same. Labels have balena names. Two containers that behave alike have equal forms.
type Container struct {
	// Doc is the create document without its secondary networks and without AtCreate variables.
	Doc doc.Create
	// Networks holds all networks of the container, by engine network name.
	Networks map[string]doc.Endpoint
}

// Network is a network in canonical form; Name is the engine's name for it.
type Network struct {
	Name string
	Doc  doc.NetworkCreate
}

// Volume is a volume in canonical form; Name is the engine's name for it.
type Volume struct {
	Name string
	Doc  doc.VolumeCreate
}

// Difference is one field in which a target and an engine object differ, for people. It hides values that may be
// secrets: those of environment, labels, driver options and commands (docs/spec/engine.md 4.2).
type Difference struct {
	Field string
	Have  string // empty where the values are hidden
	Want  string // added, removed or changed where they are hidden
	hash  uint64 // of the field and both values, which Have and Want may cut or hide
}

// String is the difference as one phrase: "shm_size: 64 -> 128", "environment MODE changed".
func (d Difference) String() string {
	if d.Have == "" {
		return d.Field + " " + d.Want
	}
	return d.Field + ": " + d.Have + " -> " + d.Want
}
