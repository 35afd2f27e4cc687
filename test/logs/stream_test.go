package logs_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 68, 69, 74, 75.
func TestLinesOfContainers(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	image := harness.ServerImage("logs/web:v1").Load(t)
	s := managed(t, cloud, nil,
		image.Service("web", 11).Composed("tty", false),
		image.Service("errors", 12).Composed("tty", false).Setting("BALENA_LOGS_LEVEL", "error"),
		image.Service("silent", 13).Setting("BALENA_LOGS_LEVEL", "none"),
		image.Service("term", 14).Composed("tty", true).Setting("BALENA_LOGS_LEVEL", "debug"))
	for _, name := range []string{"web", "errors", "silent", "term"} {
		s.Print(name, "n=2&text=out-"+name)
		s.Print(name, "n=2&text=err-"+name+"&err=1")
	}
	s.Print("web", "n=1&text=long&size=20000")
	s.Print("web", "n=1&text=last")
	harness.WaitLine(t, cloud, "last 0")
	harness.Until(t, harness.Soon, "the lines of other services", func() error {
		for _, text := range []string{"err-errors 1", "err-term 1"} {
			if _, ok := harness.FindLine(cloud.Logs(), text); !ok {
				return fmt.Errorf("%s is not there, but %.3000q", text, harness.Messages(cloud.Logs()))
			}
		}
		return nil
	})

	t.Run("head of the request", func(t *testing.T) { checkHead(t, s, cloud) })
	t.Run("nothing within the grace", func(t *testing.T) {
		stream := cloud.Streams()[0]
		if n, first := stream.Body(); n == 0 || first.Sub(stream.Opened) < 4900*time.Millisecond {
			t.Errorf("%d bytes, the first after %v", n, first.Sub(stream.Opened))
		}
	})
	t.Run("open and whole lines", func(t *testing.T) {
		if ended, err := cloud.Streams()[0].Ended(); ended || len(cloud.Streams()) != 1 {
			t.Errorf("ended: %v %v, %d streams", ended, err, len(cloud.Streams()))
		}
		for _, l := range cloud.Logs() {
			if l.Unparseable {
				t.Errorf("line %q", l.Raw)
			}
		}
	})
	t.Run("fields", func(t *testing.T) { checkFields(t, cloud.Logs()) })
	t.Run("levels", func(t *testing.T) {
		for _, text := range []string{"out-errors 0", "out-silent 0", "err-silent 0", "app started"} {
			if l, ok := harness.FindLine(cloud.Logs(), text); ok && (l.ServiceID == nil || *l.ServiceID == 12 || *l.ServiceID == 13) {
				t.Errorf("%s came", l.Raw)
			}
		}
	})
	t.Run("long line", func(t *testing.T) {
		long, _ := harness.FindLine(cloud.Logs(), "long 0")
		if len(long.Message) != 10000 || !strings.HasSuffix(long.Message, "xxx[...]") {
			t.Errorf("%d characters, the end is %q", len(long.Message), long.Message[len(long.Message)-10:])
		}
		texts := harness.Messages(cloud.Logs())
		if i := slices.Index(texts, long.Message); texts[i+1] != "last 0" {
			t.Errorf("after it comes %.40q", texts[i+1])
		}
	})
}

