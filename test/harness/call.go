package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Answer is what the device API answered.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// JSON decodes the body; the test ends when it is not JSON.
func (a Answer) JSON(t testing.TB, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), out); err != nil {
		t.Fatalf("answer %d is not the expected JSON: %v: %q", a.Status, err, a.Body)
	}
}

// Want fails the test unless status and whole body are as given.
func (a Answer) Want(t testing.TB, status int, body string) {
	t.Helper()
	if a.Status != status || a.Body != body {
		t.Errorf("answer %d %q, want %d %q", a.Status, a.Body, status, body)
	}
}

// Failed is the body of an answer that says why a request failed.
func Failed(message string) string { return fmt.Sprintf(`{"status":"failed","message":%q}`, message) }

// Request is one call of the device API. A string body is sent as it is, any other as JSON.
type Request struct {
	Method string
	Path   string
	Body   any
	Header map[string]string
	Host   string // the name that the device is called by, its address when empty
	NoKey  bool
}

// URL is the address of a path of the device API.
func (s *Supervisor) URL(path string) string {
	return "http://127.0.0.1:" + strconv.Itoa(s.Port) + path
}

// Key is the global API key, read with the api-key command.
func (s *Supervisor) Key() string {
	s.t.Helper()
	if s.key == "" {
		code, out, errs := s.Run("api-key")
		if code != 0 || strings.TrimSpace(out) == "" {
			s.t.Fatalf("api-key: code %d, output %q, errors %q", code, out, errs)
		}
		s.key = strings.TrimSpace(out)
	}
	return s.key
}

// ForgetKey makes the next call read the global key again.
func (s *Supervisor) ForgetKey() { s.key = "" }

// Get reads a path with the global key.
func (s *Supervisor) Get(path string) Answer {
	s.t.Helper()
	return s.Call(Request{Method: http.MethodGet, Path: path})
}

// Post sends a JSON body, or none, with the global key.
func (s *Supervisor) Post(path string, body any) Answer {
	s.t.Helper()
	return s.Call(Request{Method: http.MethodPost, Path: path, Body: body})
}

// Dial opens a connection to the device API, for a test that speaks HTTP itself. It closes when the test ends.
func (s *Supervisor) Dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.Port))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(Soon))
	return conn
}

// Stream makes a request with the global key whose answer does not end. It lasts for this time at most, and hangUp
// ends it.
func (s *Supervisor) Stream(within time.Duration, method, path, body string) (answer *http.Response, lines *bufio.Reader, hangUp func()) {
	s.t.Helper()
	conn := s.Dial()
	conn.SetDeadline(time.Now().Add(within))
	fmt.Fprintf(conn, "%s %s?apikey=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, s.Key(), len(body), body)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, bufio.NewReader(answer.Body), func() { conn.Close() }
}

// CallAs makes a request with this key, or with none when it is empty.
func (s *Supervisor) CallAs(key, method, path string, body any) Answer {
	s.t.Helper()
	r := Request{Method: method, Path: path, Body: body, NoKey: true}
	if key != "" {
		r.Header = map[string]string{"Authorization": "Bearer " + key}
	}
	return s.Call(r)
}

// Call makes a request that has to be answered, whatever the answer.
func (s *Supervisor) Call(r Request) Answer {
	s.t.Helper()
	answer, err := s.TryCall(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// TryCall makes a request that may fail to be answered.
func (s *Supervisor) TryCall(r Request) (Answer, error) {
	body, kind, err := r.encode()
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequest(r.Method, s.URL(r.Path), body)
	if err != nil {
		return Answer{}, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if !r.NoKey {
		req.Header.Set("Authorization", "Bearer "+s.Key())
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	req.Host = r.Host
	res, err := s.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, string(data)}, err
}

func (r Request) encode() (io.Reader, string, error) {
	switch body := r.Body.(type) {
	case nil:
		return nil, "", nil
	case string:
		return strings.NewReader(body), "application/json", nil
	default:
		data, err := json.Marshal(body)
		return strings.NewReader(string(data)), "application/json", err
	}
}
