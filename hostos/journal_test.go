package hostos

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"testing"
)

func TestJournalArguments(t *testing.T) {
	f := func(q JournalQuery, want ...string) {
		t.Helper()
		if got := q.arguments(); !slices.Equal(got, append([]string{"journalctl", "--no-pager", "--quiet"}, want...)) {
			t.Errorf("%+v: %q", q, got)
		}
	}
	f(JournalQuery{})
	f(JournalQuery{All: true, Follow: true, Count: 7, Format: "json"}, "--all", "--follow", "--lines=7", "--output=json")
	f(JournalQuery{Unit: "--version", Identifier: "-f", Since: "-1h", Until: "-o x"},
		"--unit=--version", "--identifier=-f", "--since=-1h", "--until=-o x")
}

func TestJournalOfAHostWithoutOne(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to look into another root")
	}
	if r, err := ReadJournal(t.TempDir(), JournalQuery{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v %v", r, err)
	}
}

// The reader ends with the program, and Close ends the program.
func TestReaderAndProgramEndTogether(t *testing.T) {
	j := program(t, "echo one; echo lost >&2; echo two")
	if got, err := io.ReadAll(j); err != nil || string(got) != "one\ntwo\n" {
		t.Errorf("read %q %v", got, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	j = program(t, "echo one; exec sleep 1000")
	if _, err := j.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { _, err := j.Read(make([]byte, 4)); read <- err }()
	_ = j.Close()
	if err := <-read; err == nil {
		t.Error("a read continues after Close")
	}
	if err := j.proc.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("the program still runs: %v", err)
	}
	_ = j.Close() // a second Close does no harm
}
