package surface_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"resin-supervisor/test/harness"
)

// screen is a terminal of 80 columns, as a serial console: it knows the few sequences that the status
// command may use, and notes everything else.
type screen struct {
	mu    sync.Mutex
	rows  [][]byte
	row   int
	col   int
	odd   []string // sequences and characters that have no place here
	lost  int      // lines that went out at the top
	draws int      // how often the page was begun
	cut   string   // the beginning of a sequence
}

func newScreen(rows int) *screen { return &screen{rows: make([][]byte, rows)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.cut + string(p)
	for text != "" {
		n := s.take(text)
		if n == 0 {
			break
		}
		text = text[n:]
	}
	s.cut = text
	return len(p), nil
}

// take carries out what the text begins with and says how long that is, 0 for a sequence that is cut.
func (s *screen) take(text string) int {
	for sequence, do := range map[string]func(){
		"\x1b[H": func() { s.row, s.col, s.draws = 0, 0, s.draws+1 },
		"\x1b[K": func() { s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))] },
		"\x1b[J": func() {
			s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
			for i := s.row + 1; i < len(s.rows); i++ {
				s.rows[i] = nil
			}
		},
		"\r": func() { s.col = 0 },
		"\n": s.down,
	} {
		switch {
		case strings.HasPrefix(text, sequence):
			do()
			return len(sequence)
		case strings.HasPrefix(sequence, text):
			return 0
		}
	}
	if text[0] < ' ' || text[0] > '~' {
		s.odd = append(s.odd, fmt.Sprintf("%.8q", text))
		return 1
	}
	if s.col == 80 {
		s.col = 0
		s.down()
	}
	line := s.rows[s.row]
	for len(line) <= s.col {
		line = append(line, ' ')
	}
	line[s.col] = text[0]
	s.rows[s.row] = line
	s.col++
	return 1
}

func (s *screen) down() {
	if s.row++; s.row == len(s.rows) {
		s.row--
		s.rows = append(s.rows[1:], nil)
		s.lost++
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, row := range s.rows {
		b.WriteString(strings.TrimRight(string(row), " ") + "\n")
	}
	return b.String()
}

// terminal runs a command of the device on a terminal of its own and returns what that shows.
func terminal(t *testing.T, s *harness.Supervisor, rows int, args ...string) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: 80}))
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.Command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	if rows == 0 {
		rows = 24 // what a console has that does not know its size
	}
	shown := newScreen(rows)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			shown.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		<-ended
	})
	return shown
}

// waitFor waits until a screen shows all of the words.
func waitFor(t *testing.T, shown *screen, words ...string) {
	t.Helper()
	harness.Until(t, harness.Soon, "the screen", func() error {
		page := shown.String()
		for _, w := range words {
			if !strings.Contains(page, w) {
				return fmt.Errorf("no %q on\n%s", w, page)
			}
		}
		return nil
	})
}

// A watched page is drawn over itself on a serial console, follows what happens, and is cut rather than
// scrolled away.
func TestStatusOnATerminal(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	target := shop(t)
	target.Name = "holy-moon"
	target.Apps[0].Services[0].Name = "a-service-with-a-name-that-is-longer-than-a-column-of-the-page-and-than-half-of-it"
	s.Apply(target)
	for _, rows := range []int{24, 0} {
		shown := terminal(t, s, rows, "status", "--watch")
		waitFor(t, shown, "holy-moon", "App shop (31)", "up to date", "db", "Running")
		s.Post("/v2/applications/31/stop-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
		waitFor(t, shown, "exited (")
		s.Post("/v2/applications/31/start-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
		waitFor(t, shown, "restarted")
		t.Logf("%d rows:\n%s", rows, shown)
		shown.mu.Lock()
		if shown.draws < 2 || shown.lost > 0 || len(shown.odd) > 0 {
			t.Errorf("%d draws, %d lines scrolled away, odd %v", shown.draws, shown.lost, shown.odd)
		}
		shown.mu.Unlock()
	}
	small := terminal(t, s, 8, "status", "--watch")
	waitFor(t, small, "holy-moon", "... and ")
	s.Kill()
	waitFor(t, small, "No answer, will retry")
	s.Start()
	s.WaitListed()
	waitFor(t, small, "holy-moon")
	small.mu.Lock()
	if small.lost > 0 {
		t.Errorf("%d lines scrolled away", small.lost)
	}
	small.mu.Unlock()
}

// Downloads have a bar that fills, and what went wrong is told until it is right again.
func TestStatusOfAnUpdate(t *testing.T) {
	registry := harness.SharedRegistry(t)
	slow := registry.Slow(t, 1_000_000)
	image := slow.Of(registry.Push(t, harness.ServerImage("surface/slow:v1").WithBlob(4_000_000)))
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.WaitListed()
	s.Proxy.Spoil("POST /containers/create", harness.Fail, 0, -1)
	target := shop(t)
	target.Apps[0].Services[1].Image = image.Name
	s.PostTarget(target)
	shown := terminal(t, s, 40, "status", "--watch")
	waitFor(t, shown, "updating", "Downloading", "[#", "-] ", "of 1 downloads")
	waitFor(t, shown, "with failures", "Locks       the supervisor of app shop", "Next try", "Problems", "app shop service db: start", "spoilt by the test")
	s.Proxy.Heal()
	s.Post("/v1/update", nil).Want(t, 204, "")
	waitFor(t, shown, "up to date", "db ", "Running")
	if page := shown.String(); strings.Contains(page, "Problems") {
		t.Errorf("problems are left:\n%s", page)
	}
}

// A page that is not watched, and what goes into a file, has no control characters.
func TestStatusForScripts(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{})
	s.Apply(shop(t))
	code, page, errs := s.Run("status")
	if code != 0 || !strings.Contains(page, "App shop (31): release aaaa1, done") {
		t.Fatalf("%d %s\n%s", code, errs, page)
	}
	for line := range strings.Lines(page) {
		if line = strings.TrimSuffix(line, "\n"); len(line) > 80 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("line %q", line)
		}
	}
	if _, again, _ := s.Run("status"); strings.Contains(again, "\x1b") {
		t.Error("control characters without a terminal")
	}
	s.LockUpdates(appID, "web")
	code, text, errs := s.Run("status", "--json")
	var o struct {
		Device struct {
			SupervisorVersion string
			MemoryBytes       int
		}
		Apps []struct {
			Name, UserLock string
			Containers     []struct{ ServiceName, Status string }
		}
	}
	if err := json.Unmarshal([]byte(text), &o); code != 0 || err != nil || strings.Count(text, "\n") != 1 {
		t.Fatalf("%d %v %s\n%s", code, err, errs, text)
	}
	if o.Device.MemoryBytes == 0 || len(o.Apps) != 1 || o.Apps[0].UserLock != "web" || len(o.Apps[0].Containers) != 2 || o.Apps[0].Containers[0].Status != "Running" {
		t.Errorf("%+v", o)
	}
	if _, page, _ := s.Run("status"); !strings.Contains(page, "Locks       service web of app shop") {
		t.Errorf("the lock is not told:\n%s", page)
	}
	if code, _, errs := s.Run("status", "--colour"); code == 0 || errs == "" {
		t.Errorf("an unknown flag: %d %q", code, errs)
	}
}
