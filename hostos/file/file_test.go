package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("directory holds %v, want %v", got, want)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("%s holds %.80q (%v), want %.80q", path, got, err, want)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for _, content := range []string{"one", "", big, "two"} {
		if err := Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		wantContent(t, path, content)
		wantNames(t, dir, "a.json")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("mode %v (%v), want 0640", info.Mode(), err)
	}
}

// The mode must not depend on the umask, and others must never be able to read a temporary file.
func TestWriteMode(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "a")
	if err := Write(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o644 {
		t.Fatalf("mode %v, want 0644", info.Mode())
	}
}

func TestWriteReplacesNotRewrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	put(t, path, "old")
	held, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if n, _ := held.Read(b); string(b[:n]) != "old" {
		t.Fatalf("an open reader saw %q, want the old content", b[:n])
	}
}

func TestWriteErrorsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "none", "a"), []byte("x"), 0o600); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("missing directory: %v, want ENOENT", err)
	}
	target := filepath.Join(dir, "d")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(target, []byte("x"), 0o600); !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EEXIST) {
		t.Fatalf("directory in the way: %v, want EISDIR", err)
	}
	wantNames(t, dir, "d")
}

func TestWriteConcurrent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				content := bytes.Repeat([]byte{byte('a' + i)}, 5000)
				if err := Write(path, content, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, _ := os.ReadFile(path)
	if len(got) != 5000 || !bytes.Equal(got, bytes.Repeat(got[:1], 5000)) {
		t.Fatalf("mixed content of %d bytes", len(got))
	}
	wantNames(t, dir, "a")
}

func TestWriteIfChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := func(content string, want bool) {
		t.Helper()
		changed, err := WriteIfChanged(path, []byte(content), 0o600)
		if err != nil || changed != want {
			t.Fatalf("changed %v (%v), want %v", changed, err, want)
		}
		wantContent(t, path, content)
	}
	f("one", true)
	before := inode(t, path)
	f("one", false)
	if inode(t, path) != before {
		t.Fatal("identical content was written again")
	}
	f("two", true)
	f("", true)
	f("", false)
}

func TestWriteIfChangedReplacesLink(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "real"), "one")
	path := filepath.Join(dir, "link")
	if err := os.Symlink("real", path); err != nil {
		t.Fatal(err)
	}
	if changed, err := WriteIfChanged(path, []byte("one"), 0o600); err != nil || !changed {
		t.Fatalf("changed %v (%v), want a file in place of the link", changed, err)
	}
	if info, _ := os.Lstat(path); !info.Mode().IsRegular() {
		t.Fatal("still a link")
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	put(t, path, "x")
	for range 2 {
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
		wantNames(t, dir)
	}
	if err := Remove(dir); err == nil {
		t.Fatal("a directory was removed as a file")
	}
}

func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for n := 1; n <= maxAside+2; n++ {
		put(t, path, fmt.Sprint("broken ", n))
		aside, err := SetAside(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%s.broken-%d", path, min(n, maxAside)); aside != want {
			t.Fatalf("set aside as %s, want %s", aside, want)
		}
		wantContent(t, aside, fmt.Sprint("broken ", n))
	}
	if got := len(names(t, dir)); got != maxAside {
		t.Fatalf("%d broken files kept, want %d", got, maxAside)
	}
	if _, err := SetAside(path); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("absent file: %v, want ENOENT", err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.json"), "x")
	put(t, filepath.Join(dir, prefix+"0011"), "half")
	put(t, filepath.Join(dir, prefix+"0022"), "")
	put(t, filepath.Join(dir, prefix+"0033"), "x") // only on FAT can it share the clusters of a.json
	Sweep(dir)
	wantNames(t, dir, "a.json")
	Sweep(filepath.Join(dir, "none"))
}

func TestMakeDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MakeDir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v (%v), want a directory of mode 0700", info, err)
	}
	put(t, filepath.Join(dir, "f"), "")
	for _, bad := range []string{filepath.Join(dir, "f"), filepath.Join(dir, "f", "x"), ""} {
		if err := MakeDir(bad, 0o700); err == nil {
			t.Fatalf("made %q", bad)
		}
	}
}
