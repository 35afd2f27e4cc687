package file

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if _, err := Read(path, 10); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("absent file: %v", err)
	}
	for _, content := range []string{"", "one", "0123456789"} {
		put(t, path, content)
		if got, err := Read(path, 10); err != nil || string(got) != content {
			t.Fatalf("read %q (%v), want %q", got, err, content)
		}
	}
	put(t, path, "0123456789x")
	if _, err := Read(path, 10); !errors.Is(err, ErrUnfit) || !strings.HasSuffix(err.Error(), path+" is larger than 10 bytes") {
		t.Fatalf("too large: %v", err)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	put(t, path, big)
	if got, err := Read(path, Small); err != nil || string(got) != big {
		t.Fatalf("%d bytes (%v), want %d", len(got), err, len(big))
	}
}

// Files of /proc have size 0.
func TestReadProc(t *testing.T) {
	for _, name := range []string{"self/maps", "self/stat"} {
		got, err := Read("/proc/"+name, Small)
		if err != nil || !strings.HasSuffix(string(got), "\n") {
			t.Fatalf("%s: %.80q (%v)", name, got, err)
		}
	}
	if _, err := Read("/proc/self/maps", 10); !errors.Is(err, ErrUnfit) {
		t.Fatalf("more than the limit: %v", err)
	}
}

func TestReadRefusesWhatIsNoFile(t *testing.T) {
	t.Chdir(t.TempDir()) // socket addresses have a length limit
	if err := unix.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink("fifo", "link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"fifo", "link", "socket", ".", "/dev/zero", "/dev/null"} {
		if _, err := Read(path, Small); !errors.Is(err, ErrUnfit) || !strings.HasSuffix(err.Error(), path+" is not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	put(t, "a", "x")
	if err := os.Symlink("a", "good"); err != nil {
		t.Fatal(err)
	}
	if got, err := Read("good", Small); err != nil || string(got) != "x" {
		t.Errorf("through a link: %q (%v)", got, err)
	}
}

// A sensor may have no value now. The kernel's log behaves the same after its last record.
func TestReadOfWhatHasNothingToSay(t *testing.T) {
	if _, err := Open("/proc/kmsg"); err != nil {
		t.Skip(err)
	}
	for range 2 {
		if _, err := Read("/proc/kmsg", Large); err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Skip(err)
		} else if err != nil {
			return
		}
	}
	t.Fatal("reading a file without a value did not fail")
}
