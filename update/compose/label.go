package compose

import (
	"math"
	"strconv"
	"strings"
	"time"

	"resin-supervisor/update/target"
)

// The labels of engine objects (docs/spec/engine.md 2.5), in normalised spelling.
const (
	labelSupervised  = "io.balena.supervised"
	labelAppID       = "io.balena.app-id"
	labelAppUUID     = "io.balena.app-uuid"
	labelServiceID   = "io.balena.service-id"
	labelServiceName = "io.balena.service-name"
	labelLegacy      = "io.balena.legacy-container"
	labelCustomIPAM  = "io.balena.private.ipam.config"
	labelImageClass  = "io.balena.image.class"
	labelImageStore  = "io.balena.image.store"
	labelStrategy    = "io.balena.update.strategy"
	labelHandover    = "io.balena.update.handover-timeout"
	labelReboot      = "io.balena.update.requires-reboot"
	labelRollback    = "io.balena.update.rollback-timeout"
	featurePrefix    = "io.balena.features."
)

// defaultHandover is how long a hand-over waits for the new container to complete it.
const defaultHandover = 60 * time.Second

// NormaliseLabels replaces resin by balena in every key that starts with io.resin. A key that starts with io.balena. in
// the argument wins over a renamed one (docs/spec/engine.md 2.5). The result is a new map, never nil.
func NormaliseLabels(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels))
	var old []string
	for key, value := range labels {
		if strings.HasPrefix(key, "io.resin.") {
			old = append(old, key)
		} else {
			out[key] = value
		}
	}
	for _, key := range sortedSet(old) {
		addMissing(out, map[string]string{strings.ReplaceAll(key, "resin", "balena"): labels[key]})
	}
	return out
}

// addMissing adds the keys that m lacks.
func addMissing(m, more map[string]string) {
	for key, value := range more {
		if _, have := m[key]; !have {
			m[key] = value
		}
	}
}

// overlay adds all keys, and replaces those that m has.
func overlay(m, more map[string]string) {
	for key, value := range more {
		m[key] = value
	}
}

// containerLabels merges the labels of a container: ours win over the service's own, and these over the image's.
func (r *resolver) containerLabels(svc *target.Service, own, image map[string]string) map[string]string {
	out := map[string]string{}
	overlay(out, own)
	overlay(out, map[string]string{
		labelSupervised:  "true",
		labelAppID:       strconv.Itoa(r.app.ID),
		labelServiceID:   strconv.Itoa(svc.ID),
		labelServiceName: svc.Name,
		labelAppUUID:     r.uuid,
	})
	addMissing(out, image)
	return NormaliseLabels(out)
}

// isDataService reports whether the agent runs a service of the host app. Other services of it are parts of the
// operating system (docs/spec/engine.md 2.6).
func isDataService(labels map[string]string) bool {
	labels = NormaliseLabels(labels)
	class, store := labels[labelImageClass], labels[labelImageStore]
	return (class == "" || class == "service") && (store == "" || store == "data")
}

// applyUpdateLabels sets the update settings of a service from its labels, or else from the configuration
// (docs/spec/engine.md 6).
func (s *Service) applyUpdateLabels(labels map[string]string, device *Facts, n *notes) {
	s.Strategy = strategyOf(labels, parseStrategy(device.Strategy))
	s.RequiresReboot = target.Truthy(labels[labelReboot])
	s.HandoverTimeout = defaultHandover
	text, subject := labels[labelHandover], "label "+labelHandover
	if _, given := labels[labelHandover]; !given {
		text, subject = device.HandoverTimeout, "the configured hand-over timeout"
	}
	if ms, ok := parseMilliseconds(text); ok {
		s.HandoverTimeout = ms
	} else if text != "" {
		n.warn(subject + " is not a positive number of milliseconds, 60000 is used")
	}
	if text, given := labels[labelRollback]; given {
		limit, ok := parseMilliseconds(text)
		if !ok {
			limit, ok = parseDuration(text)
		}
		if !ok {
			n.warn("label " + labelRollback + " is neither milliseconds nor a duration and is ignored")
		}
		s.RollbackTimeout = limit
	}
}

// Strategy is the update strategy of a container: that of its label, or else the fallback.
func (c *Container) Strategy(fallback Strategy) Strategy {
	return strategyOf(c.Doc.Labels, fallback)
}

func strategyOf(labels map[string]string, fallback Strategy) Strategy {
	if name, given := labels[labelStrategy]; given {
		return parseStrategy(name)
	}
	return fallback
}

func parseStrategy(s string) Strategy {
	switch strategy := Strategy(s); strategy {
	case KillThenDownload, DeleteThenDownload, HandOver:
		return strategy
	}
	return DownloadThenKill
}

func parseMilliseconds(s string) (time.Duration, bool) {
	n, ok := parseWhole(s)
	if !ok || n <= 0 || n > math.MaxInt64/int64(time.Millisecond) {
		return 0, false
	}
	return time.Duration(n) * time.Millisecond, true
}
