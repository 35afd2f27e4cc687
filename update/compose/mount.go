package compose

import (
	"cmp"
	"reflect"
	"slices"
	"sort"
	"strings"

	"resin-supervisor/update/engine/doc"
)

// canonicalStorage sorts everything a container mounts and writes each mount in one way.
func canonicalStorage(d *doc.Create) {
	h := &d.HostConfig
	volumes := make(map[string]struct{}, len(d.Volumes))
	for path := range d.Volumes {
		volumes[cleanPath(path)] = struct{}{}
	}
	var binds []string
	for _, bind := range h.Binds {
		if !strings.Contains(bind, ":") { // an anonymous volume in another place
			volumes[cleanPath(bind)] = struct{}{}
			continue
		}
		binds = append(binds, canonicalBind(bind))
	}
	d.Volumes = orNil(volumes)
	h.Binds = sortedSet(binds)
	h.Mounts = canonicalMounts(h.Mounts)
}

// canonicalBind writes source:target[:options] with clean paths and sorted options; rw is the
// default and is left out.
func canonicalBind(bind string) string {
	parts := strings.SplitN(bind, ":", 3)
	parts[1] = cleanPath(parts[1])
	if len(parts) < 3 {
		return strings.Join(parts, ":")
	}
	options := slices.DeleteFunc(sortedSet(strings.Split(parts[2], ",")), func(option string) bool {
		return option == "rw" || option == ""
	})
	if len(options) == 0 {
		return parts[0] + ":" + parts[1]
	}
	return parts[0] + ":" + parts[1] + ":" + strings.Join(options, ",")
}

// canonicalMounts leaves out options that say nothing; older engines send them back as empty objects.
func canonicalMounts(mounts []doc.Mount) []doc.Mount {
	out := slices.Clone(orNilList(mounts))
	for i := range out {
		m := &out[i]
		m.Target = cleanPath(m.Target)
		m.BindOptions = unlessZero(m.BindOptions)
		m.VolumeOptions = unlessZero(m.VolumeOptions)
		m.TmpfsOptions = unlessZero(m.TmpfsOptions)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Source, b.Source)) < 0
	})
	return slices.CompactFunc(out, func(a, b doc.Mount) bool { return reflect.DeepEqual(a, b) })
}

func unlessZero[T comparable](p *T) *T {
	var zero T
	if p == nil || *p == zero {
		return nil
	}
	out := *p
	return &out
}

func canonicalTmpfs(tmpfs map[string]string) map[string]string {
	out := make(map[string]string, len(tmpfs))
	for path, options := range tmpfs {
		out[cleanPath(path)] = options
	}
	return orNil(out)
}
