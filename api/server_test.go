package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

func TestTransport(t *testing.T) {
	r := start(t)
	auth := "Authorization: Bearer " + globalTestKey + "\r\n"
	f := func(name, method, request string, want ...string) {
		t.Helper()
		c := r.dial()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		for _, w := range want {
			if got := r.read(method, in); got.String() != w {
				t.Errorf("%s: %v, want %s", name, got, w)
			}
		}
	}
	const version = `200 {"status":"success","version":"20.0.1"}`
	get := "GET /v2/version HTTP/1.1\r\nHost: x\r\n" + auth
	body := asJSON + "\r\nContent-Length: 7\r\n\r\n{\"a\":1}"
	f("a body on GET", "GET", get+body+get+"\r\n", version, version)
	f("a body on DELETE", "DELETE", strings.Replace(get, "GET", "DELETE", 1)+body+get+"\r\n",
		`404 {"status":"failed","message":"Cannot DELETE /v2/version"}`, version)
	f("a body of another type", "GET", get+"Content-Type: text/plain\r\nContent-Length: 7\r\n\r\n{\"a\":1}"+get+"\r\n", version, version)
	f("a body on HEAD", "HEAD", strings.Replace(get, "GET", "HEAD", 1)+body+strings.Replace(get, "GET", "HEAD", 1)+"\r\n", "200 ", "200 ")
	f("no key and a body", "POST", "POST /v1/restart HTTP/1.1\r\nHost: x\r\n"+body+get+"\r\n", "401 Unauthorized", version)
	f("chunked", "POST", "POST /v1/restart HTTP/1.1\r\nHost: x\r\n"+auth+asJSON+
		"\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"appI\r\n6\r\nd\":12}\r\n0\r\n\r\n"+get+"\r\n", "200 OK", version)
	f("empty update of the proxy", "POST", "POST /v1/update?apikey="+globalTestKey+
		" HTTP/1.1\r\nhost: x.balena:48484\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", "204 ")
	f("HTTP/1.0", "GET", "GET /ping HTTP/1.0\r\n\r\n", "200 OK")
	f("absolute form", "GET", "GET http://x/ping HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK")
	f("OPTIONS", "OPTIONS", strings.Replace(get, "GET", "OPTIONS", 1)+"\r\n", "200 GET,HEAD")
	f("OPTIONS of two methods", "OPTIONS", "OPTIONS /v2/local/target-state HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n", "200 GET,HEAD,POST")
	f("OPTIONS without key", "OPTIONS", "OPTIONS /ping HTTP/1.1\r\nHost: x\r\n\r\n", "401 Unauthorized")
	f("OPTIONS of nothing", "OPTIONS", "OPTIONS /no HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n", `404 {"status":"failed","message":"Cannot OPTIONS /no"}`)
	f("unknown path", "GET", strings.Replace(get, "/v2/version", "/no?a=b", 1)+"\r\n", `404 {"status":"failed","message":"Cannot GET /no"}`)
	f("malformed body on an unknown path", "POST", "POST /no HTTP/1.1\r\nHost: x\r\n"+auth+asJSON+"\r\nContent-Length: 1\r\n\r\n7",
		`400 {"status":"failed","message":"request body: neither a JSON object nor a list"}`)
	f("long header", "GET", "GET /ping HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", maxHead)+"\r\n\r\n",
		`431 {"status":"failed","message":"request header too large"}`)
	f("no HTTP", "GET", "hello\r\n\r\n", `400 {"status":"failed","message":"malformed request"}`)
}

func TestOptionsSayWhatIsAllowed(t *testing.T) {
	r := start(t)
	got := r.do(globalTestKey, "OPTIONS", "/v1/device", "")
	if wantReply(t, got, 200, "GET,HEAD"); !strings.Contains(got.header, "\r\nAllow: GET,HEAD\r\n") {
		t.Errorf("header: %s", got.header)
	}
}

func TestContinue(t *testing.T) {
	r := start(t)
	c := r.dial()
	fmt.Fprintf(c, "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n"+
		"Expect: 100-continue\r\nContent-Length: 12\r\n\r\n", globalTestKey, asJSON)
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprint(c, `{"appId":12}`)
	_, _ = in.ReadString('\n')
	wantReply(t, r.read("POST", in), 200, "OK")
}

