// Package current is the model of the current state, what exists on the engine and what the agent
// is doing to it, with the pure functions that fold observations into it. A State is immutable once
// published: every change makes a new one that shares the untouched parts.
package current

import (
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine/doc"
)

// State is everything known of the engine and of running work at one instant.
type State struct {
	Revision      uint64                // grows with every change
	ImageRevision uint64                // grows when Images or Records change
	Synced        bool                  // all objects were listed since the engine was last (re)connected
	Listed        bool                  // they were listed at least once; what is here may be old while Synced is false
	Machine       string                // what the engine runs on, as uname says it: x86_64, aarch64, armv7l ...
	Deltas        bool                  // the engine can make an image from a delta: balenaEngine (docs/spec/engine.md 8.5)
	NoOomKill     bool                  // the engine cannot honour oom_kill_disable (docs/spec/engine.md D26)
	Containers    map[string]*Container // supervised ones, by engine id
	Images        map[string]*Image     // all images of the engine, by engine id
	Networks      map[string]*Network   // supervised ones and supervisor0, by engine id
	Volumes       map[string]*Volume    // named like ours, by engine name
	Records       map[string]Record     // images the agent owns, by Record.Key
	Commits       map[string]string     // last fully applied release, by app uuid
	Pulls         map[string]Pull       // running downloads, by image reference
	Doing         map[string]Doing      // running container work, by engine id or Slot
	Deleting      map[string]bool       // image references being removed
	Restarts      map[string]int        // how often containers that had run were started again, by Slot
	Anonymous     map[string]Anonymous  // anonymous volumes that the agent has to remove one day, by engine name
	Stops         map[string]Stop       // stops that the agent asked the engine for, by engine id of the container

	// Altered is what the engine made otherwise of objects than it was asked to, by engine id, of volumes by
	// name. It is durable.
	Altered map[string]compose.Altered
}

// Anonymous is an anonymous volume that was to outlive its container, for the next one of the same service and
// image. The engine does not remove it any more: it counts as named from then on. It is durable.
type Anonymous struct {
	AppID   int    `json:"appId"`
	Service string `json:"service"`
	Path    string `json:"path"`
	Image   string `json:"image"` // engine id
}

// Stop is a stop of a container that the agent asked the engine for. It is durable, and it is about one
// run only: once somebody starts the container again it says nothing (docs/spec/engine.md 5.5).
type Stop struct {
	Run  time.Time `json:"run"`            // Container.StartedAt
	User bool      `json:"user,omitempty"` // a user asked for it, not an update
	// Replaced says that the container was to be removed next, for another one.
	Replaced bool   `json:"replaced,omitempty"`
	Boot     string `json:"boot"` // the kernel's name for the boot
}

// Container is one supervised container.
type Container struct {
	ID          string
	Name        string // without slash
	AppID       int
	AppUUID     string // empty on very old containers
	ServiceName string
	ServiceID   int
	ImageID     int
	ReleaseID   int
	Commit      string
	EngineImage string // Config.Image
	ImageEngine string // engine id of the image in use
	Status      string // engine's word: created, running, exited, dead, ...
	Running     bool
	ExitCode    int
	Error       string
	Health      string // healthy, unhealthy, starting or empty
	CreatedAt   time.Time
	StartedAt   time.Time
	Tty         bool
	Env         []string
	VolumeNames []string           // named volumes it mounts
	Anonymous   map[string]string  // anonymous volumes it mounts: path by engine name
	Attached    map[string]string  // networks by name: the engine id that it was attached to, empty before its first start
	Config      *compose.Container // canonical form, for comparison
}

// Image is one image of the engine with the parts that containers inherit.
type Image struct {
	ID      string
	Tags    []string
	Digests []string
	Doc     *doc.Image
}

// Network is one supervised network of the engine.
type Network struct {
	_ [0]func() // nobody compares it: no code for that

	ID      string
	Name    string
	AppID   int    // 0 when the name carries a uuid and no app-id label is present
	AppUUID string // empty when the name carries an app id
	Config  *compose.Network
}

// Volume is one volume of the engine that is named like ours.
type Volume struct {
	_ [0]func() // nobody compares it: no code for that

	Name       string
	AppID      int
	Supervised bool // carries a supervised label
	Mountpoint string
	Config     *compose.Volume
}

// Record says that an image belongs to a service of an app: what the agent pulled, found or was
// given (docs/spec/engine.md 8.4). It is durable.
type Record struct {
	_ [0]func() // nobody compares it: no code for that

	Name        string `json:"name"` // normalised reference
	AppID       int    `json:"appId"`
	AppUUID     string `json:"appUuid"`
	ServiceID   int    `json:"serviceId"`
	ServiceName string `json:"serviceName"`
	ImageID     int    `json:"imageId"`
	ReleaseID   int    `json:"releaseId"`
	Commit      string `json:"commit"`
	EngineID    string `json:"dockerImageId"`
	// Former says that the name stands for another image since (docs/spec/engine.md 8.4).
	Former bool `json:"former,omitempty"`
}

// Pull is one running download and the services that wait for it.
type Pull struct {
	Percent int
	For     []Record // EngineID empty
}

// Doing is work on a container that the engine does not show.
type Doing struct {
	Status string // Installing, Starting or Stopping
	AppID  int
	For    Record // the service it is for
	Since  time.Time
}
