package fakecloud

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Stream is one log stream, read as it comes.
type Stream struct {
	Opened time.Time
	Header http.Header
	UUID   string

	mu     sync.Mutex
	lines  []LogLine
	bytes  int
	first  time.Time
	ended  bool
	err    error
	broken bool // the body came to no end
	quit   chan struct{}
	once   sync.Once
}

// LogLine is one line of a stream with the time it came.
type LogLine struct {
	At          time.Time      `json:"-"`
	Raw         string         `json:"-"`
	Doc         map[string]any `json:"-"`
	Message     string
	Timestamp   int64
	IsSystem    bool
	IsStdErr    bool
	ServiceID   *int
	Unparseable bool `json:"-"`
}

// Lines are the lines that came so far.
func (s *Stream) Lines() []LogLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]LogLine(nil), s.lines...)
}

// Body is how many bytes of body came so far, compressed, and when the first of them did.
func (s *Stream) Body() (n int, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.first
}

// Ended tells whether the stream is over, and how.
func (s *Stream) Ended() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended, s.err
}

// Cut closes the connection of the stream.
func (s *Stream) Cut() { s.once.Do(func() { close(s.quit) }) }

// Streams are all log streams so far, in the order in which they were opened.
func (c *Cloud) Streams() []*Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Stream(nil), c.streams...)
}

// Logs are the lines of all streams.
func (c *Cloud) Logs() []LogLine {
	var all []LogLine
	for _, s := range c.Streams() {
		all = append(all, s.Lines()...)
	}
	return all
}

// logStream reads a log stream until it ends (docs/spec/cloud.md 5.1, 5.4). A body that breaks off before its last
// chunk, and a request that takes too long, end with the bare answers of the server's HTTP parser. The refusal of a
// key comes at once here, not after 55 s.
func (c *Cloud) logStream(w http.ResponseWriter, r *http.Request, note Request) {
	if r.Header.Get("Content-Type") != "application/x-ndjson" {
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return
	}
	uuid := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/device/v2/"), "/log-stream")
	s := &Stream{Opened: time.Now(), Header: r.Header.Clone(), UUID: uuid, quit: make(chan struct{})}
	c.mu.Lock()
	d := c.byKey(note.key())
	if d == nil || d.UUID != uuid {
		c.mu.Unlock()
		unauthorized(w)
		return
	}
	c.streams = append(c.streams, s)
	done := c.done
	late := time.NewTimer(cmp.Or(c.StreamLife, 5*time.Minute))
	defer late.Stop()
	c.mu.Unlock()
	over := make(chan error, 1)
	go func() { over <- s.read(r) }()
	select {
	case err := <-over:
		s.end(err)
		switch {
		case s.brokenOff():
			bare(w, r, http.StatusBadRequest)
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		default:
			empty(w, http.StatusCreated)
		}
	case <-late.C:
		s.end(errors.New("it took too long"))
		bare(w, r, http.StatusRequestTimeout)
	case <-s.quit:
		s.end(errors.New("cut"))
		hangUp(r)
	case <-done:
		hangUp(r)
	}
}

func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = true, err
}

func (s *Stream) brokenOff() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *Stream) read(r *http.Request) error {
	var body io.Reader = counting{r.Body, s}
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	lines := bufio.NewReader(body)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			s.note(strings.TrimSuffix(text, "\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *Stream) note(text string) {
	line := LogLine{At: time.Now(), Raw: text}
	if json.Unmarshal([]byte(text), &line) != nil || json.Unmarshal([]byte(text), &line.Doc) != nil {
		line.Unparseable = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

// counting notes how much of a body came.
type counting struct {
	io.Reader
	s *Stream
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && err != io.EOF {
		c.s.mu.Lock()
		c.s.broken = true
		c.s.mu.Unlock()
	}
	if n > 0 {
		c.s.mu.Lock()
		if c.s.bytes == 0 {
			c.s.first = time.Now()
		}
		c.s.bytes += n
		c.s.mu.Unlock()
	}
	return n, err
}
