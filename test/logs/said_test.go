package logs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// speaker is a device of a cloud whose system messages are listened to.
type speaker struct {
	*harness.Supervisor
	t       *testing.T
	app     harness.App
	release int
	config  map[string]string
}

// says waits for messages in the log, those that begin with "! " on the error output; one that ends
// with "..." may go on.
func (s *speaker) says(messages ...string) {
	s.t.Helper()
	for _, want := range messages {
		text, stderr := strings.CutPrefix(want, "! ")
		text, more := strings.CutSuffix(text, "...")
		harness.Until(s.t, harness.Soon, fmt.Sprintf("message %q", want), func() error {
			var system []string
			for _, l := range s.Cloud().Logs() {
				if l.IsSystem && l.IsStdErr == stderr && (l.Message == text || more && strings.HasPrefix(l.Message, text)) {
					return nil
				}
				if l.IsSystem {
					system = append(system, l.Message)
				}
			}
			return fmt.Errorf("said was %q", system[max(0, len(system)-25):])
		})
	}
}

// assign gives the device its app as the next release, after a change.
func (s *speaker) assign(change func(app *harness.App)) {
	s.release++
	app := s.app.Released(fmt.Sprintf("c0ffee%02d", s.release), 100+s.release)
	change(&app)
	s.app = app
	s.Assign(harness.Target{Config: s.config, Apps: []harness.App{app}})
	s.Post("/v1/update", map[string]any{})
}

// mode makes another release out of an environment variable.
func (s *speaker) mode(value string) {
	s.t.Helper()
	s.assign(func(a *harness.App) { a.Services = []harness.Service{a.Services[0].Setting("MODE", value)} })
}

// web is what messages call the service.
func (s *speaker) web() string {
	s.t.Helper()
	return "'web " + s.Containers()["web"].Config.Image + "'"
}

func newSpeaker(t *testing.T) *speaker {
	t.Helper()
	registry := harness.SharedRegistry(t)
	s := &speaker{t: t, release: 1}
	s.Supervisor, _ = harness.NewManaged(t, harness.Setup{WithProxy: true, Bus: harness.NewBus(t), Config: map[string]any{"initialDeviceName": "named"}})
	s.Cloud().Break(fakecloud.PatchDevice, fakecloud.Status(http.StatusInternalServerError))
	s.Proxy.Rewrite("GET /version", func(body []byte) []byte {
		return []byte(strings.Replace(string(body), `"Components":[`, `"Components":[{"Name":"balenaEngine","Version":"20.10.43"},`, 1))
	})
	web := registry.Push(t, harness.ServerImage("said/web:v1")).Service("web", 11).
		Composed("volumes", []any{"data:/data"}).Composed("networks", []any{"back"}).Composed("restart", "always")
	s.app = shop(web)
	s.app.Volumes, s.app.Networks = map[string]any{"data": map[string]any{}}, map[string]any{"back": map[string]any{}}
	s.Assign(harness.TargetOf(s.app))
	return s
}

// cloud.md 79. Of the messages of section 5.5 these cannot be caused by this agent: those of the
// boot configuration, ConfigFS and AML files, since nobody here acts on these; that of the former
// /data volume, which is not migrated; and those that the original never says either.
// Removing a dead container cannot be staged with a real engine: see TestDeedIsTold beside the code.
func TestEverySystemMessage(t *testing.T) {
	s := newSpeaker(t)
	image := s.app.Services[0].Image
	s.Start()
	s.WaitSettled(harness.Soon)
	web := s.web()
	s.says("Supervisor starting", "! Firewall mode not applied due to error", "! Unable to report initial device name to API",
		"Creating network 'supervisor0'", "Creating network 'back'", "Creating volume 'data'",
		"Downloading image '"+image+"'", "Downloaded image '"+image+"'", "Taking update locks",
		"Installing service "+web, "Installed service "+web, "Starting service "+web, "Started service "+web, "Releasing update locks")

	harness.Ask(s.Containers()["web"], http.MethodPost, "/exit?code=3", "")
	s.says("Service exited "+web, "Restarting service "+web)

	s.Post("/v1/purge", map[string]any{"appId": 31}).Want(t, 200, `{"Data":"OK","Error":""}`)
	s.says("Purging data for app 31", "Killing service "+web, "Killed service "+web, "Removing volume 'data'", "Removing network 'back'", "Purged data")
	s.refusals(image)
	s.locks()
	s.gone()
	s.targets()
	s.deltas()
	s.departures()
}

