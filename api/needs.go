package api

import (
	"context"
	"time"

	"resin-supervisor/update/view"
)

// Apps is what the API asks of the update loop.
type Apps interface {
	// View is the newest picture of the apps. It never blocks and makes no engine call.
	View() *view.State
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
	// SetLocalTarget stores a target state of local mode. It may keep body. It returns
	// *view.InvalidTargetError or view.ErrNotLocalMode when it refuses.
	SetLocalTarget(body []byte) error
	// UserLock names the first service of an app that holds an update lock, empty when none does.
	UserLock(appID int) (service string)
	// Counts is what was done since the start.
	Counts() view.Counts
	// LocalTarget is the JSON of the stored target with the apps that inScope allows.
	LocalTarget(inScope func(appID int) bool) ([]byte, error)
}

// Keys is what the API asks of the keyring. Lookup compares in constant time.
type Keys interface {
	Lookup(key string) (appID int, global, ok bool)
	// Regenerate replaces key and returns the new one.
	Regenerate(key string) (string, error)
}

// Device is what the API asks about the device itself; both calls answer from memory.
type Device interface {
	Facts() DeviceFacts
	Healthy() bool
	Vitals() Vitals
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
	CloudReachable    bool // the VPN is up, the cloud API took the last connection, or there is no cloud
}
