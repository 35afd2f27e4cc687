package harness

import (
	"os"
	"path/filepath"
	"syscall"
)

// Programs gives the device's root the programs of the machine, for a supervisor that runs those of its
// host. It is to be called before the supervisor starts.
func (s *Supervisor) Programs() {
	s.t.Helper()
	root := s.Path("root")
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, dir := range []string{"usr", "proc", "etc/alternatives"} {
		to := filepath.Join(root, dir)
		if err := os.MkdirAll(to, 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := syscall.Mount("/"+dir, to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { syscall.Unmount(to, syscall.MNT_DETACH) })
	}
}
