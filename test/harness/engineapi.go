package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
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
		e.removeNetwork(t, n.ID)
	}
	for name := range e.Volumes(t) {
		e.Must(t, http.MethodDelete, "/volumes/"+name+"?force=1", nil, nil)
	}
}

// removeNetwork deletes a network without containers. An engine that was restarted with many containers
// can count endpoints that are gone; a restart corrects the count.
func (e *Engine) removeNetwork(t testing.TB, id string) {
	t.Helper()
	status, err := e.Do(http.MethodDelete, "/networks/"+id, nil, nil)
	if err == nil {
		return
	}
	if status != http.StatusForbidden {
		t.Fatalf("engine: remove network %s: %v", id, err)
	}
	e.Stop(t)
	e.Start(t)
	e.Must(t, http.MethodDelete, "/networks/"+id, nil, nil)
}

// removeContainers deletes every container with force. An engine that is asked for dozens at once
// does not get all of them killed in time, so it is asked for a few, and again for what is left.
func (e *Engine) removeContainers() {
	for range 3 {
		var rows []struct{ Id string }
		if _, err := e.Do(http.MethodGet, "/containers/json?all=1", nil, &rows); err != nil || len(rows) == 0 {
			return
		}
		var removals sync.WaitGroup
		slots := make(chan struct{}, 8)
		for _, row := range rows {
			slots <- struct{}{}
			removals.Go(func() {
				e.Do(http.MethodDelete, "/containers/"+row.Id+"?force=1&v=1", nil, nil)
				<-slots
			})
		}
		removals.Wait()
	}
}
