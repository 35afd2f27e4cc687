package compose

import (
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// imageDefaults holds the image's settings, which apply where the service has none. config is empty while the image is
// not on the device.
type imageDefaults struct {
	id     string
	known  bool
	config doc.Config
}

func (r *resolver) imageDefaults(ref string) imageDefaults {
	img := r.image(ref)
	if img == nil {
		return imageDefaults{id: ref}
	}
	return imageDefaults{id: img.Id, known: true, config: img.Config}
}

// resolveService turns one target service into the document for the engine, in the order of docs/spec/engine.md 2.2.
func (r *resolver) resolveService(svc *target.Service) *Service {
	n := r.notes("service " + svc.Name)
	if !isName(svc.Name) {
		n.fail("the name may only hold letters, digits, dots, dashes and underscores")
	}
	sec := newSection("", svc.Composition, n)
	for _, key := range [...]string{"image", "running"} {
		sec.take(key) // the target has its own fields for these
	}
	own := sec.pairs("labels", true)
	overlay(own, svc.Labels)
	env := sec.pairs("environment", false)
	overlay(env, svc.Environment)

	img := r.imageDefaults(svc.Image)
	labels := r.containerLabels(svc, own, img.config.Labels)
	net := r.attach(sec, svc.Name, usesSupervisorAPI(labels))
	extra := r.features(svc.Name, labels, net.mode == "host")

	d := doc.Create{Image: img.id, Labels: labels}
	readFields(sec, &d)
	d.HostConfig.NetworkMode = net.mode
	d.HostConfig.DeviceRequests = extra.devices
	r.readProcess(sec, &d, img.config)
	d.Env = joinEnv(r.environment(svc, env, splitEnv(img.config.Env), extra.env))
	r.addStorage(sec, svc.Name, &d, img.config, extra)
	r.setHostname(sec, &d)

	out := &Service{
		Name: svc.Name, ID: svc.ID, ImageID: svc.ImageID, Image: svc.Image, Running: svc.Running,
		DependsOn: r.readDependencies(sec, net.peer), PeerOf: net.peer,
		ImageKnown: img.known, AtCreate: atCreate(r.facts.DeviceName),
	}
	out.applyUpdateLabels(labels, r.facts, n)
	sec.finish()
	canonical(&d)
	out.Container = &Container{Doc: d, Networks: canonicalEndpoints(net.networks)}
	return out
}

// readProcess reads the keys for which the image has defaults. An empty value counts as absent, as it does for the
// engine. Only the entrypoint may be set to empty.
func (r *resolver) readProcess(sec *section, d *doc.Create, image doc.Config) {
	var given bool
	if d.Cmd, given = sec.command("command"); !given {
		d.Cmd = image.Cmd
	}
	if d.Entrypoint, given = sec.command("entrypoint"); !given {
		d.Entrypoint = image.Entrypoint
	}
	if len(d.Cmd) == 0 && isEmptyEntrypoint(d.Entrypoint) {
		d.Cmd = image.Cmd // as the engine does with neither
	}
	d.User = firstOf(sec.text("user", ""), image.User)
	d.WorkingDir = firstOf(sec.text("working_dir", ""), image.WorkingDir)
	d.StopSignal = firstOf(sec.text("stop_signal", ""), image.StopSignal)
	d.Healthcheck = readHealthcheck(sec, image.Healthcheck)
}

// addStorage adds all mounts: the image's volumes, the service's, the lock directory and those of the features.
func (r *resolver) addStorage(sec *section, service string, d *doc.Create, image doc.Config, extra extras) {
	st := r.readVolumes(sec)
	d.Volumes = map[string]struct{}{}
	for _, path := range append(st.anonymous, sortedKeys(image.Volumes)...) {
		d.Volumes[path] = struct{}{}
	}
	locks := lockDirectory(r.app.ID, service)
	binds := append(st.binds, locks+":/tmp/resin", locks+":/tmp/balena")
	d.HostConfig.Binds = append(binds, extra.binds...)
	d.HostConfig.Mounts = append(st.mounts, extra.mounts...)
}

// setHostname sets the device's hostname on the host's network, and warns where a hostname has no effect.
func (r *resolver) setHostname(sec *section, d *doc.Create) {
	h := &d.HostConfig
	if h.NetworkMode == "host" && d.Hostname == "" {
		d.Hostname = r.facts.Hostname
	}
	if isShared(h.NetworkMode) && d.Hostname+d.Domainname != "" {
		sec.warn("hostname and domainname are ignored with network_mode " + h.NetworkMode)
	}
}
