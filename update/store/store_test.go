package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

type sample struct {
	Name string
	List []int
}

// open returns a store in dir and the buffer with its log.
func open(t *testing.T, dir string) (*Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := Open(dir, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

func wantLoad(t *testing.T, s *Store, version int, want *sample) {
	t.Helper()
	got := sample{Name: "before"}
	found, err := s.Load("doc", version, &got)
	if err != nil {
		t.Fatal(err)
	}
	if found != (want != nil) {
		t.Fatalf("found %v, want %v", found, want != nil)
	}
	if want == nil {
		want = &sample{Name: "before"}
	}
	if fmt.Sprint(got) != fmt.Sprint(*want) {
		t.Fatalf("loaded %v, want %v", got, *want)
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "inner")
	s, _ := open(t, dir)
	wantLoad(t, s, 1, nil)
	one, two := sample{Name: "one", List: []int{1, 2}}, sample{Name: "two"}
	for _, v := range []sample{one, two} {
		if err := s.Save("doc", 1, v); err != nil {
			t.Fatal(err)
		}
		wantLoad(t, s, 1, &v)
	}
	again, _ := open(t, dir)
	wantLoad(t, again, 1, &two)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "doc.json"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Fatalf("%s: %v (%v), want %v", path, info.Mode(), err, want)
		}
	}
}

func TestFileShape(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	if err := s.Save("doc", 3, map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(filepath.Join(dir, "doc.json"))
	if want := `{"version":3,"data":{"a":1}}` + "\n"; string(raw) != want {
		t.Fatalf("file %q, want %q", raw, want)
	}
}

func TestSameContentIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	inode := func() uint64 {
		var st unix.Stat_t
		if err := s.Save("doc", 1, sample{Name: "x"}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(filepath.Join(dir, "doc.json"), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	if inode() != inode() {
		t.Fatal("identical document was written again")
	}
}

func TestBrokenDocuments(t *testing.T) {
	for name, content := range map[string]string{
		"empty":         ``,
		"zeros":         "\x00\x00\x00\x00",
		"cut":           `{"version":1,"data":{"Name":"a`,
		"trailing":      `{"version":1,"data":{}}{"version":1}`,
		"not an object": `[1]`,
		"no version":    `{"data":{"Name":"a"}}`,
		"newer version": `{"version":2,"data":{"Name":"a"}}`,
		"no data":       `{"version":1}`,
		"null data":     `{"version":1,"data": null}`,
		"other type":    `{"version":1,"data":"text"}`,
		"half fits":     `{"version":1,"data":{"Name":"a","List":"b"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, log := open(t, dir)
			path := filepath.Join(dir, "doc.json")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			wantLoad(t, s, 1, nil)
			kept, err := os.ReadFile(path + ".broken-1")
			if err != nil || string(kept) != content {
				t.Fatalf("kept %q (%v), want the broken content", kept, err)
			}
			if !strings.Contains(log.String(), `"level":"error"`) {
				t.Fatalf("log %q, want an error line", log)
			}
			wantLoad(t, s, 1, nil)
			if err := s.Save("doc", 1, sample{Name: "new"}); err != nil {
				t.Fatal(err)
			}
			wantLoad(t, s, 1, &sample{Name: "new"})
		})
	}
}

func TestDirectoryInPlaceOfDocument(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "doc.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, s, 1, nil)
	if err := s.Save("doc", 1, sample{Name: "new"}); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, s, 1, &sample{Name: "new"})
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, filepath.Join(dir, "state"))
	if err := s.Save("doc", 1, func() {}); err == nil {
		t.Fatal("a function was saved")
	}
	if err := os.Symlink("doc.json", filepath.Join(dir, "state", "doc.json")); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Load("doc", 1, &sample{}); err == nil || found {
		t.Fatalf("a link to itself: found %v, %v, want a storage error", found, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "plain"), zerolog.Nop()); err == nil {
		t.Fatal("a plain file was opened as a store")
	}
}

func TestOpenSweeps(t *testing.T) {
	dir := t.TempDir()
	debris := filepath.Join(dir, ".resin-tmp-0123456789abcdef")
	if err := os.WriteFile(debris, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Visit(dir, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(debris); err != nil {
		t.Fatalf("Visit removed the temporary file of another process: %v", err)
	}
	open(t, dir)
	if _, err := os.Stat(debris); !os.IsNotExist(err) {
		t.Fatalf("temporary file is still there (%v)", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"data":{"Name":"a","List":[1]}}`))
	f.Add([]byte(`{"version":1,"data":null}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := sample{Name: "before"}
		if err := decode(raw, 1, &v); err != nil && (v.Name != "before" || v.List != nil) {
			t.Fatalf("a refused document left %v", v)
		}
		if !json.Valid(raw) && v.Name != "before" {
			t.Fatal("invalid JSON was accepted")
		}
	})
}
