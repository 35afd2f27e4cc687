package target

import "encoding/json"

// Preload is the content of the preload file apps.json.
type Preload struct {
	State *State
	// Pin says that the device must be pinned to PinCommit of PinApp, the first fleet in the file (docs/spec/cloud.md
	// 8.2). PinApp is 0 and PinCommit empty when the file has no usable fleet.
	Pin       bool
	PinApp    int
	PinCommit string
}

// NeedsCloudError says that the cloud could not be asked for the uuids of the apps of a v2 file.
type NeedsCloudError struct{ cause error }

// Unwrap is the reason why the cloud did not answer.
func (e *NeedsCloudError) Unwrap() error { return e.cause }

// Error has the exact words of docs/spec/cloud.md 8.1.
func (e *NeedsCloudError) Error() string { return needsCloud }

const needsCloud = "Cannot migrate from v2 apps.json without Internet connectivity. " +
	"Please use balenaCLI v13.5.1+ for offline preload support."

// DecodePreload reads apps.json in its three shapes: v3, v2 with apps keyed by id, and the array from the time of
// single-container apps (docs/spec/cloud.md 8.1 and 8.3). It returns nil when there is nothing to preload. uuidOf returns
// the uuid of an app by its id, which a v2 file lacks. If it fails, nothing of the file is used. It is nil on a device
// without a cloud, where the id is the uuid. Malformed apps are treated as in DecodeV3. But a file with apps of which
// none is usable is an *InvalidError.
func DecodePreload(body []byte, uuidOf func(id int) (string, error)) (*Preload, []Problem, error) {
	raw, err := parse(body)
	if err != nil {
		return nil, nil, err
	}
	if raw[0] == '[' {
		return decodeLegacy(raw)
	}
	file, err := members(raw)
	if err != nil {
		return nil, nil, &InvalidError{Lines: []string{expectingLine("object or list", "apps.json", showRaw(raw))}}
	}
	apps, _ := members(find(file, "apps")) // the reader reports apps that are no object
	r := reader{optional: true, app: preloadV3}
	var offline error
	if hasNumericKey(apps) {
		r.app = func(m member, n node) (*App, bool) {
			app, known := preloadV2(m, n)
			if known && uuidOf != nil && offline == nil {
				app.UUID, offline = uuidOf(app.ID)
			}
			return app, known
		}
	}
	state, problems, err := r.read(raw)
	if err != nil {
		return nil, nil, err
	}
	if offline != nil {
		return nil, nil, &NeedsCloudError{offline}
	}
	c := &check{}
	p := &Preload{State: state, Pin: treeOf(c, "pinDevice", find(file, "pinDevice")).boolean(false)}
	p.pinFirst(apps)
	return p.finish(c, problems)
}

// finish refuses a file without a usable app, and returns nil for an empty one.
func (p *Preload) finish(c *check, problems []Problem) (*Preload, []Problem, error) {
	if err := c.invalid(); err != nil {
		return nil, nil, err
	}
	if len(problems) > 0 && !p.hasUsableApp() {
		return nil, nil, &InvalidError{Lines: texts(problems)}
	}
	if len(p.State.Apps) == 0 && len(p.State.Config) == 0 {
		return nil, nil, nil
	}
	p.State.Name = ""
	return p, problems, nil
}

func (p *Preload) hasUsableApp() bool {
	for _, app := range p.State.Apps {
		if app.Rejected == "" {
			return true
		}
	}
	return false
}

// pinFirst pins the first usable fleet in the order of the file.
func (p *Preload) pinFirst(apps []member) {
	for _, m := range apps {
		app := p.app(m.key)
		if p.Pin && app != nil && app.Class == "fleet" && app.Rejected == "" {
			p.PinApp, p.PinCommit = app.ID, app.Release.Commit
			return
		}
	}
}

// app finds an app by its key in the file: the uuid, or the id in the v2 shape.
func (p *Preload) app(key string) *App {
	if id, ok := canonical(key); ok {
		for _, app := range p.State.Apps {
			if app.ID == id {
				return app
			}
		}
	}
	return p.State.Apps[key]
}

func hasNumericKey(apps []member) bool {
	for _, m := range apps {
		if _, ok := canonical(m.key); ok {
			return true
		}
	}
	return false
}

// preloadV3 and preloadV2 require a release, because an app without one has nothing to preload.
func preloadV3(m member, n node) (*App, bool) {
	app, known := appV3(m, n)
	n.get("releases").wantsRelease(app)
	return app, known
}

func preloadV2(m member, n node) (*App, bool) {
	app, known := appV2(m, n)
	app.UUID = m.key
	n.get("commit").wantsRelease(app)
	return app, known
}

func (n node) wantsRelease(app *App) {
	if app.Release == nil && n.check.count() == 0 {
		n.expected("at least one release")
	}
}

// decodeLegacy reads the array shape.
func decodeLegacy(raw json.RawMessage) (*Preload, []Problem, error) {
	c := &check{}
	list, _ := treeOf(c, "apps.json", raw).value.([]any)
	if c.bound("apps", len(list)); c.count() > 0 {
		return nil, nil, c.invalid()
	}
	p := &Preload{State: &State{Config: map[string]string{}, Apps: map[string]*App{}}}
	var problems []Problem
	for i, element := range list {
		for _, line := range p.addLegacy(i, element) {
			problems = append(problems, Problem{App: legacyUUID(i), Text: line})
		}
	}
	return p.finish(c, problems)
}
