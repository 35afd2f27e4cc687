package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"resin-supervisor/api/overview"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func device(name string) overview.Device {
	return overview.Device{
		Name: name, DeviceType: "raspberrypi3", Arch: "armv7hf", OSVersion: "balenaOS 2.100.0",
		SupervisorVersion: "20.0.1", APIPort: 48484, IPAddress: "192.168.7.9 10.0.0.4", Managed: true,
		MACAddress: "02:00:5E:10:00:01", CloudReachable: true, Registered: true, MemoryBytes: 11 << 20, CPUCelsius: 48.3,
	}
}

func percent(n int) *int { return &n }

// pages are overviews, by the name of their page in testdata.
func pages() map[string]overview.Overview {
	return map[string]overview.Overview{
		"settled": {
			Time: now, HasTarget: true, Started: now.Add(-26 * time.Hour), Synced: true, Device: device("holy-moon"),
			Apps: []overview.App{{
				UserLock: "web", ID: 12, Name: "shop", InTarget: true, TargetCommit: "3f1c9a0b77e2d1", Commit: "3f1c9a0b77e2d1", UpdateStatus: "done",
				Services: []overview.Service{{Name: "web", Running: true}, {Name: "db", Running: true}, {Name: "job"}},
				Containers: []overview.Container{
					{ServiceName: "web", Status: "Running", Running: true, Health: "healthy"},
					{ServiceName: "db", Status: "Running", Running: true, Reason: "not running", Restarts: 7},
					{ServiceName: "job", Status: "exited", ExitCode: 3, Restarts: 1},
				},
				Images: []overview.Image{{ServiceName: "web", Status: "Downloaded"}},
			}},
		},
		"updating": {
			Time: now, HasTarget: true, Synced: true, Device: device("holy-moon"), Applying: true, Pending: true, Failed: true,
			NextAttempt: now.Add(75 * time.Second),
			Apps: []overview.App{
				{
					ID: 12, Name: "shop", InTarget: true, TargetCommit: "77aa01", Commit: "3f1c9a", UpdateStatus: "downloading",
					LockHeld: true,
					Services: []overview.Service{{Name: "web"}, {Name: "a-service-with-quite-a-long-name"}, {Name: "new"}},
					Containers: []overview.Container{
						{
							ServiceName: "web", Status: "Running", Running: true, Health: "starting",
							Reason: `hostname: "production" -> "a rather long value for a test"`,
						},
						{ServiceName: "left", Status: "Stopping", Reason: "not in the target release"},
					},
					Images: []overview.Image{
						{ServiceName: "web", Status: "Downloading", Progress: percent(57)},
						{ServiceName: "a-service-with-quite-a-long-name", Status: "Downloading", Progress: percent(100)},
						{ServiceName: "left", Status: "Deleting"},
					},
				},
				{ID: 14, UUID: "0f3e", InTarget: false},
				{ID: 15, Name: "tool", InTarget: true, TargetCommit: "c0ffee", UpdateStatus: "rejected", Rejected: "service web needs l4t, which this device does not have, so that nothing is done"},
			},
			Problems: []overview.Problem{
				{
					At: now.Add(-2 * time.Minute), Subject: "app shop service web", Step: "start",
					Reason: "not running", Retry: now.Add(75 * time.Second),
					Error: "start 9d2f: driver failed programming external connectivity: port is already allocated",
				},
				{At: now, Subject: "image reg/web", Step: "fetch"},
			},
		},
		"waiting": {
			Time: now, HasTarget: true, Synced: true, Device: device("holy-moon"), Applying: true, Waiting: true, Pending: true,
			Apps: []overview.App{{
				ID: 12, Name: "shop", InTarget: true, TargetCommit: "77aa01", Commit: "3f1c9a", UpdateStatus: "downloaded",
				Waits: "the health gate is open: service web has just been started",
				Services: []overview.Service{
					{Name: "after", Waits: "waits for web: it is unhealthy"}, {Name: "late", Waits: "waits for job: it exited with 3"},
					{Name: "new", Waits: "image reg/new is not on the device"}, {Name: "web"},
				},
				Containers: []overview.Container{
					{ServiceName: "after", Status: "Running", Running: true, Reason: "start: not running"},
					{ServiceName: "web", Status: "Running", Running: true, Health: "unhealthy"},
				},
				Images: []overview.Image{{ServiceName: "late", Status: "Downloaded"}},
			}},
		},
		"no-target": {
			Time: now, Synced: true, Device: device("local"),
			Apps: []overview.App{{ID: 31, UUID: "5aa0", Containers: []overview.Container{{ServiceName: "web", Status: "Running", Running: true}}}},
		},
		"unregistered": {
			Time: now, Synced: true, Device: overview.Device{Name: "holy-moon", Managed: true, LocalMode: true, SupervisorVersion: "20.0.1", APIPort: 48484},
		},
		"starting": {
			Time: now, HasTarget: true, EngineError: "dial unix /var/run/docker.sock: connect: no such file or directory, and it goes on",
			Device: overview.Device{SupervisorVersion: "20.0.1", APIPort: 48484, LocalMode: true},
		},
		"empty": {Time: now, HasTarget: true, Synced: true, Device: device("holy-moon")},
		"hostile": {
			Time: now, HasTarget: true, Synced: true, Device: device("moon\x1b[2J\r\nroot# " + strings.Repeat("é", 100)),
			Apps: []overview.App{{
				ID: 1, Name: "a\tb\x00", InTarget: true, TargetCommit: "\xff\xfe", UpdateStatus: "done",
				Services:   []overview.Service{{Name: "w\u202eeb"}},
				Containers: []overview.Container{{ServiceName: "w\u202eeb", Status: "\x07", Reason: strings.Repeat("x", 200)}},
			}},
			Problems: []overview.Problem{{Subject: "\x1b]0;x\x07", Step: "s\nt", Error: "\b\b"}},
		},
	}
}

func TestPages(t *testing.T) {
	for name, overview := range pages() {
		want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		got := page80(t, overview)
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// page80 renders a page, and checks that it is printable and not too wide.
func page80(t *testing.T, o overview.Overview) string {
	t.Helper()
	text := Page(o)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > width || plain(line) != line {
			t.Errorf("line of %d: %q", n, line)
		}
	}
	return text
}

func TestSpans(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := span(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
	f(300*time.Millisecond, "1s")
	f(59600*time.Millisecond, "1m 0s")
	f(75*time.Second, "1m 15s")
	f(2*time.Hour+5*time.Minute+time.Second, "2h 5m")
	f(49*time.Hour, "2d 1h")
}

func TestBars(t *testing.T) {
	f := func(percent int, want string) {
		t.Helper()
		if got := bar(percent); got != want {
			t.Errorf("%d is %s, want %s", percent, got, want)
		}
	}
	f(-5, "["+strings.Repeat("-", 24)+"] 0%")
	f(50, "["+strings.Repeat("#", 12)+strings.Repeat("-", 12)+"] 50%")
	f(200, "["+strings.Repeat("#", 24)+"] 100%")
}

func FuzzWrap(f *testing.F) {
	f.Add("a word and anotherlongerone", 5)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 1 || n > 200 || !utf8.ValidString(s) {
			return
		}
		lines := wrap(s, n)
		for _, l := range lines {
			if utf8.RuneCountInString(l) > n {
				t.Errorf("line %q is longer than %d", l, n)
			}
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if squeeze(strings.Join(lines, "")) != squeeze(s) {
			t.Errorf("%q becomes %q", s, lines)
		}
	})
}
