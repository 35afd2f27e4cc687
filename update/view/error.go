package view

import "strings"

// LockedError says that an update lock, or another operation that holds the app's locks, keeps the
// app from being touched. Text is the exact message for the client (docs/spec/device-api.md 1.9 S11, S12).
type LockedError struct{ Text string }

// Error is the message for the client.
func (e *LockedError) Error() string { return e.Text }

// InvalidTargetError says that a target state was refused as a whole and nothing was stored.
type InvalidTargetError struct{ Problems []string }

// Error is the message for the client (docs/spec/device-api.md 2.31).
func (e *InvalidTargetError) Error() string {
	return "Invalid target state.\n" + strings.Join(e.Problems, "\n")
}

// FixedBootError says that a key of the boot configuration may not be changed (docs/spec/cloud.md 6.7).
type FixedBootError struct{ Key string }

// Error is the message for the device's log (docs/spec/cloud.md 5.5).
func (e *FixedBootError) Error() string { return "Attempt to change blacklisted config value " + e.Key }

// Refusal is an action that cannot be carried out on the device as it is.
type Refusal string

// Error is the text of the refusal.
func (e Refusal) Error() string { return string(e) }

// Refusals a caller tells apart.
const (
	// ErrNotLocalMode refuses a local target outside local mode (docs/spec/device-api.md S18).
	ErrNotLocalMode Refusal = "Target state can only set when device is in local mode"
	// ErrAborted ends an action that a newer exclusive action replaced.
	ErrAborted Refusal = "aborted by a newer operation"
	// ErrEngineDown refuses an action while the engine has not been listed yet.
	ErrEngineDown Refusal = "the container engine cannot be reached"
	// ErrNoTarget refuses what needs a target state while there is none.
	ErrNoTarget Refusal = "there is no target state yet"
	// ErrTooManyTags refuses tags beyond MostTags and MostTagBytes, with those that wait already
	// (docs/spec/device-api.md 2.27).
	ErrTooManyTags Refusal = "too many tags: at most 300 tags of 64 KiB can wait for the cloud"
	// ErrLeaving refuses or ends an action because the device goes down.
	ErrLeaving Refusal = "the device is about to reboot or shut down"
)

// MostTags and MostTagBytes, of names and values, bound the tags that wait for the cloud.
const (
	MostTags     = 300
	MostTagBytes = 64 << 10
)