// refusals has the engine refuse what can be refused.
func (s *speaker) refusals(image string) {
	s.t.Helper()
	registry := harness.SharedRegistry(s.t)
	s.Proxy.Spoil("DELETE /images/*", harness.Fail, 0, -1)
	old, twice := s.web(), harness.ServerImage("said/twice:v1").Load(s.t)
	nameless := s.Engine.ImageID(s.t, twice.Name)
	twice.Content = "another"
	twice.Load(s.t)
	for _, call := range []string{"POST /containers/{id}/stop", "POST /containers/create", "POST /volumes/create", "POST /networks/create"} {
		s.Proxy.Spoil(call, harness.Fail, 0, 1)
	}
	next := registry.Push(s.t, harness.ServerImage("said/web:v2"))
	s.assign(func(a *harness.App) {
		a.Services = []harness.Service{a.Services[0].Using(next.Name, 1012).Composed("volumes", []any{"data:/data", "more:/more"}).Composed("networks", []any{"back", "extra"})}
		a.Volumes = map[string]any{"data": map[string]any{}, "more": map[string]any{}}
		a.Networks = map[string]any{"back": map[string]any{}, "extra": map[string]any{}}
	})
	s.says("! Failed to kill service "+old+" due to 'stop container ...", "! Failed to install service 'web ...",
		"! Error creating volume 'more' due to 'create volume ...", "! Error creating network 'extra' due to 'create network ...",
		"Deleting image '"+image+"'", "! Failed to delete image '"+image+"' due to 'remove image ...",
		"! Error cleaning up "+nameless+": remove image ...")
	for _, l := range s.Cloud().Logs() {
		if strings.HasPrefix(l.Message, "Error cleaning up ") && !strings.HasSuffix(l.Message, " - will ignore for 1 hour") {
			s.t.Errorf("%s", l.Raw)
		}
	}
	s.Proxy.Heal()
	s.WaitSettled(harness.Soon)

	s.Proxy.Spoil("DELETE /networks/{id}", harness.Fail, 0, 1)
	s.assign(func(a *harness.App) {
		a.Services = []harness.Service{a.Services[0].Composed("volumes", []any{"data:/data"}).Composed("networks", []any{"back"})}
		a.Volumes, a.Networks = map[string]any{"data": map[string]any{}}, map[string]any{"back": map[string]any{}}
	})
	s.says("! Error removing network 'extra' due to 'remove network ...", "Deleted image '"+image+"'")
	s.WaitSettled(harness.Soon)

	s.Proxy.Spoil("DELETE /volumes/{id}", harness.Fail, 0, -1)
	s.Post("/v1/purge", map[string]any{"appId": 31})
	s.says("! Error removing volume 'data' due to 'remove volume ...", "! Error purging data: remove volume ...")
	s.Proxy.Heal()
	s.WaitSettled(harness.Soon)

	missing := harness.Image{Name: registry.Addr + "/said/none:v1"}
	s.assign(func(a *harness.App) { a.Services = append(a.Services, missing.Service("none", 13)) })
	s.says("Downloading image '"+missing.Name+"'", "! Failed to download image '"+missing.Name+"' due to 'pull ...")
	s.assign(func(a *harness.App) { a.Services = a.Services[:1] })
	s.WaitSettled(harness.Soon)
}

// locks has a user lock an update.
func (s *speaker) locks() {
	s.t.Helper()
	s.LockUpdates(31, "web")
	s.mode("locked")
	s.says("Updates are locked, retrying in 1s. Reason: Lockfile exists for { appId: 31, service: web }")
	s.UnlockUpdates(31, "web")
	s.WaitSettled(harness.Soon)
}

// gone stops and removes containers behind the back of the supervisor.
func (s *speaker) gone() {
	s.t.Helper()
	web, id := s.web(), s.Containers()["web"].ID
	s.Engine.Must(s.t, http.MethodPost, "/containers/"+id+"/stop", nil, nil)
	s.mode("stopped")
	s.says("Service is already stopped, removing container " + web)
	s.WaitSettled(harness.Soon)

	web, id = s.web(), s.Containers()["web"].ID
	const stop = "POST /containers/{id}/stop"
	before := s.Proxy.Counts()[stop]
	s.Proxy.Spoil(stop, harness.Hang, 0, 1)
	s.mode("gone")
	s.Proxy.WaitCalls(s.t, harness.Soon, stop, before+1)
	s.Engine.Must(s.t, http.MethodDelete, "/containers/"+id+"?force=1", nil, nil)
	s.Proxy.Heal()
	s.says("Service is already stopped and the container removed " + web)
	s.WaitSettled(harness.Soon)
}

