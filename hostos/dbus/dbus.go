// Package dbus calls methods on a D-Bus message bus: enough of it to ask logind for a reboot and
// systemd for the state of a unit. A connection lives for one call, so that nothing is open and no
// goroutine waits while there is nothing to ask. It is a leaf.
package dbus

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bus is a message bus by its addresses. Its methods are safe for concurrent use.
type Bus struct {
	sockets []string // tried in this order; one that starts with @ is abstract
}

// patience bounds a call whose context has no earlier end: what D-Bus libraries wait by default.
const patience = 25 * time.Second

// New is the bus of an address as DBUS_SYSTEM_BUS_ADDRESS holds it, such as unix:path=/run/bus, or
// a list of such, separated by semicolons. Where address is empty the sockets are tried in turn.
// Nothing is opened yet.
func New(address string, sockets ...string) *Bus {
	if address == "" {
		return &Bus{sockets: sockets}
	}
	b := &Bus{}
	for one := range strings.SplitSeq(address, ";") {
		if socket := socketOf(one); socket != "" {
			b.sockets = append(b.sockets, socket)
		}
	}
	return b
}

// socketOf is the path of one address, empty when it is not that of a unix socket.
func socketOf(address string) string {
	params, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return ""
	}
	for param := range strings.SplitSeq(params, ",") {
		name, value, _ := strings.Cut(param, "=")
		value, err := url.PathUnescape(value)
		switch {
		case err != nil:
			return ""
		case name == "path":
			return value
		case name == "abstract":
			return "@" + value
		}
	}
	return ""
}

// Error is the answer of a service, or of the bus, that did not do what was asked.
type Error struct {
	Name string // org.freedesktop.DBus.Error.ServiceUnknown
	Text string // for people, may be empty
}

// Error is the text and, where there is none, the name.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Name
	}
	return e.Text
}

// IsError tells whether err is an answer of the given name.
func IsError(err error, name string) bool {
	answer, ok := errors.AsType[*Error](err)
	return ok && answer.Name == name
}

// Call is one method of one object. Args are of type string and bool only.
type Call struct {
	Service, Path, Interface, Method string
	Args                             []any
}

// Do calls a method and waits for its answer, of which it returns the texts: strings, paths and the
// elements of lists of these, also where they stand inside a variant. Values of other types are
// passed over. The error wraps *Error when the service or the bus refused.
func (b *Bus) Do(ctx context.Context, c Call) ([]string, error) {
	texts, err := b.do(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", c.Method, c.Service, err)
	}
	return texts, nil
}

func (b *Bus) do(ctx context.Context, c Call) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	socket, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	texts, err := converse(socket, c)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // the closed socket is only how it showed
	}
	return texts, err
}

func (b *Bus) dial(ctx context.Context) (net.Conn, error) {
	err := errors.New("no message bus is known")
	for _, path := range b.sockets {
		var c net.Conn
		if c, err = new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			return c, nil
		}
	}
	return nil, err // names operation and path
}

// The serials of our two messages.
const (
	helloSerial = 1
	callSerial  = 2
)

// converse logs in, introduces us, and makes the call.
func converse(socket io.ReadWriter, c Call) ([]string, error) {
	r := bufio.NewReader(socket)
	if err := authenticate(socket, r); err != nil {
		return nil, err
	}
	hello := Call{Service: "org.freedesktop.DBus", Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Method: "Hello"}
	for serial, c := range []Call{helloSerial: hello, callSerial: c} {
		if serial == 0 {
			continue
		}
		request, err := encode(uint32(serial), c)
		if err != nil {
			return nil, err
		}
		if _, err := socket.Write(request); err != nil {
			return nil, err
		}
		texts, err := await(r, uint32(serial))
		if err != nil || serial == callSerial {
			return texts, err
		}
	}
	return nil, nil
}

// authenticate says who we are; the bus sees that it is true.
func authenticate(w io.Writer, r *bufio.Reader) error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := io.WriteString(w, "\x00AUTH EXTERNAL "+uid+"\r\n"); err != nil {
		return err
	}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("log in to the message bus: %w", err)
	}
	if !strings.HasPrefix(string(line), "OK ") {
		return fmt.Errorf("log in to the message bus: it answers %q", line)
	}
	_, err = io.WriteString(w, "BEGIN\r\n")
	return err
}

// await reads messages until the answer to one of ours comes.
func await(r *bufio.Reader, serial uint32) ([]string, error) {
	for {
		m, err := read(r)
		if err != nil {
			return nil, fmt.Errorf("read from the message bus: %w", err)
		}
		if m.answers != serial {
			continue // a signal, such as that we have a name now
		}
		if m.kind == kindError {
			return nil, &Error{Name: m.errorName, Text: strings.Join(m.texts, " ")}
		}
		return m.texts, nil
	}
}
