// Package current is the model of the current state: the objects of the engine and the running work of the agent.
// Its functions are pure. A State is immutable once published: an update makes a new State that shares the
// unchanged parts.
package current

import (
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine/doc"
)

// State is all that is known of the engine and of running work at one moment.
type State struct {
	Revision      uint64                // grows with every change
	ImageRevision uint64                // grows when Images or Records change
	Synced        bool                  // all objects were listed since the engine was last (re)connected
	Listed        bool                  // they were listed at least once; they may be outdated while Synced is false
	Machine       string                // the engine's machine, as uname names it: x86_64, aarch64, armv7l ...
	Deltas        bool                  // the engine can make an image from a delta: balenaEngine (docs/spec/engine.md 8.5)
	NoOomKill     bool                  // the engine cannot honour oom_kill_disable (docs/spec/engine.md D26)
	Containers    map[string]*Container // supervised ones, by engine id
	Images        map[string]*Image     // all images of the engine, by engine id
	Networks      map[string]*Network   // the supervised ones and supervisor0, by engine id
	Volumes       map[string]*Volume    // with a name of our form, by engine name
	Records       map[string]Record     // images the agent owns, by Record.Key
	Commits       map[string]string     // last fully applied release, by app uuid
	Pulls         map[string]Pull       // running downloads, by image reference
	Doing         map[string]Doing      // running container work, by engine id or Slot
	Deleting      map[string]bool       // image references being removed
	Restarts      map[string]int        // how often containers were started again after their first run, by Slot
	Anonymous     map[string]Anonymous  // anonymous volumes that the agent must remove later, by engine name
	Stops         map[string]Stop       // stops that the agent requested, by engine id of the container

	// Altered holds how the engine created objects otherwise than requested, by engine id, or by name for volumes.
	// It is durable.
	Altered map[string]compose.Altered
}

// Anonymous is an anonymous volume that outlives its container, for the next one of the same service and image. From
// then on the engine treats it as a named volume and does not remove it. It is durable.
type Anonymous struct {
	AppID   int    `json:"appId"`
	Service string `json:"service"`
	Path    string `json:"path"`
	Image   string `json:"image"` // engine id
}

// Stop is a stop of a container that the agent requested. It is durable. It applies to one run only: once the
// container is started again, it has no meaning (docs/spec/engine.md 5.5).
type Stop struct {
	Run  time.Time `json:"run"`            // Container.StartedAt
	User bool      `json:"user,omitempty"` // a user requested it, not an update
	// Replaced says that the agent meant to replace the container next.
	Replaced bool   `json:"replaced,omitempty"`
	Boot     string `json:"boot"` // the kernel's id of the boot
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
	Status      string // as the engine says it: created, running, exited, dead, ...
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
	Attached    map[string]string  // engine id of each network by name, empty before the first start
	Config      *compose.Container // in canonical form, for comparison
}

// Image is one image of the engine, with the settings that containers inherit.
type Image struct {
	ID      string
	Tags    []string
	Digests []string
	Doc     *doc.Image
}

// Network is one supervised network of the engine.
type Network struct {
	ID      string
	Name    string
	AppID   int    // 0 when the name carries a uuid and no app-id label is present
	AppUUID string // empty when the name carries an app id
	Config  *compose.Network
}

// Volume is one volume of the engine whose name has our form.
type Volume struct {
	Name       string
	AppID      int
	Supervised bool // carries a supervised label
	Mountpoint string
	Config     *compose.Volume
}

// Record says that an image belongs to a service of an app. The agent makes it for images that it pulls, finds or is
// given (docs/spec/engine.md 8.4). It is durable.
type Record struct {
	Name        string `json:"name"` // normalised reference
	AppID       int    `json:"appId"`
	AppUUID     string `json:"appUuid"`
	ServiceID   int    `json:"serviceId"`
	ServiceName string `json:"serviceName"`
	ImageID     int    `json:"imageId"`
	ReleaseID   int    `json:"releaseId"`
	Commit      string `json:"commit"`
	EngineID    string `json:"dockerImageId"`
	// Former says that the name means another image now (docs/spec/engine.md 8.4).
	Former bool `json:"former,omitempty"`
}

// Pull is one running download and the services that wait for it.
type Pull struct {
	Percent int
	For     []Record // EngineID empty
}

// Doing is work on a container that the engine does not show yet.
type Doing struct {
	Status string // Installing, Starting or Stopping
	AppID  int
	For    Record // the service it is for
	Since  time.Time
}
