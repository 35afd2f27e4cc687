// Package fakecloud is a cloud for tests. It serves the device side of the API as strictly as the
// real one: it refuses what that refuses, with the same statuses (docs/spec/cloud.md 2 to 5, A). It notes
// every call, and each endpoint can be made to fail in many ways. Its zero value works: it knows no
// device, refuses no registry token and has no delta.
package fakecloud

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cloud is one cloud. Its functions may be replaced until it is started; Set replaces them later.
type Cloud struct {
	// Token gives the registry token for a request, or another status than 200. Default: the word
	// "token".
	Token func(r Request) (status int, token string)
	// Delta gives the name of the image that a delta is, or another status than 200. Default: 404.
	Delta func(r Request) (status int, name string)
	// NoETag makes the cloud send target states without one; NoGzip makes it never compress.
	NoETag, NoGzip bool
	// PollInterval is put into every target that names none, as the server does: the variable
	// RESIN_SUPERVISOR_POLL_INTERVAL. None when empty.
	PollInterval string
	// Names are host names that the certificate is for, beside localhost and the loopback address.
	Names []string
	// NotBefore is when the certificate becomes valid, an hour ago when zero.
	NotBefore time.Time
	// FirstID is the id of the first device, 4711 when zero.
	FirstID int
	// StreamLife is how long a log stream may last before the cloud ends it with 408, five minutes when zero.
	StreamLife time.Duration

	// Origin is where the cloud is, CA the PEM of the certificate that proves it.
	Origin string
	CA     []byte

	notes sync.Mutex // guards asked, and the requests in it; taken after mu or alone
	asked []*Request

	mu       sync.Mutex
	faults   map[Endpoint]*fault
	devices  []*Device
	waiting  map[string]map[string]any // targets of devices to come, by uuid
	fleets   map[int]string            // provisioning key by application id
	known    map[string]map[string]map[string]bool
	releases []release
	lastID   int
	streams  []*Stream
	serving  *serving
	accepted int           // connections so far
	live     int           // connections now
	done     chan struct{} // closed when the test ends: what stalls goes on
}

// Request is one call as it came.
type Request struct {
	At             time.Time
	Endpoint       Endpoint
	Method, Path   string
	Query          url.Values
	User, Password string // of basic authentication
	Bearer         string // the whole header otherwise
	Agent          string
	Header         http.Header
	Body           []byte // none of a log stream
	target         string // path and query as they were sent
	Status         int    // of the answer, 0 while there is none or when the connection was cut
	Connection     string // the address it came from: calls with the same one came over one connection
}

// JSON decodes the body; a body that is none fails the test.
func (r Request) JSON(t testing.TB) map[string]any {
	t.Helper()
	doc := map[string]any{}
	if err := json.Unmarshal(r.Body, &doc); err != nil {
		t.Fatalf("%s %s: %v: %q", r.Method, r.Path, err, r.Body)
	}
	return doc
}

// Endpoint is one thing the cloud can be asked.
type Endpoint string

// The endpoints.
const (
	Register    Endpoint = "register"
	DeviceKey   Endpoint = "device-key"
	LookUp      Endpoint = "look-up" // of a device's id
	PatchDevice Endpoint = "patch-device"
	ConfigVar   Endpoint = "config-variable"
	ReadTags    Endpoint = "read-tags"
	FindRelease Endpoint = "find-release"
	FindApp     Endpoint = "find-app"
	State       Endpoint = "state" // target state
	Report      Endpoint = "report"
	Tags        Endpoint = "tags"
	LogStream   Endpoint = "log-stream"
	Tokens      Endpoint = "token"
	Deltas      Endpoint = "delta"
	Unknown     Endpoint = "unknown"
	TokenPath            = "/auth/v1/token"
	DeltaPath            = "/api/v3/delta"
	maxBody              = 512 << 10
)

// endpointOf tells what a request asks for.
func endpointOf(r *http.Request) Endpoint {
	path := r.URL.Path
	switch is := func(method, prefix, suffix string) bool {
		return r.Method == method && strings.HasPrefix(path, prefix) && strings.HasSuffix(path, suffix) && len(path) >= len(prefix)+len(suffix)
	}; {
	case is("POST", "/device/register", "") && path == "/device/register":
		return Register
	case is("POST", "/api-key/device/", "/device-key"):
		return DeviceKey
	case is("GET", "/v7/device", "") && path == "/v7/device":
		return LookUp
	case is("PATCH", "/v7/device(", ")"):
		return PatchDevice
	case is("POST", "/v7/device_config_variable", ""):
		return ConfigVar
	case is("GET", "/v7/device_tag", ""):
		return ReadTags
	case is("GET", "/v7/release", ""):
		return FindRelease
	case is("GET", "/v7/application(", ")"):
		return FindApp
	case r.Method == "PATCH" && path == "/device/v3/state":
		return Report
	case r.Method == "PATCH" && path == "/device/v3/tags":
		return Tags
	case is("GET", "/device/v3/", "/state"):
		return State
	case is("POST", "/device/v2/", "/log-stream"):
		return LogStream
	case is("GET", TokenPath, ""):
		return Tokens
	case is("GET", DeltaPath, ""):
		return Deltas
	}
	return Unknown
}

