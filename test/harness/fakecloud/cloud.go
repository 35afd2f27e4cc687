// Package fakecloud is a small cloud for tests: registry tokens and deltas. It notes what it is asked
// and answers as the test says; its zero value refuses no token and has no delta.
package fakecloud

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// Cloud is one cloud. Its functions may be replaced until it is started; Set replaces them later.
type Cloud struct {
	// Token gives the registry token for a request, or another status than 200. Default: the word
	// "token".
	Token func(r Request) (status int, token string)
	// Delta gives the name of the image that a delta is, or another status than 200. Default: 404.
	Delta func(r Request) (status int, name string)

	mu    sync.Mutex
	asked []Request
}

// Request is one call as it came.
type Request struct {
	Path           string
	Query          url.Values
	User, Password string // of basic authentication
	Bearer         string // the whole header otherwise
	Agent          string
}

// Start serves plain HTTP and returns the origin.
func (c *Cloud) Start(t testing.TB) string {
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return server.URL
}

// StartTLS serves HTTPS and returns the origin and the certificate to trust, as PEM.
func (c *Cloud) StartTLS(t testing.TB) (origin string, certificate []byte) {
	server := httptest.NewTLSServer(c)
	t.Cleanup(server.Close)
	return server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// Set changes the cloud while it runs.
func (c *Cloud) Set(change func(c *Cloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// Asked are the calls of a path so far.
func (c *Cloud) Asked(path string) []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.asked), func(r Request) bool { return r.Path != path })
}

// The paths that the cloud knows.
const (
	TokenPath = "/auth/v1/token"
	DeltaPath = "/api/v3/delta"
)

// ServeHTTP answers one call.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := Request{Path: r.URL.Path, Query: r.URL.Query(), Agent: r.UserAgent()}
	request.User, request.Password, _ = r.BasicAuth()
	if request.User == "" {
		request.Bearer = r.Header.Get("Authorization")
	}
	c.mu.Lock()
	c.asked = append(c.asked, request)
	token, delta := c.Token, c.Delta
	c.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == TokenPath:
		if token == nil {
			token = func(Request) (int, string) { return http.StatusOK, "token" }
		}
		status, text := token(request)
		answer(w, status, map[string]string{"token": text})
	case r.Method == http.MethodGet && r.URL.Path == DeltaPath:
		if delta == nil {
			delta = func(Request) (int, string) { return http.StatusNotFound, "" }
		}
		status, name := delta(request)
		answer(w, status, map[string]string{"name": name})
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status == http.StatusOK {
		json.NewEncoder(w).Encode(body)
	}
}
