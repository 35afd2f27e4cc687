package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// PostTarget replaces the local target and remembers it for WaitSettled.
func (s *Supervisor) PostTarget(target Target) {
	s.t.Helper()
	answer := s.Post("/v2/local/target-state", target.V2())
	if answer.Status != http.StatusOK {
		s.t.Fatalf("post the target: %d %s", answer.Status, answer.Body)
	}
	s.target = target
}

// Expect makes WaitSettled wait for this target, which the test brought in by other means.
func (s *Supervisor) Expect(target Target) { s.target = target }

// Apply posts a target and waits until it is reached.
func (s *Supervisor) Apply(target Target) {
	s.t.Helper()
	s.PostTarget(target)
	s.WaitSettled(60 * time.Second)
}

// WaitSettled waits until the API says the target is applied and the engine has exactly its
// containers.
func (s *Supervisor) WaitSettled(within time.Duration) {
	s.t.Helper()
	Until(s.t, within, "target reached", s.Settled)
}

// Settled is nil when the target is reached, by the API's word and in the engine's facts.
func (s *Supervisor) Settled() error {
	if err := s.Matches(); err != nil {
		return err
	}
	return s.Idle()
}

// Idle is nil when the API says that nothing is being applied and every app is at its commit.
func (s *Supervisor) Idle() error {
	var status struct{ AppState string }
	if err := s.read("/v2/state/status", &status); err != nil {
		return err
	}
	if status.AppState != "applied" {
		return fmt.Errorf("appState is %q", status.AppState)
	}
	var device DeviceState
	if err := s.read("/v1/device", &device); err != nil {
		return err
	}
	if device.UpdatePending || device.UpdateFailed {
		return fmt.Errorf("update_pending %v, update_failed %v", device.UpdatePending, device.UpdateFailed)
	}
	return s.atCommits()
}

func (s *Supervisor) atCommits() error {
	for _, app := range s.target.Apps {
		if len(app.Services) == 0 {
			continue
		}
		var state struct{ Commit string }
		if err := s.read("/v2/applications/"+strconv.Itoa(app.ID)+"/state", &state); err != nil {
			return err
		}
		if state.Commit != app.Commit {
			return fmt.Errorf("app %d is at commit %q, want %q", app.ID, state.Commit, app.Commit)
		}
	}
	return nil
}

// WaitHostConfig waits until the host is told of these variables, those of nil not at all (docs/spec/host.md 2).
func (s *Supervisor) WaitHostConfig(want map[string]any) {
	s.t.Helper()
	Until(s.t, Soon, "target-state-config", func() error {
		text, has := s.ReadFile("root/tmp/balena-supervisor/target-state-config"), map[string]any{}
		if err := json.Unmarshal([]byte(text), &has); err != nil {
			return fmt.Errorf("%w: %q", err, text)
		}
		for name, value := range want {
			if has[name] != value {
				return fmt.Errorf("%s is %v in %s", name, has[name], text)
			}
		}
		return nil
	})
}

// DeviceState is the answer of GET /v1/device.
type DeviceState struct {
	APIPort           any      `json:"api_port"`
	OSVersion         string   `json:"os_version"`
	SupervisorVersion string   `json:"supervisor_version"`
	IPAddress         string   `json:"ip_address"`
	MACAddress        string   `json:"mac_address"`
	UpdatePending     bool     `json:"update_pending"`
	UpdateFailed      bool     `json:"update_failed"`
	UpdateDownloaded  bool     `json:"update_downloaded"`
	Commit            string   `json:"commit"`
	Status            string   `json:"status"`
	DownloadProgress  *float64 `json:"download_progress"`
}

// WaitRunning waits until the containers of these ids or names run.
func (s *Supervisor) WaitRunning(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		Until(s.t, Soon, "start of "+id, func() error { return s.Engine.Running(id) })
	}
}

// UpdateFailed is nil when the device shows that its update failed.
func (s *Supervisor) UpdateFailed() error {
	if d := s.Device(); !d.UpdateFailed {
		return fmt.Errorf("update_failed is not set: %+v", d)
	}
	return nil
}

// WaitListed waits until the supervisor has listed the engine's objects and so knows its own state.
func (s *Supervisor) WaitListed() {
	s.t.Helper()
	Until(s.t, 20*time.Second, "the engine's objects to be known", func() error {
		return s.read("/v1/device", new(DeviceState))
	})
}

// Device reads GET /v1/device.
func (s *Supervisor) Device() DeviceState {
	s.t.Helper()
	var d DeviceState
	if err := s.read("/v1/device", &d); err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *Supervisor) read(path string, out any) error {
	answer, err := s.TryCall(Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, answer.Status, answer.Body)
	}
	if err := json.Unmarshal([]byte(answer.Body), out); err != nil {
		return fmt.Errorf("GET %s: %w: %s", path, err, answer.Body)
	}
	return nil
}

// Matches is nil when the engine's supervised containers are exactly those of the target, by name,
// and run as it says.
func (s *Supervisor) Matches() error {
	all, err := s.Engine.Supervised()
	if err != nil {
		return err
	}
	want := map[string]Service{}
	for _, app := range s.target.Apps {
		for _, service := range app.Services {
			want[app.ContainerName(service)] = service
		}
	}
	for _, c := range all {
		service, ok := want[c.Name]
		if !ok {
			return fmt.Errorf("container %s (%s) is not in the target", c.Name, c.State.Status)
		}
		delete(want, c.Name)
		if service.Stopped == c.State.Running && c.State.Status != "exited" {
			return fmt.Errorf("container %s is %s", c.Name, c.State.Status)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("containers missing: %v", slices.Sorted(maps.Keys(want)))
	}
	return nil
}

// Containers are the engine's supervised containers by service name; the test ends when a service
// has two.
func (s *Supervisor) Containers() map[string]Container {
	s.t.Helper()
	all, err := s.Engine.Supervised()
	if err != nil {
		s.t.Fatal(err)
	}
	byName := map[string]Container{}
	for _, c := range all {
		if other, ok := byName[c.Service()]; ok {
			s.t.Fatalf("service %s has two containers, %s and %s", c.Service(), other.Name, c.Name)
		}
		byName[c.Service()] = c
	}
	return byName
}

// IDs are the container ids of Containers.
func (s *Supervisor) IDs() map[string]string {
	s.t.Helper()
	ids := map[string]string{}
	for name, c := range s.Containers() {
		ids[name] = c.ID
	}
	return ids
}
