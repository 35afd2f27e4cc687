package target

// appV2 reads one app of the older shape, keyed by its id (docs/spec/cloud.md 3.11). The id is its uuid too, unless
// EncodeLocal wrote the real uuid.
func appV2(m member, n node) (app *App, known bool) {
	id, ok := canonical(m.key)
	if !ok {
		n.check.add(expectingLine("numeric app id", "app key", show(m.key)))
	}
	app = &App{UUID: n.get("uuid").optionalText(m.key), ID: id, Name: n.get("name").text()}
	if app.UUID == "" {
		n.get("uuid").expected("string of at least one character")
	}
	known = n.check.count() == 0
	app.Class = n.get("class").class()
	app.IsHost = n.get("isHost").boolean(false)
	app.Release = releaseV2(n)
	return app, known
}

// releaseV2 reads the release, whose members are in the app itself. It is nil without a commit or a valid release id.
// Services without a commit are refused, because none of them would run.
func releaseV2(app node) *Release {
	commit, services := app.get("commit").optionalText(""), app.get("services")
	if commit == "" {
		if len(services.object()) > 0 {
			app.get("commit").expected("commit of the services")
		}
		return nil
	}
	before := app.check.count()
	r := newRelease(commit, app.get("releaseId").id())
	if app.check.count() != before {
		return nil
	}
	if services.present && services.value == nil {
		services.expected("object")
	}
	services.each(idKey(), func(key string, n node) { addServiceV2(r, key, n) })
	r.Volumes = app.get("volumes").objects(objectKey())
	r.Networks = app.get("networks").objects(objectKey())
	return r
}

// addServiceV2 reads one service, keyed by its id. Its compose keys are beside its own fields.
func addServiceV2(r *Release, key string, n node) {
	if !n.isObject() {
		return
	}
	name := n.get("serviceName").text()
	if !isName(name) {
		n.get("serviceName").expected(objectKey().what)
		return
	}
	if r.Services[name] != nil {
		n.get("serviceName").expected("name of no other service")
	}
	id, _ := canonical(key)
	r.Services[name] = &Service{
		Name:        name,
		ID:          id,
		ImageID:     n.get("imageId").id(),
		Image:       n.get("image").image(),
		Running:     n.get("running").boolean(true),
		Environment: n.get("environment").environment(),
		Labels:      n.get("labels").labels(),
		Composition: inlineComposition(n.object()),
		Contract:    n.get("contract").contract(name),
	}
}

// inlineComposition lists the compose keys of a service.
func inlineComposition(fields Map) Map {
	composition := Map{}
	for key, value := range fields {
		if !isFieldV2(key) {
			composition[key] = value
		}
	}
	return composition
}

// isFieldV2 reports whether a member of a service is its own field and no compose key.
func isFieldV2(key string) bool {
	switch key {
	case "serviceId", "imageId", "serviceName", "image", "running", "environment", "labels", "contract":
		return true
	}
	return false
}
