package engine

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"resin-supervisor/update/engine/doc"
)

// scripted is a connection to an engine that sends these bytes and then closes it.
type scripted struct{ *bytes.Reader }

func (scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (scripted) Close() error                     { return nil }
func (scripted) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (scripted) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (scripted) SetDeadline(time.Time) error      { return nil }
func (scripted) SetReadDeadline(time.Time) error  { return nil }
func (scripted) SetWriteDeadline(time.Time) error { return nil }

// Whatever an engine answers, a call ends with a document or an error that names the call.
func FuzzAnswer(f *testing.F) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	f.Add([]byte(head + "Content-Length: 19\r\n\r\n{\"Id\":\"a\",\"Name\":1}"))
	f.Add([]byte(head + "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"Id\r\n8\r\n\":\"abc\"}\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\n{\"message\":\"why\"}"))
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 500 x\r\n\r\nplain text until the end"))
	f.Fuzz(func(t *testing.T, said []byte) {
		read(t, said, new(doc.Container))
		read(t, said, new(doc.Image))
		read(t, said, new(doc.Version))
		read(t, said, new([]doc.Network))
	})
}

func read(t *testing.T, said []byte, out any) {
	t.Helper()
	c, r := New(""), get("inspect container", "/containers/a/json", nil).about("a").allow(304)
	req, err := r.encode("")
	if err != nil {
		t.Fatal(err)
	}
	a := &answer{conn: scripted{bytes.NewReader(said)}, detach: func() bool { return true }}
	if err = a.begin(req); err == nil {
		if r.accepts(a.status) {
			err = c.decode(context.Background(), r, a, out)
		} else {
			err = r.fail(a.status, a.reason())
		}
	}
	if err != nil && !strings.HasPrefix(c.transportError(context.Background(), r, err).Error(), "inspect container a: ") {
		t.Fatalf("%q: %v", said, err)
	}
}

// The stream of events is decoded object by object, whether there are line ends or not.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":{"exitCode":"1"}},"timeNano":7}` + "\n"))
	f.Add([]byte(`{"Type":"network"}{"Type":"volume","Actor":null} {"Type":7}`))
	f.Add([]byte(`{"Type":"image","Action":"pull","time":1e9,"timeNano":-9223372036854775808}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		n := 0
		err := eachObject(bytes.NewReader(stream), func(*doc.Event) error { n++; return nil })
		if n > len(stream) {
			t.Fatalf("%d events in %d bytes: %v", n, len(stream), err)
		}
	})
}
