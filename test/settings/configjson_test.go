package settings_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 1: a complete config.json is not written, also not when a target comes. cloud.md 6: nor is
// one when a value is set that it has.
func TestCompleteFileIsNotWritten(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true, Config: map[string]any{"persistentLogging": "true", "country": "NZ", "appUpdatePollInterval": "2000"}})
	text := `{ "listenPort": "` + fmt.Sprint(d.Port) + `",` + d.ReadFile("boot/config.json")[1:]
	d.WriteFile("boot/config.json", text)
	before, err := os.Stat(d.Path("boot/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	d.set(vars{"RESIN_SUPERVISOR_PERSISTENT_LOGGING": "1", "RESIN_SUPERVISOR_POLL_INTERVAL": "2000.0", "RESIN_SUPERVISOR_DELTA": "1"})
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_DELTA":"1"}`, 1)
	d.Restart()
	d.PollNow()
	after, err := os.Stat(d.Path("boot/config.json"))
	if err != nil || d.ReadFile("boot/config.json") != text || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("config.json was written: %s", d.ReadFile("boot/config.json"))
	}
}

// cloud.md 2: a uuid is made where there is none; every other key stays as it was.
func TestIdentityIsMade(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	const text = `{"deviceType":"raspberrypi3","big":12345678901234567890,"os":{"udevRules":{"a":"\u00e9 <&>"}},"files":{"x":null},"localMode":true}`
	s.WriteFile("boot/config.json", text)
	s.Start()
	got, want := parsed(t, s.ReadFile("boot/config.json")), parsed(t, text)
	uuid, _ := got["uuid"].(string)
	if len(uuid) != 32 || strings.Trim(uuid, "0123456789abcdef") != "" {
		t.Errorf("uuid is %q", uuid)
	}
	delete(got, "uuid")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the other keys are %v, want %v", got, want)
	}
}

// parsed keeps numbers as they are written.
func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	doc := map[string]any{}
	if err := decoder.Decode(&doc); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return doc
}

// cloud.md 3: numbers and flags may be written as texts.
func TestTextsForNumbersAndFlags(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{Env: map[string]string{"LISTEN_PORT": ""}})
	s.WriteJSON("boot/config.json", map[string]any{"uuid": s.UUID, "listenPort": fmt.Sprint(s.Port), "developmentMode": "TRUE", "persistentLogging": 1})
	s.Start()
	s.WaitListed()
	if got := fmt.Sprint(s.Device().APIPort); got != fmt.Sprint(s.Port) {
		t.Errorf("port %s, want %d", got, s.Port)
	}
}

// cloud.md 4: what another process writes stays when we write after it.
func TestEditsOfOthersStay(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true})
	d.Start()
	d.PollNow()
	doc := d.ReadConfig()
	doc["country"], doc["ntpServers"], doc["hostname"] = "NZ", "ntp.example.com", "kiosk"
	d.WriteJSON("boot/config.json", doc)
	d.set(vars{"RESIN_SUPERVISOR_POLL_INTERVAL": "4000"})
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_POLL_INTERVAL":"4000"}`, 1)
	doc["appUpdatePollInterval"] = 4000.0
	if got := d.ReadConfig(); !reflect.DeepEqual(got, doc) {
		t.Errorf("config.json is %v, want %v", got, doc)
	}
	if d.Alive() != nil {
		t.Error("the supervisor ended")
	}
}

// cloud.md 5: a kill at any point of a write leaves the old or the new file.
func TestKilledWhileWriting(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true})
	d.Start()
	d.PollNow()
	for i := range 8 {
		d.configure(vars{"RESIN_SUPERVISOR_POLL_INTERVAL": fmt.Sprint(3000 + i)})
		d.TryCall(harness.Request{Method: "POST", Path: "/v1/update"})
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		d.Kill()
		got, _ := d.ReadConfig()["appUpdatePollInterval"].(float64)
		if got != 2000 && (got < 3000 || got > float64(3000+i)) || d.ReadConfig()["uuid"] != d.UUID {
			t.Fatalf("config.json after kill %d: %s", i, d.ReadFile("boot/config.json"))
		}
		d.Start()
	}
}

