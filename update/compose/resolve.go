package compose

import (
	"errors"
	"strconv"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// lockRoot is the host directory of the services' lock and hand-over files.
const lockRoot = "/tmp/balena-supervisor/services/"

func lockDirectory(appID int, service string) string {
	return lockRoot + strconv.Itoa(appID) + "/" + service
}

// resolver resolves one app.
type resolver struct {
	app      *target.App
	uuid     string // in local mode the app id as text
	facts    *Facts
	image    func(ref string) *doc.Image
	allNotes []*notes
}

// Resolve turns a target app into the documents for the engine (docs/spec/engine.md 2 and 3). image returns the engine's
// image for a normalised reference, nil when it is not on the device. The image's defaults are then missing, and
// ImageKnown is false. An error means that the composition cannot be honoured, and nothing of the app may be changed.
// App.Warnings lists the parts that were ignored.
func Resolve(app *target.App, facts *Facts, image func(ref string) *doc.Image) (*App, error) {
	out := &App{
		ID: app.ID, UUID: app.UUID, Name: app.Name, Class: app.Class, IsHost: app.IsHost, Source: app, Rejected: app.Rejected,
		Strategy: parseStrategy(facts.Strategy),
		Services: map[string]*Service{}, Networks: map[string]*Network{}, Volumes: map[string]*Volume{},
	}
	if app.Release == nil {
		return out, nil
	}
	out.Commit, out.Release = app.Release.Commit, app.Release.ID
	r := &resolver{app: app, uuid: firstOf(app.UUID, strconv.Itoa(app.ID)), facts: facts, image: image}
	r.resolveAll(out)
	if err := r.firstErrors(); err != nil {
		return nil, err
	}
	if err := checkCycles(out.Services); err != nil {
		return nil, errors.New("app " + app.Name + ": " + err.Error())
	}
	for _, n := range r.allNotes {
		out.Warnings = append(out.Warnings, n.warnings()...)
	}
	return out, nil
}

func (r *resolver) resolveAll(out *App) {
	release := r.app.Release
	for _, name := range sortedKeys(release.Services) {
		svc := release.Services[name]
		if svc != nil && (!r.app.IsHost || isDataService(svc.Labels)) {
			out.Services[name] = r.resolveService(svc)
		}
	}
	for _, name := range sortedKeys(release.Volumes) {
		v := r.resolveVolume(name, release.Volumes[name])
		out.Volumes[v.Name] = v
	}
	for _, name := range sortedKeys(release.Networks) {
		n := r.resolveNetwork(name, release.Networks[name])
		out.Networks[n.Name] = n
	}
	if _, listed := release.Networks["default"]; !listed {
		n := r.resolveNetwork("default", target.Map{"config_only": allOnHost(out.Services)})
		out.Networks[n.Name] = n
	}
}

// allOnHost reports whether no service needs the default network. The network is then config-only, without a bridge
// and addresses (docs/spec/engine.md 3.2).
func allOnHost(services map[string]*Service) bool {
	for _, s := range services {
		if s.Container.Doc.HostConfig.NetworkMode != "host" {
			return false
		}
	}
	return true
}

func (r *resolver) notes(subject string) *notes {
	n := &notes{subject: subject}
	r.allNotes = append(r.allNotes, n)
	return n
}

// firstErrors joins the first error of each service, volume and network, which reject the app.
func (r *resolver) firstErrors() error {
	text, more := "", 0
	for _, n := range r.allNotes {
		if n.err == nil {
			continue
		}
		if len(text) > maxFaults {
			more++
			continue
		}
		text += "; " + n.err.Error()
	}
	if text == "" {
		return nil
	}
	if more > 0 {
		text += "; and " + strconv.Itoa(more) + " more"
	}
	return errors.New("app " + r.app.Name + text[1:])
}

// maxFaults limits the text of one app's errors, in bytes. The last error may exceed it.
const maxFaults = 4000
