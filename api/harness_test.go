package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

const (
	globalTestKey = "6c0ba1"
	keyOfA        = "aaaa11" // app 12
	keyOfB        = "bbbb22" // app 13
)

// memory implements Apps, Keys and Device in memory, and records what it was asked to do.
type memory struct {
	mu      sync.Mutex
	state   view.State
	facts   DeviceFacts
	sick    bool
	source  *source
	keys    map[string]int // app id, 0 for the global key
	asked   []string
	err     error                  // of the next actions
	ignore  bool                   // updates are off
	hold    chan struct{}          // actions wait for it, when set
	entered chan struct{}          // gets an entry when an action starts, when set
	listing func() <-chan struct{} // what Listed answers, when set
	target  []byte
	made    int
	host    memoryHost
}

func newMemory() *memory {
	return &memory{
		source: ended(),
		state:  settled(),
		facts: DeviceFacts{
			APIPort: 48484, IPAddress: "192.168.7.9", MACAddress: "02:00:5E:10:00:01",
			OSVersion: "balenaOS 2.100.0", SupervisorVersion: "20.0.1", Managed: true,
			Arch: "armv7hf", DeviceType: "raspberrypi3",
		},
		keys: map[string]int{globalTestKey: 0, keyOfA: 12, keyOfB: 13},
	}
}

// settled is a device with a single-service fleet app 12 and a two-service app 13.
func settled() view.State {
	born := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	env := map[string]string{
		"FOO": "bar<1>", "BALENA_APP_ID": "12", "RESIN_API_KEY": "x", "BALENA_API_KEY": "x",
		"RESIN_SUPERVISOR_API_KEY": "x", "BALENA_SUPERVISOR_API_KEY": "x",
		"RESIN_DEVICE_NAME_AT_INIT": "x", "BALENA_DEVICE_NAME_AT_INIT": "x",
	}
	one := func(app, image int, name string) view.Container {
		return view.Container{
			ID: strings.Repeat(fmt.Sprintf("%02x", image), 32), ServiceName: name, ServiceID: image + 1000,
			AppID: app, ImageID: image, ReleaseID: app + 100, Commit: fmt.Sprintf("c%d", app),
			EngineImage: "sha256:77aa", Image: "reg/" + name, Status: "Running", Running: true,
			CreatedAt: born, Env: env,
		}
	}
	stored := func(app, image int, name string) view.Image {
		return view.Image{
			Name: "reg/" + name, AppID: app, ServiceName: name, ImageID: image, ReleaseID: app + 100,
			Commit: fmt.Sprintf("c%d", app), EngineID: "sha256:77aa", Status: "Downloaded",
		}
	}
	wanted := func(image int, name string) view.Service {
		return view.Service{Name: name, ID: image + 1000, ImageID: image, Image: "reg/" + name, Running: true}
	}
	return view.State{
		Revision: 1, Synced: true, DeviceName: "holy-moon",
		Apps: []view.App{
			{
				ID: 12, UUID: "u12", Name: "shop", Class: "fleet", InTarget: true,
				TargetCommit: "c12", Commit: "c12", ReleaseID: 112,
				Services:   []view.Service{wanted(553, "web")},
				Containers: []view.Container{one(12, 553, "web")},
				Images:     []view.Image{stored(12, 553, "web")},
			},
			{
				ID: 13, UUID: "u13", Name: "tool", Class: "app", InTarget: true,
				TargetCommit: "c13", Commit: "c13", ReleaseID: 113,
				Services:   []view.Service{wanted(560, "db"), wanted(561, "ui")},
				Containers: []view.Container{one(13, 560, "db"), one(13, 561, "ui")},
				Images:     []view.Image{stored(13, 560, "db"), stored(13, 561, "ui")},
			},
		},
	}
}

// change edits the state, as a new revision.
func (m *memory) change(edit func(*view.State)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	revision := m.state.Revision
	edit(&m.state)
	m.state.Revision = revision + 1
}