// cloud.md 7: a config.json that cannot be parsed ends the process with code 1 and stays.
func TestUnreadableFileIsFatal(t *testing.T) {
	s := harness.NewSupervisor(t, harness.Setup{})
	for _, text := range []string{`{"uuid":"abc"`, `[]`, `null`, ``, `{"listenPort":"x"}`} {
		s.WriteFile("boot/config.json", text)
		if code, _, errs := s.Run(); code != 1 || !strings.Contains(errs, "config.json") {
			t.Errorf("%q: code %d, %q", text, code, errs)
		}
		if got := s.ReadFile("boot/config.json"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// cloud.md 8: an empty host name stores the first characters of the uuid.
func TestEmptyHostname(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{Config: map[string]any{"hostname": "kiosk"}})
	s.WaitListed()
	answer := s.Call(harness.Request{Method: "PATCH", Path: "/v1/device/host-config", Body: map[string]any{"network": map[string]any{"hostname": ""}}})
	if answer.Status != 200 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	if got := parsed(t, s.ReadFile("boot/config.json"))["hostname"]; got != s.UUID[:7] {
		t.Errorf("hostname is %v", got)
	}
}

// Issue 5, point 8; docs/spec/cloud.md 1.1, 7.4: joining another cloud and leaving it while running. Nothing
// of what the host wrote is lost; started again the device is the other one; containers stay.
func TestJoiningAndLeaving(t *testing.T) {
	d := managed(t, harness.Setup{})
	d.Start()
	app := shop(t)
	d.set(nil, app)
	d.WaitSettled(harness.Soon)
	id := d.Containers()["web"].ID

	other := &fakecloud.Cloud{}
	other.Start(t)
	there := other.Add(d.UUID, "otherkey0123456789abcdef01234567", 7)
	other.Assign(d.UUID, harness.Target{Config: vars{"RESIN_SUPERVISOR_POLL_INTERVAL": "2000"}, Apps: []harness.App{app}}.V3())
	doc := d.ReadConfig()
	doc["apiEndpoint"], doc["deviceId"], doc["deviceApiKey"], doc["country"] = other.Origin, there.ID, there.Key, "NZ"
	asked := len(d.Cloud().Calls())
	became(d, doc)
	if got := d.ReadConfig(); !reflect.DeepEqual(got, normal(t, doc)) {
		t.Errorf("config.json is %v, want what the host wrote, %v", got, doc)
	}
	d.Start()
	harness.Until(t, harness.Soon, "a report to the other cloud", func() error {
		if len(other.Calls(fakecloud.Report)) == 0 {
			return errors.New("none")
		}
		return nil
	})
	d.WaitSettled(harness.Soon)
	if doc := d.ReadConfig(); doc["country"] != "NZ" || doc["apiEndpoint"] != other.Origin {
		t.Errorf("config.json: %v", doc)
	}
	if now := d.Containers()["web"].ID; now != id {
		t.Error("the container was recreated for the same app in another cloud")
	}

	doc = d.ReadConfig()
	for _, key := range []string{"apiEndpoint", "apiKey", "deviceApiKey", "deviceId", "registered_at", "applicationId"} {
		delete(doc, key)
	}
	became(d, doc)
	calls := len(other.Calls())
	d.Start()
	d.WaitListed()
	if now := d.Containers()["web"].ID; now != id {
		t.Error("leaving the cloud took the app away")
	}
	if len(other.Calls()) != calls || len(d.Cloud().Calls()) > asked {
		t.Errorf("a cloud was called that the device does not belong to")
	}
	if got := d.Get("/v1/device"); got.Status != 200 {
		t.Errorf("device API without a cloud: %d", got.Status)
	}
}

// normal is a document as it is after parsing.
func normal(t *testing.T, doc map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// became replaces config.json as the host does and waits for the process to end.
func became(d *device, doc map[string]any) {
	d.t.Helper()
	d.WriteJSON("boot/new", doc)
	if err := os.Rename(d.Path("boot/new"), d.Path("boot/config.json")); err != nil {
		d.t.Fatal(err)
	}
	harness.Until(d.t, harness.Soon, "end of the process", func() error {
		select {
		case <-d.Process().Done():
			return nil
		default:
			return errors.New("it runs")
		}
	})
	if code := d.Process().ExitCode(); code != 1 {
		d.t.Errorf("code %d", code)
	}
	if !strings.Contains(d.Log(), "config.json makes another device of this one") {
		d.t.Error("nothing was said of it")
	}
}
