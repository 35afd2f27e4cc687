package surface_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// keyRow is a row of the table of docs/API.md that says what a service's key may do.
type keyRow struct{ method, path, may string }

func keyTable(t *testing.T) (rows []keyRow) {
	t.Helper()
	text, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `") || len(cells) != 5 {
			continue
		}
		method, path, _ := strings.Cut(strings.Trim(cells[1], " `"), " ")
		rows = append(rows, keyRow{method, path, strings.TrimSpace(cells[2])})
	}
	if len(rows) < 35 {
		t.Fatalf("%d rows were found", len(rows))
	}
	return rows
}

// docs/spec/device-api.md 1.8, 4: 36 to 44. Every endpoint is asked with the key of one app for what is of
// another, on a device that asks for keys.
func TestWhatAServicesKeyMayDo(t *testing.T) {
	s := home(t, harness.Setup{})
	engine := harness.SharedEngine(t)
	target := shop(t)
	other := harness.App{ID: 32, Name: "cellar", Commit: "bbbb1", Release: 12, Services: []harness.Service{
		{ID: 3, Name: "vault", ImageID: 1003, Image: target.Apps[0].Services[0].Image, Env: map[string]string{"SECRET": "of-the-cellar"},
			Labels: map[string]string{"io.balena.features.supervisor-api": "1"}},
	}}
	target.Apps = append(target.Apps, other)
	s.Apply(target)
	engine.Must(t, "POST", "/volumes/create", map[string]any{"Name": "32_old", "Labels": map[string]string{"io.balena.supervised": "true"}}, nil)
	harness.Until(t, harness.Soon, "the volume to be known", s.Settled)
	key := s.Containers()["web"].Env("BALENA_SUPERVISOR_API_KEY")
	heard := hearsNothingOf(t, s, key, "vault")
	s.WaitSettled(harness.Soon)
	before, vault := s.IDs(), s.Containers()["vault"].Env("BALENA_SUPERVISOR_API_KEY")
	stored := s.Get("/v2/local/target-state").Body
	secrets := []string{"cellar", "vault", before["vault"], vault, s.Key()}

	ask := func(row keyRow) harness.Answer {
		body := any(map[string]any{"appId": 32, "serviceName": "vault", "network": map[string]any{}})
		if row.path == "/v2/local/target-state" {
			body = map[string]any{"local": map[string]any{"apps": map[string]any{}}}
		}
		return s.Call(harness.Request{Method: row.method, Path: strings.Replace(row.path, ":appId", "32", 1), Body: body,
			NoKey: true, Header: map[string]string{"Authorization": "Bearer " + key}})
	}
	check := func(row keyRow) error {
		if row.path == "/v2/local/logs" && row.may == "shows own app" {
			return heard
		}
		got := ask(row)
		if row.path == "/v1/regenerate-api-key" && got.Status == 200 {
			key = got.Body
		}
		switch row.may {
		case "no key", "device", "own key":
			if got.Status == 401 {
				return fmt.Errorf("%d %s", got.Status, got.Body)
			}
		case "own app", "refused":
			if got.Status != 401 && !(got.Status == 409 && row.path == "/v2/applications/:appId/state") {
				return fmt.Errorf("%d %s", got.Status, got.Body)
			}
		case "shows own app":
			for _, secret := range secrets {
				if got.Status != 200 || strings.Contains(got.Body, secret) {
					return fmt.Errorf("%d, shows %s: %s", got.Status, secret, got.Body)
				}
			}
		default:
			return fmt.Errorf("the table says %q", row.may)
		}
		return nil
	}
	var down []keyRow
	for _, row := range keyTable(t) {
		if row.path == "/v1/reboot" || row.path == "/v1/shutdown" {
			down = append(down, row)
		} else if err := check(row); err != nil {
			t.Errorf("%s %s, for a service's key %q: %v", row.method, row.path, row.may, err)
		}
	}
	s.WaitSettled(harness.Soon)
	if after := s.IDs(); after["vault"] != before["vault"] {
		t.Errorf("vault is %s, was %s", after["vault"], before["vault"])
	}
	if _, there := engine.Volumes(t)["32_old"]; !there {
		t.Error("the volume of the other app is gone")
	}
	if after := s.Get("/v2/local/target-state").Body; after != stored {
		t.Errorf("the target is %s, was %s", after, stored)
	}
	for _, row := range down {
		s.Restart() // the device that goes down begins again
		s.WaitListed()
		if err := check(row); err != nil {
			t.Errorf("%s %s, for a service's key %q: %v", row.method, row.path, row.may, err)
		}
	}
}

// hearsNothingOf reads the device's log with a key while all services start again, up to a line of the own
// service: of the other nothing comes, though the key for everything hears it.
func hearsNothingOf(t *testing.T, s *harness.Supervisor, key, other string) error {
	t.Helper()
	own, all := dial(t, s), dial(t, s)
	own.say("GET /v2/local/logs?apikey=" + key + host + "\r\n")
	all.say("GET /v2/local/logs?apikey=" + s.Key() + host + "\r\n")
	until := func(l *line, word, never string) error {
		for {
			text, err := l.from.ReadString('\n')
			if err != nil {
				return fmt.Errorf("%q did not come: %w", word, err)
			}
			if strings.Contains(text, never) {
				return fmt.Errorf("hears %s", text)
			}
			if strings.Contains(text, word) {
				return nil
			}
		}
	}
	const begin, nothing = "Streaming logs", "no line says this"
	for _, l := range []*line{own, all} {
		if err := until(l, begin, nothing); err != nil {
			return err
		}
	}
	s.Post("/v2/applications/32/restart-service", map[string]any{"serviceName": other}).Want(t, 200, "OK")
	if err := until(all, `"serviceName":"`+other+`"`, nothing); err != nil {
		return err
	}
	s.Post("/v2/applications/31/restart-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	return until(own, `"serviceName":"db"`, `"serviceName":"`+other+`"`)
}
