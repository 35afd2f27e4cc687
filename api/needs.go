package api

import (
	"context"
	"errors"
	"io"
	"time"

	"resin-supervisor/hostos/redsocks"
	"resin-supervisor/update/view"
)

// Apps is what the API asks of the update loop.
type Apps interface {
	// View is the newest picture of the apps. It never blocks and makes no engine call.
	View() *view.State
	// Listed is closed once the engine was listed, so that View has all apps.
	Listed() <-chan struct{}
	// Trigger asks for a poll and a pass now; false means that it was ignored (instant updates
	// are off and the caller did not force).
	Trigger(force, cancel bool) (accepted bool)
	// RestartApp and PurgeApp recreate the containers of an app, PurgeApp with empty volumes.
	// All actions return when the work is done, *view.LockedError when a lock forbids it.
	RestartApp(ctx context.Context, appID int, force bool) error
	PurgeApp(ctx context.Context, appID int, force bool) error
	StartService(ctx context.Context, appID int, service string) error
	StopService(ctx context.Context, appID int, service string, force bool) error
	RestartService(ctx context.Context, appID int, service string, force bool) error
	// WithAllLocks runs f while it holds the update locks of every app on the device.
	WithAllLocks(ctx context.Context, force bool, f func() error) error
	// Reboot and Shutdown return when the device is about to go down, *view.LockedError when a
	// lock or an update of the host forbids it.
	Reboot(ctx context.Context, force bool) error
	Shutdown(ctx context.Context, force bool) error
	// CleanUpVolumes removes the volumes of apps in scope that no container and no target has.
	CleanUpVolumes(ctx context.Context, inScope func(appID int) bool) error
	// SetLocalTarget stores a target state of local mode. It may keep body. It returns
	// *view.InvalidTargetError or view.ErrNotLocalMode when it refuses.
	SetLocalTarget(body []byte) error
	// UserLock names the first service of an app that holds an update lock, empty when none does.
	UserLock(appID int) (service string)
	// ConversationEnded says that memory was needed which is not any more.
	ConversationEnded()
	// Counts is what was done since the start.
	Counts() view.Counts
	// LocalTarget is the JSON of the stored target with the apps that inScope allows.
	LocalTarget(inScope func(appID int) bool) ([]byte, error)
}

// Keys is what the API asks of the keyring. Lookup compares in constant time.
type Keys interface {
	Lookup(key string) (appID int, global, ok bool)
	// Regenerate replaces key and returns the new one. The error is ErrUnknownKey when key is not valid, or
	// not any more.
	Regenerate(key string) (string, error)
}

// ErrUnknownKey says that somebody else replaced a key first.
var ErrUnknownKey = errors.New("unknown API key")

// Device is what the API asks about the device itself.
type Device interface {
	// Facts and Healthy answer from memory.
	Facts() DeviceFacts
	Healthy() bool
	Vitals() Vitals
	// Blink shows a person which device this is, for 15 s from now (docs/spec/device-api.md 2.3).
	Blink()
	// EnablePing switches the check of the way to the cloud (docs/spec/device-api.md 2.9).
	EnablePing(on bool)
	// VPN tells whether the host's VPN is to run, and whether it is up.
	VPN(ctx context.Context) (enabled, connected bool)
	Tags
	Host
	// Listen returns a new listener to the device's log: what the supervisor says, and the output of the
	// apps that inScope allows.
	Listen(inScope func(appID int) bool) Lines
	// Journal begins to read the journal of the host. Close may be called at any time.
	Journal(JournalQuery) (io.ReadCloser, error)
}

// Tags is what the API asks of the cloud's record of the device.
type Tags interface {
	// Tags asks the cloud for the tags of the device, which is registered there.
	Tags(context.Context) ([]Tag, error)
	// SetTags keeps tags durably, to be sent to the cloud when it can be reached.
	SetTags(map[string]string) error
}

// Tag is a tag of the device in the cloud.
type Tag struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Lines is a listener to the device's log. Next waits for a line, which is encoded and has its end;
// Close may be called while it waits.
type Lines interface {
	Next(context.Context) ([]byte, error)
	Close()
}

// JournalQuery says what of the journal is wanted (docs/spec/device-api.md 2.29); empty texts and zero
// are for all.
type JournalQuery struct {
	All                                    bool // also what cannot be shown
	Follow                                 bool // go on with what is written later
	Count                                  int  // only the last ones
	Unit, Identifier, Format, Since, Until string
}

// Host is what the API asks of the settings of the host.
type Host interface {
	// Hostname is the name the host goes by now.
	Hostname() (string, error)
	// GoesBy tells whether a name in small letters is one of the host: a host name of it, alone or with its
	// domain.
	GoesBy(name string) bool
	// Proxy is the proxy that is set up and what is reached without it; nil when there is none,
	// and an empty one when what is set up cannot be used.
	Proxy() (p *redsocks.Proxy, noProxy []string, err error)
	// CheckHost is a redsocks.Refused when SetHost would refuse the change.
	CheckHost(hostname *string, proxy redsocks.Change) error
	// SetHost changes the name, unless nil, and the proxy. A redsocks.Refused changed nothing.
	SetHost(hostname *string, proxy redsocks.Change) error
}

// Vitals is what is measured at the moment of asking.
type Vitals struct {
	Resident   int64         // memory of the process, in bytes
	CPU        time.Duration // processor time of the process so far
	CPUCelsius float64       // 0 where it is not known
}

// DeviceFacts is what is known of the device; text is empty while unknown.
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
	// ConfigNotice tells what was wrong with config.json at the start and what was done, empty when nothing was.
	ConfigNotice string
}
