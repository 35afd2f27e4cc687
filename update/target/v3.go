package target

import "fmt"

// DecodeV3 reads this device's entry of the cloud's document (docs/spec/cloud.md 3.5). A malformed app does not affect
// the others. With a valid id and name it is returned with Rejected set, else it is left out. Each fault is a Problem.
// An error means that nothing can be used: an *InvalidError for an entry that breaks the rules, any other error for a
// body that is not JSON or has no entry for the device.
func DecodeV3(body []byte, deviceUUID string) (*State, []Problem, error) {
	raw, err := parse(body)
	if err != nil {
		return nil, nil, err
	}
	devices, err := members(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("parse target state: %w", err)
	}
	entry := find(devices, deviceUUID)
	if entry == nil {
		return nil, nil, fmt.Errorf("target state has no entry for device %s", deviceUUID)
	}
	return reader{app: appV3}.read(entry)
}

// DecodeV3Entry reads the entry of a device, also one from Encode. Other than DecodeV3 it reads why an app is rejected.
func DecodeV3Entry(raw []byte) (*State, []Problem, error) {
	entry, err := parse(raw)
	if err != nil {
		return nil, nil, err
	}
	return reader{app: storedApp}.read(entry)
}

func storedApp(m member, n node) (*App, bool) {
	app, known := appV3(m, n)
	app.Rejected, _ = n.get("rejected").value.(string)
	return app, known
}

// appV3 reads one app of a v3 document.
func appV3(m member, n node) (app *App, known bool) {
	if !isDocumentKey(m.key) {
		n.check.add(expectingLine(documentKey().what, "app key", show(m.key)))
	}
	app = &App{UUID: m.key, ID: n.get("id").id(), Name: n.get("name").text()}
	known = n.check.count() == 0
	app.Class = n.get("class").class()
	app.IsHost = n.get("is_host").boolean(false)
	n.get("parent_app").optionalText("")
	app.Release = releaseV3(m, n)
	return app, known
}

// class is the class of an app, fleet by default.
func (n node) class() string {
	class := n.optionalText("fleet")
	switch class {
	case "fleet", "app", "block":
		return class
	}
	n.expected("fleet, app or block")
	return "fleet"
}

// releaseV3 reads the first release. It is nil when there is none, or its commit or id is invalid.
func releaseV3(m member, app node) *Release {
	releases := app.get("releases")
	if len(releases.object()) == 0 {
		return nil
	}
	commit := firstRelease(m)
	if !isDocumentKey(commit) {
		app.check.add(expectingLine(documentKey().what, "key of "+releases.path, show(commit)))
		return nil
	}
	n := releases.get(commit)
	before := n.check.count()
	if !n.isObject() {
		return nil
	}
	r := newRelease(commit, n.get("id").id())
	if n.check.count() != before {
		return nil
	}
	n.get("services").each(objectKey(), func(name string, s node) {
		r.Services[name] = serviceV3(name, s)
	})
	r.Volumes = n.get("volumes").objects(objectKey())
	r.Networks = n.get("networks").objects(objectKey())
	return r
}

// firstRelease is the commit of the first release in the document. The caller knows that there is one.
func firstRelease(m member) string {
	app, _ := members(m.raw)
	releases, _ := members(find(app, "releases"))
	if len(releases) == 0 {
		return ""
	}
	return releases[0].key
}

func serviceV3(name string, n node) *Service {
	if !n.isObject() {
		return nil
	}
	return &Service{
		Name:        name,
		ID:          n.get("id").id(),
		ImageID:     n.get("image_id").id(),
		Image:       n.get("image").image(),
		Running:     n.get("running").boolean(true),
		Environment: n.get("environment").environment(),
		Labels:      n.get("labels").labels(),
		Composition: n.get("composition").composition(),
		Contract:    n.get("contract").contract(name),
	}
}

// composition is a free-form object, which package compose reads.
func (n node) composition() Map {
	if c := n.object(); c != nil {
		return c
	}
	return Map{}
}
