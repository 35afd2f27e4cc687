package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Journal gives the device a journal of its own: a real journald, and the machine's journalctl to read
// it. What it returns writes a line of it. It is to be called before the supervisor starts.
func (s *Supervisor) Journal() (write func(identifier, message string)) {
	s.t.Helper()
	s.Programs()
	root := s.Path("root")
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		s.t.Fatal(err)
	}
	s.WriteFile("root/etc/machine-id", string(id))
	// The daemon sees the device's /run as its own.
	script := fmt.Sprintf("mkdir -p %[1]s/run/systemd/journal %[1]s/run/log/journal && mount --bind %[1]s/run /run && exec /lib/systemd/systemd-journald", root)
	daemon := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		daemon.Process.Kill()
		daemon.Wait()
	})
	var socket net.Conn
	Until(s.t, 20*time.Second, "the journal", func() (err error) {
		socket, err = net.Dial("unixgram", filepath.Join(root, "run/systemd/journal/socket"))
		return err
	})
	s.t.Cleanup(func() { socket.Close() })
	return func(identifier, message string) {
		s.t.Helper()
		if _, err := fmt.Fprintf(socket, "MESSAGE=%s\nPRIORITY=6\nSYSLOG_IDENTIFIER=%s\n", message, identifier); err != nil {
			s.t.Fatal(err)
		}
	}
}