func (m *memory) View() *view.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.state
	return &state
}

func (m *memory) ConversationEnded() {}

func (m *memory) Facts() DeviceFacts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.facts
}

func (m *memory) Vitals() Vitals { return Vitals{10 << 20, 1500 * time.Millisecond, 48.3} }

func (m *memory) UserLock(id int) string {
	if id == 13 {
		return "db"
	}
	return ""
}

func (m *memory) Counts() view.Counts {
	return view.Counts{
		Applies: [...]uint64{3, 2, 0, 1, 0, 0, 1}, ApplySeconds: 2034.5,
		StepFailures: 4, Pulls: 5, PullFailures: 1, EngineCalls: 678, EngineErrors: 2,
	}
}

func (m *memory) GoesBy(name string) bool { return name == "kiosk-3.lan" }

func (m *memory) Healthy() bool { return !m.sick }

func (m *memory) record(ctx context.Context, format string, args ...any) error {
	m.mu.Lock()
	m.asked = append(m.asked, fmt.Sprintf(format, args...))
	m.mu.Unlock()
	if m.entered != nil {
		m.entered <- struct{}{}
	}
	if m.hold != nil {
		select {
		case <-m.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.err
}

func (m *memory) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := strings.Join(m.asked, "; ")
	m.asked = nil
	return s
}

func (m *memory) Listed() <-chan struct{} {
	if m.listing != nil {
		return m.listing()
	}
	done := make(chan struct{})
	close(done)
	return done
}

func (m *memory) Trigger(force, cancel bool) bool {
	_ = m.record(context.Background(), "update %v %v", force, cancel)
	return !m.ignore || force
}

func (m *memory) RestartApp(ctx context.Context, id int, force bool) error {
	return m.record(ctx, "restart %d %v", id, force)
}

func (m *memory) PurgeApp(ctx context.Context, id int, force bool) error {
	return m.record(ctx, "purge %d %v", id, force)
}

func (m *memory) StartService(ctx context.Context, id int, service string) error {
	return m.record(ctx, "start %d %s", id, service)
}

func (m *memory) StopService(ctx context.Context, id int, service string, force bool) error {
	return m.record(ctx, "stop %d %s %v", id, service, force)
}

func (m *memory) RestartService(ctx context.Context, id int, service string, force bool) error {
	return m.record(ctx, "restart %d %s %v", id, service, force)
}

func (m *memory) WithAllLocks(ctx context.Context, force bool, f func() error) error {
	if err := m.record(ctx, "locks %v", force); err != nil {
		return err
	}
	return f()
}

func (m *memory) Reboot(ctx context.Context, force bool) error {
	return m.record(ctx, "reboot %v", force)
}

func (m *memory) Shutdown(ctx context.Context, force bool) error {
	return m.record(ctx, "shutdown %v", force)
}

func (m *memory) CleanUpVolumes(ctx context.Context, inScope func(int) bool) error {
	return m.record(ctx, "clean up %v %v", inScope(12), inScope(13))
}

func (m *memory) VPN(context.Context) (enabled, connected bool) { return true, false }

func (m *memory) Tags(context.Context) ([]Tag, error) {
	return []Tag{{11, "site", "north"}}, m.err
}

func (m *memory) SetTags(tags map[string]string) error {
	return m.record(context.Background(), "tags %v", tags)
}

func (m *memory) Journal(q JournalQuery) (io.ReadCloser, error) {
	if err := m.record(context.Background(), "journal %+v", q); err != nil {
		return nil, err
	}
	return reader{m.source}, nil
}

func (m *memory) Listen(inScope func(int) bool) Lines {
	_ = m.record(context.Background(), "listen %v %v", inScope(12), inScope(13))
	return m.source
}

// source is a listener, and with reader a journal: it returns the lines that are sent into it, until it is closed.
type source struct {
	lines  chan []byte
	closed chan struct{}
	once   sync.Once
}

func newSource() *source { return &source{lines: make(chan []byte), closed: make(chan struct{})} }

// ended is a source that is closed and empty.
func ended() *source {
	s := newSource()
	s.Close()
	return s
}

func (s *source) Close() { s.once.Do(func() { close(s.closed) }) }

func (s *source) Next(ctx context.Context) ([]byte, error) {
	select {
	case line, ok := <-s.lines:
		if !ok {
			return nil, io.EOF
		}
		return line, nil
	case <-s.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reader is a source as a journal.
type reader struct{ *source }

func (r reader) Read(p []byte) (int, error) {
	line, err := r.Next(context.Background())
	return copy(p, line), err
}

func (r reader) Close() error {
	r.source.Close()
	return nil
}

func (m *memory) SetLocalTarget(body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.target = body
	}
	return m.err
}

func (m *memory) LocalTarget(inScope func(int) bool) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	return []byte(fmt.Sprintf(`{"local":{"apps":{"12":%v,"13":%v}}}`, inScope(12), inScope(13))), nil
}

func (m *memory) Lookup(key string) (int, bool, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.keys[key]
	return id, ok && id == 0, ok
}

func (m *memory) Regenerate(key string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[key]; !ok {
		return "", ErrUnknownKey
	}
	m.made++
	fresh := fmt.Sprintf("fresh%d", m.made)
	m.keys[fresh] = m.keys[key]
	delete(m.keys, key)
	return fresh, nil
}

// raceDetector tells whether the tests run under the race detector. Large bodies are slow there, and pools lose
// entries.
var raceDetector bool

// rig is a running server.
type rig struct {
	*memory
	t       testing.TB
	address string
	server  *Server
	stop    func() error
}

func start(t testing.TB) *rig { return startWith(t, defaultLimits(), zerolog.Nop()) }

func startWith(t testing.TB, l limits, log zerolog.Logger) *rig {
	t.Helper()
	m := newMemory()
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{memory: m, t: t, address: ln.Addr().String(), server: newServer(m, m, m, log, l)}
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx, ln) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	return r
}

