package browser_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// chromium is a running browser with one page, spoken to over a pair of pipes in its DevTools protocol.
type chromium struct {
	t       *testing.T
	to      io.Writer
	from    *bufio.Reader
	session string
	last    int
}

// patience is how long the browser may take for anything on a busy machine.
const patience = 2 * time.Minute

// start starts a browser that finds names where the rules say.
func start(t *testing.T, resolver string) *chromium {
	t.Helper()
	commands, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv(envBrowser), "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "--host-resolver-rules="+resolver, "about:blank")
	cmd.ExtraFiles = []*os.File{commands, answers} // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	commands.Close()
	answers.Close()
	hung := time.AfterFunc(patience, func() { cmd.Process.Kill() }) // what waits for an answer gets an error
	t.Cleanup(func() {
		hung.Stop()
		to.Close()
		cmd.Process.Kill()
		cmd.Wait()
		from.Close()
	})
	c := &chromium{t: t, to: to, from: bufio.NewReader(from)}
	var target struct{ TargetID string }
	c.ask("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	c.ask("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	c.session = attached.SessionID
	c.ask("Page.enable", nil, nil)
	return c
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    any             `json:"params,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// ask calls a method of the protocol and decodes its result.
func (c *chromium) ask(method string, params, result any) {
	c.t.Helper()
	c.last++
	text, err := json.Marshal(message{ID: c.last, Method: method, Params: params, SessionID: c.session})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.to.Write(append(text, 0)); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	id := c.last
	m := c.until(func(m message) bool { return m.ID == id })
	if m.Error != nil {
		c.t.Fatalf("%s: %s", method, m.Error)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		c.t.Fatalf("%s: %v: %s", method, err, m.Result)
	}
}

func (c *chromium) until(wanted func(message) bool) message {
	c.t.Helper()
	for {
		text, err := c.from.ReadBytes(0)
		if err != nil {
			c.t.Fatalf("the browser ended: %v", err)
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			c.t.Fatal(err)
		}
		if wanted(m) {
			return m
		}
	}
}

// open goes to an address as one does who types it.
func (c *chromium) open(url string) {
	c.t.Helper()
	var gone struct{ ErrorText string }
	c.ask("Page.navigate", map[string]any{"url": url}, &gone)
	if gone.ErrorText != "" {
		c.t.Fatalf("open %s: %s", url, gone.ErrorText)
	}
	c.until(func(m message) bool { return m.Method == "Page.loadEventFired" })
}

// run evaluates a script in the page, waits for its promise, and returns the text that comes of it.
func (c *chromium) run(script string, args ...any) string {
	c.t.Helper()
	var done struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	c.ask("Runtime.evaluate", map[string]any{"expression": fmt.Sprintf(script, args...), "awaitPromise": true, "returnByValue": true}, &done)
	if done.ExceptionDetails != nil {
		c.t.Fatalf("%s: %s", fmt.Sprintf(script, args...), done.ExceptionDetails)
	}
	return fmt.Sprint(done.Result.Value)
}