func TestHalfClosedClientGetsItsAnswer(t *testing.T) {
	r := start(t)
	c := r.dial()
	fmt.Fprint(c, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantReply(t, r.read("GET", bufio.NewReader(c)), 200, "OK")
}

func TestTruncatedBodyDoesNothing(t *testing.T) {
	for _, size := range []int{30, 9000} {
		r := start(t)
		c := r.dial()
		body := "x=" + strings.Repeat("x", size-20) + "&appId=1"
		fmt.Fprintf(c, "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
			globalTestKey, asForm, len(body)+1, body)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := r.read("POST", bufio.NewReader(c)); got.status != 400 {
			t.Errorf("%d bytes: %v", size, got)
		}
		if asked := r.take(); asked != "" {
			t.Errorf("%d bytes: %s", size, asked)
		}
	}
}

func TestHeaders(t *testing.T) {
	r := start(t)
	for _, row := range routes {
		c := r.dial()
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nAuthorization: Bearer %s\r\n"+
			"Content-Length: 0\r\nConnection: close\r\n\r\n", row.method, concrete(row), globalTestKey)
		answer, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		header, body, _ := strings.Cut(string(answer), "\r\n\r\n")
		for _, never := range []string{"X-Powered-By", "Access-Control", "Server:", "Date:"} {
			if strings.Contains(header, never) {
				t.Errorf("%s has header %s", row.path, never)
			}
		}
		if (body == "") == strings.Contains(header, "Content-Type:") {
			t.Errorf("%s: %s", row.path, answer)
		}
		r.keys[globalTestKey] = 0 // one route replaces it
	}
}

