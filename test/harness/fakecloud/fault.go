package fakecloud

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
)

// Fault is what happens to a call instead of its answer. next gives the answer that it would have
// had, and does what belongs to it.
type Fault func(c *Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter))

type fault struct {
	do   Fault
	left int // calls it is still for; a negative number never ends
}

// Break makes the next calls of an endpoint fail; without a number, until Mend.
func (c *Cloud) Break(at Endpoint, f Fault, times ...int) {
	left := -1
	if len(times) > 0 {
		left = times[0]
	}
	c.Set(func(c *Cloud) {
		if c.faults == nil {
			c.faults = make(map[Endpoint]*fault)
		}
		c.faults[at] = &fault{f, left}
	})
}

// Mend makes an endpoint work again.
func (c *Cloud) Mend(at Endpoint) { c.Set(func(c *Cloud) { delete(c.faults, at) }) }

// InTurn does one fault to each call, in order, and then none.
func InTurn(faults ...Fault) Fault {
	var done atomic.Int32
	return func(c *Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
		if i := int(done.Add(1)) - 1; i < len(faults) {
			faults[i](c, w, r, next)
			return
		}
		next(w)
	}
}

// Drop closes the connection without an answer and does nothing of what was asked.
func Drop(_ *Cloud, _ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
	hangUp(r)
}

// Lose does what was asked and closes the connection without an answer.
func Lose(_ *Cloud, _ http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
	next(httptest.NewRecorder())
	hangUp(r)
}

// Stall never answers.
func Stall(c *Cloud, _ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
	select {
	case <-r.Context().Done():
	case <-c.done:
	}
	hangUp(r)
}

// StallBody sends head and half of the answer, and then nothing more.
func StallBody(c *Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
	half(w, next)
	Stall(c, w, r, next)
}

// Truncate cuts the connection in the middle of the answer's body.
func Truncate(_ *Cloud, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter)) {
	half(w, next)
	hangUp(r)
}

func half(w http.ResponseWriter, next func(http.ResponseWriter)) {
	whole := httptest.NewRecorder()
	next(whole)
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	body := whole.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(whole.Code)
	w.Write(body[:len(body)/2])
	http.NewResponseController(w).Flush()
}

// Status answers with a status, header fields (name, value, ...) and a short text.
func Status(status int, header ...string) Fault {
	return func(_ *Cloud, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		deny(w, status, http.StatusText(status))
	}
}

// Body answers 200 with the given type and text.
func Body(kind, text string) Fault {
	return func(_ *Cloud, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
		w.Header().Set("Content-Type", kind)
		w.Write([]byte(text))
	}
}

// Faults whose bodies are wrong.
var (
	Garbage   = Body("application/json", "\x00\x1f{{{ not JSON")
	WrongType = Body("text/html", "<html><body>Welcome to the hotel network</body></html>")
)

// Huge answers with 100 MB that begin like a document.
func Huge(_ *Cloud, w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
	w.Header().Set("Content-Type", "application/json")
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = ' '
	}
	chunk[0] = '{'
	for range 100 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
		chunk[0] = ' '
	}
}
