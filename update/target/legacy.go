package target

import (
	"maps"
	"strconv"
	"strings"
)

// legacyUUID is the uuid of an app from the time of single-container apps, which had none. A device had one app. Further
// ones get a number.
func legacyUUID(i int) string {
	if i == 0 {
		return "user-app"
	}
	return "user-app-" + strconv.Itoa(i)
}

// addLegacy adds one element of a legacy preload file to the state, or returns its problems (docs/spec/cloud.md 8.3).
func (p *Preload) addLegacy(i int, element any) []string {
	n := rootOf(&check{}, strconv.Itoa(i), element)
	if !n.isObject() {
		return n.check.all()
	}
	app := &App{UUID: legacyUUID(i), ID: n.get("appId").id(), Name: n.get("name").text(), Class: "fleet"}
	commit := n.get("commit").text()
	if commit == "" {
		n.get("commit").expected("commit")
	}
	config := n.get("config").optionalTexts(configKey())
	service := n.legacyService(config)
	if n.check.count() > 0 {
		return n.check.all()
	}
	app.Release = newRelease(commit, 1)
	app.Release.Services["main"] = service
	app.Release.Volumes["resin-data"] = Map{}
	p.State.Apps[app.UUID] = app
	maps.Copy(p.State.Config, config)
	return nil
}

// optionalTexts is texts, but an absent object is empty.
func (n node) optionalTexts(form keyForm) map[string]string {
	if n.empty() {
		return map[string]string{}
	}
	return n.texts(form)
}

// legacyService is the single service of the app, with the permissions that every app had then.
func (n node) legacyService(config map[string]string) *Service {
	environment := map[string]string{}
	if env := n.get("env"); !env.empty() {
		environment = env.environment()
	}
	maps.DeleteFunc(environment, func(name, _ string) bool { return strings.HasPrefix(name, "RESIN_") })
	return &Service{
		Name: "main", ID: 1, ImageID: 1, Image: n.get("imageId").image(), Running: true,
		Environment: environment,
		Labels:      legacyLabels(config),
		Composition: Map{
			"privileged":   true,
			"network_mode": "host",
			"volumes":      []any{"resin-data:/data"},
			"restart":      valueOr(config, "RESIN_APP_RESTART_POLICY", "always"),
		},
	}
}

func legacyLabels(config map[string]string) map[string]string {
	return map[string]string{
		"io.resin.features.kernel-modules": "1",
		"io.resin.features.firmware":       "1",
		"io.resin.features.dbus":           "1",
		"io.resin.features.supervisor-api": "1",
		"io.resin.features.resin-api":      "1",
		"io.resin.update.strategy":         valueOr(config, "RESIN_SUPERVISOR_UPDATE_STRATEGY", "download-then-kill"),
		"io.resin.update.handover-timeout": config["RESIN_SUPERVISOR_HANDOVER_TIMEOUT"],
		"io.resin.legacy-container":        "1",
	}
}

func valueOr(config map[string]string, name, fallback string) string {
	if value := config[name]; value != "" {
		return value
	}
	return fallback
}
