// Package view holds the plain, immutable pictures that update hands to its readers: the device
// API, the cloud report and the status command. It is a leaf: data and error types only.
package view

import "time"

// State is one picture of the device's apps. It is never changed after it was handed out; two
// pictures with the same Revision are identical, so encoded answers can be cached by it.
type State struct {
	Revision uint64

	Synced      bool   // the engine's objects were listed at least once
	EngineError string // why the engine cannot be reached now, empty when it can

	DeviceName  string
	HasTarget   bool // there is a target state; without one nothing is wanted and nothing unwanted
	Applying    bool // an apply or an exclusive action runs or waits in back-off
	Waiting     bool // the apply is not over, and no step of it is under way
	Pending     bool // update_pending (docs/spec/device-api.md 2.11)
	Failed      bool // update_failed
	Downloaded  bool // update_downloaded
	LocalMode   bool
	Apps        []App // target apps and apps that still have objects on the device, by ascending id
	LastErrors  []Problem
	NextAttempt time.Time // when a step in back-off is tried again, zero when none waits
}

// Problem is a step that failed or came up again without effect, newest first in State.LastErrors.
type Problem struct {
	At      time.Time
	Subject string // "app shop service web"
	Step    string // "start"
	Reason  string // why the step was planned
	Error   string
	Retry   time.Time // next attempt
	// Repeated says that the step was carried out and came up again for the same object.
	Repeated bool
}

// App is one app as it is and as it should be.
type App struct {
	ID           int
	UUID         string
	Name         string
	Class        string
	IsHost       bool
	InTarget     bool
	TargetCommit string // empty when the target has no release for it
	ReleaseID    int    // of the target release
	Commit       string // last release that was fully applied, empty when none was
	Rejected     string
	RolledBack   string      // which release failed its health gate and why, while the one before applies instead
	Waits        string      // what the release as a whole waits for, empty when for nothing
	LockHeld     bool        // the supervisor holds the app's update lock
	Services     []Service   // of the target release, by name
	Agent        *Service    // service of the target release that is the agent itself, nil in other apps
	Containers   []Container // by service name, then age
	Images       []Image     // known or downloading, by service name
}

// Service is one service of the target release.
type Service struct {
	_ [0]func() // nobody compares it: no code for that

	Name    string
	ID      int
	ImageID int
	Image   string // registry reference
	Running bool   // whether the target wants it to run
	Waits   string // what the service waits for, empty when for nothing
}

// Container is one container of an app.
type Container struct {
	ID          string // engine id, 64 hex digits
	Name        string
	ServiceName string
	ServiceID   int
	AppID       int
	ImageID     int
	ReleaseID   int
	Commit      string
	EngineImage string // what the container was created from, usually sha256:...
	Image       string // registry reference, empty when unknown
	Status      string // docs/spec/device-api.md 2.20
	Running     bool
	Health      string // healthy, unhealthy, starting or empty
	ExitCode    int
	Error       string
	CreatedAt   time.Time
	StartedAt   time.Time
	Restarts    int // times a container of the service was started again, since the agent started
	Env         map[string]string
	Reason      string // why the agent last touched it, empty when it did not since it started
}

// Image is one image the agent owns or is downloading.
type Image struct {
	_ [0]func() // nobody compares it: no code for that

	Name        string
	AppID       int
	ServiceName string
	ServiceID   int
	ImageID     int
	ReleaseID   int
	Commit      string
	EngineID    string // empty while downloading
	Status      string // Downloading, Downloaded, Deleting or, while its container is created, Installing
	Progress    *int   // percent while downloading, else nil
}
