// Package plan decides what to do next. It is a pure function from the current state, the target state and a few
// options to the list of steps that may run now. The caller plans again after every change, so no plan becomes
// outdated. The package does no I/O and reads no clock.
package plan

import (
	"strings"
	"time"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// Kind names what a step does (docs/spec/engine.md 5.1).
type Kind string

// The step vocabulary.
const (
	Look          Kind = "preflight"    // check that images can be pulled before anything is stopped for them
	Fetch         Kind = "fetch"        // download an image
	Save          Kind = "save image"   // record and tag an image that is on the device
	RemoveImage   Kind = "remove image" // untag an image and drop its record
	CreateVolume  Kind = "create volume"
	RemoveVolume  Kind = "remove volume"
	CreateNetwork Kind = "create network"
	RemoveNetwork Kind = "remove network"
	TakeLock      Kind = "take lock"
	ReleaseLock   Kind = "release lock"
	CleanUp       Kind = "clean up"       // remove an image without a name, or a tag of an earlier agent
	PrepareVolume Kind = "prepare volume" // create the volume of extra firmware and tell the host
	SweepLock     Kind = "sweep lock"     // remove lock files that an earlier run of the agent left
	Kill          Kind = "kill"           // stop and remove a container
	Stop          Kind = "stop"           // stop a container and keep it
	Remove        Kind = "remove"         // remove a dead container
	Rename        Kind = "rename"         // move an unchanged container to another release
	Start         Kind = "start"          // create where missing, join networks, start
	HandOver      Kind = "handover"       // start the new container beside the old one
	Restart       Kind = "restart"        // kill and start, for a client of the API only
	RequireReboot Kind = "require reboot" // record that a reboot is needed
	Reboot        Kind = "reboot"         // reboot the device, after all other steps
	RollBack      Kind = "roll back"      // give up the release and return to the one before
	SetCommit     Kind = "set commit"     // the release is fully applied
	Set           Kind = "configure"      // apply the settings of the target
	SetBoot       Kind = "write"          // write the boot configuration of the target
	SwitchVPN     Kind = "switch VPN"
	Preload       Kind = "preload"         // load the apps that came with the OS image
	Restore       Kind = "restore volumes" // restore volumes from the backup of a migration
	EnterLocal    Kind = "enter local mode"
	LeaveLocal    Kind = "leave local mode"
	Wait          Kind = "wait" // do nothing now, the app is not up to date yet
)

// Step is one action. Two steps with the same Key never run at once.
type Step struct {
	Kind   Kind
	Key    string
	Reason string // why it is needed, with the differing fields

	AppUUID string
	AppID   int
	AppName string

	Service   *compose.Service   // Start, Rename, HandOver: the target; Wait: the same, nil for the whole app
	Container *current.Container // Wait, Kill, Stop, Remove, Rename; Start: an existing one; HandOver: the old one
	Image     string             // Fetch, Save, RemoveImage: normalised reference; CleanUp: tag or engine id
	From      *current.Record    // Fetch: the source of a delta, nil for a full download
	Records   []current.Record   // Fetch, Save, Start, HandOver: of the image; RemoveImage: those to drop
	Network   *compose.Network   // CreateNetwork
	Volume    *compose.Volume    // CreateVolume
	// Volumes holds the volumes of the release by engine name, for Restore.
	Volumes   map[string]*compose.Volume
	Object    string             // RemoveVolume, PrepareVolume: engine name; RemoveNetwork: for the log
	Images    []string           // Look: normalised references
	IDs       []string           // RemoveNetwork, CleanUp: engine ids; Look: images to be deleted before the download
	Services  []string           // TakeLock: the services whose locks to take
	ReleaseID int                // Start, Rename, HandOver: of the target release
	Commit    string             // the same, and Look; SetCommit: empty forgets the app
	Source    *target.App        // SetCommit, RollBack: the app in the target, nil when it left
	Hold      bool               // Start: create the container without starting it; SwitchVPN: off
	User      bool               // Stop, Start: a user requested it, no plan
	Keep      bool               // Kill, Remove, HandOver: keep the anonymous volumes for the next container
	Fault     bool               // Wait: the target can never be reached as it is
	Until     time.Time          // Wait: when to plan again, zero when only a change ends the wait
	Peers     map[string]string  // Start, HandOver: service name -> engine id, for network_mode service:x
	Settings  *settings.Settings // Set: the new settings
	Changes   []settings.Change  // Set, RequireReboot: what changes
	Boot      *settings.Boot     // SetBoot, RequireReboot: what changes in the boot configuration
}

// Subject is what the step acts on, for people.
func (s Step) Subject() string {
	var b strings.Builder
	if s.AppName != "" {
		b.WriteString("app " + s.AppName)
	} else if s.AppUUID != "" {
		b.WriteString("app " + s.AppUUID)
	}
	add := func(kind, name string) {
		if name == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(kind + " " + name)
	}
	add("service", s.ServiceName())
	switch s.Kind {
	case Set, EnterLocal, LeaveLocal:
		b.WriteString("configuration")
	case SetBoot:
		b.WriteString("boot configuration")
	case Reboot:
		b.WriteString("device")
	case Fetch, Save, RemoveImage, CleanUp:
		add("image", s.Image)
	case CreateVolume:
		add("volume", s.Volume.Name)
	case RemoveVolume, PrepareVolume:
		add("volume", s.Object)
	case CreateNetwork:
		add("network", s.Network.Name)
	case RemoveNetwork:
		add("network", s.Object)
	case SetCommit, RollBack, Look:
		add("release", s.Commit)
	}
	return b.String()
}

// ServiceName is the service that the step acts on, empty for none.
func (s Step) ServiceName() string {
	switch {
	case s.Service != nil:
		return s.Service.Name
	case s.Container != nil:
		return s.Container.ServiceName
	}
	return ""
}

// Transfers reports whether the duration depends on the amount of data: a download or a restore.
func (s Step) Transfers() bool { return s.Kind == Fetch || s.Kind == Restore }

// String is the step in one line for people: `kill app shop service web (image: a -> b)`.
func (s Step) String() string {
	line := string(s.Kind) + " " + s.Subject()
	if s.Reason != "" {
		line += " (" + s.Reason + ")"
	}
	return line
}