func checkHead(t *testing.T, s *harness.Supervisor, cloud *fakecloud.Cloud) {
	request := cloud.Calls(fakecloud.LogStream)[0]
	if request.Method != http.MethodPost || request.Path != "/device/v2/"+s.UUID+"/log-stream" || len(request.Query) > 0 {
		t.Errorf("%s %s?%s", request.Method, request.Path, request.Query.Encode())
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer " + harness.DeviceKey, "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip",
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(request.Agent, "Supervisor/") {
		t.Errorf("User-Agent %q", request.Agent)
	}
}

func checkFields(t *testing.T, lines []fakecloud.LogLine) {
	if l := lines[0]; l.Message != "Supervisor starting" {
		t.Errorf("the first line is %s", l.Raw)
	}
	f := func(text string, want map[string]any) {
		t.Helper()
		l, ok := harness.FindLine(lines, text)
		if !ok {
			t.Errorf("%q did not come", text)
			return
		}
		want["message"] = text
		if at := time.UnixMilli(l.Timestamp); time.Since(at) > time.Minute || time.Since(at) < 0 {
			t.Errorf("%s: the time is %v", l.Raw, at)
		}
		want["timestamp"] = l.Doc["timestamp"]
		if fmt.Sprint(l.Doc) != fmt.Sprint(want) {
			t.Errorf("got %s, want %v", l.Raw, want)
		}
	}
	f("Supervisor starting", map[string]any{"isSystem": true})
	f("out-web 1", map[string]any{"serviceId": 11.0})
	f("err-web 1", map[string]any{"serviceId": 11.0, "isStdErr": true})
	f("err-errors 1", map[string]any{"serviceId": 12.0, "isStdErr": true})
	f("out-term 1", map[string]any{"serviceId": 14.0})
	f("err-term 1", map[string]any{"serviceId": 14.0})
}

// cloud.md 70, 71, 73: a cloud that refuses the stream loses nothing that fits into the queue, and is
// told how much did not; a stream that is cut is opened again.
func TestRefusedAndCutStreams(t *testing.T) {
	cloud := &fakecloud.Cloud{}
	cloud.Break(fakecloud.LogStream, fakecloud.Status(http.StatusUnauthorized))
	s := managed(t, cloud, nil, harness.ServerImage("logs/web:v1").Load(t).Service("web", 11))
	const n = 4000
	s.Print("web", fmt.Sprintf("n=%d&text=flood&size=200", n))
	harness.Until(t, harness.Soon, "a refusal", func() error {
		if len(s.LogLines("log stream to the cloud broke off, will retry")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	cloud.Mend(fakecloud.LogStream)
	warning := harness.WaitLine(t, cloud, "Warning: Suppressed")
	checkSuppressed(t, cloud, warning, n)

	refused := len(s.LogLines("log stream to the cloud broke off, will retry"))
	cloud.Streams()[0].Cut()
	harness.Until(t, harness.Soon, "the supervisor to notice", func() error {
		if n := len(s.LogLines("log stream to the cloud broke off, will retry")); n < refused+1 {
			return fmt.Errorf("it noticed %d ends of streams", n)
		}
		return nil
	})
	s.Print("web", "n=10&text=late")
	harness.WaitLine(t, cloud, "late 9")
	wantAll(t, cloud.Logs(), "late", 10)
	if again, ok := harness.FindLine(cloud.Logs()[slices.Index(harness.Messages(cloud.Logs()), warning.Message)+1:], "Warning: Suppressed"); ok {
		t.Errorf("a second one: %s", again.Raw)
	}
}

// checkSuppressed wants the first lines of a flood, as many as fit, and the number of the others.
func checkSuppressed(t *testing.T, cloud *fakecloud.Cloud, warning fakecloud.LogLine, n int) {
	t.Helper()
	if !warning.IsSystem || !warning.IsStdErr {
		t.Errorf("%s", warning.Raw)
	}
	var dropped int
	if _, err := fmt.Sscanf(warning.Message, "Warning: Suppressed %d message(s) due to high load", &dropped); err != nil || !strings.HasSuffix(warning.Message, "due to high load") {
		t.Fatalf("%q: %v", warning.Message, err)
	}
	if l := cloud.Logs()[0]; l.Message != "Supervisor starting" {
		t.Errorf("the first line is %s", l.Raw)
	}
	wantAll(t, cloud.Logs(), "flood", n-dropped)
	size := 0
	for _, l := range cloud.Logs() {
		size += len(l.Raw) + 1
	}
	if size > 256<<10+1024 || size < 256<<10-1024 {
		t.Errorf("%d bytes were kept", size)
	}
}

// wantAll wants the numbers from 0 on, in order, each once.
func wantAll(t *testing.T, lines []fakecloud.LogLine, word string, n int) {
	t.Helper()
	got := numbered(lines, word)
	for i := range min(n, len(got)) {
		if got[i] != i {
			t.Fatalf("line %d of %q has the number %d", i, word, got[i])
		}
	}
	if len(got) != n {
		t.Errorf("%d lines %q, want %d", len(got), word, n)
	}
}

// cloud.md 78.
func TestLogsEndpoint(t *testing.T) {
	cloud, other := &fakecloud.Cloud{}, &fakecloud.Cloud{}
	other.Start(t) // plain HTTP: Q9
	config := map[string]any{"logsEndpoint": other.Origin + "/"}
	s := harness.NewSupervisor(t, harness.Setup{Cloud: cloud, Config: config})
	other.Add(s.UUID, harness.DeviceKey, harness.Fleet)
	s.Start()
	harness.WaitLine(t, other, "Supervisor starting")
	if n := len(cloud.Calls(fakecloud.LogStream)); n != 0 {
		t.Errorf("%d streams at the API", n)
	}
}

// host.md 8: the cloud ends every stream with 408 after some minutes. That is no failure: the agent's log says nothing,
// and the next line opens another stream at once.
func TestCloudEndsEveryStream(t *testing.T) {
	cloud := &fakecloud.Cloud{StreamLife: 20 * time.Second}
	s := managed(t, cloud, nil, harness.ServerImage("logs/web:v1").Load(t).Service("web", 11))
	harness.WaitLine(t, cloud, "app started")
	for n := range 2 {
		harness.Until(t, harness.Soon, "the end of the stream", func() error {
			calls := cloud.Calls(fakecloud.LogStream)
			if len(calls) <= n || calls[n].Status == 0 {
				return errors.New("it is open")
			}
			return nil
		})
		if call := cloud.Calls(fakecloud.LogStream)[n]; call.Status != http.StatusRequestTimeout {
			t.Fatalf("stream %d was answered with %d", n, call.Status)
		}
		s.Print("web", fmt.Sprintf("n=1&text=after-%d", n))
		harness.WaitLine(t, cloud, fmt.Sprintf("after-%d 0", n))
	}
	if strings.Contains(s.Log(), "log stream") {
		t.Errorf("the log says: %v", s.LogLines("log stream to the cloud broke off, will retry"))
	}
}
