package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// StatusError is an answer of the engine other than 2xx and 304.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Message) }

// Do makes one call of the engine's API: in is the JSON body or nil, or an io.Reader with a tar
// stream; out receives the JSON answer unless it is nil.
func (e *Engine) Do(method, path string, in, out any) (int, error) {
	req, err := engineRequest(method, path, in)
	if err != nil {
		return 0, err
	}
	res, err := e.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= 400 {
		return res.StatusCode, &StatusError{res.StatusCode, strings.TrimSpace(string(body))}
	}
	if out != nil {
		err = json.Unmarshal(body, out)
	}
	return res.StatusCode, err
}

func engineRequest(method, path string, in any) (*http.Request, error) {
	var body io.Reader
	kind := "application/json"
	switch in := in.(type) {
	case nil:
	case io.Reader:
		body, kind = in, "application/x-tar"
	default:
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, "http://engine"+path, body)
	if err == nil && body != nil {
		req.Header.Set("Content-Type", kind)
	}
	return req, err
}

// Must is Do for a call that has to succeed.
func (e *Engine) Must(t testing.TB, method, path string, in, out any) {
	t.Helper()
	if _, err := e.Do(method, path, in, out); err != nil {
		t.Fatalf("engine: %s %s: %v", method, path, err)
	}
}

// renew leaves a running engine without containers, networks and volumes.
func (e *Engine) renew(t testing.TB) {
	t.Helper()
	if err := e.ensureRunning(); err != nil {
		t.Fatal(err)
	}
	e.Wipe(t)
}

// Wipe removes all containers, all networks but the engine's own, and all volumes.
func (e *Engine) Wipe(t testing.TB) {
	t.Helper()
	e.removeContainers()
	for _, n := range e.Networks(t) {
		e.Must(t, http.MethodDelete, "/networks/"+n.ID, nil, nil)
	}
	for name := range e.Volumes(t) {
		e.Must(t, http.MethodDelete, "/volumes/"+name+"?force=1", nil, nil)
	}
}

// removeContainers deletes every container with force, all at once.
func (e *Engine) removeContainers() {
	var rows []struct{ Id string }
	if _, err := e.Do(http.MethodGet, "/containers/json?all=1", nil, &rows); err != nil {
		return
	}
	done := make(chan struct{})
	for _, row := range rows {
		go func() {
			e.Do(http.MethodDelete, "/containers/"+row.Id+"?force=1&v=1", nil, nil)
			done <- struct{}{}
		}()
	}
	for range rows {
		<-done
	}
}
