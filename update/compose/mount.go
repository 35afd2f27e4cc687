package compose

import (
	"cmp"
	"reflect"
	"slices"
	"sort"
	"strings"

	"resin-supervisor/update/engine/doc"
)

// canonicalStorage sorts the mounts of a container and gives each mount one spelling.
func canonicalStorage(d *doc.Create) {
	h := &d.HostConfig
	volumes := make(map[string]struct{}, len(d.Volumes))
	for path := range d.Volumes {
		volumes[cleanPath(path)] = struct{}{}
	}
	var binds []string
	for _, bind := range h.Binds {
		source, path, named := strings.Cut(bind, ":")
		switch {
		case !named: // an anonymous volume in the form of a bind
			volumes[cleanPath(bind)] = struct{}{}
		case IsAnonymous(source): // an inherited one, see Inherit
			path, _, _ = strings.Cut(path, ":")
			volumes[cleanPath(path)] = struct{}{}
		default:
			binds = append(binds, canonicalBind(bind))
		}
	}
	d.Volumes = orNil(volumes)
	h.Binds = sortedSet(binds)
	h.Mounts = canonicalMounts(h.Mounts)
}

// canonicalBind is source:target[:options] with clean paths and sorted options, without the default rw.
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

// canonicalMounts drops empty options, which older engines return as empty objects.
func canonicalMounts(mounts []doc.Mount) []doc.Mount {
	out := slices.Clone(orNilList(mounts))
	for i := range out {
		m := &out[i]
		m.Target = cleanPath(m.Target)
		if IsAnonymous(m.Source) { // an inherited one
			m.Source = ""
		}
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

// IsAnonymous reports whether a volume has a generated name: 64 hex digits.
func IsAnonymous(volume string) bool {
	return len(volume) == 64 && strings.Trim(volume, "0123456789abcdef") == ""
}

// Anonymous reports whether a container has an anonymous volume at a path.
func (c *Container) Anonymous(path string) bool {
	h := &c.Doc.HostConfig
	for i := range h.Mounts {
		if m := &h.Mounts[i]; m.Target == path {
			return m.Type == "volume" && m.Source == ""
		}
	}
	for _, bind := range h.Binds {
		if strings.HasPrefix(bind[strings.IndexByte(bind, ':')+1:]+":", path+":") {
			return false
		}
	}
	_, temporary := h.Tmpfs[path]
	_, anonymous := c.Doc.Volumes[path]
	return anonymous && !temporary
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
