package settings

// Boot is a change that the boot configuration of the device needs.
type Boot struct {
	Values map[string]string // what is wanted, by key, long values cut: for people
	Why    string            // which keys become otherwise, with old and new values
	Reboot bool              // it has its effect after a reboot only
	// Write carries it out, durably, as far as it can; an error names operation and path.
	Write func() error
}
