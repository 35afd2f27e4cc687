package api

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/valyala/fasthttp"
)

// localLogs sends the lines of the device's log as they come (docs/spec/device-api.md 2.33). Of containers it sends only
// those of apps in scope.
func (h *handlers) localLogs(c *call) Answer {
	covers := c.caller.covers
	return h.stream("application/x-ndjson", h.logStreams, func() (io.ReadCloser, error) {
		ctx, cancel := context.WithCancel(context.Background())
		return &lineReader{lines: h.dev.Listen(covers), ctx: ctx, cancel: cancel}, nil
	})
}

// lineReader reads the lines of a listener. Close may be called while Read waits.
type lineReader struct {
	lines  Lines
	ctx    context.Context
	cancel context.CancelFunc
	rest   []byte // of the current line
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		var err error
		if r.rest, err = r.lines.Next(r.ctx); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *lineReader) Close() error {
	r.cancel()
	r.lines.Close()
	return nil
}

// journalLogs sends the host's journal (docs/spec/device-api.md 2.29).
func (h *handlers) journalLogs(c *call) Answer {
	q := JournalQuery{All: truthy(c.body["all"]), Follow: truthy(c.body["follow"]), Format: "short"}
	if n, ok := intValue(c.body["count"]); ok && n > 0 {
		q.Count = n
	}
	for name, to := range map[string]*string{
		"unit": &q.Unit, "containerId": &q.Identifier, "format": &q.Format, "since": &q.Since, "until": &q.Until,
	} {
		if !textField(c.body[name], to) {
			return fail(fasthttp.StatusBadRequest, "Expecting a text at "+name)
		}
	}
	return h.stream(typeText, h.journalStreams, func() (io.ReadCloser, error) { return h.dev.Journal(q) })
}

// textField stores a text or a number in to, and leaves to as it is for an absent value. It returns false for any other
// value.
func textField(raw json.RawMessage, to *string) bool {
	if len(raw) == 0 || string(raw) == "null" {
		return true
	}
	switch v := value(raw).(type) {
	case string:
		if v != "" {
			*to = v
		}
		return !strings.Contains(v, "\x00")
	case float64:
		*to = string(raw)
		return true
	}
	return false
}
