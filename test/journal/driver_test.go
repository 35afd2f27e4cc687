package journal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// numbered counts the lines that begin with a word, by their number.
func numbered(cloud *fakecloud.Cloud, word string) (times map[int]int, newest int) {
	times = map[int]int{}
	for _, l := range cloud.Logs() {
		var n int
		if _, err := fmt.Sscanf(l.Message, word+" %d", &n); err == nil {
			times[n]++
			newest = max(newest, n)
		}
	}
	return times, newest
}

// cloud.md 75, 76: lines of containers whose engine logs to the journal, as on balenaOS.
func TestEngineLogsToTheJournal(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	engine := harness.StoppedEngine(t, "--log-driver=journald")
	s := harness.NewSupervisor(t, harness.Setup{Engine: engine, Cloud: cloud})
	host := s.Boot(nil)
	host.StartEngine(engine)
	image := harness.ServerImage("journal/web:v1").LoadInto(t, engine)
	app := harness.Shop("c0ffee01", 88,
		image.Service("web", 11).Composed("tty", false).Setting("TICK", "3ms"),
		image.Service("errors", 12).Composed("tty", false).Setting("BALENA_LOGS_LEVEL", "error"), image.Service("term", 13).Composed("tty", true))
	s.Assign(harness.TargetOf(app))
	s.Start()
	s.WaitSettled(soon)
	for _, name := range []string{"web", "errors", "term"} {
		s.Print(name, "n=2&text=out-"+name)
		s.Print(name, "n=2&text=err-"+name+"&err=1")
	}
	s.Print("errors", "n=1&text=long&size=40000&err=1")
	s.Print("errors", "n=1&text=bin%FF%01&err=1")
	began := time.Now()
	s.Print("errors", "n=1&text=last&err=1")
	last := await(t, cloud, "last 0")
	if at := time.UnixMilli(last.Timestamp); at.Sub(began).Abs() > 20*time.Second {
		t.Errorf("%s has the time %v, it was written at %v", last.Raw, at, began)
	}
	want := func(message string, service int, stderr bool) {
		t.Helper()
		l := await(t, cloud, message)
		if l.ServiceID == nil || *l.ServiceID != service || (l.Doc["isStdErr"] == true) != stderr || l.Doc["isSystem"] != nil {
			t.Errorf("got %s", l.Raw)
		}
	}
	want("out-web 0", 11, false)
	want("err-web 1", 11, true)
	want("err-errors 1", 12, true)
	want("out-term 1", 13, false)
	want("err-term 1", 13, false)
	want("bin\ufffd\x01 0", 12, true)
	if n := count(cloud, "out-errors"); n != 0 {
		t.Errorf("%d lines that are no errors", n)
	}
	for _, l := range cloud.Logs() {
		if strings.HasPrefix(l.Message, "long") && (len(l.Message) != 10000 || !strings.HasSuffix(l.Message, "xxx[...]")) || strings.HasPrefix(l.Message, "xxx") {
			t.Errorf("a line of %d characters: %.20q", len(l.Message), l.Message)
		}
	}
	if n := count(cloud, "long"); n != 1 {
		t.Errorf("%d long lines", n)
	}

	s.Stop()
	s.Print("web", "n=2000&text=meanwhile&size=100")
	harness.Until(t, soon, "the journal to have the lines", func() error {
		if !strings.Contains(host.Journal("--output=cat", "--lines=2000"), "meanwhile 1999") {
			return errNotYet
		}
		return nil
	})
	s.Start()
	await(t, cloud, "meanwhile 1999"+strings.Repeat("x", 100-len("meanwhile 1999")))
	_, stopped := numbered(cloud, "tick")
	harness.Until(t, soon, "more ticks", func() error {
		if _, newest := numbered(cloud, "tick"); newest < stopped+500 {
			return fmt.Errorf("%d", newest)
		}
		return nil
	})
	check := func(word string, most int) {
		t.Helper()
		times, newest := numbered(cloud, word)
		for i := range min(newest, most) {
			if times[i] != 1 {
				t.Errorf("%s %d came %d times", word, i, times[i])
			}
		}
	}
	_, newest := numbered(cloud, "tick")
	check("tick", newest-10) // both outputs are on their way
	check("meanwhile", 2000)
}

// 5.6: an engine that cannot read back what its log driver took is asked once, which is in the supervisor's
// own log; nothing else suffers.
func TestEngineThatKeepsNoLog(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	engine := harness.StoppedEngine(t, "--log-driver=none")
	engine.Start(t)
	s := harness.NewSupervisor(t, harness.Setup{Engine: engine, Cloud: cloud})
	image := harness.ServerImage("journal/web:v1").LoadInto(t, engine)
	app := harness.Shop("c0ffee01", 88, image.Service("one", 11), image.Service("two", 12))
	s.Assign(harness.TargetOf(app))
	s.Start()
	s.WaitSettled(soon)
	s.Print("one", "n=5&text=lost")
	told := func(n int) {
		t.Helper()
		harness.Until(t, soon, fmt.Sprint(n, " lines of the supervisor"), func() error {
			const message = "cannot read the output of a container, will try again when it restarts"
			const reason = "the engine's log driver keeps no output, use another one, such as journald or json-file"
			if lines := s.LogLines(message); len(lines) != n || lines[0]["error"] != reason {
				return fmt.Errorf("there are %q", lines)
			}
			return nil
		})
	}
	told(2)
	await(t, cloud, "Started service 'one "+engine.ImageID(t, image.Name)+"'")
	s.Post("/v2/applications/31/restart-service", map[string]any{"serviceName": "two"}).Want(t, 200, "OK")
	told(3)
	if err := s.Alive(); err != nil {
		t.Error(err)
	}
}
