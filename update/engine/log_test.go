package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// Each line is passed on before the next one arrives. The stream ends with its last chunk or breaks.
func TestFollowLogs(t *testing.T) {
	f := func(wantErr error, want string, parts ...string) {
		t.Helper()
		listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		heard := make(chan struct{})
		go func() {
			conn, _ := listener.Accept()
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 4096))
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for _, p := range parts {
				fmt.Fprintf(conn, "%x\r\n%s\r\n", len(p), p)
				if p != "" {
					<-heard
				}
			}
		}()
		var got strings.Builder
		c := New(listener.Addr().String())
		c.version.Store(&apiVersion{})
		err = c.Logs(t.Context(), "a", LogOptions{Tty: true, Follow: true}, func(l LogLine) {
			got.Write(l.Text)
			heard <- struct{}{}
		})
		if got.String() != want || !errors.Is(err, wantErr) {
			t.Errorf("%q: got %q, %v", parts, got.String(), err)
		}
	}
	long := strings.Repeat("x", 12<<10)
	f(nil, "one"+"two"+long, "one\n", "two\n", long+"\n", "")
	f(io.ErrUnexpectedEOF, "one", "one\n")
}
