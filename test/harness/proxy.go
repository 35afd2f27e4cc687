package harness

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is what the proxy does to a call instead of passing it on.
type Fault int

const (
	// Reset closes the client's connection before the engine sees the call.
	Reset Fault = iota + 1
	// LoseAnswer lets the engine do the work and closes the connection without the answer.
	LoseAnswer
	// Fail answers 500 with an error message; the engine does not see the call.
	Fail
	// Hang keeps the call waiting until Heal, then passes it on.
	Hang
	// Mute passes the call on and then silently drops everything the engine sends, with the
	// connection left open. It is meant for the event stream.
	Mute
	// Absent lets the engine answer as to a call that it does not have.
	Absent
)

// Proxy stands between a supervisor and the engine's socket, counts calls and spoils some.
// Calls are named by method and path template: "GET /containers/{id}/json".
type Proxy struct {
	Socket string

	engine *http.Transport
	server *http.Server

	mu      sync.Mutex
	times   map[string][]time.Time
	pulls   []PullRequest
	changes map[string]func(body []byte) []byte
	rules   []*rule
	healed  chan struct{}
	conns   map[net.Conn]struct{}
}

// rule spoils the calls of one name, from the nth on, for a number of times.
type rule struct {
	call  string
	skip  int
	times int
	fault Fault
}

// NewProxy puts a proxy in front of the engine's socket; it lives as long as the test.
func NewProxy(t testing.TB, engine *Engine) *Proxy {
	t.Helper()
	p := &Proxy{Socket: filepath.Join(t.TempDir(), "engine.sock"), engine: unixTransport(engine.Socket),
		times: map[string][]time.Time{}, changes: map[string]func([]byte) []byte{}, healed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.engine.MaxIdleConns = 0
	l, err := net.Listen("unix", p.Socket)
	if err != nil {
		t.Fatal(err)
	}
	p.server = &http.Server{Handler: p.handler(), ConnState: p.track}
	go p.server.Serve(l)
	t.Cleanup(func() { p.Heal(); p.server.Close(); p.engine.CloseIdleConnections() })
	return p
}

func (p *Proxy) track(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(p.conns, c)
	}
}

// Cut breaks every connection that is open now, event stream and pulls included.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Spoil makes the next calls of that name go wrong: skip calls pass first, then times calls are
// hit. A name may end in "*" to match any call that starts so; times below zero means all.
func (p *Proxy) Spoil(call string, fault Fault, skip, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &rule{call, skip, times, fault})
}

// Heal takes all faults away and lets hanging calls go on.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
	close(p.healed)
	p.healed = make(chan struct{})
}

// Counts is how often each call was made so far.
func (p *Proxy) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := map[string]int{}
	for call, times := range p.times {
		counts[call] = len(times)
	}
	return counts
}

// Times is when each call of that name was made.
func (p *Proxy) Times(call string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.times[call])
}

// WaitCalls waits until a call was made n times in all, and answers when.
func (p *Proxy) WaitCalls(t testing.TB, within time.Duration, call string, n int) []time.Time {
	t.Helper()
	Until(t, within, fmt.Sprintf("%s, %d times", call, n), func() error {
		if made := len(p.Times(call)); made < n {
			return fmt.Errorf("%d times", made)
		}
		return nil
	})
	return p.Times(call)
}

// Total is the number of all calls so far.
func (p *Proxy) Total() int {
	total := 0
	for _, n := range p.Counts() {
		total += n
	}
	return total
}

// Since lists the calls made after an earlier Counts, one per line, for messages.
func (p *Proxy) Since(before map[string]int) string {
	var lines []string
	for call, n := range p.Counts() {
		if n > before[call] {
			lines = append(lines, fmt.Sprintf("%d x %s", n-before[call], call))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// record counts a call and says what is to happen to it.
func (p *Proxy) record(call string) (Fault, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times[call] = append(p.times[call], time.Now())
	for _, r := range p.rules {
		if !r.matches(call) || r.times == 0 {
			continue
		}
		if r.skip > 0 {
			r.skip--
			continue
		}
		r.times--
		return r.fault, p.healed
	}
	return 0, nil
}

func (r *rule) matches(call string) bool {
	if prefix, ok := strings.CutSuffix(r.call, "*"); ok {
		return strings.HasPrefix(call, prefix)
	}
	return r.call == call
}

func (p *Proxy) handler() http.Handler {
	// Cut connections are what the proxy is for.
	quiet := log.New(io.Discard, "", 0)
	pass := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport:      p.engine,
		ModifyResponse: p.rewrite,
		FlushInterval:  -1,
		ErrorLog:       quiet,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.recordPull(r)
		fault, healed := p.record(CallName(r.Method, r.URL.Path))
		switch fault {
		case Reset:
			panic(http.ErrAbortHandler)
		case LoseAnswer:
			pass.ServeHTTP(discardAnswer{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		case Fail:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"message":"spoilt by the test"}`)
			return
		case Absent:
			r.URL.Path = "/no/such/call"
		case Hang:
			waitFor(r, healed)
		case Mute:
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			waitFor(r, healed)
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, r)
	})
}

// waitFor returns when the proxy was healed or the client has gone.
func waitFor(r *http.Request, healed chan struct{}) {
	select {
	case <-healed:
	case <-r.Context().Done():
	}
}

// discardAnswer is a ResponseWriter into nothing.
type discardAnswer struct{ header http.Header }

func (d discardAnswer) Header() http.Header         { return d.header }
func (d discardAnswer) Write(b []byte) (int, error) { return len(b), nil }
func (d discardAnswer) WriteHeader(int)             {}

// CallName is the name of an engine call: its method and the template of its path.
func CallName(method, path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 0 && len(parts[0]) > 1 && parts[0][0] == 'v' && parts[0][1] >= '0' && parts[0][1] <= '9' {
		parts = parts[1:]
	}
	return method + " /" + strings.Join(template(parts), "/")
}

// plainVerbs are second path parts that are not an object's name.
var plainVerbs = []string{"json", "create", "prune", "load", "search", "get"}

// template puts {id} in the place of an object's name. Image names may contain slashes.
func template(parts []string) []string {
	if len(parts) < 2 || len(parts) == 2 && slices.Contains(plainVerbs, parts[1]) {
		return parts
	}
	last := parts[len(parts)-1]
	if parts[0] == "distribution" {
		return []string{"distribution", "{id}", last}
	}
	if parts[0] != "images" {
		return append([]string{parts[0], "{id}"}, parts[2:]...)
	}
	if len(parts) > 2 && slices.Contains([]string{"json", "tag", "history", "push"}, last) {
		return []string{"images", "{id}", last}
	}
	return []string{"images", "{id}"}
}
