package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// cloud.md 30, 31: delays between polls.
func TestPollDelay(t *testing.T) {
	const interval = 15 * time.Minute
	none := func(time.Duration) time.Duration { return 0 }
	for i, want := range []time.Duration{interval, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, interval, interval} {
		if got := pollDelay(i, interval, none); got != want {
			t.Errorf("after %d failures %v, want %v", i, got, want)
		}
	}
	if got := pollDelay(500, interval, none); got != interval {
		t.Errorf("after 500 failures %v", got)
	}
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := pollDelay(0, interval, jitter)
		if d < interval || d >= interval+time.Minute {
			t.Fatalf("delay %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 900 {
		t.Errorf("%d different delays of 1000", len(seen))
	}
	if d := pollDelay(0, time.Second, jitter); d >= 2*time.Second {
		t.Errorf("delay %v at an interval of a second", d)
	}
}

// cloud.md 57, Q7: delays after failed reports; Retry-After is in seconds or a date.
func TestReportDelay(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asks := func(after string) error { return &statusError{"/", answer{status: 503, retryAfter: after}} }
	f := func(failures int, err error, limit, want time.Duration) {
		t.Helper()
		if got := reportDelay(failures, err, limit, now); got != want {
			t.Errorf("failure %d, %v: %v, want %v", failures, err, got, want)
		}
	}
	f(1, errors.New("x"), time.Hour, 15*time.Second)
	f(2, asks(""), time.Hour, 30*time.Second)
	f(3, asks("soon"), time.Hour, time.Minute)
	f(9, asks(""), 10*time.Minute, 10*time.Minute)
	f(1, asks("20"), time.Hour, 20*time.Second)
	f(5, asks("20"), time.Hour, 20*time.Second)
	f(1, asks("7200"), time.Hour, time.Hour)
	f(1, asks("99999999999"), time.Hour, 15*time.Second)
	f(1, asks("Fri, 02 Jan 2026 03:04:35 GMT"), time.Hour, 30*time.Second)
	f(1, asks("Fri, 02 Jan 2026 03:00:00 GMT"), time.Hour, 15*time.Second)
}

// cloud.md 31, 54: the metrics are checked again a period after the last report.
func TestNextMetrics(t *testing.T) {
	for since, want := range map[time.Duration]time.Duration{0: 300 * time.Second, 299 * time.Second: 10 * time.Second,
		120 * time.Second: 180 * time.Second, time.Hour: 10 * time.Second} {
		if got := nextMetrics(since); got != want {
			t.Errorf("%v after a report: %v, want %v", since, got, want)
		}
	}
}

// server is a cloud that accepts or refuses reports.
type server struct {
	mu     sync.Mutex
	bodies []map[string]json.RawMessage
	refuse func(body map[string]json.RawMessage) int
}

// rig is a device that reports to a server. The test sets its state.
type rig struct {
	*reporter
	server  *server
	facts   Facts
	terms   Terms
	metrics map[string]any
	state   view.State
}

func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{server: &server{refuse: func(map[string]json.RawMessage) int { return 200 }},
		facts: Facts{SupervisorVersion: "1.2.3", IPAddress: "10.0.0.1", APIPort: 48484, APISecret: "secret"},
		terms: Terms{Metrics: true, Patience: 10 * time.Second}, metrics: map[string]any{"cpu_usage": 5, "memory_usage": 101, "is_undervolted": false},
		state: view.State{Synced: true}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go fasthttp.Serve(l, g.server.serve)
	t.Cleanup(func() { l.Close() })
	client, err := New("http://"+l.Addr().String(), "test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDevice(Options{
		Client:   func(string) (*Client, error) { return client, nil },
		Identity: func() Identity { return Identity{Endpoint: "http://cloud", UUID: "abc", DeviceAPIKey: "key"} },
		Facts:    func() Facts { return g.facts }, Terms: func() Terms { return g.terms },
		Metrics: func(all bool) map[string]any {
			if all {
				return maps.Clone(g.metrics)
			}
			return map[string]any{"is_undervolted": g.metrics["is_undervolted"]}
		},
		Targets: g, Docs: nothing{}, Cache: t.TempDir() + "/deep/state-report-cache", Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.reporter = &d.report
	g.load()
	return g
}

func (s *server) serve(ctx *fasthttp.RequestCtx) {
	var body map[string]map[string]json.RawMessage
	if json.Unmarshal(ctx.PostBody(), &body) != nil {
		ctx.SetStatusCode(400)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, body["abc"])
	ctx.SetStatusCode(s.refuse(body["abc"]))
}

// sent returns the names of the fields in each report since the last call, one text per report.
func (s *server) sent() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bodies {
		names = append(names, strings.Join(slices.Sorted(maps.Keys(b)), " "))
	}
	s.bodies = nil
	return names
}

func (g *rig) SetCloudTarget([]byte, string, bool) (bool, error) { return false, nil }
func (g *rig) CloudETag() string                                 { return "" }
func (g *rig) Retry(bool, bool)                                  {}
func (g *rig) View() *view.State                                 { s := g.state; return &s }
func (g *rig) PinRequest() (int, string, bool)                   { return 0, "", false }
func (g *rig) PinDone() error                                    { return nil }
func (g *rig) AwaitPreload(context.Context)                      {}
func (g *rig) Heard()                                            {}

type nothing struct{}

func (nothing) Load(string, int, any) (bool, error) { return false, nil }
func (nothing) Save(string, int, any) error         { return nil }

// step sends once and checks the fields of the resulting reports.
func (g *rig) step(t *testing.T, failures int, want ...string) {
	t.Helper()
	err := g.send(context.Background(), failures)
	if got := g.server.sent(); !slices.Equal(got, want) {
		t.Errorf("reports of %q, want %q (error %v)", got, want, err)
	}
}

// later lets time pass since the last report.
func (g *rig) later(d time.Duration) { g.reporter.sent = g.reporter.sent.Add(-d) }

const whole = "api_port api_secret cpu_usage ip_address is_undervolted memory_usage os_variant os_version provisioning_progress provisioning_state status supervisor_version"

// cloud.md 51, 52, 54, 55, 56.
func TestWhatIsReported(t *testing.T) {
	g := newRig(t)
	g.step(t, 0, whole)
	g.step(t, 0)
	g.facts.IPAddress = "10.0.0.2"
	g.step(t, 0, "ip_address")
	g.metrics["cpu_usage"], g.metrics["memory_usage"] = 19, 109 // within their steps
	g.facts.APISecret = "other"
	g.step(t, 0, "api_secret")
	g.later(metricsPeriod)
	g.step(t, 0)
	g.metrics["cpu_usage"] = 20
	g.step(t, 0) // the check of the metrics counts as a report
	g.metrics["is_undervolted"] = true
	g.step(t, 0, "cpu_usage is_undervolted")
	g.metrics["memory_usage"] = 110
	g.later(metricsPeriod - time.Second)
	g.step(t, 0)
	g.later(2 * time.Second)
	g.step(t, 0, "memory_usage")
	g.terms.Metrics = false
	g.metrics["is_undervolted"] = false
	g.step(t, 0, "cpu_id cpu_temp cpu_usage is_undervolted memory_total memory_usage storage_block_device storage_total storage_usage")
	g.later(metricsPeriod)
	g.step(t, 0)
	g.terms.Metrics = true
	g.later(metricsPeriod)
	g.step(t, 0, "cpu_usage memory_usage")
}

func app(commit string, releases ...string) view.App {
	a := view.App{UUID: "shop", InTarget: true, Commit: commit, TargetCommit: releases[0]}
	for _, r := range releases {
		a.Images = append(a.Images, view.Image{Name: "image-" + r, ServiceName: "web", Commit: r, Status: "Downloaded"})
	}
	return a
}

// Q17: the refused part of a report is left out, and the rest is accepted.
func TestNarrowing(t *testing.T) {
	g := newRig(t)
	g.state.Apps = []view.App{app("r1", "r2", "r1")}
	g.step(t, 0, strings.Replace(whole, "api_secret", "api_secret apps", 1))
	g.server.refuse = func(b map[string]json.RawMessage) int { // r1 was deleted in the cloud
		if strings.Contains(string(b["apps"]), "r1") {
			return 401
		}
		return 200
	}
	g.state.Apps[0].Images[0].Status = "Installing"
	g.facts.IPAddress = "10.0.0.3"
	g.step(t, 0, "apps ip_address") // the first refusal may be temporary
	g.step(t, 1, "apps ip_address", "ip_address", "apps")
	if strings.Contains(string(g.accepted["apps"]), "r1") {
		t.Errorf("accepted apps are %s", g.accepted["apps"])
	}
	g.step(t, 0)
	g.state.Apps[0].Images[0].Status = "Downloaded"
	g.step(t, 0, "apps") // without the refused release, at the first attempt
	g.server.refuse = func(map[string]json.RawMessage) int { return 200 }
	g.forgetRefusals() // there is another target
	g.step(t, 0, "apps")

	g.server.refuse = func(b map[string]json.RawMessage) int { // every app is refused
		if b["apps"] != nil {
			return 401
		}
		return 200
	}
	g.state.Apps[0].Images[0].Status = "Installing"
	g.step(t, 0, "apps")
	g.step(t, 1, "apps", "status", "apps")
	g.step(t, 0)
	g.facts.IPAddress = "10.0.0.4"
	g.step(t, 0, "ip_address")

	for _, status := range []int{400, 413} {
		g = newRig(t)
		g.server.refuse = func(b map[string]json.RawMessage) int { // one field is refused
			if b["os_version"] != nil {
				return status
			}
			return 200
		}
		g.step(t, 0, whole)
		g.step(t, 1, append([]string{whole, whole}, strings.Fields(whole)...)...)
		if len(g.accepted) != len(strings.Fields(whole))-1 {
			t.Errorf("accepted are %v", slices.Sorted(maps.Keys(g.accepted)))
		}
		g.step(t, 0)
	}

	g = newRig(t)
	g.server.refuse = func(map[string]json.RawMessage) int { return 401 } // it is the device that is refused
	g.state.Apps = []view.App{app("r1", "r1")}
	all := strings.Replace(whole, "api_secret", "api_secret apps", 1)
	g.step(t, 0, all)
	g.step(t, 1, all, whole)
	if len(g.refused) != 0 || len(g.accepted) != 0 {
		t.Error("a refused device counts as refused fields")
	}
}

// cloud.md 59: the next run uses the cache, unless it is broken or belongs to another device.
func TestCache(t *testing.T) {
	g := newRig(t)
	g.step(t, 0, whole)
	next := newRig(t)
	next.d.o.Cache = g.d.o.Cache
	next.load()
	next.step(t, 0)
	next.facts.APISecret = "new"
	next.step(t, 0, "api_secret")
	next.d.o.Identity = func() Identity { return Identity{Endpoint: "http://other", UUID: "abc"} }
	next.load()
	if len(next.accepted) != 0 {
		t.Error("the cached report of another cloud is used")
	}
}

// cloud.md 61, 4.6: the status of a release, highest precedence first.
func TestUpdateStatus(t *testing.T) {
	percent := func(n int) *int { return &n }
	f := func(want string, services ...reportService) {
		t.Helper()
		all := map[string]*reportService{}
		for i := range services {
			all[string(rune('a'+i))] = &services[i]
		}
		if got := updateStatus(all); got != want {
			t.Errorf("%v: %s, want %s", services, got, want)
		}
	}
	running, downloaded, installed := reportService{Status: "Running"}, reportService{Status: "Downloaded"}, reportService{Status: "Installed"}
	f("done")
	f("done", running, reportService{Status: "exited"}, reportService{Status: "Handing over"})
	f("applying changes", running, installed)
	f("applying changes", reportService{Status: "Installing"})
	f("applying changes", reportService{Status: "Awaiting handover"})
	f("downloaded", running, downloaded, installed)
	f("downloading", downloaded, reportService{Status: downloading, Progress: percent(0)}, installed)
	f("done", reportService{Status: downloading, Progress: percent(100)})
}

// 4.5: the cloud keeps the last reported progress, so one report has the progress 100 for an image that arrived,
// whatever its status.
func TestFinishedDownloads(t *testing.T) {
	percent := func(n int) *int { return &n }
	apps := func(s *reportService) fields {
		raw, err := json.Marshal(map[string]*reportApp{"a": {Releases: map[string]*reportRelease{"c": {Services: map[string]*reportService{"s": s}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return fields{"apps": raw}
	}
	f := func(before fields, now *reportService, want *int) {
		t.Helper()
		wanted := *now
		wanted.Progress = want
		part := apps(now)
		sent := string(part["apps"])
		if got := withFullProgress(part, before)["apps"]; string(got) != string(apps(&wanted)["apps"]) {
			t.Errorf("after %s the report of %s is %s", before["apps"], sent, got)
		}
		if string(part["apps"]) != sent {
			t.Error("the part passed in was modified")
		}
	}
	running, downloaded := &reportService{Image: "i", Status: "Running"}, &reportService{Image: "i", Status: "Downloaded"}
	begun := apps(&reportService{Image: "i", Status: downloading, Progress: percent(13)})
	f(begun, downloaded, percent(100))
	f(begun, running, percent(100))
	f(apps(downloaded), running, nil)
	f(apps(running), downloaded, nil)
	f(fields{}, running, percent(100))
	f(fields{"apps": json.RawMessage(`{"a":null}`)}, running, percent(100))
	f(fields{"apps": json.RawMessage(`{"a":{"releases":{"c":null}}}`)}, running, percent(100))
	f(fields{"apps": json.RawMessage(`{"a":{"releases":{"c":{"services":{"s":null}}}}}`)}, running, percent(100))
	f(fields{"apps": json.RawMessage(`7`)}, running, percent(100))
	f(apps(&reportService{Image: "other", Status: "Running"}), running, percent(100))
	f(begun, &reportService{Image: "i", Status: downloading, Progress: percent(50)}, percent(50))
	if got := withFullProgress(fields{"status": json.RawMessage(`"Idle"`)}, begun); len(got) != 1 {
		t.Errorf("a report without apps: %s", got)
	}
}

// 4.5, 4.6: the content of a report of apps.
func TestReportApps(t *testing.T) {
	zero := 0
	forty := 40
	s := &view.State{Apps: []view.App{
		{UUID: "gone", Images: []view.Image{{Name: "x", ServiceName: "s", Commit: "c", Status: "Downloaded"}}},
		{UUID: "a", InTarget: true, Commit: "c1", TargetCommit: "c2",
			Services:   []view.Service{{Name: "s", Image: "i2"}, {Name: "t", Image: "j2"}},
			Images:     []view.Image{{Name: "i1", ServiceName: "s", Commit: "c1", Status: "Downloaded"}, {Name: "i2", ServiceName: "s", Commit: "c2", Status: downloading, Progress: &forty}},
			Containers: []view.Container{{Image: "i1", ServiceName: "s", Commit: "c1", Status: "Running"}, {ServiceName: "u", Commit: "c1", Status: "Running"}}},
		{UUID: "r", InTarget: true, Commit: "c1", TargetCommit: "c2", Rejected: "why", Services: []view.Service{{Name: "s", Image: "i2"}},
			Containers: []view.Container{{Image: "i1", ServiceName: "s", Commit: "c1", Status: "Running"}}},
		{UUID: "agent", InTarget: true, TargetCommit: "c", Agent: &view.Service{Name: "main", Image: "own"}},
	}}
	got, _ := json.Marshal(reportApps(s, false))
	running := map[string]*reportService{"s": {Image: "i1", Status: "Running"}}
	want, _ := json.Marshal(map[string]*reportApp{
		"a": {"c1", map[string]*reportRelease{"c1": {"done", running},
			"c2": {"downloading", map[string]*reportService{"s": {"i2", downloading, &forty}, "t": {"j2", downloading, &zero}}}}},
		"r":     {"c1", map[string]*reportRelease{"c1": {"done", running}, "c2": {UpdateStatus: "rejected"}}},
		"agent": {"", map[string]*reportRelease{"c": {"done", map[string]*reportService{"main": {Image: "own", Status: "Running"}}}}},
	})
	if string(got) != string(want) {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}
