package settings

import (
	"strconv"
	"strings"
)

// Fold strips the prefixes of configuration variables; of one name the BALENA_ form wins, then the
// RESIN_ form, then the bare one. Names that nothing on any device has a use for are dropped
// (docs/spec/cloud.md 6.3).
func Fold(config map[string]string) map[string]string {
	folded := make(map[string]string, len(config))
	rank := make(map[string]int, len(config))
	for name, text := range config {
		bare, worth := name, 1
		if b, ok := strings.CutPrefix(name, "BALENA_"); ok {
			bare, worth = b, 3
		} else if b, ok := strings.CutPrefix(name, "RESIN_"); ok {
			bare, worth = b, 2
		}
		if bare == formerLock {
			bare, worth = overrideLock, worth+3
		}
		if worth > rank[bare] && known(bare) {
			folded[bare], rank[bare] = text, worth
		}
	}
	return folded
}

// ForHost is a configuration that Fold made with both prefixes to each name, as the host reads it. Of the
// override of update locks the host knows two names, and no text but true (docs/spec/host.md 2).
func ForHost(folded map[string]string) map[string]string {
	all := make(map[string]string, 2*len(folded)+2)
	for name, text := range folded {
		all["BALENA_"+name], all["RESIN_"+name] = text, text
	}
	s, _ := Parse(folded)
	lock := strconv.FormatBool(s.OverrideLock)
	all[overrideLock], all["RESIN_"+formerLock] = lock, lock
	return all
}

// known tells whether a name is that of a variable here, of the update strategy, or of the boot
// configuration of some board.
func known(name string) bool {
	for i := range variables {
		if variables[i].name == name {
			return true
		}
	}
	switch name {
	case "SUPERVISOR_UPDATE_STRATEGY", "SUPERVISOR_HANDOVER_TIMEOUT":
		return true
	}
	return IsBoot(name)
}

// IsBoot tells whether a name belongs to the boot configuration of some board (docs/spec/cloud.md 6.2).
func IsBoot(name string) bool {
	for _, prefix := range [...]string{"HOST_CONFIG_", "HOST_EXTLINUX_", "HOST_ODMDATA_", "HOST_CONFIGFS_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.EqualFold(name, SplashImage)
}