// reply is an answer as the client sees it.
type reply struct {
	status int
	kind   string
	body   string
	header string
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }

func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	timeout := 20 * time.Second
	if raceDetector {
		timeout = 2 * time.Minute
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	return c
}

// raw sends bytes and reads one answer to method.
func (r *rig) raw(method, request string) reply {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	go func() { _, _ = io.WriteString(c, request) }()
	return r.read(method, bufio.NewReader(c))
}

func (r *rig) read(method string, from *bufio.Reader) reply {
	r.t.Helper()
	var resp fasthttp.Response
	resp.SkipBody = method == "HEAD"
	if err := resp.ReadLimitBody(from, 32<<20); err != nil {
		r.t.Fatalf("%s: %v", method, err)
	}
	return reply{resp.StatusCode(), string(resp.Header.ContentType()), string(resp.Body()), resp.Header.String()}
}

// send makes one request. Headers are lines without CRLF.
func (r *rig) send(method, path, body string, headers ...string) reply {
	r.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, r.address)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" || method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return r.raw(method, b.String()+"\r\n"+body)
}

const asJSON = "Content-Type: application/json"

// do makes one request with a key and a JSON body.
func (r *rig) do(key, method, path, body string) reply {
	r.t.Helper()
	return r.send(method, path, body, asJSON, "Authorization: Bearer "+key)
}

func wantReply(t *testing.T, got reply, status int, body string) {
	t.Helper()
	if got.status != status || got.body != body {
		t.Errorf("got %v, want %d %s", got, status, body)
	}
}

func wantFailure(t *testing.T, got reply, code int, message string) {
	t.Helper()
	var s status
	if err := json.Unmarshal([]byte(got.body), &s); err != nil || got.kind != typeJSON {
		t.Errorf("got %v (%s), want a JSON failure", got, got.kind)
		return
	}
	if got.status != code || s != (status{"failed", message}) {
		t.Errorf("got %v, want %d %q", got, code, message)
	}
}
