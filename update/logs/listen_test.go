package logs

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

func localPipe() *Pipe {
	return New(Options{Mode: ToListeners, Docs: &documents{text: []byte("{}")}, Log: zerolog.Nop()})
}

func everything(int) bool { return true }

func next(t *testing.T, l *Listener) string {
	t.Helper()
	line, err := l.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(line), "\n")
}

// cloud.md 96.
func TestListener(t *testing.T) {
	p := localPipe()
	p.Say("before", false)
	a, b := p.Listen(everything), p.Listen(everything)
	p.Put(view.LogLine{Message: "hi", Timestamp: 5, ServiceID: 31, ServiceName: "web"})
	p.Put(view.LogLine{Message: "uh", Timestamp: 6, IsSystem: true, IsStdErr: true})
	for _, l := range []*Listener{a, b} {
		for _, want := range []string{
			`{"message":"Streaming logs","isSystem":true}`, `{"serviceName":"web","message":"hi","timestamp":5,"serviceId":31}`,
			`{"message":"uh","isSystem":true,"timestamp":6,"isStdErr":true}`,
		} {
			if got := next(t, l); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Next(ctx); err == nil {
		t.Error("no error at the end of the context")
	}
	a.Close()
	if len(p.listeners) != 1 {
		t.Errorf("%d listeners", len(p.listeners))
	}
}

// A listener of one app receives the output of its containers and the messages of the agent.
func TestListenerOfAnApp(t *testing.T) {
	p := localPipe()
	l := p.Listen(func(appID int) bool { return appID == 7 })
	for _, app := range []int{8, 7, 0} {
		p.Put(view.LogLine{Message: fmt.Sprint(app), AppID: app, ServiceID: 31, ServiceName: "web"})
	}
	p.Say("stopped", false)
	for _, want := range []string{"Streaming logs", `"7"`, "stopped"} {
		if got := next(t, l); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Outside local mode only the first line arrives (docs/spec/device-api.md 2.33).
func TestListenerOutsideLocalMode(t *testing.T) {
	p := localPipe()
	p.SetMode(ToCloud)
	l := p.Listen(everything)
	p.Say("for the cloud", false)
	if len(l.lines) != 1 {
		t.Errorf("got %q", l.lines)
	}
}

// device-api.md A20: a listener that does not read costs no more than its buffer: the oldest lines are dropped.
func TestListenerThatDoesNotRead(t *testing.T) {
	p := localPipe()
	l := p.Listen(everything)
	for i := range 10000 {
		p.Say(fmt.Sprintf("%0100d", i), false)
	}
	if l.size > maxListener || l.size < maxListener-200 {
		t.Errorf("%d bytes", l.size)
	}
	line := ""
	for range len(l.lines) {
		line = next(t, l)
	}
	if !strings.Contains(line, "9999") {
		t.Errorf("the newest is %s", line)
	}
}