// lockedBuffer collects log lines of several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestLogsRequestsWithoutTheirKey(t *testing.T) {
	var lines lockedBuffer
	r := startWith(t, defaultLimits(), zerolog.New(&lines))
	r.send("GET", "/v2/version?apikey="+globalTestKey, "")
	r.send("GET", "/no-such?apikey="+globalTestKey, "", "Authorization: Bearer "+globalTestKey)
	r.raw("GET", "GET /ping?apikey="+globalTestKey+" HTTP/9\r\n\r\n")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	got := lines.String()
	if strings.Contains(got, globalTestKey) {
		t.Errorf("a key is logged: %s", got)
	}
	for _, want := range []string{`"method":"GET","path":"/v2/version","status":200,"ms":`, `"path":"/no-such","status":404`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

// panicking panics in a handler.
type panicking struct{ *memory }

func (panicking) Healthy() bool { panic("broken") }

func TestPanicIsAnAnswer(t *testing.T) {
	r := start(t)
	var lines lockedBuffer
	m := panicking{newMemory()}
	s := New(m, m, m, zerolog.New(&lines))
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	r.address = ln.Addr().String()
	wantFailure(t, r.send("GET", "/v1/healthy", ""), 503, "Unknown error")
	wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := lines.String(); !strings.Contains(got, "api handler panicked") || !strings.Contains(got, "server_test.go") {
		t.Errorf("logged: %s", got)
	}
}

func TestActionOutlivesItsClient(t *testing.T) {
	r := start(t)
	r.memory.entered, r.memory.hold = make(chan struct{}, 1), make(chan struct{})
	finished := make(chan error, 1)
	watch := watcher{r.memory, finished}
	r.server.handlers.apps = watch
	c := r.dial()
	fmt.Fprintf(c, "POST /v2/applications/12/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", globalTestKey)
	<-r.memory.entered
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
	wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	select {
	case err := <-finished:
		t.Fatalf("ended with its client: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(r.memory.hold)
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

// watcher reports how a restart ended.
type watcher struct {
	*memory
	finished chan error
}

func (w watcher) RestartApp(ctx context.Context, id int, force bool) error {
	err := w.memory.RestartApp(ctx, id, force)
	w.finished <- err
	return err
}

func TestReadsAreServedWhileActionsRun(t *testing.T) {
	l := defaultLimits()
	l.actions, l.connections = 4, 8
	r := startWith(t, l, zerolog.Nop())
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	answers := make(chan reply, l.actions)
	for range l.actions {
		go func() { answers <- r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`) }()
		<-r.memory.entered
	}
	wantFailure(t, r.do(globalTestKey, "POST", "/v1/purge", `{"appId":12}`), 503, textBusy)
	for range 3 * l.connections {
		r.dial() // idle; it must not evict a connection of an action
	}
	if got := r.do(globalTestKey, "GET", "/v1/device", ""); got.status != 200 {
		t.Errorf("a read beside the actions: %v", got)
	}
	close(r.memory.hold)
	for range l.actions {
		wantReply(t, <-answers, 200, "OK")
	}
}

func TestIdleAndSlowClientsDoNotStopPing(t *testing.T) {
	r := start(t)
	const crowd = 1600
	for i := range crowd {
		c := r.dial()
		switch i % 3 {
		case 1: // slow with its head
			fmt.Fprint(c, "GET /ping HTTP/1.1\r\nX-Sl")
		case 2: // slow with its body
			fmt.Fprintf(c, "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: 9999\r\n\r\n{",
				globalTestKey, asJSON)
		}
	}
	began := time.Now()
	for range 20 {
		wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("20 pings took %v", took)
	}
	r.server.limiter.mu.Lock()
	open := len(r.server.limiter.open)
	r.server.limiter.mu.Unlock()
	if open > defaultLimits().connections {
		t.Errorf("%d connections are open", open)
	}
}

// Clients that do not read their answers are evicted before the write timeout.
func TestClientsThatDoNotReadDoNotStopPing(t *testing.T) {
	l := defaultLimits()
	l.connections, l.write = 4, time.Hour
	r := startWith(t, l, zerolog.Nop())
	ask := strings.Repeat("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", 1000)
	for range l.connections {
		c := r.dial()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		for { // until the server blocks in a write, and so does not read any more
			_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := io.WriteString(c, ask); err != nil {
				break
			}
		}
	}
	for range 2 * l.connections {
		wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	l := defaultLimits()
	l.head, l.body, l.idle = 50*time.Millisecond, 100*time.Millisecond, 150*time.Millisecond
	r := startWith(t, l, zerolog.Nop())
	f := func(name, sent, want string) {
		t.Helper()
		c := r.dial()
		fmt.Fprint(c, sent)
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	f("nothing", "", "")
	f("half a head", "GET /ping HTTP/1.1\r\nX-S", "HTTP/1.1 408 ")
	f("idle after an answer", "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ")
	f("half a body", "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+globalTestKey+
		"\r\n"+asJSON+"\r\nContent-Length: 100000\r\n\r\n{", "HTTP/1.1 4")
}

func TestLongestWaitIsEvictedOverTCP(t *testing.T) {
	l := defaultLimits()
	l.connections = 3
	r := startWith(t, l, zerolog.Nop())
	waiting := func() int {
		r.server.limiter.mu.Lock()
		defer r.server.limiter.mu.Unlock()
		return r.server.limiter.waiting.Len()
	}
	// ping returns when the server waits for all open connections again: they are in the queue in that order.
	open := 0
	ping := func(c net.Conn) error {
		_, _ = io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
		_, err := bufio.NewReader(c).ReadString('\n')
		for end := time.Now().Add(5 * time.Second); err == nil && waiting() != open && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		return err
	}
	var cs []net.Conn
	for range 3 {
		c := r.dial()
		open++
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	if err := ping(cs[0]); err != nil { // now the second one has waited longest
		t.Fatal(err)
	}
	late := r.dial()
	for i, c := range []net.Conn{late, cs[0], cs[2]} {
		if err := ping(c); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if err := ping(cs[1]); err == nil {
		t.Error("the connection that waited longest is still open")
	}
}

func TestStopEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	r := start(t)
	r.memory.entered, r.memory.hold = make(chan struct{}), make(chan struct{})
	idle := r.dial()
	fmt.Fprint(idle, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(idle)
	wantReply(t, r.read("GET", in), 200, "OK")
	answered := make(chan reply, 1)
	go func() { answered <- r.do(globalTestKey, "POST", "/v1/restart", `{"appId":12}`) }()
	<-r.memory.entered
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	got := <-answered
	wantFailure(t, got, 503, "context canceled")
	if !strings.Contains(got.header, "Connection: close") {
		t.Errorf("the last answer keeps the connection open: %s", got.header)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("an idle connection is still open")
	}
	if _, err := net.Dial("tcp", r.address); err == nil {
		t.Error("the port is still open")
	}
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// scarce is a listener that accepts once, and then fails a few times.
type scarce struct {
	net.Listener
	accepted bool
	failures int
}

func (s *scarce) Accept() (net.Conn, error) {
	if s.accepted && s.failures > 0 {
		s.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	s.accepted = true
	return s.Listener.Accept()
}

func TestServesAfterDescriptorsRunOut(t *testing.T) {
	r := start(t)
	var lines lockedBuffer
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(r.memory, r.memory, r.memory, zerolog.New(&lines))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(context.Background(), &scarce{ln, false, 4}) }()
	r.address = ln.Addr().String()
	idle := r.dial()
	_ = idle.SetDeadline(time.Now().Add(defaultLimits().head / 2))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection was not evicted: %v", err)
	}
	wantReply(t, r.send("GET", "/ping", ""), 200, "OK")
	if got := strings.Count(lines.String(), "api cannot accept connections"); got != 1 {
		t.Errorf("logged %d times: %s", got, lines.String())
	}
	ln.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve ended with %v", err)
	}
}

func TestDrainClosesReturningConnections(t *testing.T) {
	lim := newLimiter(1)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := lim.admit(ours)
	lim.markBusy(c)
	drained := make(chan struct{})
	go func() { lim.drain(time.Minute); close(drained) }()
	for closing := false; !closing; runtime.Gosched() {
		lim.mu.Lock()
		closing = lim.closing
		lim.mu.Unlock()
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection waits for its client while the server stops")
	}
	lim.remove(c)
	<-drained
}

func TestUnreadBodiesStillGetAnAnswer(t *testing.T) {
	r := start(t)
	const size = 16 << 20
	for key, want := range map[string]int{"wrong": 401, globalTestKey: 413} {
		c := r.dial()
		fmt.Fprintf(c, "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: %d\r\n\r\n",
			key, asJSON, size)
		if _, err := io.CopyN(c, zeros{}, size); err != nil {
			t.Errorf("key %s: %v", key, err)
		}
		if got := r.read("POST", bufio.NewReader(c)); got.status != want {
			t.Errorf("key %s: %v", key, got)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestBodiesMayTakeLongerThanHeads(t *testing.T) {
	l := defaultLimits()
	l.head = 50 * time.Millisecond
	r := startWith(t, l, zerolog.Nop())
	c := r.dial()
	fmt.Fprintf(c, "POST /v1/restart HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: 12\r\n\r\n{",
		globalTestKey, asJSON)
	time.Sleep(3 * l.head) // a slow client
	fmt.Fprint(c, `"appId":12}`)
	wantReply(t, r.read("POST", bufio.NewReader(c)), 200, "OK")
}

func TestListenTakesBothFamilies(t *testing.T) {
	ln, err := Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		c.Close()
	}
}

func TestDeviceAnswerIsEncodedOnce(t *testing.T) {
	m := newMemory()
	h := newHandlers(m, m, m, 1)
	get := func() *byte { return &h.device(nil).Body.(encoded)[0] }
	first := get()
	if get() != first {
		t.Error("the same view is encoded twice")
	}
	m.facts.IPAddress = "10.0.0.1"
	second := get()
	if second == first {
		t.Error("a new address is not shown")
	}
	m.state.Revision++
	if get() == second {
		t.Error("a new view is not shown")
	}
}

func BenchmarkGet(b *testing.B) {
	for _, path := range []string{"/ping", "/v1/device", "/v2/state/status"} {
		b.Run(path[1:], func(b *testing.B) {
			r := start(b)
			r.change(func(s *view.State) {
				for range 28 {
					s.Apps[1].Containers = append(s.Apps[1].Containers, s.Apps[1].Containers[0])
				}
			})
			c := r.dial()
			_ = c.SetDeadline(time.Time{})
			request := []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + globalTestKey + "\r\n\r\n")
			in := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				skipAnswer(b, in)
			}
		})
	}
}

// skipAnswer reads one answer without allocating.
func skipAnswer(b *testing.B, in *bufio.Reader) {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, d := range bytes.TrimSpace(rest) {
				length = 10*length + int(d-'0')
			}
		}
		if len(line) == 2 {
			break
		}
	}
	if _, err := in.Discard(length); err != nil {
		b.Fatal(err)
	}
}
