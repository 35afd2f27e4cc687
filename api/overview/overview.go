// Package overview holds the documents of GET /supervisor/v1/status, which the API writes and the status command reads.
package overview

import (
	"time"

	"resin-supervisor/update/view"
)

// incomparable is a field of the largest structs: the compiler writes no code to compare them then.
type incomparable [0]func()

// Overview is the answer of GET /supervisor/v1/status, for the status command: all that the supervisor knows about the
// device and its apps, except environments. Only the global key may see it. A time that does not apply is absent.
type Overview struct {
	Time        time.Time `json:"time"`     // of the answer: other times are compared with it
	Started     time.Time `json:"started"`  // when the supervisor started
	Revision    uint64    `json:"revision"` // while it is the same, the apps are the same
	Device      Device    `json:"device"`
	Synced      bool      `json:"synced"`                // the engine was listed at least once
	EngineError string    `json:"engineError,omitempty"` // why the engine cannot be reached
	HasTarget   bool      `json:"hasTarget"`             // without a target state the apps stay as they are
	Applying    bool      `json:"applying"`
	Waiting     bool      `json:"waiting"` // the apply is not over, but no step of it is running
	Pending     bool      `json:"updatePending"`
	Failed      bool      `json:"updateFailed"`
	Downloaded  bool      `json:"updateDownloaded"`
	NextAttempt time.Time `json:"nextAttempt,omitzero"` // of a step in back-off
	Apps        []App     `json:"apps"`
	Problems    []Problem `json:"problems"` // newest first
}

// Device is the device itself. A text is empty while it is unknown.
type Device struct {
	_                 incomparable
	Name              string `json:"name"`
	DeviceType        string `json:"deviceType"`
	Arch              string `json:"arch"`
	OSVersion         string `json:"osVersion"`
	SupervisorVersion string `json:"supervisorVersion"`
	APIPort           int    `json:"apiPort"`
	IPAddress         string `json:"ipAddress"`
	MACAddress        string `json:"macAddress"`
	Managed           bool   `json:"managed"`
	Registered        bool   `json:"registered"` // the cloud knows the device
	LocalMode         bool   `json:"localMode"`
	// CloudReachable says that the VPN is up, or that the cloud API accepted the last connection. It is always true on
	// a device without a cloud.
	CloudReachable bool    `json:"cloudReachable"`
	MemoryBytes    int64   `json:"memoryBytes"`          // of the supervisor's process
	CPUCelsius     float64 `json:"cpuCelsius,omitempty"` // of the processor, when known
}

// App is the current state and the target state of one app.
type App struct {
	ID           int         `json:"id"`
	UUID         string      `json:"uuid"`
	Name         string      `json:"name"`
	InTarget     bool        `json:"inTarget"`
	TargetCommit string      `json:"targetCommit,omitempty"`
	Commit       string      `json:"commit,omitempty"` // last release that was fully applied
	UpdateStatus string      `json:"updateStatus"`     // of the target release
	Rejected     string      `json:"rejected,omitempty"`
	RolledBack   string      `json:"rolledBack,omitempty"` // which release failed its health gate, and why
	Waits        string      `json:"waits,omitempty"`      // what the whole release waits for
	LockHeld     bool        `json:"lockHeld"`             // by the supervisor
	UserLock     string      `json:"userLock,omitempty"`   // the first service that holds an update lock of its own
	Services     []Service   `json:"services"`             // of the target release
	Containers   []Container `json:"containers"`
	Images       []Image     `json:"images"`
}

// Service is one service of the target release.
type Service struct {
	Name    string `json:"name"`
	Image   string `json:"image"`
	ImageID int    `json:"imageId"`
	Running bool   `json:"running"`         // in the target
	Waits   string `json:"waits,omitempty"` // what it waits for
}

// Container is one container.
type Container struct {
	_           incomparable
	ID          string    `json:"id"`
	ServiceName string    `json:"serviceName"`
	Image       string    `json:"image,omitempty"`
	ImageID     int       `json:"imageId"`
	Commit      string    `json:"commit,omitempty"`
	Status      string    `json:"status"`
	Running     bool      `json:"running"`
	Health      string    `json:"health,omitempty"`
	ExitCode    int       `json:"exitCode"`
	Error       string    `json:"error,omitempty"`
	StartedAt   time.Time `json:"startedAt,omitzero"`
	Restarts    int       `json:"restarts"`         // of the service's containers, since the supervisor started
	Reason      string    `json:"reason,omitempty"` // of the last step that changed it
}

// Image is one image that is on the device or being downloaded.
type Image struct {
	Name        string `json:"name"`
	ServiceName string `json:"serviceName"`
	ImageID     int    `json:"imageId"`
	Status      string `json:"status"`
	Progress    *int   `json:"progress,omitempty"` // percent, while downloading
}

// Problem is a step that failed or had no lasting effect, or a fault of config.json.
type Problem struct {
	At      time.Time `json:"at"`
	Subject string    `json:"subject"`
	Step    string    `json:"step"`
	Reason  string    `json:"reason"`
	Error   string    `json:"error"`
	Retry   time.Time `json:"retry,omitzero"`
	// Repeated says that the step succeeded, but had to be planned again for the same object.
	Repeated bool `json:"repeated,omitempty"`
}

// OfContainer is the document of a container.
func OfContainer(c *view.Container) Container {
	return Container{
		ID:          c.ID,
		ServiceName: c.ServiceName,
		Image:       c.Image,
		ImageID:     c.ImageID,
		Commit:      c.Commit,
		Status:      c.Status,
		Running:     c.Running,
		Health:      c.Health,
		ExitCode:    c.ExitCode,
		Error:       c.Error,
		StartedAt:   c.StartedAt,
		Restarts:    c.Restarts,
		Reason:      c.Reason,
	}
}

// OfApp is the document of an app, without its update status and the lock of a user.
func OfApp(app *view.App) App {
	o := App{
		ID:           app.ID,
		UUID:         app.UUID,
		Name:         app.Name,
		InTarget:     app.InTarget,
		TargetCommit: app.TargetCommit,
		Commit:       app.Commit,
		Rejected:     app.Rejected,
		RolledBack:   app.RolledBack,
		Waits:        app.Waits,
		LockHeld:     app.LockHeld,
		Services:     make([]Service, 0, len(app.Services)),
		Containers:   make([]Container, 0, len(app.Containers)),
		Images:       make([]Image, 0, len(app.Images)),
	}
	for _, s := range app.Services {
		o.Services = append(o.Services, Service{s.Name, s.Image, s.ImageID, s.Running, s.Waits})
	}
	for i := range app.Containers {
		o.Containers = append(o.Containers, OfContainer(&app.Containers[i]))
	}
	for _, i := range app.Images {
		o.Images = append(o.Images, Image{i.Name, i.ServiceName, i.ImageID, i.Status, i.Progress})
	}
	return o
}
