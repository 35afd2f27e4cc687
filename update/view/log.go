package view

// LogLine is one line of the device's log as the cloud and local listeners get it: what a service
// wrote, or a message of the agent itself (spec/cloud.md 5.1).
type LogLine struct {
	Message     string
	Timestamp   int64 // milliseconds since 1970
	IsSystem    bool  // said by the agent
	IsStdErr    bool
	ServiceID   int    // of a container's line
	ServiceName string // of a container's line; for local listeners only
}
