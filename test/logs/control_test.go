package logs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 77: the cloud gets the lines of the change itself, a whole body, and nothing after it.
func TestLogControl(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	s := managed(t, cloud, nil, harness.ServerImage("logs/web:v1").Load(t).Service("web", 11))
	harness.WaitLine(t, cloud, "app started")
	control := func(value string) {
		s.Assign(harness.Target{Apps: []harness.App{shop(harness.ServerImage("logs/web:v1").Load(t).Service("web", 11))},
			Config: map[string]string{"RESIN_SUPERVISOR_LOG_CONTROL": value}})
		s.Post("/v1/update", map[string]any{})
	}
	control("false")
	harness.Until(t, harness.Soon, "the end of the stream", func() error {
		if call := cloud.Calls(fakecloud.LogStream)[0]; call.Status == 0 {
			return errors.New("it is open")
		}
		return nil
	})
	if call := cloud.Calls(fakecloud.LogStream)[0]; call.Status != http.StatusCreated {
		t.Errorf("the stream was answered with %d", call.Status)
	}
	for _, word := range []string{"Applying", "Applied"} {
		harness.WaitLine(t, cloud, word+` configuration change {"SUPERVISOR_LOG_CONTROL":"false"}`)
	}
	s.Print("web", "n=5&text=meanwhile")
	s.Restart() // what was written meanwhile does not come when it starts again either
	s.WaitSettled(harness.Soon)
	s.Print("web", "n=5&text=meanwhile")
	control("true")
	harness.Until(t, harness.Soon, "lines to come again", func() error {
		s.Print("web", "n=1&text=after")
		if _, ok := harness.FindLine(cloud.Logs(), "after"); !ok {
			return errors.New("there is none")
		}
		return nil
	})
	if l, ok := harness.FindLine(cloud.Logs(), "meanwhile"); ok {
		t.Errorf("%s came", l.Raw)
	}
}

// cloud.md 78: no stream before the device is registered, and none with an identity that it gave up.
func TestIdentityOfTheStream(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	target := harness.TargetOf(shop(harness.ServerImage("logs/web:v1").Load(t).Service("web", 11)))
	s := harness.NewSupervisor(t, harness.Setup{Cloud: cloud, Apps: target.V3(), Unprovisioned: true})
	cloud.Break(fakecloud.Register, fakecloud.Status(http.StatusServiceUnavailable))
	s.Expect(target)
	s.Start()
	s.WaitSettled(harness.Soon)
	if n := len(cloud.Calls(fakecloud.LogStream)); n != 0 {
		t.Errorf("%d streams before the device is registered", n)
	}
	// The cloud has another device of this uuid, in another fleet, so the device becomes a new one.
	former := s.UUID
	cloud.Add(former, "anothers", harness.Fleet+1)
	cloud.Mend(fakecloud.Register)
	harness.WaitLine(t, cloud, "Supervisor starting")
	harness.WaitLine(t, cloud, "app started")
	var config struct{ UUID, DeviceAPIKey string }
	if err := json.Unmarshal([]byte(s.ReadFile("boot/config.json")), &config); err != nil {
		t.Fatal(err)
	}
	if config.UUID == former {
		t.Error("the device has its former uuid")
	}
	for _, call := range cloud.Calls(fakecloud.LogStream) {
		if call.Path != "/device/v2/"+config.UUID+"/log-stream" || call.Bearer != "Bearer "+config.DeviceAPIKey {
			t.Errorf("stream %s as %s", call.Path, call.Bearer)
		}
	}
}

// listener reads GET /v2/local/logs.
type listener struct {
	header http.Header
	stop   context.CancelFunc
	mu     sync.Mutex
	lines  []string
}

func listen(t *testing.T, s *harness.Supervisor) *listener {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL("/v2/local/logs"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Key())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{header: res.Header, stop: stop}
	go func() {
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			l.mu.Lock()
			l.lines = append(l.lines, lines.Text())
			l.mu.Unlock()
		}
	}()
	t.Cleanup(stop)
	return l
}

// hears waits for a line that begins so.
func (l *listener) hears(t *testing.T, prefix string) (line string, number int) {
	t.Helper()
	harness.Until(t, harness.Soon, fmt.Sprintf("line %s", prefix), func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for number, line = range l.lines {
			if strings.HasPrefix(line, prefix) {
				return nil
			}
		}
		return fmt.Errorf("there are %.2000q", l.lines)
	})
	return line, number
}

