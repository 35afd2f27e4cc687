package hostos

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

// JournalQuery says what of the journal is wanted; empty texts and zero are for all.
type JournalQuery struct {
	All                                    bool // also what cannot be shown
	Follow                                 bool // go on with what is written later
	Count                                  int  // only the last ones
	Unit, Identifier, Format, Since, Until string
}

// arguments are those of journalctl. Each value is one argument with its option, so that none can
// be taken for another option.
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

// ReadJournal begins to read the journal of the host whose root is mounted at root, with the host's
// own journalctl, since only that is sure to know the format of the host's journal. The reader ends
// with the journal; Close ends it at any time, and may be called more than once.
func ReadJournal(root string, q JournalQuery) (io.ReadCloser, error) {
	j, err := startJournal(root, q.arguments())
	if err != nil {
		return nil, err // not a nil *journal in the interface
	}
	return j, nil
}

// journalPrograms are where a host has its journalctl.
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

// Close ends the program and waits for its end.
func (j *journal) Close() error {
	j.once.Do(func() {
		_ = j.proc.Kill() // it may have ended by itself
		_, _ = j.proc.Wait()
	})
	return j.out.Close()
}