// Set changes the cloud while it runs.
func (c *Cloud) Set(change func(c *Cloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// Asked are the calls of a path so far.
func (c *Cloud) Asked(path string) []Request {
	return c.filter(func(r *Request) bool { return r.Path == path })
}

// Calls are the calls of the endpoints so far, of all without one.
func (c *Cloud) Calls(of ...Endpoint) []Request {
	return c.filter(func(r *Request) bool { return len(of) == 0 || slices.Contains(of, r.Endpoint) })
}

func (c *Cloud) filter(keep func(*Request) bool) []Request {
	c.notes.Lock()
	defer c.notes.Unlock()
	var list []Request
	for _, r := range c.asked {
		if keep(r) {
			list = append(list, *r)
		}
	}
	return list
}

// Forget drops what was noted so far.
func (c *Cloud) Forget() {
	c.notes.Lock()
	defer c.notes.Unlock()
	c.asked = nil
}

// ServeHTTP answers one call, or does to it what the endpoint's fault says.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := endpointOf(r)
	note := &Request{At: time.Now(), Endpoint: at, Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(),
		Agent: r.UserAgent(), Header: r.Header.Clone(), Connection: r.RemoteAddr, target: r.RequestURI}
	if note.User, note.Password, _ = r.BasicAuth(); note.User == "" {
		note.Bearer = r.Header.Get("Authorization")
	}
	if at == LogStream {
		http.NewResponseController(w).EnableFullDuplex() // it is answered before its end
		w.Header().Set("Connection", "close")            // what was not read would come before the next request
	} else {
		note.Body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(note.Body))
	}
	plain := *note
	c.notes.Lock()
	c.asked = append(c.asked, note)
	c.notes.Unlock()
	c.mu.Lock()
	f := c.faults[at]
	if f != nil && f.left == 0 {
		f = nil
	}
	if f != nil {
		f.left--
	}
	c.mu.Unlock()
	watch := &watched{ResponseWriter: w, note: func(status int) {
		c.notes.Lock()
		defer c.notes.Unlock()
		note.Status = status
	}}
	if f != nil {
		f.do(c, watch, r, func(w http.ResponseWriter) { c.answer(at, w, r, plain) })
		return
	}
	c.answer(at, watch, r, plain)
}

// watched notes the status of an answer.
type watched struct {
	http.ResponseWriter
	note func(status int)
	told bool
}

func (w *watched) WriteHeader(status int) {
	if !w.told {
		w.told = true
		w.note(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(p []byte) (int, error) {
	if !w.told {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (c *Cloud) answer(at Endpoint, w http.ResponseWriter, r *http.Request, note Request) {
	if len(note.Body) > maxBody {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if at != LogStream && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		note.Body = []byte("{}") // nobody parses it
	}
	switch at {
	case Register:
		c.register(w, note)
	case DeviceKey:
		c.deviceKey(w, note)
	case LookUp, PatchDevice, ConfigVar, ReadTags, FindRelease, FindApp:
		c.odata(at, w, note)
	case State:
		c.state(w, note)
	case Report:
		c.report(w, note)
	case Tags:
		c.tags(w, note)
	case LogStream:
		c.logStream(w, r, note)
	case Tokens:
		c.mu.Lock()
		token := c.Token
		c.mu.Unlock()
		if token == nil {
			token = func(Request) (int, string) { return http.StatusOK, "token" }
		}
		status, text := token(note)
		c.word(w, status, "token", text)
	case Deltas:
		c.mu.Lock()
		delta := c.Delta
		c.mu.Unlock()
		if delta == nil {
			delta = func(Request) (int, string) { return http.StatusNotFound, "" }
		}
		status, name := delta(note)
		c.word(w, status, "name", name)
	default:
		http.Error(w, "Not Found", http.StatusNotFound)
	}
}

// word answers with one word, or with a status alone.
func (c *Cloud) word(w http.ResponseWriter, status int, name, value string) {
	if status != http.StatusOK {
		empty(w, status)
		return
	}
	answer(w, status, map[string]string{name: value})
}

// encode is JSON as the real server writes it: on one line, with nothing escaped that need not be.
func encode(body any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(err) // a test gave the cloud something that is no JSON
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// etag is the validator that the real server gives a body.
func etag(body []byte) string {
	sum := sha1.Sum(body)
	return fmt.Sprintf(`W/"%x-%s"`, len(body), base64.RawStdEncoding.EncodeToString(sum[:]))
}

// answer writes a document.
func answer(w http.ResponseWriter, status int, body any) {
	write(w, status, "application/json; charset=utf-8", encode(body))
}

// deny writes a plain text refusal.
func deny(w http.ResponseWriter, status int, text string) {
	write(w, status, "text/html; charset=utf-8", []byte(text))
}

func write(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("ETag", etag(body))
	w.Header().Set("Vary", "Accept-Encoding")
	w.WriteHeader(status)
	w.Write(body)
}

// empty answers without a body, which comes in chunks all the same.
func empty(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	http.NewResponseController(w).Flush()
}

// unauthorized is the answer to a call without a key that is good for it.
func unauthorized(w http.ResponseWriter) { empty(w, http.StatusUnauthorized) }

// key is the API key of a call: a bearer or the query parameter.
func (r Request) key() string {
	if key := r.Query.Get("apikey"); key != "" {
		return key
	}
	key, _ := strings.CutPrefix(r.Bearer, "Bearer ")
	return key
}

// object decodes a body that has to be a JSON object.
func (r Request) object() (map[string]any, error) {
	var doc map[string]any
	if err := json.Unmarshal(r.Body, &doc); err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, fmt.Errorf("body is %q", r.Body)
	}
	return doc, nil
}

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
