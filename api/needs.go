package api

import (
	"context"
	"errors"
	"io"
	"time"

	"resin-supervisor/hostos/redsocks"
	"resin-supervisor/update/view"
)

// Apps is what the API needs from the update loop.
type Apps interface {
	// View is the newest view of the apps. It never blocks and makes no engine call.
	View() *view.State
	// Listed is closed after the first listing of the engine, when View has all apps.
	Listed() <-chan struct{}
	// Trigger asks for a poll and a pass now. It returns false when it did nothing, because instant updates are off
	// and the caller did not force it.
	Trigger(force, cancel bool) (accepted bool)
	// RestartApp and PurgeApp recreate the containers of an app, PurgeApp with empty volumes. They, like all actions,
	// return when the work is done, and return *view.LockedError when a lock forbids it.
	RestartApp(ctx context.Context, appID int, force bool) error
	PurgeApp(ctx context.Context, appID int, force bool) error
	StartService(ctx context.Context, appID int, service string) error
	StopService(ctx context.Context, appID int, service string, force bool) error
	RestartService(ctx context.Context, appID int, service string, force bool) error
	// WithAllLocks runs f while it holds the update locks of every app on the device.
	WithAllLocks(ctx context.Context, force bool, f func() error) error
	// Reboot and Shutdown return when the reboot or shutdown is scheduled. They return *view.LockedError when a lock
	// or an update of the host forbids it.
	Reboot(ctx context.Context, force bool) error
	Shutdown(ctx context.Context, force bool) error
	// CleanUpVolumes removes the volumes of apps in scope that neither a container nor a target uses.
	CleanUpVolumes(ctx context.Context, inScope func(appID int) bool) error
	// SetLocalTarget stores a target state of local mode. It may keep body. It returns *view.InvalidTargetError or
	// view.ErrNotLocalMode when it refuses the target.
	SetLocalTarget(body []byte) error
	// UserLock names the first service of an app that holds an update lock, empty when none does.
	UserLock(appID int) (service string)
	// ConversationEnded is called when memory that a request needed has become free.
	ConversationEnded()
	// Counts are the counters since the start.
	Counts() view.Counts
	// LocalTarget is the JSON of the stored target state, with the apps that inScope allows.
	LocalTarget(inScope func(appID int) bool) ([]byte, error)
}

// Keys is what the API needs from the keyring.
type Keys interface {
	// Lookup compares in constant time.
	Lookup(key string) (appID int, global, ok bool)
	// Regenerate replaces key and returns the new one. The error is ErrUnknownKey when key is not valid.
	Regenerate(key string) (string, error)
}

// ErrUnknownKey says that a key is not valid: another call may have replaced it.
var ErrUnknownKey = errors.New("unknown API key")

// Device is what the API needs from the device itself.
type Device interface {
	// Facts and Healthy answer from memory.
	Facts() DeviceFacts
	Healthy() bool
	Vitals() Vitals
	// Blink lets the LED blink for 15 s from now, so a person can find the device (docs/spec/device-api.md 2.3).
	Blink()
	// EnablePing switches the connectivity check on or off (docs/spec/device-api.md 2.9).
	EnablePing(on bool)
	// VPN tells whether the host's VPN is enabled, and whether it is connected.
	VPN(ctx context.Context) (enabled, connected bool)
	Tags
	Host
	// Listen returns a new listener to the device's log. It gets the lines of the supervisor, and the output of the
	// apps that inScope allows.
	Listen(inScope func(appID int) bool) Lines
	// Journal starts to read the journal of the host. Close may be called at any time.
	Journal(JournalQuery) (io.ReadCloser, error)
}

// Tags is what the API needs from the cloud.
type Tags interface {
	// Tags asks the cloud for the tags of the device. The device must be registered.
	Tags(context.Context) ([]Tag, error)
	// SetTags stores tags durably, and sends them when the cloud can be reached.
	SetTags(map[string]string) error
}

// Tag is a tag of the device in the cloud.
type Tag struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Lines is a listener to the device's log. Next waits for a line and returns it encoded, with its line feed. Close
// may be called while Next waits.
type Lines interface {
	Next(context.Context) ([]byte, error)
	Close()
}

// JournalQuery selects lines of the host's journal (docs/spec/device-api.md 2.29). A field that is empty or zero
// does not restrict them.
type JournalQuery struct {
	All                                    bool // also fields that cannot be printed
	Follow                                 bool // go on with later lines
	Count                                  int  // of the last lines
	Unit, Identifier, Format, Since, Until string
}

// Host is what the API needs from the settings of the host.
type Host interface {
	// Hostname is the present host name.
	Hostname() (string, error)
	// GoesBy tells whether a lower-case name is one of the host: its host name, alone or with a domain of its
	// resolver.
	GoesBy(name string) bool
	// Proxy is the configured proxy, and the addresses that are reached without it. It is nil when there is none, and
	// empty when the configuration cannot be used.
	Proxy() (p *redsocks.Proxy, noProxy []string, err error)
	// CheckHost returns a redsocks.Refused when SetHost would refuse the change.
	CheckHost(hostname *string, proxy redsocks.Change) error
	// SetHost changes the name, unless it is nil, and the proxy. When it returns a redsocks.Refused it has changed
	// nothing.
	SetHost(hostname *string, proxy redsocks.Change) error
}

// Vitals are measured when they are asked for.
type Vitals struct {
	Resident   int64         // memory of the process, in bytes
	CPU        time.Duration // processor time of the process so far
	CPUCelsius float64       // 0 when unknown
}

// DeviceFacts are the facts of the device. A text is empty while it is unknown.
type DeviceFacts struct {
	APIPort           int
	IPAddress         string // space-separated
	MACAddress        string // space-separated
	OSVersion         string
	SupervisorVersion string
	Arch              string
	DeviceType        string
	Managed           bool // a cloud API endpoint is configured
	DevelopmentMode   bool
	Registered        bool // the cloud knows the device
	CloudReachable    bool // the VPN is up, the cloud API took the last connection, or there is no cloud
	// ConfigNotice says what was wrong with config.json at the start, and what was done about it. It is empty when
	// nothing was wrong.
	ConfigNotice string
}
