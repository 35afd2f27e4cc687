// Package dbus calls methods on a D-Bus message bus. It has only what is needed to ask logind for a reboot and systemd
// for the state of a unit. Each call has its own connection, so an idle process has no connection and no goroutine.
// It is a leaf.
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

// Bus is a message bus. It is safe for concurrent use.
type Bus struct {
	sockets []string // tried in this order; a leading @ marks an abstract socket
}

// callTimeout limits every call. D-Bus libraries have the same default.
const callTimeout = 25 * time.Second

// New returns the bus at an address in the format of DBUS_SYSTEM_BUS_ADDRESS, such as unix:path=/run/bus, or a list of
// addresses separated by semicolons. If address is empty the bus uses the sockets. New does not connect.
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

// socketOf returns the path of one address, empty if it is not a unix socket.
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

// Error is an error reply of a service or the bus.
type Error struct {
	Name string // such as org.freedesktop.DBus.Error.ServiceUnknown
	Text string // for users, may be empty
}

// Error returns the text, or the name if there is no text.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Name
	}
	return e.Text
}

// IsError reports whether err wraps an *Error with the given name.
func IsError(err error, name string) bool {
	answer, ok := errors.AsType[*Error](err)
	return ok && answer.Name == name
}

// Call is a call of one method of one object. Args have type string or bool.
type Call struct {
	Service, Path, Interface, Method string
	Args                             []any
}

// Do calls a method and returns the texts of its reply: strings, object paths, and those inside of lists and variants. It
// skips values of other types. The error wraps *Error if the service or the bus refused the call.
func (b *Bus) Do(ctx context.Context, c Call) ([]string, error) {
	texts, err := b.do(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", c.Method, c.Service, err)
	}
	return texts, nil
}

func (b *Bus) do(ctx context.Context, c Call) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	socket, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	texts, err := logInAndCall(socket, c)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // the cause of the closed socket
	}
	return texts, err
}

func (b *Bus) dial(ctx context.Context) (net.Conn, error) {
	err := errors.New("no message bus is configured")
	for _, path := range b.sockets {
		var c net.Conn
		if c, err = new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			return c, nil
		}
	}
	return nil, err // names operation and path
}

// The serials of our messages.
const (
	helloSerial = 1
	callSerial  = 2
)

// logInAndCall logs in to the bus and makes the call.
func logInAndCall(socket io.ReadWriter, c Call) ([]string, error) {
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
		texts, err := readReply(r, uint32(serial))
		if err != nil || serial == callSerial {
			return texts, err
		}
	}
	return nil, nil
}

// authenticate sends our user id, which the bus verifies by the socket.
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

// readReply reads messages until the reply to the one with this serial.
func readReply(r *bufio.Reader, serial uint32) ([]string, error) {
	for {
		m, err := read(r)
		if err != nil {
			return nil, fmt.Errorf("read from the message bus: %w", err)
		}
		if m.replyTo != serial {
			continue // a signal, such as NameAcquired
		}
		if m.kind == kindError {
			return nil, &Error{Name: m.errorName, Text: strings.Join(m.texts, " ")}
		}
		return m.texts, nil
	}
}