// targets gives the device targets that it cannot reach, and configuration.
func (s *speaker) targets() {
	s.t.Helper()
	entry := func(change func(doc, service map[string]any)) {
		doc := map[string]any{}
		text, err := json.Marshal(harness.TargetOf(s.app).V3())
		if err == nil {
			err = json.Unmarshal(text, &doc)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		app := doc["apps"].(map[string]any)[s.app.UUID].(map[string]any)
		release := app["releases"].(map[string]any)[s.app.Commit].(map[string]any)
		change(doc, release["services"].(map[string]any)["web"].(map[string]any))
		s.Cloud().Assign(s.UUID, doc)
		s.Post("/v1/update", map[string]any{})
	}
	contract := map[string]any{"type": "sw.container", "requires": []any{map[string]any{"type": "sw.supervisor", "version": ">99"}}}
	entry(func(_, service map[string]any) { service["contract"] = contract })
	s.says("! Some releases were rejected due to having unmet requirements:\n  shop: Services with unmet requirements: web")
	entry(func(_, service map[string]any) {
		service["contract"], service["labels"] = contract, map[string]any{"io.balena.features.optional": "1"}
	})
	s.says("! Not running containers because of contract violations: web")
	entry(func(_, service map[string]any) { service["contract"] = map[string]any{"requires": "nothing"} })
	s.says("! Could not move to new release: The contract for service web failed validation, with error: ...")
	entry(func(doc, _ map[string]any) { doc["config"] = map[string]any{"1st": "x"} })
	s.says("! Could not move to new release: Invalid target state.")
	entry(func(doc, _ map[string]any) {
		doc["config"] = map[string]any{"RESIN_SUPERVISOR_DELTA": "1", "RESIN_SUPERVISOR_DELTA_RETRY_INTERVAL": "300", "RESIN_SUPERVISOR_DELTA_RETRY_COUNT": "30"}
	})
	s.says(`Applying configuration change {"SUPERVISOR_DELTA":...`, `Applied configuration change {"SUPERVISOR_DELTA":...`)
	entry(func(doc, _ map[string]any) { doc["config"] = map[string]any{"RESIN_SUPERVISOR_DELTA": "maybe"} })
	s.says(`Warning: Ignoring invalid device configuration value for delta, value: "maybe". Falling back to default (false)...`)
}

// deltas lets the cloud make a delta for a while, and then have none.
func (s *speaker) deltas() {
	s.t.Helper()
	var status = http.StatusGatewayTimeout
	s.Cloud().Set(func(c *fakecloud.Cloud) {
		c.Delta = func(fakecloud.Request) (int, string) { return status, "" }
	})
	next := harness.SharedRegistry(s.t).Push(s.t, harness.ServerImage("said/web:v3"))
	s.config = map[string]string{"RESIN_SUPERVISOR_DELTA": "1", "RESIN_SUPERVISOR_DELTA_RETRY_INTERVAL": "300"}
	s.assign(func(a *harness.App) { a.Services = []harness.Service{a.Services[0].Using(next.Name, 1013)} })
	s.says("Downloading delta for image '"+next.Name+"'", "Delta still processing remotely. Will retry...")
	s.Cloud().Set(func(c *fakecloud.Cloud) { status = http.StatusNotFound })
	s.says("Downloading image '" + next.Name + "'")
	s.WaitSettled(harness.Soon)
}

// departures has the device shut down and reboot.
func (s *speaker) departures() {
	s.t.Helper()
	s.Post("/v1/shutdown", nil)
	s.says("Shutting down")
	s.Restart()
	s.WaitSettled(harness.Soon)
	s.assign(func(a *harness.App) {
		a.Services = []harness.Service{a.Services[0].Labelled("io.balena.update.requires-reboot", "1")}
	})
	s.says(`Reboot has been scheduled to apply changes: {"serviceName":"web"}`, "Rebooting")
}
