package compose

import (
	"strconv"
	"strings"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// resolveVolume turns a top-level volume into the document for the engine (docs/spec/engine.md 3.1).
func (r *resolver) resolveVolume(name string, composition target.Map) *Volume {
	n := r.notes("volume " + name)
	if !isName(name) {
		n.fail("the name may only hold letters, digits, dots, dashes and underscores")
	}
	sec := newSection("", composition, n)
	v := &Volume{Name: VolumeName(r.app.ID, name)}
	v.Doc = doc.VolumeCreate{Name: v.Name, Driver: sec.text("driver", ""), DriverOpts: sec.pairs("driver_opts", false)}
	v.Doc.Labels = NormaliseLabels(sec.pairs("labels", true))
	v.Doc.Labels[labelSupervised] = "true"
	if r.app.UUID != "" {
		v.Doc.Labels[labelAppUUID] = r.app.UUID
	}
	sec.finish()
	canonicalVolume(&v.Doc)
	return v
}

func canonicalVolume(d *doc.VolumeCreate) {
	if d.Driver == "" {
		d.Driver = "local"
	}
	d.DriverOpts = orNil(d.DriverOpts)
	d.Labels = orNil(NormaliseLabels(d.Labels))
}

// storage holds the mounts of a service, before they are canonical.
type storage struct {
	anonymous []string
	binds     []string
	mounts    []doc.Mount
}

// readVolumes reads the volumes of a service, in short and long form. Other mounts than volumes and tmpfs are ignored
// with a warning, because apps must not mount host paths (docs/spec/engine.md 2.7).
func (r *resolver) readVolumes(sec *section) storage {
	var st storage
	var items []any
	switch v := sec.take("volumes").(type) {
	case nil:
	case []any:
		items = v
	case string:
		items = []any{v}
	default:
		sec.warnType("volumes", "a list")
	}
	for _, item := range items {
		switch item := item.(type) {
		case nil:
		case string:
			r.shortVolume(sec, item, &st)
		case map[string]any:
			r.longVolume(newSection("volumes.", item, sec.notes), &st)
		default:
			sec.warn("an entry of volumes is neither a text nor a mapping and is ignored")
		}
	}
	return st
}

func (r *resolver) shortVolume(sec *section, entry string, st *storage) {
	parts := strings.Split(entry, ":")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	switch {
	case len(parts) == 1 && strings.HasPrefix(parts[0], "/"):
		st.anonymous = append(st.anonymous, parts[0])
	case isHostPath(parts[0]):
		sec.warn("volumes: " + strconv.Quote(entry) + " is a bind mount and is ignored")
	case len(parts) == 1 || len(parts) > 3 || !isName(parts[0]) || !strings.HasPrefix(parts[1], "/"):
		sec.fail("volumes: " + strconv.Quote(entry) + " is not name:/path or name:/path:mode")
	default:
		parts[0] = VolumeName(r.app.ID, parts[0])
		st.binds = append(st.binds, strings.Join(parts, ":"))
	}
}

func isHostPath(source string) bool {
	return source != "" && strings.IndexByte("/.~", source[0]) >= 0
}

func (r *resolver) longVolume(sec *section, st *storage) {
	m := doc.Mount{
		Type:     sec.text("type", ""),
		Source:   strings.TrimSpace(sec.text("source", "")),
		Target:   sec.text("target", ""),
		ReadOnly: sec.flag("read_only", false) || sec.flag("readonly", false),
	}
	readMountOptions(sec, &m)
	sec.take("consistency") // a hint for desktop engines
	sec.finish()
	switch {
	case m.Type == "volume" && !isHostPath(m.Source), m.Type == "tmpfs" && m.Source == "":
	default:
		sec.warn("volume at " + strconv.Quote(m.Target) + " of type " + strconv.Quote(m.Type) + " with source " +
			strconv.Quote(m.Source) + " is not a volume of the app and is ignored")
		return
	}
	if !strings.HasPrefix(m.Target, "/") {
		sec.fail("volumes: target " + strconv.Quote(m.Target) + " is not an absolute path")
	}
	if m.Source != "" && !isName(m.Source) {
		sec.fail("volumes: source " + strconv.Quote(m.Source) + " is not a volume name")
	}
	if m.Source != "" {
		m.Source = VolumeName(r.app.ID, m.Source)
	}
	st.mounts = append(st.mounts, m)
}

// readMountOptions reads the options of the mount's own type. It drops those of other types, because the engine refuses
// them.
func readMountOptions(sec *section, m *doc.Mount) {
	bind, volume, tmpfs := sec.mapping("bind"), sec.mapping("volume"), sec.mapping("tmpfs")
	propagation := bind.text("propagation", "")
	noCopy := volume.flag("nocopy", false)
	size, mode := tmpfs.bytes("size", 0), readMode(tmpfs)
	switch m.Type {
	case "bind":
		m.BindOptions = &doc.BindOptions{Propagation: propagation}
	case "volume":
		m.VolumeOptions = &doc.VolumeOptions{NoCopy: noCopy}
	case "tmpfs":
		m.TmpfsOptions = &doc.TmpfsOptions{SizeBytes: size, Mode: mode}
	}
	bind.finish()
	volume.finish()
	tmpfs.finish()
}

// readMode reads file mode bits. A number is decimal, a text is octal.
func readMode(sec *section) uint32 {
	v := sec.take("mode")
	base := 10
	if _, isText := v.(string); isText {
		base = 8
	}
	text, _ := scalar(v)
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), base, 32)
	if v != nil && (err != nil || mode > 0o7777) {
		sec.warnType("mode", "a file mode")
		return 0
	}
	return uint32(mode)
}

// readTmpfs reads tmpfs paths with their options: "/run:size=64m".
func readTmpfs(sec *section) map[string]string {
	out := map[string]string{}
	for _, entry := range sec.list("tmpfs") {
		path, options, _ := strings.Cut(entry, ":")
		if path = strings.TrimSpace(path); path != "" {
			out[path] = strings.TrimSpace(options)
		}
	}
	return out
}

// NamedVolumes lists the engine names of the volumes a container mounts, sorted.
func (c *Container) NamedVolumes() []string {
	var names []string
	for _, bind := range c.Doc.HostConfig.Binds {
		if source, _, found := strings.Cut(bind, ":"); found && !isHostPath(source) {
			names = append(names, source)
		}
	}
	for _, m := range c.Doc.HostConfig.Mounts {
		if m.Type == "volume" && m.Source != "" {
			names = append(names, m.Source)
		}
	}
	return sortedSet(names)
}
