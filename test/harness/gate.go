package harness

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Gate stands in front of a registry and can hold back the layers of images. It lets manifests pass: an engine sees
// an image, begins to download it and gets no byte of it.
type Gate struct {
	Addr string // where clients connect

	upstream string
	passed   atomic.Int64 // layers let through
	waiting  atomic.Int64 // layers held back now

	mu      sync.Mutex
	closed  chan struct{}
	refused string         // beginning of the User-Agent of those who are not let in
	asked   map[string]int // by the first word of User-Agent: calls let in
}

// layerSize is the size in bytes from which a blob is a layer, and no description of an image.
const layerSize = 10_000

// Gate puts a gate, which is open, in front of the registry; Of turns references of the registry into
// references through it.
func (r *Registry) Gate(t testing.TB) *Gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Addr: l.Addr().String(), upstream: r.Addr, asked: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Addr})
	proxy.ModifyResponse = g.pass
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.admit(r.UserAgent()) {
			http.Error(w, "not for you", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go server.Serve(l)
	t.Cleanup(func() { g.Open(); server.Close() })
	return g
}

func (g *Gate) admit(agent string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused != "" && strings.HasPrefix(agent, g.refused) {
		return false
	}
	g.asked[agent[:strings.IndexAny(agent+"/", "/ ")]]++
	return true
}

// Refuse refuses clients whose User-Agent begins with a text.
func (g *Gate) Refuse(agent string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = agent
}

// Asked is how many calls came from clients of a name.
func (g *Gate) Asked(agent string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[agent]
}

func (g *Gate) pass(res *http.Response) error {
	if res.Request.Method != http.MethodGet || !strings.Contains(res.Request.URL.Path, "/blobs/") || res.ContentLength < layerSize {
		return nil
	}
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil {
		g.waiting.Add(1)
		defer g.waiting.Add(-1)
		select {
		case <-closed:
		case <-res.Request.Context().Done():
			return res.Request.Context().Err()
		}
	}
	g.passed.Add(1)
	return nil
}

// Of is the image as it is named when pulled through the gate.
func (g *Gate) Of(i Image) Image {
	i.Name = strings.Replace(i.Name, g.upstream, g.Addr, 1)
	return i
}

// Layers is how many layers were let through, and how many are held back now.
func (g *Gate) Layers() (passed, waiting int64) { return g.passed.Load(), g.waiting.Load() }

// Close holds layers back until Open.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

// Open lets everything pass.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}