// cloud.md 96, device-api.md 144.
func TestLocalLogs(t *testing.T) {
	target := harness.TargetOf(shop(
		harness.ServerImage("logs/web:v1").Load(t).Service("web", 11).Composed("tty", false), harness.ServerImage("logs/web:v1").Load(t).Service("db", 12)))
	s := harness.StartSupervisor(t, harness.Setup{})
	s.Apply(target)
	earlier := listen(t, s)
	s.Print("web", "n=1&text=before")
	earlier.hears(t, `{"serviceName":"web","message":"before 0","timestamp":`)
	earlier.stop()
	first, second := listen(t, s), listen(t, s)
	for _, l := range []*listener{first, second} {
		if line, n := l.hears(t, "{"); n != 0 || line != `{"message":"Streaming logs","isSystem":true}` {
			t.Errorf("the first line is %s", line)
		}
		if kind := l.header.Get("Content-Type"); kind != "application/x-ndjson" {
			t.Errorf("Content-Type %q", kind)
		}
	}
	s.Print("web", "n=2&text=said")
	s.Print("web", "n=1&text=cried&err=1")
	s.Print("web", "n=1&text=long&size=15000")
	s.Print("db", "n=1&text=kept")
	for _, l := range []*listener{first, second} {
		l.hears(t, `{"serviceName":"web","message":"said 1","timestamp":`)
		l.hears(t, `{"serviceName":"db","message":"kept 0","timestamp":`)
		line, _ := l.hears(t, `{"serviceName":"web","message":"cried 0","timestamp":`)
		if !strings.HasSuffix(line, `,"serviceId":11,"isStdErr":true}`) {
			t.Errorf("%s", line)
		}
		if long, _ := l.hears(t, `{"serviceName":"web","message":"long 0xxx`); len(long) < 15000 {
			t.Errorf("the long line has %d bytes", len(long))
		}
		for _, line := range l.lines {
			if strings.Contains(line, "before") {
				t.Errorf("%s came", line)
			}
		}
	}
	s.Post("/v2/applications/31/restart-service", map[string]any{"serviceName": "web"}).Want(t, 200, "OK")
	first.hears(t, `{"message":"Killed service 'web `)
}

// device-api.md 145, A20: listeners that left cost nothing, and nobody reads containers for them.
func TestListenersLeave(t *testing.T) {
	target := harness.TargetOf(shop(harness.ServerImage("logs/web:v1").Load(t).Service("web", 11).Setting("TICK", "5ms")))
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.Apply(target)
	const follow = "GET /containers/{id}/logs"
	if n := s.Proxy.Counts()[follow]; n != 0 {
		t.Errorf("the container is read %d times with no listener", n)
	}
	round := func() {
		t.Helper()
		var all []*listener
		for range 100 {
			all = append(all, listen(t, s))
		}
		for _, l := range all {
			l.hears(t, `{"serviceName":"web","message":"tick `)
			l.stop()
		}
	}
	round()
	open := func() int { return descriptors(t, s.Process().PID()) }
	harness.Until(t, harness.Soon, "listeners to be forgotten", func() error {
		if n := open(); n > 30 {
			return fmt.Errorf("%d descriptors are open", n)
		}
		return nil
	})
	before := anonymous(t, s.Process().PID())
	round()
	harness.Until(t, harness.Soon, "listeners to be forgotten", func() error {
		if n := open(); n > 30 {
			return fmt.Errorf("%d descriptors are open", n)
		}
		return nil
	})
	if after := anonymous(t, s.Process().PID()); after > before+1024 {
		t.Errorf("anonymous memory grew from %d to %d KiB", before, after)
	}
}

// descriptors counts the open files of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// anonymous is the memory of a process of its own, in KiB.
func anonymous(t *testing.T, pid int) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "Anonymous: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("no figure of anonymous memory")
	return 0
}

// What a container writes that lives for a moment comes once, however close its first line is to its end.
func TestContainerThatLivesForAMoment(t *testing.T) {
	job := harness.OneshotImage("logs/job:v1").Load(t)
	s := harness.StartSupervisor(t, harness.Setup{})
	l := listen(t, s)
	l.hears(t, "{")
	s.Apply(harness.TargetOf(shop(job.Service("job", 11).Composed("restart", "no"))))
	const starts = 10
	for n := 1; ; n++ {
		harness.Until(t, harness.Soon, fmt.Sprintf("the line of start %d", n), func() error {
			got, state := l.count(`{"serviceName":"job","message":"oneshot `), s.Containers()["job"].State
			if got != n || state.Status != "exited" {
				return fmt.Errorf("%d lines, the container is %s", got, state.Status)
			}
			return nil
		})
		if n == starts {
			return
		}
		s.Post("/v2/applications/31/restart-service", map[string]any{"serviceName": "job"}).Want(t, 200, "OK")
	}
}

// count is how many lines begin so.
func (l *listener) count(prefix string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}
