// Package settings defines the configuration variables of the supervisor (docs/spec/cloud.md 6), their defaults
// and the meaning of their values. It is pure.
package settings

import "time"

// Settings holds the value or default of each configuration variable. Two Settings with the same meaning are equal.
type Settings struct {
	PollInterval      time.Duration
	InstantUpdates    bool // poll at start and when the cloud asks for it
	LocalMode         bool
	ConnectivityCheck bool
	LogControl        bool          // send logs to the cloud
	RequestTimeout    time.Duration // of calls of the cloud API

	Delta               bool
	DeltaRequestTimeout time.Duration
	DeltaApplyTimeout   time.Duration // 0 for none
	DeltaRetryCount     int
	DeltaRetryInterval  time.Duration
	DeltaVersion        int

	OverrideLock      bool // ignore update locks
	PersistentLogging bool
	HardwareMetrics   bool
	VPNControl        bool // run the VPN
	FirewallMode      string
	Discoverability   bool
	// RollbackTimeout is the timeout of the health gate for releases without their own, 0 for no health gate.
	RollbackTimeout time.Duration
}

// variable is one row of the table. The type of its field determines the format of its text.
type variable struct {
	name        string // without prefix
	internal    string // what warnings call it
	defaultText string // the default
	reboot      bool   // a change needs a reboot
	field       func(*Settings) any
}

// variables is the table of docs/spec/cloud.md 6.2, plus the rollback timeout. Unlike there, the default delta
// version is 3, the only supported one.
var variables = [...]variable{
	{"SUPERVISOR_POLL_INTERVAL", "appUpdatePollInterval", "900000", false, func(s *Settings) any { return &s.PollInterval }},
	{"SUPERVISOR_INSTANT_UPDATE_TRIGGER", "instantUpdates", "true", false, func(s *Settings) any { return &s.InstantUpdates }},
	{"SUPERVISOR_LOCAL_MODE", "localMode", "false", false, func(s *Settings) any { return &s.LocalMode }},
	{"SUPERVISOR_CONNECTIVITY_CHECK", "connectivityCheckEnabled", "true", false, func(s *Settings) any { return &s.ConnectivityCheck }},
	{"SUPERVISOR_LOG_CONTROL", "loggingEnabled", "true", false, func(s *Settings) any { return &s.LogControl }},
	{"SUPERVISOR_API_REQUEST_TIMEOUT", "apiRequestTimeout", "59000", false, func(s *Settings) any { return &s.RequestTimeout }},
	{"SUPERVISOR_DELTA", "delta", "false", false, func(s *Settings) any { return &s.Delta }},
	{"SUPERVISOR_DELTA_REQUEST_TIMEOUT", "deltaRequestTimeout", "59000", false, func(s *Settings) any { return &s.DeltaRequestTimeout }},
	{"SUPERVISOR_DELTA_APPLY_TIMEOUT", "deltaApplyTimeout", "0", false, func(s *Settings) any { return &s.DeltaApplyTimeout }},
	{"SUPERVISOR_DELTA_RETRY_COUNT", "deltaRetryCount", "30", false, func(s *Settings) any { return &s.DeltaRetryCount }},
	{"SUPERVISOR_DELTA_RETRY_INTERVAL", "deltaRetryInterval", "10000", false, func(s *Settings) any { return &s.DeltaRetryInterval }},
	{"SUPERVISOR_DELTA_VERSION", "deltaVersion", "3", false, func(s *Settings) any { return &s.DeltaVersion }},
	{overrideLock, "lockOverride", "false", false, func(s *Settings) any { return &s.OverrideLock }},
	{"SUPERVISOR_PERSISTENT_LOGGING", "persistentLogging", "false", true, func(s *Settings) any { return &s.PersistentLogging }},
	{"SUPERVISOR_HARDWARE_METRICS", "hardwareMetrics", "true", false, func(s *Settings) any { return &s.HardwareMetrics }},
	{VPNControl, "vpnControl", "true", false, func(s *Settings) any { return &s.VPNControl }},
	{"HOST_FIREWALL_MODE", "firewallMode", "off", false, func(s *Settings) any { return &s.FirewallMode }},
	{"HOST_DISCOVERABILITY", "hostDiscoverability", "true", false, func(s *Settings) any { return &s.Discoverability }},
	{"SUPERVISOR_ROLLBACK_TIMEOUT", "rollbackTimeout", "0", false, func(s *Settings) any { return &s.RollbackTimeout }},
}

// Names of variables with special handling.
const (
	LocalMode    = "SUPERVISOR_LOCAL_MODE"
	VPNControl   = "SUPERVISOR_VPN_CONTROL"
	SplashImage  = "HOST_SPLASH_image" // in upper or lower case
	overrideLock = "SUPERVISOR_OVERRIDE_LOCK"
	formerLock   = "OVERRIDE_LOCK" // old name of overrideLock, which it overrides
)

// Warning is a value that was ignored.
type Warning struct {
	Name string // of the variable
	Text string // for the user, a phrase of docs/spec/cloud.md 5.5
}

// Parse reads a configuration that Fold returned. A variable that is missing or invalid gets its default. Each
// invalid one causes a warning.
func Parse(config map[string]string) (Settings, []Warning) {
	var s Settings
	var warnings []Warning
	for i := range variables {
		v := &variables[i]
		text, set := config[v.name]
		if set && v.read(&s, text) {
			continue
		}
		v.read(&s, v.defaultText)
		if set {
			warnings = append(warnings, Warning{v.name, "Warning: Ignoring invalid device configuration value for " +
				v.internal + ", value: " + quote(text) + ". Falling back to default (" + v.defaultText + ")"})
		}
	}
	return s, warnings
}

// Complete returns a configuration with defaults for the missing variables.
func Complete(config map[string]string) map[string]string {
	all := make(map[string]string, len(config)+len(variables))
	for _, v := range variables {
		all[v.name] = v.defaultText
	}
	for name, text := range config {
		all[name] = text
	}
	return all
}

// Current returns the smallest configuration with these settings: it omits defaults.
func Current(s Settings) map[string]string {
	config := make(map[string]string)
	for i := range variables {
		v := &variables[i]
		if text := v.text(&s); text != v.defaultText {
			config[v.name] = text
		}
	}
	return config
}

// Change is a variable whose value changes.
type Change struct {
	Name     string
	Old, New string // as text; New as the configuration has it, if that is valid
	Reboot   bool   // it takes effect only after a reboot
}

// Changes lists the variables that differ between have and want. config is the configuration that want was parsed
// from.
func Changes(have, want Settings, config map[string]string) []Change {
	var changes []Change
	for i := range variables {
		v := &variables[i]
		c := Change{Name: v.name, Old: v.text(&have), New: v.text(&want), Reboot: v.reboot}
		if c.Old == c.New {
			continue
		}
		if given, set := config[v.name]; set && v.read(&Settings{}, given) {
			c.New = given
		}
		changes = append(changes, c)
	}
	return changes
}

// Differs reports whether a variable has different values in a and b.
func Differs(name string, a, b Settings) bool {
	for i := range variables {
		if v := &variables[i]; v.name == name {
			return v.text(&a) != v.text(&b)
		}
	}
	return false
}
