// Package userlog holds the phrases that users read in the log of the device (docs/spec/cloud.md 5.5), and says each
// cause of a failure once.
package userlog

// Phrases are what users read about one kind of work: before it, after it, and when it failed. An empty phrase is
// not said.
type Phrases struct{ Begin, Done, Failed string }

// The work that users follow.
var (
	Killing         = Phrases{"Killing service", "Killed service", "Failed to kill service"}
	RemovingDead    = Phrases{"Removing dead container", "", "Error removing dead container"}
	Downloading     = Phrases{"Downloading image", "Downloaded image", "Failed to download image"}
	Patching        = Phrases{"Downloading delta for image", "Downloaded image", "Failed to download image"}
	Installing      = Phrases{"Installing service", "Installed service", "Failed to install service"}
	Starting        = Phrases{"Starting service", "Started service", "Failed to start service"}
	Updating        = Phrases{"", "", "Failed to update service"}
	Preflight       = Phrases{"", "", NotBegun}
	Deleting        = Phrases{"Deleting image", "Deleted image", "Failed to delete image"}
	CreatingVolume  = Phrases{"Creating volume", "", "Error creating volume"}
	PreparingVolume = Phrases{"", "", "Error creating volume"}
	RemovingVolume  = Phrases{"Removing volume", "", "Error removing volume"}
	CreatingNetwork = Phrases{"Creating network", "", "Error creating network"}
	RemovingNetwork = Phrases{"Removing network", "", "Error removing network"}
)

// The phrases for a single event.
const (
	AlreadyStopped = "Service is already stopped, removing container"
	AlreadyGone    = "Service is already stopped and the container removed"
	Exited         = "Service exited"
	Restarting     = "Restarting service"
	TakingLocks    = "Taking update locks"
	ReleasingLocks = "Releasing update locks"
	NotBegun       = "Update does not begin"

	deltaProcessing = "Delta still processing remotely. Will retry..."
)

// NotMoved begins what users read about a target that cannot be used (docs/spec/cloud.md 3.7).
const NotMoved = "Could not move to new release: "
