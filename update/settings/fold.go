package settings

import (
	"strconv"
	"strings"
)

// Fold removes the prefixes of configuration variables. If a name occurs several times, the BALENA_ form wins, then
// the RESIN_ form, then the form without prefix. Fold drops unknown names (docs/spec/cloud.md 6.3).
func Fold(config map[string]string) map[string]string {
	folded := make(map[string]string, len(config))
	best := make(map[string]int, len(config))
	for name, text := range config {
		bare, rank := name, 1
		if b, ok := strings.CutPrefix(name, "BALENA_"); ok {
			bare, rank = b, 3
		} else if b, ok := strings.CutPrefix(name, "RESIN_"); ok {
			bare, rank = b, 2
		}
		if bare == formerLock {
			bare, rank = overrideLock, rank+3
		}
		if rank > best[bare] && known(bare) {
			folded[bare], best[bare] = text, rank
		}
	}
	return folded
}

// ForHost returns a configuration from Fold in the form that the host reads: each name with both prefixes. For the
// override of update locks the host uses two other names, and only the text true (docs/spec/host.md 2).
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

// known reports whether a name is a variable of this package, of the update strategy, or of the boot
// configuration.
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

// IsBoot reports whether a name belongs to the boot configuration of any board (docs/spec/cloud.md 6.2).
func IsBoot(name string) bool {
	for _, prefix := range [...]string{"HOST_CONFIG_", "HOST_EXTLINUX_", "HOST_ODMDATA_", "HOST_CONFIGFS_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.EqualFold(name, SplashImage)
}
