// Package led blinks the LED of a board: to show a person which device this is, and that it cannot reach its cloud.
package led

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// timing holds the durations of the patterns.
type timing struct {
	half     time.Duration // of half a blink, on or off
	pause    time.Duration // after the blinks of a lost connection
	identify time.Duration // of the pattern for a person
}

// defaultTiming is the timing of docs/spec/device-api.md 2.3 and docs/spec/cloud.md 9.2.
var defaultTiming = timing{half: 200 * time.Millisecond, pause: time.Second, identify: 15 * time.Second}

// lostBlinks is the number of blinks before the pause while the connection is lost.
const lostBlinks = 4

// defaultLEDs are the kernel's folders for the LED of a board: Raspberry Pi with Linux 6.1 and later, with older Linux,
// and BeagleBone (docs/spec/host.md 5).
var defaultLEDs = [...]string{"ACT", "led0", "beaglebone:green:usr3"}

// LED is the LED of a board. It has a goroutine and a timer only while it blinks. Its methods may be called from any
// goroutine.
type LED struct {
	files  []string // brightness files, of which the first existing one counts
	timing timing
	log    zerolog.Logger
	wake   chan struct{} // wakes the goroutine after a change of the pattern

	mu            sync.Mutex
	until         time.Time // end of the pattern for a person
	lost          bool      // the connection is lost
	closed        bool
	running       chan struct{} // closed when the goroutine ends, nil while there is none
	noLightLogged bool          // the missing LED was logged
}

// New returns the LED with the brightness file at path. Without such a file, or with an empty path, it is the first of
// the default LEDs below root, where the host's root is mounted. The path /dev/null means that the board has no LED
// (docs/spec/host.md 9).
func New(path, root string, log zerolog.Logger) *LED {
	l := &LED{files: []string{path}, timing: defaultTiming, log: log, wake: make(chan struct{}, 1)}
	for _, name := range defaultLEDs {
		l.files = append(l.files, root+"/sys/class/leds/"+name+"/brightness")
	}
	return l
}

// Identify makes the LED blink for 15 s from now, also when it blinks already. Then the earlier pattern returns.
func (l *LED) Identify() {
	l.update(func() { l.until = time.Now().Add(l.timing.identify) })
}

// Lost makes the LED repeat four blinks and a pause, until it is called with false.
func (l *LED) Lost(lost bool) {
	l.update(func() { l.lost = lost })
}

// Close ends all patterns, and returns when the LED is off.
func (l *LED) Close() {
	l.update(func() { l.closed = true })
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	if running != nil {
		<-running
	}
}

// update changes what the LED shows. It starts the goroutine if there is none and the LED must blink.
func (l *LED) update(edit func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	edit()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	if l.running != nil || l.currentPattern() == dark {
		return
	}
	if fd, path := l.open(); fd >= 0 {
		l.running = make(chan struct{})
		go l.run(fd, brightness(path))
	}
}

// open opens the brightness file and returns its path. It returns -1 without an LED, and logs that once.
func (l *LED) open() (fd int, path string) {
	err := error(unix.ENOENT)
	for _, path = range l.files {
		info, statErr := os.Stat(path)
		if statErr != nil {
			continue
		}
		err = file.ErrUnfit
		if info.Mode().IsRegular() {
			fd, err = unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		}
		break
	}
	if err == nil {
		return fd, path
	}
	if !l.noLightLogged {
		l.noLightLogged = true
		l.log.Info().Str("file", l.files[0]).AnErr("reason", err).Msg("there is no LED to blink")
	}
	return -1, ""
}

// pattern is a pattern of the LED.
type pattern string

const (
	dark     pattern = ""
	identify pattern = "identify" // one blink after the other
	loss     pattern = "loss"     // four blinks and a pause
)

// currentPattern is the pattern to show now. The one for a person comes first.
func (l *LED) currentPattern() pattern {
	switch {
	case l.closed:
		return dark
	case time.Now().Before(l.until):
		return identify
	case l.lost:
		return loss
	}
	return dark
}

// run blinks until no pattern is left.
func (l *LED) run(fd int, on string) {
	timer := time.NewTimer(l.timing.half)
	defer timer.Stop()
	for {
		shown := l.next(fd)
		if shown == dark {
			return
		}
		blinks, pause := 1, time.Duration(0)
		if shown == loss {
			blinks, pause = lostBlinks, l.timing.pause
		}
		for range blinks {
			l.set(fd, on)
			l.wait(timer, l.timing.half, shown)
			l.set(fd, "0")
			l.wait(timer, l.timing.half, shown)
		}
		l.wait(timer, pause, shown)
	}
}

// next is the pattern to show now. Without one it turns the LED off and closes its file.
func (l *LED) next(fd int) pattern {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.currentPattern()
	if now == dark {
		l.set(fd, "0")
		_ = unix.Close(fd)
		close(l.running)
		l.running = nil
	}
	return now
}

// wait waits for the end of a phase, or for a change to another pattern.
func (l *LED) wait(timer *time.Timer, phase time.Duration, shown pattern) {
	timer.Reset(phase)
	for l.isShown(shown) {
		select {
		case <-timer.C:
			return
		case <-l.wake:
		}
	}
}

func (l *LED) isShown(shown pattern) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.currentPattern() == shown
}

// set writes a brightness. It ignores errors, because nobody could act on them.
func (l *LED) set(fd int, brightness string) { _, _ = unix.Pwrite(fd, []byte(brightness), 0) }

// brightness is the maximum brightness of the LED at path, 1 when unknown.
func brightness(path string) string {
	greatest, err := file.Read(filepath.Join(filepath.Dir(path), "max_brightness"), file.Small)
	if text := strings.TrimSpace(string(greatest)); err == nil && text != "" {
		return text
	}
	return "1"
}
