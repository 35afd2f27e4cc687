// Package plan decides what to do next: a pure function of the current state, the target state and
// a few options to the list of steps that may run now. It is called again after every change, so no
// long plan exists that could go stale. It does no I/O and reads no clock.
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
	Look          Kind = "look"         // ask whether images can be had, before anything is stopped for them
	Fetch         Kind = "fetch"        // download an image
	Save          Kind = "save image"   // record and tag an image that is already there
	RemoveImage   Kind = "remove image" // untag an image and drop its record
	CreateVolume  Kind = "create volume"
	RemoveVolume  Kind = "remove volume"
	CreateNetwork Kind = "create network"
	RemoveNetwork Kind = "remove network"
	TakeLock      Kind = "take lock"
	ReleaseLock   Kind = "release lock"
	CleanUp       Kind = "clean up"       // remove an image nobody named, or a name of a former agent
	PrepareVolume Kind = "prepare volume" // make the volume of extra firmware and tell the host of it
	SweepLock     Kind = "sweep lock"     // remove lock files that an earlier run of the agent left
	Kill          Kind = "kill"           // stop and remove a container
	Stop          Kind = "stop"           // stop a container and keep it
	Remove        Kind = "remove"         // remove a dead container
	Rename        Kind = "rename"         // same configuration, other release: metadata update
	Start         Kind = "start"          // create where missing, join networks, start
	HandOver      Kind = "handover"       // start the new container beside the old one
	Restart       Kind = "restart"        // kill and start; a client of the API asks for it, no plan does
	RequireReboot Kind = "require reboot" // say that containers start at the next boot only
	Reboot        Kind = "reboot"         // of the device, all else being done
	RollBack      Kind = "roll back"      // give up the release and go back to the one before
	SetCommit     Kind = "set commit"     // the release is fully applied
	Set           Kind = "configure"      // make the settings those of the configuration
	SetBoot       Kind = "write"          // make the boot configuration that of the target
	SwitchVPN     Kind = "switch VPN"
	Preload       Kind = "preload"         // take over the apps that came with the image
	Restore       Kind = "restore volumes" // fill them from the backup of a migration
	EnterLocal    Kind = "enter local mode"
	LeaveLocal    Kind = "leave local mode"
	Wait          Kind = "wait" // nothing to do now, but the app is not settled
)

// Step is one act. Two steps with the same Key exclude each other.
type Step struct {
	Kind   Kind
	Key    string
	Reason string // why it is needed, with the differing fields

	AppUUID string
	AppID   int
	AppName string

	Service   *compose.Service   // Start, Rename, HandOver: the target; Wait: the same, nil for the whole app
	Container *current.Container // Wait, Kill, Stop, Remove, Rename, Start (an existing one), HandOver (the old one)
	Image     string             // Fetch, Save, RemoveImage: normalised reference; CleanUp: tag or engine id
	From      *current.Record    // Fetch: the image that a delta may start from, nil for a whole download
	Records   []current.Record   // Fetch, Save, Start, HandOver: whose the image is; RemoveImage: what is dropped
	Network   *compose.Network   // CreateNetwork
	Volume    *compose.Volume    // CreateVolume
	// Volumes are those of the release, by engine name, for Restore.
	Volumes   map[string]*compose.Volume
	Object    string             // RemoveVolume, PrepareVolume: engine name; RemoveNetwork: for the log
	Images    []string           // Look: normalised references
	IDs       []string           // RemoveNetwork, CleanUp: engine ids; Look: those of images that go before the download
	Services  []string           // TakeLock: whose locks to take
	ReleaseID int                // Start, Rename, HandOver: of the target release
	Commit    string             // the same, and Look; SetCommit: empty forgets the app
	Source    *target.App        // SetCommit, RollBack: the app as the target names it, nil when it is gone
	Hold      bool               // Start: create the container, do not start it; SwitchVPN: off
	User      bool               // Stop, Start: a user asks for it, no plan
	Keep      bool               // Kill, Remove, HandOver: the container's anonymous volumes stay for the next one
	Fault     bool               // Wait: the target cannot be reached as it is
	Until     time.Time          // Wait: when to look again, zero when something will change
	Peers     map[string]string  // Start, HandOver: service name -> engine id, for network_mode service:x
	Settings  *settings.Settings // Set: what they become
	Changes   []settings.Change  // Set, RequireReboot: what becomes otherwise
	Boot      *settings.Boot     // SetBoot, RequireReboot: the same of the boot configuration
}

// Subject names what the step acts on, for people.
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

// ServiceName is the service the step is about, empty when it is about none.
func (s Step) ServiceName() string {
	switch {
	case s.Service != nil:
		return s.Service.Name
	case s.Container != nil:
		return s.Container.ServiceName
	}
	return ""
}

// Transfers tells whether the step takes as long as there is data: a download, or a backup.
func (s Step) Transfers() bool { return s.Kind == Fetch || s.Kind == Restore }

// String is the step as one line for people: `kill app shop service web (image: a -> b)`.
func (s Step) String() string {
	line := string(s.Kind) + " " + s.Subject()
	if s.Reason != "" {
		line += " (" + s.Reason + ")"
	}
	return line
}
