package view

import "time"

// LogLine is one line of the device's log as the cloud and local listeners get it: what a service
// wrote, or a message of the agent itself (docs/spec/cloud.md 5.1).
type LogLine struct {
	_ [0]func() // nobody compares it: no code for that

	Message     string
	Timestamp   int64 // milliseconds since 1970
	IsSystem    bool  // said by the agent
	IsStdErr    bool
	AppID       int    // of a container's line; to tell which local listeners get it
	ServiceID   int    // of a container's line
	ServiceName string // of a container's line; for local listeners only
}

// LogSource is a supervised container whose output belongs to the device's log.
type LogSource struct {
	ID          string
	AppID       int
	ServiceID   int
	ServiceName string
	Level       string    // BALENA_LOGS_LEVEL of the service (docs/spec/cloud.md 5.6)
	StartedAt   time.Time // zero while it never started
	Running     bool
	Tty         bool // it has a terminal, so that its two outputs are one
}
