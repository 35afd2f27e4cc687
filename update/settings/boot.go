package settings

// Boot is a pending change of the boot configuration.
type Boot struct {
	Values map[string]string // wanted values by key, shortened for display
	Why    string            // the keys that change, with old and new values
	Reboot bool              // it takes effect only after a reboot
	// Write makes the change durably, as far as possible. Its error names operation and path.
	Write func() error
}
