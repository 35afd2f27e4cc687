package hostos

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

// JournalQuery selects entries of the journal. An empty or zero field selects all entries.
type JournalQuery struct {
	All                                    bool // show unprintable and long fields completely
	Follow                                 bool // wait for new entries
	Count                                  int  // only the last entries
	Unit, Identifier, Format, Since, Until string
}

// arguments returns the command line of journalctl. Each value is part of the argument of its option, so that
// journalctl cannot mistake a value for an option.
func (q JournalQuery) arguments() []string {
	args := []string{"journalctl", "--no-pager", "--quiet"}
	if q.All {
		args = append(args, "--all")
	}
	if q.Follow {
		args = append(args, "--follow")
	}
	if q.Count > 0 {
		args = append(args, "--lines="+strconv.Itoa(q.Count))
	}
	for _, option := range [...][2]string{
		{"--unit=", q.Unit}, {"--identifier=", q.Identifier}, {"--output=", q.Format}, {"--since=", q.Since}, {"--until=", q.Until},
	} {
		if option[1] != "" {
			args = append(args, option[0]+option[1])
		}
	}
	return args
}

// ReadJournal reads the journal of the host whose root is mounted at root. It runs the host's journalctl, the only
// program that surely knows the format of the host's journal. Close ends the reader at any time, and may be called
// more than once.
func ReadJournal(root string, q JournalQuery) (io.ReadCloser, error) {
	j, err := startJournal(root, q.arguments())
	if err != nil {
		return nil, err // not a nil *journal in the interface
	}
	return j, nil
}

// journalPrograms are the possible paths of journalctl.
var journalPrograms = []string{"/usr/bin/journalctl", "/bin/journalctl"}

func startJournal(root string, args []string) (*journal, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	proc, err := startIn(root, journalPrograms, args, nil, in, nil)
	if err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return &journal{out: out, proc: proc}, nil
}

// journal is the output of a running journalctl.
type journal struct {
	out  *os.File
	proc *os.Process
	once sync.Once
}

func (j *journal) Read(p []byte) (int, error) { return j.out.Read(p) }

// Close kills the program and waits for its end.
func (j *journal) Close() error {
	j.once.Do(func() {
		_ = j.proc.Kill() // it may have ended by itself
		_, _ = j.proc.Wait()
	})
	return j.out.Close()
}
