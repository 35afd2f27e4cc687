// Package led blinks the light of a board: to show a person which device this is, and that it cannot
// reach its cloud.
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

// tempo is how long the phases of the patterns are.
type tempo struct {
	half     time.Duration // of a blink
	pause    time.Duration // after the blinks of a lost connection
	identify time.Duration // how long a device shows itself
}

// ordinary is the tempo of docs/spec/device-api.md 2.3 and docs/spec/cloud.md 9.2.
var ordinary = tempo{half: 200 * time.Millisecond, pause: time.Second, identify: 15 * time.Second}

// lostBlinks is how often the light blinks before the pause while the connection is lost.
const lostBlinks = 4

// lights are the folders that the kernels of boards have for the LED that a person looks at: Raspberry Pi from
// Linux 6.1 on, older ones, BeagleBone (docs/spec/host.md 5).
var lights = [...]string{"ACT", "led0", "beaglebone:green:usr3"}

// LED is a light. While it is dark there is neither a goroutine nor a timer. Its methods may be called
// from any goroutine.
type LED struct {
	files []string // the brightness of the light is the first that is there
	tempo tempo
	log   zerolog.Logger
	wake  chan struct{} // a token: what is to be shown has changed

	mu      sync.Mutex
	until   time.Time // the device shows itself
	lost    bool      // the connection is lost
	closed  bool
	running chan struct{} // closed when the goroutine has ended; nil while there is none
	told    bool          // that there is no light
}

// New is the light whose brightness is set by the file at path, such as that of a kernel's LED. While
// there is no such file, or path is empty, it is the first of the usual ones below root, where the root of the
// host is mounted. /dev/null is a board without a light (docs/spec/host.md 9).
func New(path, root string, log zerolog.Logger) *LED {
	l := &LED{files: []string{path}, tempo: ordinary, log: log, wake: make(chan struct{}, 1)}
	for _, name := range lights {
		l.files = append(l.files, root+"/sys/class/leds/"+name+"/brightness")
	}
	return l
}

// Identify makes the light blink for 15 s from now, also when it blinks already. After that it shows
// again what it showed before.
func (l *LED) Identify() {
	l.change(func() { l.until = time.Now().Add(l.tempo.identify) })
}

// Lost makes the light blink four times a while until it is called with false.
func (l *LED) Lost(lost bool) {
	l.change(func() { l.lost = lost })
}

// Close ends all patterns, leaves the light dark and waits for that.
func (l *LED) Close() {
	l.change(func() { l.closed = true })
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	if running != nil {
		<-running
	}
}

// change edits what is to be shown and sees to it that somebody shows it.
func (l *LED) change(edit func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	edit()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	if l.running != nil || l.shows() == dark {
		return
	}
	if fd, path := l.open(); fd >= 0 {
		l.running = make(chan struct{})
		go l.run(fd, brightness(path))
	}
}

// open gives the file of the light and where it is, or -1 where there is none, which it says once.
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
	if !l.told {
		l.told = true
		l.log.Info().Str("file", l.files[0]).AnErr("reason", err).Msg("there is no LED to blink")
	}
	return -1, ""
}

// pattern is what the light shows.
type pattern string

const (
	dark     pattern = ""
	identify pattern = "identify" // one blink after the other
	loss     pattern = "loss"     // four blinks and a pause
)

// shows is the pattern of this moment; that of a person who looks for the device goes first.
func (l *LED) shows() pattern {
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

// run blinks until there is nothing to show.
func (l *LED) run(fd int, on string) {
	timer := time.NewTimer(l.tempo.half)
	defer timer.Stop()
	for {
		shown := l.next(fd)
		if shown == dark {
			return
		}
		blinks, pause := 1, time.Duration(0)
		if shown == loss {
			blinks, pause = lostBlinks, l.tempo.pause
		}
		for range blinks {
			l.set(fd, on)
			l.wait(timer, l.tempo.half, shown)
			l.set(fd, "0")
			l.wait(timer, l.tempo.half, shown)
		}
		l.wait(timer, pause, shown)
	}
}

// next is what is shown now. When that is nothing, the light is given up.
func (l *LED) next(fd int) pattern {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.shows()
	if now == dark {
		l.set(fd, "0")
		_ = unix.Close(fd)
		close(l.running)
		l.running = nil
	}
	return now
}

// wait lets a phase of a pattern pass, or returns at once when another pattern is to be shown.
func (l *LED) wait(timer *time.Timer, phase time.Duration, shown pattern) {
	timer.Reset(phase)
	for l.still(shown) {
		select {
		case <-timer.C:
			return
		case <-l.wake:
		}
	}
}

func (l *LED) still(shown pattern) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shows() == shown
}

// set writes a brightness. A light that does not take it stays as it is: there is nobody to tell.
func (l *LED) set(fd int, brightness string) { _, _ = unix.Pwrite(fd, []byte(brightness), 0) }

// brightness is the greatest that the light at path knows, 1 where it does not say.
func brightness(path string) string {
	greatest, err := file.Read(filepath.Join(filepath.Dir(path), "max_brightness"), file.Small)
	if text := strings.TrimSpace(string(greatest)); err == nil && text != "" {
		return text
	}
	return "1"
}
