package store

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// killDir is the variable with the directory for the second run of the test binary.
const killDir = "STORE_TEST_KILL_DIR"

// kills is how often the writer dies.
const kills = 50

// TestKill kills a process that saves all the time, at random moments. After each kill the document must be complete and
// its counter must have grown.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		saveForEver(dir)
	}
	dir := t.TempDir()
	last := 0
	for range kills {
		killWriter(t, dir)
		last = wantWhole(t, dir, last)
	}
	if last < kills {
		t.Fatalf("only %d saves in %d runs: nothing was tested", last, kills)
	}
}

// counted is a document in which a mixture of two versions is visible.
type counted struct {
	Count   int
	Padding string
}

func padding(count int) string {
	return strings.Repeat(string(rune('a'+count%26)), 100+count*37%9000)
}

func saveForEver(dir string) {
	s, err := Open(dir, zerolog.Nop())
	if err != nil {
		os.Exit(3)
	}
	var doc counted
	if _, err := s.Load("doc", 1, &doc); err != nil {
		os.Exit(4)
	}
	for {
		doc.Count++
		doc.Padding = padding(doc.Count)
		if s.Save("doc", 1, doc) != nil {
			os.Exit(5)
		}
		os.Stdout.WriteString("saved\n")
	}
}

// killWriter lets a writer save at least once and kills it up to 5 ms later.
func killWriter(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, _ := lines.ReadString('\n'); line != "saved\n" {
		t.Errorf("the writer said %q", line)
	}
	// The pipe is drained until a random moment, so that the writer never waits for the reader.
	timer := time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, func() { cmd.Process.Kill() })
	defer timer.Stop()
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			break
		}
	}
	cmd.Wait()
}

// wantWhole checks that a new start finds a complete document and no temporary files, and returns the counter.
func wantWhole(t *testing.T, dir string, last int) int {
	t.Helper()
	s, log := open(t, dir)
	var doc counted
	found, err := s.Load("doc", 1, &doc)
	if err != nil || !found {
		t.Fatalf("found %v (%v) after a kill: %s", found, err, log)
	}
	if doc.Padding != padding(doc.Count) || doc.Count <= last {
		t.Fatalf("count %d after %d with padding of %d", doc.Count, last, len(doc.Padding))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files in %s (%v), want the document alone", len(entries), filepath.Base(dir), err)
	}
	return doc.Count
}
