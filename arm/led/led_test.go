package led

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// light is an LED with a short timing, whose brightness file the test reads.
type light struct {
	*LED
	t    *testing.T
	path string
	log  bytes.Buffer
}

func newLight(t *testing.T, greatest string) *light {
	t.Helper()
	l := &light{t: t, path: filepath.Join(t.TempDir(), "brightness")}
	l.write(l.path, "0")
	if greatest != "" {
		l.write(filepath.Join(filepath.Dir(l.path), "max_brightness"), greatest+"\n")
	}
	l.LED = New(l.path, t.TempDir(), zerolog.New(&l.log))
	l.timing = timing{half: 4 * time.Millisecond, pause: 20 * time.Millisecond, identify: 60 * time.Millisecond}
	t.Cleanup(l.Close)
	return l
}

func (l *light) write(path, text string) {
	l.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *light) brightness() string {
	data, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

func (l *light) works() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running != nil
}

// until waits for a state that must come.
func (l *light) until(what string, reached func() bool) {
	l.t.Helper()
	for end := time.Now().Add(10 * time.Second); !reached(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func (l *light) blinks(on string) {
	l.t.Helper()
	for range 3 {
		l.until("light on", func() bool { return l.brightness() == on })
		l.until("light off", func() bool { return l.brightness() == "0" })
	}
}

func TestIdentifyEnds(t *testing.T) {
	l := newLight(t, "")
	if l.works() {
		t.Fatal("a goroutine runs while the LED is off")
	}
	l.Identify()
	l.until("light on", func() bool { return l.brightness() == "1" })
	l.until("the end", func() bool { return !l.works() })
	if l.brightness() != "0" {
		t.Fatal("the LED stays on")
	}
	l.Identify() // and again
	l.until("light on", func() bool { return l.brightness() == "1" })
}

// docs/spec/device-api.md 2.3: each call extends the pattern to 15 s from now.
func TestIdentifyIsExtended(t *testing.T) {
	l := newLight(t, "")
	l.timing.identify = time.Hour
	l.Identify()
	first := l.LED.until
	l.until("the clock to go on", func() bool { return time.Now().After(first.Add(-time.Hour)) })
	l.Identify()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.LED.until.After(first) || time.Until(l.LED.until) > time.Hour || defaultTiming.identify != 15*time.Second {
		t.Fatalf("ends at %v, first at %v", l.LED.until, first)
	}
}

// docs/spec/device-api.md 2.3: the pattern of a lost cloud returns after the one for a person.
func TestLostGoesOnAfterIdentify(t *testing.T) {
	l := newLight(t, "7")
	l.Lost(true)
	l.blinks("7")
	l.Identify()
	l.until("the device to show itself", func() bool { return l.now() == identify })
	l.blinks("7")
	l.until("the device to have shown itself", func() bool { return l.now() == loss })
	l.blinks("7")
	l.Lost(false)
	l.until("the end", func() bool { return !l.works() })
	if l.brightness() != "0" {
		t.Fatal("the LED stays on")
	}
}

func (l *light) now() pattern {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.currentPattern()
}

// The end of a pattern does not wait for its pause.
func TestLostEndsInThePause(t *testing.T) {
	l := newLight(t, "")
	l.timing.pause = time.Hour
	l.Lost(true)
	l.blinks("1")
	l.Lost(false)
	l.until("the end", func() bool { return !l.works() })
}

func TestClose(t *testing.T) {
	l := newLight(t, "")
	l.timing.half = time.Hour
	l.Lost(true)
	l.until("light on", func() bool { return l.brightness() == "1" })
	l.Close()
	if l.works() || l.brightness() != "0" {
		t.Fatal("the LED stays on")
	}
	l.Identify()
	if l.works() {
		t.Fatal("works after the end")
	}
}

func TestWithoutALight(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none"), "/dev/null"} {
		var log bytes.Buffer
		l := New(path, t.TempDir(), zerolog.New(&log))
		l.Identify()
		l.Lost(true)
		if l.running != nil {
			t.Errorf("%q: works for nothing", path)
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "there is no LED") {
			t.Errorf("%q: logged %q", path, log.String())
		}
	}
}

// docs/spec/host.md 9, 11: while the named file is missing, each pattern tries the default LEDs again, because a driver
// may come late. /dev/null exists and is no LED.
func TestUsualLights(t *testing.T) {
	root := t.TempDir()
	path := func(name string) string { return filepath.Join(root, "sys/class/leds", name, "brightness") }
	var log bytes.Buffer
	named := filepath.Join(t.TempDir(), "named")
	l := New(named, root, zerolog.New(&log))
	null := New("/dev/null", root, zerolog.New(&bytes.Buffer{}))
	finds := func(want string) {
		t.Helper()
		fd, got := l.open()
		if got != want || (fd >= 0) != (want != "") {
			t.Errorf("opened %q (%d), want %q", got, fd, want)
		}
		if fd >= 0 {
			unix.Close(fd)
		}
		if fd, got := null.open(); fd >= 0 {
			t.Errorf("/dev/null became %q", got)
		}
	}
	finds("")
	finds("")
	if strings.Count(log.String(), "\n") != 1 {
		t.Errorf("logged %q", log.String())
	}
	for _, name := range []string{"beaglebone:green:usr3", "led0", "ACT"} { // from the last to the first
		if err := errors.Join(os.MkdirAll(filepath.Dir(path(name)), 0o755), os.WriteFile(path(name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		finds(path(name))
	}
	if err := os.WriteFile(named, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	finds(named)
}
